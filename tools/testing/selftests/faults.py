#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 900
"""Every allocation of the module fails once: when it is loaded, when a
namespace is made, in each netlink command, in each way of a packet, when a
table grows, and when files and dumps are read.

The outcome is ENOMEM and all is as before, or the operation does without what
it did not get; a packet is dropped, or arrives as it should. Then the same
works, nothing leaks, and the module can be unloaded. Each walk says how many
allocations failed in it, and is wrong if that is fewer than it must be.

It takes a kernel with fault injection ("make test-debug"). Allocations per
CPU can't be made to fail there, since they come from a pool.
"""

import os
from contextlib import nullcontext

from lib import faults, genl, module, rules
from lib.busy import METHODS, TCP, UDP
from lib.faultlab import (RUST, FaultLab, at_server, command, files, insertion,
                          one_way, unsharing)
from lib.lab import CIP, RIP, VIP
from lib.packet import (ACK, IPPROTO_SCTP, Packet, Raw, icmp_error, tcp,
                        udp)
from lib.sctp import DATA, chunk, sctp
from lib.tap import equal, eventually, main, note, test
from lib.vs import Settings

PROTOCOLS = {udp: UDP, tcp: TCP, sctp: IPPROTO_SCTP}
ISAKMP = 500


@test("the module is loaded: ENOMEM, and nothing of it is there")
def load(_lab):
    module.unload()
    insertion("loading", files(), "ip_vs", 40 if RUST else 20,
              lambda: equal(os.path.exists("/proc/net/ip_vs"), False,
                            "/proc/net/ip_vs"))
    module.load()


@test("a namespace is made: ENOMEM, and nothing of it is there")
def namespace(lab):
    unsharing("a namespace", 20 if RUST else 10)
    lab.build()


@test("netlink commands: ENOMEM and no effect, or done")
def commands(lab):
    def flushed():
        equal(lab.netlink.request(genl.FLUSH).error, "")

    def services(count):
        flushed()
        for vport in range(2000, 2000 + count):
            lab.must(genl.NEW_SERVICE, rules.service(TCP, VIP, vport))

    def servers(count):
        services(1)
        for rport in range(count):
            lab.must(genl.NEW_DEST, rules.service(TCP, VIP, 2000),
                     rules.server(RIP, 3000 + rport))

    service = rules.service(TCP, VIP, 2000)
    command(lab, "the first service", 4, flushed, genl.NEW_SERVICE, service)
    command(lab, "a second service", 2, lambda: services(1),
            genl.NEW_SERVICE, rules.service(TCP, VIP, 1999))
    command(lab, "the 65th service", 4 if RUST else 2, lambda: services(64),
            genl.NEW_SERVICE, rules.service(TCP, VIP, 1999))
    command(lab, "a service changed", 0 if RUST else 1, lambda: services(1),
            genl.SET_SERVICE, rules.service(TCP, VIP, 2000, scheduler="wrr"))
    # One that was there lately comes back without an allocation.
    for count in (0, 4, 8, 16, 32, 64):
        command(lab, f"server {count + 1}", 1, lambda n=count: servers(n),
                genl.NEW_DEST, service, rules.server(RIP, 4000 + count))
    command(lab, "a server changed", 0, lambda: servers(1), genl.SET_DEST,
            service, rules.server(RIP, 3000, weight=7))
    command(lab, "a server removed", 1 if RUST else 0,
            lambda: (lab.reload(), servers(1)),
            genl.DEL_DEST, service, rules.server(RIP, 3000))
    command(lab, "a server that comes back", 0, lambda: (servers(1), lab.must(
        genl.DEL_DEST, service, rules.server(RIP, 3000))), genl.NEW_DEST,
        service, rules.server(RIP, 3000))
    command(lab, "a service removed", 0, lambda: servers(3),
            genl.DEL_SERVICE, service)
    command(lab, "all removed", 0, lambda: servers(3), genl.FLUSH)
    command(lab, "counters zeroed", 0, lambda: servers(1), genl.ZERO)
    servers(20)
    for what, number, row in (("a service shown", genl.GET_SERVICE, [service]),
                              ("the version shown", genl.GET_INFO, []),
                              ("timeouts shown", genl.GET_CONFIG, [])):
        command(lab, what, 1, lambda: None, number, *row)
    command(lab, "services listed", 1, lambda: None, genl.GET_SERVICE,
            dump=True)
    command(lab, "servers listed", 1, lambda: None, genl.GET_DEST, service,
            dump=True)
    flushed()


