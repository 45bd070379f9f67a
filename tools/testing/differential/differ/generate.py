# SPDX-License-Identifier: GPL-2.0
"""Sequences of operations by chance, all from a seed. There are few services
and servers, so that they are often there twice, or not there any more."""

import random
import socket
import struct
from typing import NamedTuple

from lib import genl, mutate, sockopt
from lib.genl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST
from lib.mutate import be, u

from .operations import (
    FIRST, NOBODY, OWNED, OWNER, PLACES, ROOT, SECOND, Get, Look, Read,
    Request, Set, Write)

LENGTH = 100            # operations in a sequence
KNOWN = .7              # how often what was spoken of is spoken of again
EDGES = .08             # how often a value is one at an edge
FIRST_ONES = 12         # of them, which make services and servers
AF_INET, AF_INET6 = 2, 10
VIPS = {AF_INET: ("198.51.100.1",) * 3 + ("198.51.100.2",),
        AF_INET6: ("2001:db8::1", "2001:db8::2")}
SERVERS = {AF_INET: ("10.0.0.1", "10.0.0.1", "10.0.0.2", "127.0.0.1"),
           AF_INET6: ("fd00::1", "fd00::2", "::1")}
NO_SERVERS = {AF_INET: ("0.0.0.0", "255.255.255.255", "224.0.0.1",
                        "127.255.255.255"),
              AF_INET6: ("::", "ff02::1", "fe80::1")}
WEIGHTS = (0, 1, 1, 2, 5, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff)
THRESHOLDS = (0, 0, 1, 5, 10)
NO_THRESHOLDS = (0, 0x7fffffff, 0x80000000, 0xffffffff)
TIMEOUTS = (0, 1, 60, 300, 8589934, 8589935, 0x7fffffff, 0x80000000,
            0xffffffff)
SERVICE_FLAGS = (0, 0, 8, 0x10, 0x18, 0x20, 0x38, 2, 0x80000000)
# What clients set: ipvsadm and keepalived (libnl), Go, pyroute2.
FLAGS = (NLM_F_REQUEST | NLM_F_ACK,) * 6 + (
    NLM_F_REQUEST, 0x605, 0x405, 0x205, 0x105, 0xc05)
DUMPS = (genl.GET_SERVICE, genl.GET_DEST, genl.GET_DAEMON)
SETTINGS = (
    "am_droprate", "amemthresh", "backup_only", "cache_bypass", "conn_lfactor",
    "conn_max", "conn_reuse_mode", "conntrack", "drop_entry", "drop_packet",
    "est_cpulist", "est_nice", "expire_nodest_conn",
    "expire_quiescent_template", "ignore_tunneled", "nat_icmp_send",
    "pmtu_disc", "run_estimation", "schedule_icmp", "secure_tcp",
    "sloppy_sctp", "sloppy_tcp", "snat_reroute", "svc_lfactor",
    "sync_persist_mode", "sync_ports", "sync_qlen_max", "sync_refresh_period",
    "sync_retries", "sync_sock_size", "sync_threshold", "sync_version",
    "nonesuch")
TEXTS = ("0", "1", "2", "3", "4", "8", "-1", "-8", "-9", "64", "100",
         "1073741824", "1073741825", "2147483647", "2147483648",
         "-2147483648", "-2147483649", "4294967296", "", " ", "\n", " 7 \n",
         "0x10", "010", "1x", "x", "1 2", "3 50", "50 3", "1.5", "+1", "0-1",
         "9" * 40)
WHERE = (FIRST, FIRST, FIRST, SECOND, OWNED)
FILES = ("ip_vs", "ip_vs", "ip_vs", "ip_vs_conn", "ip_vs_stats",
         "ip_vs_stats_percpu", "ip_vs_status", "ip_vs_conn_sync", "ip_vs_app")
MARKS = (1, 2, 0xffffffff)
# Those that a mutation may ask for come from there.
SCHEDULERS = mutate.SCHEDULERS + (b"nonesuch\0", b"\0", b"x" * 15 + b"\0",
                                  b"x" * 16 + b"\0", b"rr")


def address(family, ip):
    return socket.inet_pton(family, ip).ljust(16, b"\0")


