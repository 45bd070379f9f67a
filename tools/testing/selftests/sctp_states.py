#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
# clock: instructions
"""SCTP states: names, timeouts, counters, which chunk decides, what opens an
association, and the end of one.

Every state is reached by real packets, and in every state every kind of chunk
is sent in every direction; the successor is compared with the one that the C
module goes to.
"""

import time

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import IPPROTO_SCTP, Raw
from lib.sctp import (ABORT, COOKIE_ECHO, DATA, ESTABLISHED, INIT, NAMES,
                      TIMEOUT, chunk, play, sctp)
from lib.tap import TIME_FACTOR, equal, eventually, main, test
from lib.vs import Settings

NAT, DIRECT = 81, 83
KIND = "--sctp-service"

# How each state is reached.
WAYS = {
    "INIT1": "i:init",
    "INIT": "i:init i:init",
    "C-SENT": "i:init o:init_ack",
    "C-REPLIED": "i:init o:init_ack i:cookie_echo",
    "C-WAIT": "i:init o:init",
    "COOKIE": "i:init o:init i:init_ack",
    "C-ECHOED": "i:init o:init i:init_ack o:cookie_echo",
    "ESTABLISHED": ESTABLISHED,
    "S-SENT": ESTABLISHED + " o:shutdown",
    "S-RECEIVED": ESTABLISHED + " i:shutdown",
    "S-ACK-SENT": ESTABLISHED + " i:shutdown o:shutdown_ack",
    "REJECTED": "i:init o:abort",
    "CLOSED": "i:init o:init_ack i:abort",
}
SHORT = {"I1": "INIT1", "IN": "INIT", "CS": "C-SENT", "CR": "C-REPLIED",
         "CW": "C-WAIT", "CO": "COOKIE", "CE": "C-ECHOED",
         "ES": "ESTABLISHED", "SS": "S-SENT", "SR": "S-RECEIVED",
         "SA": "S-ACK-SENT", "RJ": "REJECTED", "CL": "CLOSED"}
# What follows a chunk in each of these states, in the order above.
NEXT = {
    "i:data": "I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "i:init_ack": "CW CW CS CR CO CO CE ES SS SR SA RJ CL",
    "i:cookie_echo": "IN IN CR CR CW CO CE ES SS SR SA RJ CL",
    "i:cookie_ack": "I1 IN CS CR CW CO ES ES SS SR SA RJ CL",
    "i:shutdown": "I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
    "i:shutdown_ack": "IN IN CS CR CW CO CE ES CL SR CL RJ CL",
    "i:shutdown_complete": "CL CL CS CR CW CO CE ES SS SR CL RJ CL",
    "i:error": "I1 IN CS CR CW CO CL ES SS SR SA RJ CL",
    "i:abort": "CL CL CL CL RJ CL CL CL CL CL CL CL CL",
    "o:data": "I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "o:init": "CW CW CW CW CW CW CW ES CW CW CW CW CW",
    "o:init_ack": "CS CS CS CR CW CO CE ES SS SR SA RJ CL",
    "o:cookie_echo": "CE CE CE CE CE CE CE ES SS SR SA RJ CL",
    "o:cookie_ack": "ES ES ES ES ES ES ES ES SS SR SA RJ CL",
    "o:shutdown": "SS SS SS SS SS SS SS SS SS SR SA RJ CL",
    "o:shutdown_ack": "SA SA SA SA CW CO CE ES SA SA SA RJ CL",
    "o:shutdown_complete": "I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "o:error": "CL CL CL CL CW CO CE ES SS SR SA RJ CL",
    "o:abort": "RJ CL CL CL CL CL CL CL CL CL CL CL CL",
}
INITS = "IN IN CS CR CW CO CE ES SS SR SA IN"
# An INIT where the association has ended: a new connection (conn_reuse_mode 1),
# or the same one.
NEXT_INIT = {1: {"i:init": INITS + " I1"}, 0: {"i:init": INITS + " IN"}}

DIRECT_WAYS = {"INIT1": "i:init", "INIT": "i:init i:init",
               "C-ECHOED": "i:init i:init_ack",
               "ESTABLISHED": "i:init i:cookie_echo",
               "S-RECEIVED": "i:init i:cookie_echo i:shutdown",
               "CLOSED": "i:init i:abort"}