@test("files are opened and read: ENOMEM, or their content")
def proc_files(lab):
    lab.configure()
    for _ in range(100):
        lab.client.write(udp(CIP, next(lab.ports), VIP, 81))
    lab.drain()
    for name in ("ip_vs", "ip_vs_conn", "ip_vs_stats", "ip_vs_stats_percpu"):
        # Of connections the time that is left changes.
        whole = len(lab.director.proc(name).splitlines())

        def read(name=name):
            try:
                return lab.director.proc(name)
            except OSError as error:
                return error

        def after(result, hit, whole=whole):
            if isinstance(result, OSError):
                assert hit, f"{result} without a failed allocation"
                equal(genl.error_name(result.errno), "ENOMEM", "errno")
            else:
                equal(len(result.splitlines()), whole, "lines")
        faults.walk(f"{name} opened", faults.function("proc_reg_open"), read,
                    1, after=after)
        faults.walk(f"{name} read", faults.function("seq_read_iter"), read,
                    1, after=after)


def error_about(lab, what, packet, kind, code, before):
    """A packet of the client, of which it is told what is wrong."""
    def prepare():
        before()
        lab.drain()

    def after(_result, hit):
        got = [(data[9], data[20], data[21]) for data in lab.client.read()
               if data[0] >> 4 == 4]
        # Without memory for the route the server is unreachable.
        assert got == [(1, kind, code)] or hit and got in (
            [], [(1, 3, 1)]), f"{what}: {got}"
    faults.walk(what, faults.text(), lambda: lab.client.write(packet()), 1,
                prepare, after)


@test("new connections by each method: dropped, or sent as they should be; "
      "also of packets that are not the director's alone")
def new_connections(lab):
    for captured in False, True:
        with lab.listening("client") if captured else nullcontext():
            for make, protocol in PROTOCOLS.items():
                for vport in METHODS:
                    now = []

                    def fresh(make=make, protocol=protocol, vport=vport,
                              now=now):
                        lab.configure([protocol], [vport])
                        now[:] = [make(CIP, next(lab.ports), VIP, vport)]
                    one_way(lab, f"{make.__name__} to {vport}"
                            f"{', captured' if captured else ''}", 2,
                            lab.client, lab.server, lambda now=now: now,
                            lambda now=now, vport=vport: [
                                at_server(now[0], vport)], fresh)


SIP = (b"INVITE sip:bob@example.org SIP/2.0\r\nCall-ID: 1@example.org\r\n"
       b"Content-Length: 0\r\n\r\n")
# Flags, the name of an engine, allocations of the first packet at least, and
# of the second.
POLICIES = {
    "persistent": (1, "", 3, 1),
    "one-packet": (4, "", 0 if RUST else 1, 0 if RUST else 1),
    "persistent one-packet": (5, "", 2, 0 if RUST else 1),
    "sip": (1, "sip", 3, 1),
    "one-packet sip": (5, "sip", 2, 0 if RUST else 1),
}


@test("connections of a persistent service, packets that are scheduled one by "
      "one, and calls: dropped, or sent as they should be")
def policies(lab):
    for what, (flags, engine, first, second) in POLICIES.items():
        instead = [genl.attr(genl.SVC_FLAGS,
                             flags.to_bytes(4, "little") + b"\xff" * 4),
                   genl.u32(genl.SVC_TIMEOUT, 300)]
        if engine:
            instead.append(genl.string(genl.SVC_PE_NAME, engine))

        def anew(instead=instead):
            lab.must(genl.FLUSH)
            lab.must(genl.NEW_SERVICE, rules.service(UDP, VIP, 81,
                                                     instead=instead))
            lab.must(genl.NEW_DEST, rules.service(UDP, VIP, 81),
                     rules.server(RIP, 81))
        now = []

        def fresh(now=now):
            now[:] = [udp(CIP, next(lab.ports), VIP, 81, SIP)]

        def from_the_start(anew=anew, fresh=fresh):
            # A module without a past has no template either.
            lab.reload()
            anew()
            fresh()
        for which, at_least, before in (("first", first, from_the_start),
                                        ("second", second, fresh)):
            one_way(lab, f"{what}, the {which} packet", at_least, lab.client,
                    lab.server, lambda now=now: now,
                    lambda now=now: [at_server(now[0], 81)], before)


@test("a setting of the thread that estimates rates: ENOMEM and no effect, or "
      "done", modules=("rust",))
def thread_setting(lab):
    lab.configure()
    settings = Settings(lab.director)
    now = {}

    def turn():
        now["old"] = settings["est_nice"]
        now["new"] = now["old"] ^ 1

    def after(result, hit):
        assert result in (["", "ENOMEM"] if hit else [""]), result
        equal(settings["est_nice"], now["old" if result else "new"])
    faults.walk("est_nice", faults.text(),
                lambda: settings.write("est_nice", now["new"]), 2,
                before=turn, after=after)


@test("packets of a connection, both ways, that are not the director's alone; "
      "ICMP about them; fragments of them")
