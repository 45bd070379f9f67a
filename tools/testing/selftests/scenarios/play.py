# SPDX-License-Identifier: GPL-2.0
"""Scenarios on one module and on both."""

import os
import socket
import struct
from typing import NamedTuple

from lib import genl
from lib.packet import (ACK, FIN, IPPROTO_IPV6, PSH, RST, SYN, icmp6_error,
                        icmp_error, ip_fields, is_ipv6, tcp, udp)
from lib.sctp import NAMES, chunk, sctp

from .steps import (SCTP, TCP, Add, AddServer, Answer, Client, Error, Look,
                    Remove, RemoveServer, Setting, Starts, Timeouts, Zero)
from .world import World, of_service

FLAGS = {"S": SYN, "A": ACK, "F": FIN, "R": RST, "P": PSH}
# ICMP errors: of IPv4, of IPv6.
KINDS = (((3, 3), (1, 4)), ((3, 1), (1, 3)), ((11, 0), (3, 0)))
LOOKED = .04            # s: how long it takes to look
SEEN_AFTER = .1         # s after a step: what threads do of it is done by then
LONG = 5                # s: the C module's statistics are two seconds old
AGAIN = 1.              # s: how long to wait for what is due


class Outcome(NamedTuple):
    """What there is to compare of a step."""
    before: list            # the table when the pause is over
    statistics: dict        # then, if it was long
    error: str
    frames: dict            # {host: [(link addresses, bytes)]}
    table: list             # after it
    entries: list           # of nf_conntrack, if it is told to look
    services: dict


class Player:
    """A scenario on the module that is loaded."""

    def __init__(self, world):
        self.world = world
        self.requests = {}      # the last frame of a flow at a server
        self.answers = {}       # and at the client
        self.hosts = {host.name: host for host in world.hosts}
        self.does = {
            Client: self.client, Answer: self.answer, Starts: self.starts,
            Error: self.icmp, Add: self.add, Remove: self.remove,
            AddServer: self.add_server, RemoveServer: self.remove_server,
            Timeouts: self.timeouts, Setting: self.setting, Zero: self.zero,
            Look: lambda step: ""}

    def play(self, steps, times=None):
        """The outcome of each step, and when each was done. Who goes first
        has no times given, and waits until nothing is due.

        A timer is late by up to an eighth of its length, and how much depends
        on when it was set last: so a connection may still be there on one
        module and not on the other, though both mean it to end at the same
        time. No step is done while that is so.
        """
        start, at = self.world.begin(any(
            isinstance(step, Setting) and step.name == "conntrack"
            for step in steps)), 0
        self.requests, self.answers = {}, {}
        outcomes, taken = [], []
        for number, step in enumerate(steps):
            at = at + step.pause if times is None else times[number]
            late = self.world.until(start + ticks(at))
            if late:
                if times is not None:
                    raise AssertionError(
                        f"{late:.3f} s too late for step {number}: {step}")
                at += late + LOOKED
                self.world.until(start + ticks(at))
            before = self.world.table()
            while times is None and any(not each.left for each in before):
                at += AGAIN
                self.world.until(start + ticks(at))
                before = self.world.table()
            taken.append(at)
            statistics = {}
            if step.pause >= LONG:
                statistics = self.world.services()[1] | {
                    "all": self.world.total()}
            at += LOOKED
            self.world.until(start + ticks(at))
            outcomes.append(self.done(step, before, statistics,
                                      start + ticks(at + SEEN_AFTER)))
            at += SEEN_AFTER + LOOKED
        return outcomes, taken

    def done(self, step, before, statistics, seen_at):
        """Do a step, and look."""
        for host in self.world.up:
            host.drain()
        error = self.does[type(step)](step)
        frames = {host.name: [(frame.dst + frame.src, frame.ip)
                              for frame in found]
                  for host, found in self.world.settle().items()}
        self.remember(step, frames)
        self.world.until(seen_at)
        return Outcome(before, statistics, error, frames, self.world.table(),
                       self.world.entries(), self.world.services()[0])

    def remember(self, step, frames):
        """What a flow's packet has become, for who answers it."""
        if isinstance(step, Client):
            for host in self.world.servers:
                if frames[host.name]:
                    self.requests[step.flow] = host, frames[host.name][0][1]
        elif isinstance(step, (Answer, Starts)) and frames["client"]:
            self.answers[step.flow] = frames["client"][0][1]

    # Packets.

    def client(self, step):
        flow = step.flow
        self.world.client.send(packet(
            flow.protocol, flow.client, flow.cport, flow.address, flow.port,
            step.what))
        return ""

    def answer(self, step):
        host, data = self.requests.get(step.flow, (None, b""))
        fields = ip_fields(data) if data else {}
        if not host or fields["dst"] not in (host.ip, host.ip6) or \
                "sport" not in fields:
            return ""
        host.send(packet(step.flow.protocol, fields["dst"], fields["dport"],
                         fields["src"], fields["sport"], step.what))
        return ""

    def starts(self, step):
        host = self.world.servers[step.server]
        flow = step.flow
        own = host.ip6 if is_ipv6(flow.client) else host.ip
        host.send(packet(flow.protocol, own, step.sport, flow.client,
                         flow.cport, step.what))
        return ""

    def icmp(self, step):
        host, data = self.world.client, self.answers.get(step.flow)
        if step.by == "server":
            host, data = self.requests.get(step.flow, (None, None))
        if not data:
            return ""
        fields = ip_fields(data)
        six = is_ipv6(fields["src"])
        if step.by == "server" and fields["dst"] not in (host.ip, host.ip6):
            return ""
        if six and fields["next"] == IPPROTO_IPV6:
            # Only our module relays it to the client, and counts it (abi.rst).
            return ""
        make = icmp6_error if six else icmp_error
        host.send(make(fields["dst"], fields["src"], *KINDS[step.kind][six],
                       data))
        return ""

    # What users do.

    def add(self, step):
        persistent = bool(step.persistent)
        mask = step.mask
        if is_ipv6(step.service.address):
            mask = genl.u32(genl.SVC_NETMASK, mask or 128)
        else:
            bits = (0xffffffff << (32 - (mask or 32))) & 0xffffffff
            mask = genl.attr(genl.SVC_NETMASK, struct.pack("!I", bits))
        row = [*of_service(step.service),
               genl.string(genl.SVC_SCHED_NAME, step.scheduler),
               genl.attr(genl.SVC_FLAGS, struct.pack(
                   "=II", step.flags | persistent, 0xffffffff)),
               genl.u32(genl.SVC_TIMEOUT, step.persistent), mask]
        if step.engine:
            row.append(genl.string(genl.SVC_PE_NAME, step.engine))
        return self.world.request(
            genl.SET_SERVICE if step.edit else genl.NEW_SERVICE,
            genl.nest(genl.CMD_SERVICE, *row))

    def remove(self, step):
        return self.world.request(
            genl.DEL_SERVICE,
            genl.nest(genl.CMD_SERVICE, *of_service(step.service)))

    def zero(self, step):
        return self.world.request(
            genl.ZERO,
            genl.nest(genl.CMD_SERVICE, *of_service(step.service)))

    def add_server(self, step):
        row = [*named(step), genl.u32(genl.DEST_FWD_METHOD, step.method),
               genl.u32(genl.DEST_WEIGHT, step.weight),
               genl.u32(genl.DEST_U_THRESH, step.upper),
               genl.u32(genl.DEST_L_THRESH, step.lower)]
        return self.server(genl.SET_DEST if step.edit else genl.NEW_DEST,
                           step.service, row)

    def remove_server(self, step):
        return self.server(genl.DEL_DEST, step.service, named(step))

    def server(self, command, service, row):
        return self.world.request(
            command, genl.nest(genl.CMD_SERVICE, *of_service(service)),
            genl.nest(genl.CMD_DEST, *row))

    def timeouts(self, step):
        return self.world.timeouts(step.tcp, step.fin, step.udp)

    def setting(self, step):
        return self.world.set(step.name, step.value)