class Service(NamedTuple):
    """What tells one service from another."""
    family: int
    protocol: int
    ip: str
    port: int
    mark: int


class Server(NamedTuple):
    """What tells one server of a service from another."""
    family: int
    ip: str
    port: int


class Names:
    """Services and servers to speak of: mostly some that there may be."""

    def __init__(self, rng):
        self.rng = rng
        self.services = {where: [] for where in PLACES}
        self.servers = {where: [] for where in PLACES}

    def edge(self, usual, edges):
        """One of the usual values, now and then one at an edge."""
        return self.rng.choice(edges if self.rng.random() < EDGES else usual)

    def _one(self, known, new, wanted):
        """One that was spoken of, if it will do, or a new one."""
        known_ones = [one for one in known if wanted(one)]
        if known_ones and self.rng.random() < KNOWN:
            return self.rng.choice(known_ones)
        known.append(new())
        return known[-1]

    def service(self, where, families=(AF_INET,) * 3 + (AF_INET6,)):
        """A service of a namespace."""
        def new():
            family = self.edge(families, families if len(families) == 1
                               else (0, 1, 99, 0xffff))
            return Service(
                family, self.edge((6, 6, 17, 132), (0, 1, 255, 0x106)),
                self.rng.choice(VIPS.get(family, VIPS[AF_INET])),
                self.edge((80, 80, 81), (0, 21, 65535)),
                self.rng.choice(MARKS) if self.rng.random() < .2 else 0)
        return self._one(self.services[where], new,
                         lambda one: one.family in families)

    def server(self, where, families):
        """A server of some service in a namespace."""
        def new():
            family = self.rng.choice(families)
            return Server(family, self.edge(SERVERS[family],
                                            NO_SERVERS[family]),
                          self.edge((80, 80, 81), (0, 65535)))
        return self._one(self.servers[where], new,
                         lambda one: one.family in families)


class Requests(mutate.Requests):
    """Netlink requests, with both families and with values at edges."""

    def __init__(self, rng, names):
        super().__init__(rng)
        self.names, self.edge = names, names.edge
        self.where, self.spoken_of = PLACES[0], AF_INET

    def service(self):
        rng = self.rng
        which = self.names.service(self.where)
        family = self.spoken_of = which.family
        known = family if family in VIPS else AF_INET
        row = [[genl.SVC_AF, u(2, family), None]]
        if which.mark:
            row.append([genl.SVC_FWMARK, u(4, which.mark), None])
        if len(row) == 1 or rng.random() < .1:
            row += [[genl.SVC_PROTOCOL, u(2, which.protocol), None],
                    [genl.SVC_ADDR, address(known, which.ip), None],
                    [genl.SVC_PORT, be(which.port), None]]
        if rng.random() < .1:
            return row
        prefix = (128, 128, 64, 1) if family == AF_INET6 else (
            0xffffffff, 0x00ffffff)
        row += [[genl.SVC_SCHED_NAME, self.edge(
                    mutate.SCHEDULERS, SCHEDULERS), None],
                [genl.SVC_FLAGS, u(4, self.edge(
                    SERVICE_FLAGS, (1, 4, 5, 0xffffffff))) + u(4, rng.choice(
                        (0xffffffff, 0xffffffff, 0x38, 8, 0))), None],
                [genl.SVC_TIMEOUT, u(4, rng.choice(TIMEOUTS)), None],
                [genl.SVC_NETMASK, u(4, self.edge(
                    prefix, (0, 1, 129, 0xffffffff))), None]]
        if rng.random() < .05:
            row.append([genl.SVC_PE_NAME, rng.choice(
                (b"nonesuch\0", b"\0", b"x" * 20 + b"\0", b"x" * 16)), None])
        return row

    def server(self):
        rng = self.rng
        family = self.spoken_of if self.spoken_of in SERVERS else AF_INET
        which = self.names.server(self.where, (family,) if rng.random() < .85
                                  else tuple(SERVERS))
        row = [[genl.DEST_ADDR, address(which.family, which.ip), None],
               [genl.DEST_PORT, be(which.port), None]]
        if rng.random() < .1:
            return row
        row += [[genl.DEST_FWD_METHOD, u(4, self.edge(
                    (0, 0, 1, 2, 2, 3), (4, 5, 7, 8, 0xfffffff8))), None],
                [genl.DEST_WEIGHT, u(4, rng.choice(WEIGHTS)), None],
                [genl.DEST_U_THRESH, u(4, self.edge(
                    THRESHOLDS, NO_THRESHOLDS)), None],
                [genl.DEST_L_THRESH, u(4, self.edge(
                    (0, 0, 1, 5), NO_THRESHOLDS)), None]]
        if rng.random() < .6:
            row.append([genl.DEST_ADDR_FAMILY, u(2, self.edge(
                (which.family,), (0, 1, AF_INET, AF_INET6, 99))), None])
        if rng.random() < .3:
            row += [[genl.DEST_TUN_TYPE, u(1, self.edge((0, 1, 2), (3, 255))),
                     None],
                    [genl.DEST_TUN_PORT, be(rng.choice((0, 6080))), None],
                    [genl.DEST_TUN_FLAGS, u(2, rng.choice(
                        (0, 1, 2, 3, 8, 0xffff))), None]]
        return row

    def daemon(self):
        rng = self.rng
        row = super().daemon()
        if rng.random() < .5:
            row += [[4, u(2, rng.choice((0, 1, 1500, 0xffff))), None],
                    [5, socket.inet_aton(rng.choice(
                        ("224.0.0.81", "10.0.0.1"))), None],
                    [7, u(2, rng.choice((0, 8848))), None],
                    [8, u(1, rng.choice((0, 1, 255))), None]]
        return row

    def sound(self):
        command, row = super().sound()
        if command == genl.SET_CONFIG:
            row = [[kind, u(4, self.edge((0, 60, 300, 900), TIMEOUTS)), None]
                   for kind, _content, _length in row]
        elif command == genl.FLUSH and self.rng.random() < .7:
            command = genl.GET_CONFIG
        return command, row

    def request(self):
        """As there, but more of them sound, and fewer of pure noise."""
        if self.rng.random() < .25:
            return super().request()
        command, row = self.sound()
        if self.rng.random() < .3:
            self.mutate(row)
        return command, mutate.pack(row)