DIRECT_NEXT = {
    "i:data": "I1 IN CE ES SR CL",
    "i:init": "IN IN CE ES SR I1",
    "i:init_ack": "CE CE CE ES SR CL",
    "i:cookie_echo": "ES ES CE ES SR CL",
    "i:cookie_ack": "I1 IN ES ES SR CL",
    "i:shutdown": "I1 IN CE SR SR CL",
    "i:shutdown_ack": "IN IN CE CL SR CL",
    "i:shutdown_complete": "CL CL CE ES CL CL",
    "i:error": "I1 IN CE ES SR CL",
    "i:abort": "CL CL CL CL CL CL",
}


class StateLab(Lab):
    """One NAT and one direct-routing service."""

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        self.ipvs.service(f"{VIP}:{NAT}", f"{RIP}:{NAT} -m", kind=KIND)
        self.ipvs.service(f"{VIP}:{DIRECT}", f"{RIP}:{DIRECT} -g", kind=KIND)

    def play(self, cport, vport, way):
        """Send the packets of a way."""
        play(self, ((CIP, VIP, vport), (RIP, vport)), cport, way)

    def state(self, cport):
        """The connection's state; its timer must be as long as that says."""
        found = self.ipvs.connection(cport, "SCTP")
        if not found:
            return None
        limit = TIMEOUT[found.state]
        assert limit - 10 * TIME_FACTOR <= found.expires <= limit, \
            f"{found.state} expires in {found.expires} s, not in {limit}"
        return found.state

    def active(self, vport):
        """ActiveConn and InActConn of the server of a service."""
        return self.ipvs.counters()[
            f"C6336401:{vport:04X}", f"{RIP}:{vport}"]


def walk(lab, vport, ways, table):
    """From every state, every chunk. States with short timeouts are looked at
    in the same moment."""
    for said, row in table.items():
        wanted = {}
        for start, successor in zip(ways, row.split()):
            cport = lab.port()
            lab.play(cport, vport, f"{ways[start]} {said}")
            # It may be gone in four seconds.
            wanted[start] = SHORT[successor], lab.state(cport)
        equal({start: was for start, (_want, was) in wanted.items()},
              {start: want for start, (want, _was) in wanted.items()}, said)


@test("every state can be reached, with its name and its timeout")
def reach(lab):
    for vport, ways in (NAT, WAYS), (DIRECT, DIRECT_WAYS):
        for state, way in ways.items():
            cport = lab.port()
            lab.play(cport, vport, way)
            equal(lab.state(cport), state, f"after {way}")


@test("NAT: in every state, every chunk of either side leads where it always "
      "led")
def table_nat(lab):
    walk(lab, NAT, WAYS, NEXT)


@test("an INIT begins a new association where the old one has ended, unless "
      "conn_reuse_mode is 0")
def table_init(lab):
    for mode, table in NEXT_INIT.items():
        with lab.settings.but(conn_reuse_mode=mode):
            walk(lab, NAT, WAYS, table)


@test("direct routing: half of the conversation is enough for a state")
def table_direct(lab):
    walk(lab, DIRECT, DIRECT_WAYS, DIRECT_NEXT)


@test("only an INIT opens an association; with sloppy_sctp everything but an "
      "ABORT does")
def only_init(lab):
    opens = {name: lab.port() for name in NAMES}
    for name, cport in opens.items():
        if name != "init":
            lab.play(cport, NAT, f"i:{name}")
            equal(lab.state(cport), None, name)
    with lab.settings.but(sloppy_sctp=1):
        for name, cport in opens.items():
            lab.play(cport, NAT, f"i:{name}")
            first = {"data": "ESTABLISHED", "init": "INIT1",
                     "init_ack": "C-WAIT", "cookie_echo": "C-REPLIED",
                     "cookie_ack": "ESTABLISHED", "shutdown": "S-RECEIVED",
                     "abort": None}.get(name, "CLOSED")
            equal(lab.state(cport), first, f"sloppy: {name}")


@test("the first chunk decides, but an ABORT behind a cookie does instead; "
      "padding and lengths are minded")