def ticks(at):
    """The tick that begins there or before."""
    return int(at * 250 + 1e-6) * .004


def packet(protocol, src, sport, dst, dport, what):
    """A segment with these flags, a chunk, or a datagram."""
    if protocol == SCTP:
        return sctp(src, sport, dst, dport, chunk(NAMES[what], bytes(16)))
    if protocol == TCP:
        return tcp(src, sport, dst, dport, sum(FLAGS[one] for one in what))
    return udp(src, sport, dst, dport, content(what))


def content(what):
    """A datagram: a request of SIP, if what it says begins with "call"."""
    if not what.startswith("call"):
        return what.encode()
    return ("INVITE sip:b@example.com SIP/2.0\r\n"
            f"Call-ID: {what[5:]}\r\nCSeq: 1 INVITE\r\n\r\n").encode()


def named(step):
    """The attributes that name a server."""
    family = socket.AF_INET6 if is_ipv6(step.address) else socket.AF_INET
    return [genl.address(genl.DEST_ADDR, step.address),
            genl.be16(genl.DEST_PORT, step.port),
            genl.u16(genl.DEST_ADDR_FAMILY, family)]


def on(module, scenarios, times=None):
    """For each scenario its outcomes and times on a module, in one world."""
    os.environ["MODULE"] = module
    with World() as world:
        player = Player(world)
        return [player.play(steps, times and times[number])
                for number, steps in enumerate(scenarios)]


def both(scenarios):
    """For each scenario its outcomes on the C module and on ours."""
    c = on("c", scenarios)
    ours = on("rust", scenarios, [times for _outcomes, times in c])
    return [(one, other) for (one, _times), (other, _same) in zip(c, ours)]
