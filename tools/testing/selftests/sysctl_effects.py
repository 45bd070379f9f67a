#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""What the settings of net.ipv4.vs do to packets and connections."""

import os
import re
import time
from collections import Counter

from lib.cpus import on_cpus
from lib.ipvs import Ipvs
from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.netns import Netns
from lib.packet import (ACK, FIN, PSH, RST, SYN, Packet, Raw, icmp_error, tcp,
                        udp)
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

LARGE = 0x7fffffff


class SettingsLab(Lab):
    """Two servers, and services that each test makes for itself."""

    def __init__(self):
        super().__init__(servers=2)
        self.settings = None

    def build(self):
        super().build()
        self.settings = Settings(self.director)

    def service(self, vport, method="m", kind="-t", *servers):
        """A service for one test."""
        self.ipvs.service(f"{VIP}:{vport}", *(
            f"{ip}:{vport} -{method}" for ip in servers or (RIP,)), kind=kind)

    def state(self, cport):
        """The state of a connection, or None."""
        found = self.ipvs.connection(cport)
        return found and found.state

    def goes_to(self, packet):
        """The servers that see something of a packet of the client."""
        seen = self.exchange(self.client, packet)
        return [host.name for host in self.servers if seen[host]]


def way(lab, cport, vport, *segments):
    """Segments of the client (positive flags) and of the server (negative),
    through a NAT service."""
    for flags in segments:
        request = tcp(CIP, cport, VIP, vport, abs(flags))
        if flags > 0:
            lab.client.send(request)
        else:
            lab.server.send(request.back(src=RIP))
    lab.settle()


@test("conn_max: no connection is made beyond it, and those that are there "
      "go on")
def conn_max(lab):
    lab.service(81, "m", "-u")
    here = len(lab.ipvs.connections())
    with lab.settings.but(conn_max=here + 2):
        requests = [udp(CIP, lab.port(), VIP, 81) for _ in range(4)]
        equal([lab.goes_to(request) for request in requests],
              [["server1"], ["server1"], [], []])
        equal(lab.goes_to(requests[1]), ["server1"])
        lab.settings["conn_max"] = 0
        equal([lab.goes_to(request) for request in requests[1:3]],
              [["server1"], []])
        lab.settings["conn_max"] = here + 3
        equal([lab.goes_to(request) for request in requests[2:]],
              [["server1"], []])


def reused(lab, vport, method, segments, state):
    """In which modes a SYN to a connection in this state is balanced anew;
    its old server gets no new ones."""
    lab.service(vport, method, "-t", RIP, RIP2)
    modes = []
    for mode in (0, 1, 2, 3, -1):
        lab.ipvs.rules(
            f"-e -t {VIP}:{vport} -r {RIP2}:{vport} -{method} -w 0",
            f"-e -t {VIP}:{vport} -r {RIP}:{vport} -{method} -w 1")
        cport = lab.port()
        way(lab, cport, vport, *segments)
        equal(lab.state(cport), state)
        lab.ipvs.rules(
            f"-e -t {VIP}:{vport} -r {RIP}:{vport} -{method} -w 0",
            f"-e -t {VIP}:{vport} -r {RIP2}:{vport} -{method} -w 1")
        with lab.settings.but(conn_reuse_mode=mode):
            if lab.goes_to(tcp(CIP, cport, VIP, vport)) == ["server2"]:
                modes.append(mode)
    return modes


@test("conn_reuse_mode: 0 keeps every connection, 1 takes new those in "
      "TIME_WAIT and CLOSE, bit 1 also those in FIN_WAIT whose answers don't "
      "pass")
def conn_reuse_mode(lab):
    not_zero = [1, 2, 3, -1]
    equal(reused(lab, 82, "m", (SYN, -FIN), "TIME_WAIT"), not_zero)
    equal(reused(lab, 83, "g", (SYN, FIN), "TIME_WAIT"), not_zero)
    equal(reused(lab, 84, "m", (SYN, -RST), "CLOSE"), not_zero)
    equal(reused(lab, 85, "g", (SYN, ACK, FIN), "FIN_WAIT"), [2, 3, -1])
    equal(reused(lab, 86, "m", (SYN, -ACK, -FIN), "FIN_WAIT"), [])
    equal(reused(lab, 87, "m", (SYN, -ACK), "ESTABLISHED"), [])


@test("expire_nodest_conn 0: packets of a removed server's connections are "
      "dropped, and the connections stay")