def bundled(lab):
    init_ack = "i:init o:init_ack"
    for way, state in (
            (f"{init_ack} i:cookie_echo+data", "C-REPLIED"),
            (f"{init_ack} i:cookie_echo+abort", "CLOSED"),
            (f"{init_ack} i:data+abort", "C-SENT"),
            (f"{init_ack} i:shutdown_complete+abort", "C-SENT"),
            (f"{init_ack} i:cookie_echo+data+abort", "C-REPLIED"),
            (f"{init_ack} i:cookie_echo o:cookie_ack+data", "ESTABLISHED"),
            (f"{init_ack} i:cookie_echo o:cookie_ack+abort", "CLOSED"),
            ("i:init+abort", "INIT1")):
        cport = lab.port()
        lab.play(cport, NAT, way)
        equal(lab.state(cport), state, way)
    abort = chunk(ABORT)
    for chunks, state in (
            (chunk(COOKIE_ECHO, b"cookie!") + abort, "CLOSED"),
            (chunk(COOKIE_ECHO, b"1") + abort, "CLOSED"),
            # Behind the padding only.
            (chunk(COOKIE_ECHO, b"1", 8) + abort, "CLOSED"),
            (chunk(COOKIE_ECHO, b"", 8) + abort, "C-REPLIED"),
            # Truncated in its header.
            (chunk(COOKIE_ECHO) + abort[:3], "C-REPLIED"),
            # Lengths below that of a header, and beyond the packet.
            (chunk(COOKIE_ECHO, b"", 3) + abort, "C-REPLIED"),
            (chunk(COOKIE_ECHO, b"", 0) + abort, "C-REPLIED"),
            (chunk(COOKIE_ECHO, b"", 0xffff) + abort, "C-REPLIED"),
            # A chunk nobody knows.
            (chunk(0xc1) + abort, "C-SENT")):
        cport = lab.port()
        lab.play(cport, NAT, init_ack)
        lab.client.send(sctp(CIP, cport, VIP, NAT, chunks))
        lab.settle()
        equal(lab.state(cport), state, chunks.hex())


@test("a packet without a whole chunk header opens nothing and changes no "
      "state, and one that ends in its header goes nowhere")
def short(lab):
    cport = lab.port()
    for size in (0, 3, 4, 8, 12, 13, 15):
        lab.expect(lab.client, begun(sctp(CIP, cport, VIP, NAT), size), {})
        equal(lab.ipvs.connection(cport, "SCTP"), None, f"{size} bytes")
    lab.play(cport, NAT, ESTABLISHED)
    aborted = sctp(CIP, cport, VIP, NAT, chunk(ABORT))
    for size in (12, 15):
        sent = begun(aborted, size)
        lab.expect(lab.client, sent, {lab.server: sent.but(
            dst=RIP, ttl=sent.ttl - 1)})
        equal(lab.state(cport), "ESTABLISHED", f"{size} bytes")
    for size in (4, 11):
        lab.expect(lab.client, begun(aborted, size), {})


def begun(packet, size):
    """A packet with only so many bytes of SCTP."""
    start = packet.l4.build(packet.src, packet.dst)[:size]
    return packet.but(l4=Raw(start, IPPROTO_SCTP))


@test("ActiveConn and InActConn follow the states: only an established "
      "association is active")
def counters(lab):
    vport = 91
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m", kind=KIND)
    active = inactive = 0
    for state, way in WAYS.items():
        if TIMEOUT[state] > 4:
            lab.play(lab.port(), vport, way)
            active += state == "ESTABLISHED"
            inactive += state != "ESTABLISHED"
            equal(lab.active(vport), (active, inactive), f"after {way}")


@test("ipvsadm lists the service and its associations, with state, addresses "
      "and time; /proc/net/ip_vs has them too")
def listing(lab):
    cport = lab.port()
    lab.play(cport, NAT, ESTABLISHED)
    lines = [line.split() for line in lab.ipvs.listed_connections()
             if f":{cport}" in line]
    equal(len(lines), 1, "lines about the association")
    protocol, expire, state, source, virtual, destination = lines[0]
    equal((protocol, state, source, virtual, destination),
          ("SCTP", "ESTABLISHED", f"{CIP}:{cport}", f"{VIP}:{NAT}",
           f"{RIP}:{NAT}"))
    assert expire.startswith("14:") or expire == "15:00", expire
    saved = lab.ipvs.saved()
    assert f"-A {KIND} {VIP}:{NAT} -s rr" in saved, saved
    shown = [line.split() for line in
             lab.director.proc("ip_vs").splitlines()]
    assert ["SCTP", f"C6336401:{NAT:04X}", "rr"] in shown, shown