class Chance:
    """What one generator of random numbers makes of it."""

    def __init__(self, rng):
        self.rng = rng
        self.names = Names(rng)
        self.requests = Requests(rng, self.names)

    def place(self):
        """Where, and by whom."""
        rng = self.rng
        self.requests.where = where = rng.choice(WHERE)
        dice = rng.random()
        if where == OWNED:
            return where, (OWNER if dice < .4 else ROOT if dice < .95
                           else NOBODY)
        return where, ROOT if dice < .96 else NOBODY

    def begin(self):
        """A service with servers, most probably."""
        self.requests.where = where = self.rng.choice(WHERE)
        service = [
            genl.CMD_SERVICE | genl.NLA_F_NESTED, self.requests.service(),
            None]
        plain = NLM_F_REQUEST | NLM_F_ACK
        yield Request(where, ROOT, genl.NEW_SERVICE, plain,
                      mutate.pack([service]))
        for _ in range(2):
            yield Request(where, ROOT, genl.NEW_DEST, plain, mutate.pack([
                service, [genl.CMD_DEST | genl.NLA_F_NESTED,
                          self.requests.server(), None]]))

    def request(self):
        rng, place = self.rng, self.place()
        command, body = self.requests.request()
        flags = rng.choice(FLAGS)
        if rng.random() < (.6 if command in DUMPS else .03):
            flags |= NLM_F_DUMP
        if rng.random() < .02:
            flags = rng.randrange(0x1000)
        return Request(*place, command, flags, body,
                       rng.choice((1,) * 30 + (0, 2, 255)))

    def service(self, where):
        """struct ip_vs_service_user."""
        rng, edge = self.rng, self.names.edge
        which = self.names.service(where, (AF_INET,))
        data = sockopt.service(
            which.port, which.protocol, which.ip, which.mark,
            edge(tuple(name[:-1] for name in mutate.SCHEDULERS[:-2]),
                 (b"none", b"nonesuch", b"", b"x" * 15, b"x" * 16)),
            edge(SERVICE_FLAGS, (1, 4, 5, 0xffffffff)), rng.choice(TIMEOUTS),
            rng.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\0")))
        return bytes(16) + data[16:] if rng.random() < .05 else data

    def server(self, where):
        """struct ip_vs_dest_user."""
        edge = self.names.edge
        which = self.names.server(where, (AF_INET,))
        return sockopt.server(
            which.ip, which.port,
            edge((0, 0, 1, 2, 3), (4, 5, 7, 0x80, 0x100, 0x2000, 0x10000,
                                   0xffffffff)),
            edge((0, 1, 2, 65535), (-1, -0x80000000, 0x7fffffff)),
            edge(THRESHOLDS, NO_THRESHOLDS),
            edge((0, 0, 1, 5), NO_THRESHOLDS))

    def set(self):
        rng, place = self.rng, self.place()
        option = rng.choice((sockopt.ADD,) * 3 + (sockopt.ADDDEST,) * 4 +
                            (sockopt.EDITDEST,) * 2 + tuple(sockopt.SETS) * 2)
        if option == sockopt.FLUSH and rng.random() < .7:
            option = sockopt.EDIT
        if rng.random() < .05:
            option = sockopt.BASE + rng.randrange(-1, 17)
        if option == sockopt.TIMEOUT:
            data = struct.pack("=III", *(self.names.edge(
                (0, 60, 300, 900), TIMEOUTS) for _ in range(3)))
        elif option in (sockopt.STARTDAEMON, sockopt.STOPDAEMON):
            data = struct.pack("=i16si", self.names.edge((1, 2), (0, 3, -1)),
                               rng.choice((b"nonesuch", b"", b"x" * 16)),
                               rng.choice((0, 255)))
        elif option == sockopt.FLUSH:
            data = b""
        else:
            data = self.service(place[0])
            if sockopt.SETS.get(option) == 68:
                data += self.server(place[0])
        length = None
        dice = rng.random()
        if dice < .04:
            data = data[:rng.randrange(len(data) + 1)]
        elif dice < .07:
            data += bytes(rng.choice((1, 4, 24, 300)))
        elif dice < .09:
            length = rng.choice((-1, 0, 1, 43, 45, 69, 0x7fffffff))
        return Set(*place, option, data, length)

    def get(self):
        rng, place = self.rng, self.place()
        option = rng.choice(tuple(sockopt.GETS) * 4 + (
            sockopt.BASE - 1, sockopt.BASE + 5, sockopt.BASE + 8))
        count = self.names.edge((0, 1, 2, 5, 20), (0xffffffff,))
        room = sockopt.GETS.get(option, 64)
        data = b""
        if option == sockopt.GET_SERVICES:
            data = struct.pack("=I4x", count)
            room += 104 * min(count, 30)
        elif option == sockopt.GET_SERVICE:
            data = self.service(place[0])[:16] + bytes(88)
        elif option == sockopt.GET_DESTS:
            data = self.service(place[0])[:16] + struct.pack("=I4x", count)
            room += 96 * min(count, 30)
        length = None
        if rng.random() < .1:
            length = room + rng.choice((-room, -8, -1, 1, 8, -0x7fffffff))
            room = max(room, length)
        return Get(*place, option, data, room, length)

    def write(self):
        return Write(*self.place(), self.rng.choice(SETTINGS),
                     self.rng.choice(TEXTS))

    def read(self):
        return Read(*self.place(), self.rng.choice(FILES))

    def look(self):
        return Look(self.rng.choice(PLACES))

    def operation(self):
        """Any of them."""
        dice = self.rng.random()
        for share, one in ((.50, self.request), (.22, self.set),
                           (.10, self.get), (.08, self.write),
                           (.06, self.read), (1, self.look)):
            if dice < share:
                return one()
            dice -= share
        raise AssertionError("no operation")


def sequence(seed, number):
    """One sequence of a run. It ends with a look at each namespace."""
    chance = Chance(random.Random(f"{seed} {number}"))
    made = []
    while len(made) < FIRST_ONES:
        made += chance.begin()
    made += (chance.operation()
             for _ in range(LENGTH - len(PLACES) - len(made)))
    return made + [Look(where) for where in PLACES]