def nodest_kept(lab):
    lab.service(101, "m", "-u", RIP, RIP2)
    lab.ipvs.rules(f"-e -u {VIP}:101 -r {RIP2}:101 -m -w 0")
    request = udp(CIP, lab.port(), VIP, 101)
    equal(lab.goes_to(request), ["server1"])
    lab.ipvs.rules(f"-e -u {VIP}:101 -r {RIP2}:101 -m -w 1",
                   f"-d -u {VIP}:101 -r {RIP}:101")
    equal(lab.goes_to(request), [])
    equal(lab.ipvs.connection(request.l4.sport, "UDP").daddr, RIP)
    with lab.settings.but(expire_nodest_conn=1):
        # Now its next packet makes a new one.
        equal(lab.goes_to(request), ["server2"])
        eventually(lambda: [found.daddr for found in lab.ipvs.connections()
                            if found.cport == request.l4.sport] == [RIP2],
                   "the end of the old connection")


@test("expire_nodest_conn 1: connections end when their server is removed, "
      "and no others")
def nodest_expired(lab):
    lab.service(102, "m", "-t", RIP, RIP2)
    lab.service(103, "g", "-t", RIP)
    ports = [lab.port() for _ in range(40)]
    for cport in ports:
        way(lab, cport, 102 + cport % 2, SYN, ACK)
    with lab.settings.but(expire_nodest_conn=1):
        lab.ipvs.rules(f"-d -t {VIP}:102 -r {RIP}:102")

        def here():
            return Counter((found.vport, found.daddr)
                           for found in lab.ipvs.connections()
                           if found.cport in ports)
        eventually(lambda: here() == {(102, RIP2): 10, (103, RIP): 20},
                   "the end of ten connections")
        lab.ipvs.admin("-D", "-t", f"{VIP}:103")
        eventually(lambda: here() == {(102, RIP2): 10},
                   "the end of twenty connections")


@test("expire_nodest_conn 1: a SYN leaves a server of weight 0, whatever the "
      "state and conn_reuse_mode")
def nodest_weight(lab):
    lab.service(104, "m", "-t", RIP, RIP2)
    lab.ipvs.rules(f"-e -t {VIP}:104 -r {RIP2}:104 -m -w 0")
    cport = lab.port()
    way(lab, cport, 104, SYN, -ACK)
    lab.ipvs.rules(f"-e -t {VIP}:104 -r {RIP2}:104 -m -w 1",
                   f"-e -t {VIP}:104 -r {RIP}:104 -m -w 0")
    equal(lab.goes_to(tcp(CIP, cport, VIP, 104)), ["server1"])
    with lab.settings.but(expire_nodest_conn=1, conn_reuse_mode=0):
        equal(lab.goes_to(tcp(CIP, cport, VIP, 104, ACK)), ["server1"])
        equal(lab.goes_to(tcp(CIP, cport, VIP, 104)), ["server2"])


@test("sloppy_tcp: any segment but a reset makes a connection")
def sloppy_tcp(lab):
    lab.service(105)
    for flags, state in ((ACK, "ESTABLISHED"), (FIN | ACK, "CLOSE"),
                         (PSH | ACK, "ESTABLISHED"), (SYN, "SYN_RECV"),
                         (RST, None), (RST | SYN, None)):
        for sloppy in (0, 1):
            cport = lab.port()
            made = state and (sloppy or flags & SYN)
            with lab.settings.but(sloppy_tcp=sloppy):
                equal(lab.goes_to(tcp(CIP, cport, VIP, 105, flags)),
                      ["server1"] if made else [],
                      f"flags {flags:#x}, sloppy {sloppy}")
            found = lab.state(cport)
            equal(found, found and state if made else None,
                  f"flags {flags:#x}, sloppy {sloppy}")
            assert bool(found) == bool(made)


@test("snat_reroute: translated answers go where their new source address "
      "leads, or where they would have gone untranslated")
def snat_reroute(lab):
    lab.service(106, "m", "-u")
    request = udp(CIP, lab.port(), VIP, 106)
    equal(lab.goes_to(request), ["server1"])
    lab.director.ip(f"rule add from {VIP} lookup 100",
                    f"route add {CIP}/32 via {RIP2} table 100")
    answer = request.but(dst=RIP).back(ttl=64)
    at_client = answer.but(src=VIP, ttl=63)
    for reroute, where in ((1, lab.servers[1]), (0, lab.client),
                           (-1, lab.servers[1])):
        with lab.settings.but(snat_reroute=reroute):
            lab.expect(lab.server, answer, {where: at_client})
    lab.director.ip(f"rule del from {VIP} lookup 100",
                    "route flush table 100")


@test("pmtu_disc: a tunnel passes on DF and tells its MTU, or fragments what "
      "is too long")