@test("an association whose time is over is gone, from the table and from the "
      "counters")
def expiry(lab):
    vport = 93
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m", kind=KIND)
    one, other = lab.port(), lab.port()
    lab.play(one, vport, "i:init")
    lab.play(other, vport, "i:init o:abort")
    eventually(lambda: lab.active(vport) == (0, 0), "counters of none", 30)
    for cport in one, other:
        equal(lab.ipvs.connection(cport, "SCTP"), None)


@test("a new association goes to another server if the old one has weight 0 or "
      "is gone, with expire_nodest_conn; without, its packets are dropped")
def nodest(lab):
    vport = 94
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m", kind=KIND)
    gone, weightless = lab.port(), lab.port()
    for cport in gone, weightless:
        lab.play(cport, vport, ESTABLISHED)
    lab.ipvs.rules(f"-e {KIND} {VIP}:{vport} -r {RIP}:{vport} -m -w 0")
    # An established one ignores an INIT, which goes to its server.
    init = sctp(CIP, weightless, VIP, vport)
    lab.expect(lab.client, init, {lab.server: init.but(dst=RIP, ttl=63)})
    lab.ipvs.rules(f"-a {KIND} {VIP}:{vport} -r 10.0.2.201:{vport} -m -w 1")
    lab.director.ip("neigh replace 10.0.2.201 lladdr 02:00:00:00:02:02 "
                    "dev server1 nud permanent")
    elsewhere = {lab.server: init.but(dst="10.0.2.201", ttl=63)}
    with lab.settings.but(expire_nodest_conn=1):
        lab.expect(lab.client, init, elsewhere)
    lab.ipvs.rules(f"-d {KIND} {VIP}:{vport} -r {RIP}:{vport}")
    data = sctp(CIP, gone, VIP, vport, chunk(DATA, bytes(12)))
    lab.expect(lab.client, data, {})
    equal(lab.state(gone), "ESTABLISHED")
    with lab.settings.but(expire_nodest_conn=1):
        init = sctp(CIP, gone, VIP, vport)
        lab.expect(lab.client, init, {lab.server: init.but(
            dst="10.0.2.201", ttl=63)})


@test("drop_entry drops associations that are not answered, of a thousand, and "
      "no established ones; secure_tcp changes nothing")
def flood(lab):
    vport = 95
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m", kind=KIND)
    full = [lab.port() for _ in range(64)]
    for cport in full:
        lab.play(cport, vport, ESTABLISHED)
    equal(lab.active(vport), (64, 0))
    half = [lab.port() for _ in range(1000)]
    # Twice: the state INIT, which lasts for a minute.
    for _ in range(2):
        lab.burst(sctp(CIP, cport, VIP, vport) for cport in half)
    equal(lab.active(vport), (64, 1000))
    with lab.settings.but(drop_entry=3):
        eventually(lambda: lab.active(vport)[1] < 900, "dropped ones", 30)
    equal(lab.active(vport)[0], 64)
    with lab.settings.but(secure_tcp=3):
        time.sleep(1.5)
        cport = lab.port()
        lab.play(cport, vport, ESTABLISHED)
        equal(lab.state(cport), "ESTABLISHED")


@test("a thousand associations live through all of their life at a time")
def thousand(lab):
    vport = 96
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m", kind=KIND)
    ports = [lab.port() for _ in range(1000)]
    for side, name in (word.split(":") for word in ESTABLISHED.split()):
        said = (sctp(CIP, cport, VIP, vport, chunk(
            NAMES[name])) for cport in ports)
        if side == "i":
            lab.burst(said)
            continue
        for number, packet in enumerate(said, 1):
            lab.server.send(packet.back(src=RIP))
            if number % 128 == 0:
                lab.settle()
        lab.settle()
    equal(lab.active(vport), (1000, 0))
    lab.burst(sctp(CIP, cport, VIP, vport, chunk(ABORT)) for cport in ports)
    equal(lab.active(vport), (0, 1000))
    # INIT once more: all are replaced, and so is none of them left.
    lab.burst(sctp(CIP, cport, VIP, vport, chunk(INIT)) for cport in ports)
    eventually(lambda: lab.active(vport) == (0, 0), "the end", 30)


if __name__ == "__main__":
    main(StateLab)