def established(lab):
    lab.configure(PROTOCOLS.values())
    for make, changes in (
            (udp, {"payload": bytes(100)}),
            (tcp, {"payload": bytes(100), "flags": ACK}),
            (sctp, {"payload": chunk(DATA, bytes(96))})):
        request = make(CIP, next(lab.ports), VIP, 81)
        lab.client.write(request)
        lab.drain()
        more = request.but(**changes)
        answer = more.back(src=RIP)
        translated = answer.but(src=VIP, ttl=63)
        with lab.listening("client"), lab.listening("server1"):
            one_way(lab, f"{make.__name__} request", 1, lab.client,
                    lab.server, lambda p=more: [p],
                    lambda p=more: [at_server(p, 81)], lambda: None)
            # What is forwarded has been copied before it gets to the module.
            one_way(lab, f"{make.__name__} answer", 0, lab.server,
                    lab.client, lambda p=answer: [p],
                    lambda p=translated: [p], lambda: None)
            quoted = at_server(request, 81)
            error = icmp_error(RIP, CIP, 3, 1, quoted.sealed())
            told = icmp_error(VIP, CIP, 3, 1, quoted.sealed().but(dst=VIP),
                              ttl=63)
            one_way(lab, f"{make.__name__} ICMP", 0, lab.server, lab.client,
                    lambda p=error: [p], lambda p=told: [p], lambda: None)
        if make is udp:
            whole = []

            def next_one(whole=whole, packet=answer):
                whole[:] = [packet.but(payload=bytes(64),
                                       id=next(lab.ports))]
            # They are sent on in the pieces that they came in.
            one_way(lab, "fragments of an answer", 1, lab.server, lab.client,
                    lambda w=whole: w[0].fragments(32),
                    lambda w=whole: w[0].but(src=VIP, ttl=63).fragments(32),
                    next_one)


@test("ESP and AH that follow a connection of UDP port 500, both ways, and "
      "are not the director's alone")
def following(lab):
    service = rules.service(UDP, VIP, ISAKMP)
    for name, protocol in ("ESP", 50), ("AH", 51):
        request = Packet(CIP, VIP, Raw(bytes(100), protocol))
        answer = Packet(RIP, CIP, Raw(bytes(100), protocol))
        lab.must(genl.FLUSH)
        lab.must(genl.NEW_SERVICE, service)
        lab.must(genl.NEW_DEST, service, rules.server(RIP, ISAKMP))
        lab.client.write(udp(CIP, ISAKMP, VIP, ISAKMP))
        with lab.listening("client"), lab.listening("server1"):
            one_way(lab, f"{name}, request", 1, lab.client, lab.server,
                    lambda p=request: [p],
                    lambda p=request: [p.but(dst=RIP, ttl=63)], lambda: None)
            one_way(lab, f"{name}, answer", 0, lab.server, lab.client,
                    lambda p=answer: [p],
                    lambda p=answer: [p.but(src=VIP, ttl=63)], lambda: None)


@test("what is told a client: no server, no more time to live, too long for "
      "the way")
def told(lab):
    def alone():
        lab.netlink.request(genl.FLUSH)
        lab.must(genl.NEW_SERVICE, rules.service(UDP, VIP, 81))
    error_about(lab, "no server", lambda: udp(CIP, next(lab.ports), VIP, 81),
                3, 3, alone)
    error_about(lab, "no time to live", lambda: udp(
        CIP, next(lab.ports), VIP, 83, ttl=1), 11, 0,
        lambda: lab.configure([UDP], [83]))
    error_about(lab, "too long for a tunnel", lambda: udp(
        CIP, next(lab.ports), VIP, 82, bytes(1470), df=True), 3, 4,
        lambda: lab.configure([UDP], [82]))


@test("the table of connections grows: or stays as it is, with all of them "
      "in it, and grows later", modules=("rust",))
def resize(lab):
    def grow(space):
        """(faults, bytes) that are left when the table has grown."""
        lab.reload()
        lab.configure()
        small = lab.table_size()
        with faults.Anywhere(faults.function_of(
                "ip_vs", r"_RINv.*work8callback.*ConnResize.*2V4.*"), space):
            for cport in range(1000, 1300):
                lab.client.write(udp(CIP, cport, VIP, 81))
            lab.drain()
            eventually(lambda: lab.table_size() > small, "a larger table", 60)
            left = faults.Anywhere.left()
        equal(len({c.cport for c in lab.ipvs.connections()}), 300,
              "connections")
        return left

    # What is had without a fault says how many bytes let all but the last
    # allocation through; what is left then is a byte less than that one.
    plenty = 1 << 24
    times, left = grow(plenty)
    equal(times, 1, "faults that are left")
    space, hits = plenty - left - 1, 0
    while space >= 0:
        times, left = grow(space)
        equal(times, 0, f"faults that are left of space {space}")
        hits += 1
        space -= left + 1
    note(f"growth: {hits} allocations failed")
    assert hits >= 2


if __name__ == "__main__":
    main(FaultLab)