def pmtu_disc(lab):
    lab.service(107, "i", "-u")
    lab.director.ip("route replace 10.0.2.0/24 dev server1 src 10.0.2.1 "
                    "mtu 600")
    cport = lab.port()
    short = udp(CIP, cport, VIP, 107, df=True)
    long = udp(CIP, cport, VIP, 107, bytes(800), df=True)

    def tunnelled(request, df):
        return Packet("10.0.2.1", RIP, Raw(bytes(request.but(ttl=63)), 4),
                      ttl=63, df=df, id=0 if df else None)
    lab.expect(lab.client, short, {lab.server: tunnelled(short, True)})
    lab.expect(lab.client, long,
               {lab.client: icmp_error(VIP, CIP, 3, 4, long.but(ttl=63),
                                        rest=580)})
    with lab.settings.but(pmtu_disc=0):
        lab.expect(lab.client, short, {lab.server: tunnelled(short, False)})
        frames = lab.exchange(lab.client, long)
        equal(frames[lab.client], [])
        whole = bytes(tunnelled(long, False))
        parts = [frame.ip for frame in frames[lab.server]]
        equal([len(part) for part in parts], [596, 20 + len(whole) - 596])
        equal(b"".join(part[20:] for part in parts), whole[20:])
    lab.expect(lab.client, short, {lab.server: tunnelled(short, True)})
    lab.director.ip("route replace 10.0.2.0/24 dev server1 src 10.0.2.1")


@test("nat_icmp_send: a NAT server's packet of no connection is answered "
      "with port-unreachable")
def nat_icmp_send(lab):
    lab.service(108)
    lab.service(109, "g")
    lab.service(110, "m", "-u")
    for make, port, told in ((tcp, 108, True), (tcp, 109, False),
                             (tcp, 110, False), (tcp, 111, False),
                             (udp, 110, True), (udp, 108, False)):
        packet = make(RIP, port, CIP, lab.port())
        passed = packet.but(ttl=63)
        lab.expect(lab.server, packet, {lab.client: passed})
        with lab.settings.but(nat_icmp_send=1):
            answer = icmp_error("10.0.2.1", RIP, 3, 3, passed)
            lab.expect(lab.server, packet, {lab.server: answer} if told
                       else {lab.client: passed})
    # Other flags, a reset, another server, and one of a connection.
    cport = lab.port()
    way(lab, cport, 108, SYN)
    with lab.settings.but(nat_icmp_send=1):
        for flags in (ACK, FIN, 0):
            packet = tcp(RIP, 108, CIP, lab.port(), flags)
            lab.expect(lab.server, packet, {lab.server: icmp_error(
                "10.0.2.1", RIP, 3, 3, packet.but(ttl=63))})
        packet = tcp(RIP, 108, CIP, lab.port(), RST | ACK)
        lab.expect(lab.server, packet, {lab.client: packet.but(ttl=63)})
        packet = tcp(RIP2, 108, CIP, lab.port())
        lab.expect(lab.servers[1], packet, {lab.client: packet.but(ttl=63)})
        packet = tcp(RIP, 108, CIP, cport, SYN | ACK)
        lab.expect(lab.server, packet, {lab.client: packet.but(
            src=VIP, ttl=63)})
    # It stops with the server.
    lab.ipvs.rules(f"-d -t {VIP}:108 -r {RIP}:108")
    with lab.settings.but(nat_icmp_send=1):
        packet = tcp(RIP, 108, CIP, lab.port())
        lab.expect(lab.server, packet, {lab.client: packet.but(ttl=63)})


@test("nat_icmp_send: a service by firewall mark is one for every protocol")
def nat_icmp_send_mark(lab):
    lab.ipvs.rules("-A -f 7 -s rr", f"-a -f 7 -r {RIP}:112 -m")
    with lab.settings.but(nat_icmp_send=1):
        for make in udp, tcp:
            packet = make(RIP, 112, CIP, lab.port())
            lab.expect(lab.server, packet, {lab.server: icmp_error(
                "10.0.2.1", RIP, 3, 3, packet.but(ttl=63))})
    lab.ipvs.rules("-D -f 7")


def passed(lab, vport, make=udp):
    """Which of ten first packets get through."""
    return [bool(lab.goes_to(make(CIP, lab.port(), VIP, vport)))
            for _ in range(10)]


@test("drop_packet 3: one of am_droprate first packets is dropped, and no "
      "others")
def drop_packet(lab):
    lab.service(113, "m", "-u")
    lab.service(113)
    old = udp(CIP, lab.port(), VIP, 113)
    equal(lab.goes_to(old), ["server1"])
    for make in udp, tcp:
        for rate, lost in ((2, 5), (5, 2), (0, 0), (1, 10), (-1, 10)):
            with lab.settings.but(am_droprate=rate, drop_packet=3):
                equal(passed(lab, 113, make).count(False), lost,
                      f"lost with rate {rate}")
                equal(lab.goes_to(old), ["server1"])
            equal(passed(lab, 113, make).count(False), 0)
    # One period apart.
    with lab.settings.but(am_droprate=4, drop_packet=3):
        seen = passed(lab, 113)
        first = seen.index(False)
        equal(seen, [n % 4 != first % 4 for n in range(10)])


@test("drop_packet 1: packets are dropped, and the mode is shown as 2, as "
      "long as memory is low")
def drop_packet_auto(lab):
    lab.service(114, "m", "-u")
    with lab.settings.but(drop_packet=1):
        equal(passed(lab, 114).count(False), 0)
        with lab.settings.but(amemthresh=LARGE):
            eventually(lambda: lab.settings["drop_packet"] == 2,
                       "the mode that is on")
            # So little is left of that that nothing gets through.
            equal(passed(lab, 114).count(False), 10)
        eventually(lambda: lab.settings["drop_packet"] == 1,
                   "the mode that is off")
        equal(passed(lab, 114).count(False), 0)
    with lab.settings.but(amemthresh=LARGE):
        equal(passed(lab, 114).count(False), 0)


def careful(lab, vport):
    """Whether a client's word makes a connection established."""
    cport = lab.port()
    way(lab, cport, vport, SYN, ACK)
    return {"SYN_RECV": True, "ESTABLISHED": False}[lab.state(cport)]


@test("secure_tcp 3: a connection is established by what the server says")
def secure_tcp(lab):
    lab.service(115)
    steps = {
        (SYN,): "SYN_RECV",
        (SYN, ACK): "SYN_RECV",
        (SYN, -(SYN | ACK)): "SYNACK",
        (SYN, -(SYN | ACK), ACK): "SYNACK",
        (SYN, -(SYN | ACK), ACK, -ACK): "ESTABLISHED",
        (SYN, -ACK, FIN): "CLOSE_WAIT",
        (SYN, -(SYN | ACK), -RST): "CLOSE",
        (SYN, -ACK, RST): "CLOSE",
    }
    with lab.settings.but(secure_tcp=3):
        for segments, state in steps.items():
            cport = lab.port()
            way(lab, cport, 115, *segments)
            equal(lab.state(cport), state, f"after {segments}")
        equal(careful(lab, 115), True)
    equal(careful(lab, 115), False)


@test("secure_tcp 1: the same, as long as memory is low")
def secure_tcp_auto(lab):
    lab.service(116)
    with lab.settings.but(secure_tcp=1):
        equal(careful(lab, 116), False)
        with lab.settings.but(amemthresh=LARGE):
            eventually(lambda: lab.settings["secure_tcp"] == 2,
                       "the mode that is on")
            equal(careful(lab, 116), True)
        eventually(lambda: lab.settings["secure_tcp"] == 1,
                   "the mode that is off")
        equal(careful(lab, 116), False)


def rates(lab, vport):
    """The rates of a UDP service."""
    for line in lab.ipvs.admin("-Ln", "--rate").splitlines():
        if f"{VIP}:{vport} " in line:
            return [int(number) for number in line.split()[2:]]
    return None


def send_many(lab, vport):
    """First packets of 200 connections."""
    for _ in range(200):
        lab.client.send(udp(CIP, lab.port(), VIP, vport))
    lab.settle()


def stands_still(lab, vport):
    """Rates stay as they are, whatever comes, for longer than they take for
    two steps."""
    # A step that has begun ends with its thread.
    eventually(lambda: not threads(), "the end of the thread")
    before = rates(lab, vport)
    send_many(lab, vport)
    time.sleep(4.5)
    equal(rates(lab, vport), before)


def goes_on(lab, vport):
    """Rates follow what comes."""
    send_many(lab, vport)
    eventually(lambda: rates(lab, vport)[0] > 0, "rates that go on")


@test("run_estimation 0: rates stand still")
def run_estimation(lab):
    lab.service(117, "m", "-u")
    with lab.settings.but(run_estimation=0):
        stands_still(lab, 117)
        equal(rates(lab, 117), [0] * 5)
    goes_on(lab, 117)


def threads():
    """What the threads that estimate rates are like: name, nice value, CPUs,
    by their numbers."""
    found = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                name, _, fields = file.read().partition(") ")
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1)
                              for line in file if ":\t" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = name.partition("(")[2]
        if name.startswith("ipvs-e:"):
            found[int(pid)] = (name, int(fields.split()[16]),
                               status["Cpus_allowed_list"])
    return found


@test("a thread estimates rates, from the first service on; it follows "
      "est_nice and est_cpulist, and run_estimation")
def thread(lab):
    # Other tests had services: this is about a new namespace.
    new = Netns("ipvs-new")
    settings, ipvs = Settings(new), Ipvs(new)
    others = threads()
    settings["est_nice"] = 5

    def here():
        return [entry for pid, entry in threads().items()
                if pid not in others]

    def slots():
        return re.search(r"^Stats thread slots:\t(\d+) \(max [1-9]\d*\)$",
                         new.proc("ip_vs_status"), re.M)[1]

    def becomes(nice, cpus):
        eventually(lambda: [entry[1:] for entry in here()] == [(nice, cpus)],
                   f"one thread with {nice}, {cpus}")

    all_cpus = lab.director.run("cat", "/sys/devices/system/cpu/possible")
    equal(here(), [])
    ipvs.service(f"{VIP}:80")
    becomes(5, all_cpus.strip())
    assert re.fullmatch(r"ipvs-e:\d+:0", here()[0][0]), here()
    equal(slots(), "1")
    for nice in (-20, 19, 0):
        settings["est_nice"] = nice
        becomes(nice, all_cpus.strip())
    equal(settings.write("est_nice", 20), "EINVAL")
    becomes(0, all_cpus.strip())
    with on_cpus(0, 1):
        for cpus in ("1", "0", "0-1", "0"):
            settings["est_cpulist"] = cpus
            becomes(0, cpus)
        settings["est_nice"] = -3
        becomes(-3, "0")
        for off, on in ((("est_cpulist", "\n"), ("est_cpulist", "1")),
                        (("run_estimation", 0), ("run_estimation", 2))):
            settings[off[0]] = off[1]
            eventually(lambda: not here(), "the thread's end")
            settings[on[0]] = on[1]
            becomes(-3, "1")
    # It is there for the rates of the namespace, too.
    ipvs.admin("-C")
    time.sleep(0.3)
    becomes(-3, "1")
    new.delete()
    eventually(lambda: not here(), "the thread's end")
    equal(threads(), others)


@test("est_cpulist without CPUs: rates stand still")
def empty_cpu_list(lab):
    lab.service(118, "m", "-u")
    goes_on(lab, 118)
    with on_cpus(0, 1):
        lab.settings["est_cpulist"] = "\n"
        stands_still(lab, 118)
        lab.settings["est_cpulist"] = "0-1"
    goes_on(lab, 118)


@test("the rates of the namespace go down after its last service has gone")
def rates_go_down(lab):
    def total():
        return [int(rate, 16) for rate in
                lab.director.proc("ip_vs_stats").splitlines()[-1].split()]
    lab.service(119, "m", "-u")
    send_many(lab, 119)
    eventually(lambda: total()[0] > 20, "rates")
    high = total()
    lab.ipvs.admin("-C")
    eventually(lambda: total()[0] < high[0] // 2, "lower rates", 20)


@test("lblcr_expiration: a set of servers that has not changed for that long "
      "loses the busiest one")
def lblcr_expiration(lab):
    servers = {"server1": (lab.servers[0], RIP), "server2": (lab.servers[1],
                                                             RIP2)}
    for seconds, last, vport in (1, "server2", 121), (1000, "server1", 122):
        def connect(port=vport):
            """An established connection more, and where it goes."""
            request = tcp(CIP, lab.port(), VIP, port)
            [name] = lab.goes_to(request)
            host, rip = servers[name]
            host.send(request.back(src=rip).but(flags=SYN | ACK))
            lab.client.send(request.but(flags=ACK))
            lab.settle()
            return name, request
        with lab.settings.but(lblcr_expiration=seconds):
            # Of equal ones, the one that was added last.
            lab.ipvs.service(f"{VIP}:{vport}", f"{RIP2}:{vport} -m",
                             f"{RIP}:{vport} -m", scheduler="lblcr")
            # Two are one more than its weight.
            first, second, third = (connect() for _ in range(3))
            equal([first[0], second[0], third[0]],
                  ["server1", "server1", "server2"])
            time.sleep(1.3)
            fourth = tcp(CIP, lab.port(), VIP, vport)
            equal(lab.goes_to(fourth), ["server2"])
            lab.servers[1].send(fourth.back(src=RIP2).but(flags=RST | ACK))
            for _, request in (first, second):
                lab.client.send(request.but(flags=RST))
            lab.settle()
            equal(lab.goes_to(tcp(CIP, lab.port(), VIP, vport)), [last])


if __name__ == "__main__":
    main(SettingsLab)
