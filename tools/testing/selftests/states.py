#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""TCP and UDP states: names, timeouts, counters, and the end of a connection.

Every state is reached by real segments, and from every state every kind of
segment is sent in every direction; the successor is compared with the one
that the C module goes to.
"""

import time

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import ACK, FIN, PSH, RST, SYN, tcp, udp
from lib.tap import TIME_FACTOR, equal, eventually, main, test

NAT, DIRECT = 81, 83
TIMEOUT = {"NONE": 2, "ESTABLISHED": 900, "SYN_SENT": 120, "SYN_RECV": 60,
           "FIN_WAIT": 120, "TIME_WAIT": 120, "CLOSE": 10, "CLOSE_WAIT": 60,
           "LAST_ACK": 30, "LISTEN": 120, "SYNACK": 120, "UDP": 300}
ACTIVE = {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"}
SEGMENTS = {"syn": SYN, "fin": FIN | ACK, "ack": ACK, "rst": RST}

# How each state is reached: segments of the client (i) and the server (o).
WAYS = {
    "SYN_RECV": "i:syn",
    "ESTABLISHED": "i:syn o:ack",
    "FIN_WAIT": "i:syn o:ack o:fin",
    "TIME_WAIT": "i:syn o:fin",
    "CLOSE": "i:syn o:rst",
    "CLOSE_WAIT": "i:syn o:ack i:fin",
    "SYN_SENT": "i:syn o:rst o:syn",
}
# What follows a segment in each of these states.
ORDER = ["SYN_RECV", "ESTABLISHED", "FIN_WAIT", "TIME_WAIT", "CLOSE",
         "CLOSE_WAIT", "SYN_SENT"]
SHORT = {"SR": "SYN_RECV", "ES": "ESTABLISHED", "FW": "FIN_WAIT",
         "TW": "TIME_WAIT", "CL": "CLOSE", "CW": "CLOSE_WAIT",
         "SS": "SYN_SENT"}
NEXT = {
    "i:fin": "TW CW TW TW CL CW SS",
    "i:ack": "ES ES FW TW CL CW SS",
    "i:rst": "SR CL CL CL CL CL CL",
    "o:syn": "SR ES SS SS SS SS SS",
    "o:fin": "TW FW FW TW CL TW SS",
    "o:ack": "ES ES FW TW CL CW SS",
    "o:rst": "CL CL CL TW CL CL SS",
}
# A SYN of the client: the same connection goes on, or a new one starts where
# the old one was as good as over (conn_reuse_mode 1).
NEXT["i:syn"] = "SR ES SR SR SR SR ES"

DIRECT_WAYS = {"SYN_RECV": "i:syn", "ESTABLISHED": "i:syn i:ack",
               "FIN_WAIT": "i:syn i:ack i:fin", "TIME_WAIT": "i:syn i:fin",
               "CLOSE": "i:syn i:ack i:rst"}
DIRECT_ORDER = list(DIRECT_WAYS)
DIRECT_NEXT = {
    "i:syn": "SR ES SR SR SR",
    "i:fin": "TW FW FW TW CL",
    "i:ack": "ES ES FW TW CL",
    "i:rst": "SR CL CL CL CL",
}


class StateLab(Lab):
    """One NAT and one direct-routing service for TCP and for UDP."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            self.ipvs.service(f"{VIP}:{NAT}", f"{RIP}:{NAT} -m", kind=kind)
            self.ipvs.service(f"{VIP}:{DIRECT}", f"{RIP}:{DIRECT} -g",
                              kind=kind)

    def play(self, cport, vport, way):
        """Send the segments of a way."""
        for step in way.split():
            side, name = step.split(":")
            segment = tcp(CIP, cport, VIP, vport, SEGMENTS[name])
            if side == "i":
                self.client.send(segment)
            else:
                self.server.send(segment.back(src=RIP))
        self.settle()

    def state(self, cport, protocol="TCP"):
        """The connection's state; its timer must be as long as that says."""
        found = self.ipvs.connection(cport, protocol)
        if not found:
            return None
        limit = TIMEOUT[found.state]
        assert limit - 10 * TIME_FACTOR <= found.expires <= limit, \
            f"{found.state} expires in {found.expires} s, not in {limit}"
        return found.state

    def active(self, vport):
        """ActiveConn and InActConn of the server of a TCP service."""
        return self.ipvs.counters()[
            f"C6336401:{vport:04X}", f"{RIP}:{vport}"]


def walk(lab, vport, ways, order, table):
    """From every state, every segment: all connections are made first, so
    that the connection table is read once."""
    wanted = {}
    for segment, row in table.items():
        for start, successor in zip(order, row.split()):
            cport = lab.port()
            lab.play(cport, vport, f"{ways[start]} {segment}")
            wanted[cport] = f"{start} {segment} {SHORT[successor]}"
    states = {}

    def listed():
        # The C module's list ends early while its table grows.
        states.update((found.cport, found.state)
                      for found in lab.ipvs.connections())
        return states.keys() >= wanted.keys()
    eventually(listed, "all connections in the list")
    equal({cport: f"{text.rsplit(' ', 1)[0]} {states.get(cport)}"
           for cport, text in wanted.items()}, wanted, "transitions")


@test("every state can be reached, with its name and its timeout")
def reach(lab):
    for vport, ways in (NAT, WAYS), (DIRECT, DIRECT_WAYS):
        for state, way in ways.items():
            cport = lab.port()
            lab.play(cport, vport, way)
            equal(lab.state(cport), state, f"after {way}")


@test("NAT: from every state, every segment of either side leads where it "
      "always led")
def table_nat(lab):
    walk(lab, NAT, WAYS, ORDER, NEXT)


@test("direct routing: half of the conversation is enough for a state")
def table_direct(lab):
    walk(lab, DIRECT, DIRECT_WAYS, DIRECT_ORDER, DIRECT_NEXT)


@test("a segment with none of the four flags closes the connection")
def no_flags(lab):
    cport = lab.port()
    lab.play(cport, NAT, "i:syn o:ack")
    lab.client.send(tcp(CIP, cport, VIP, NAT, PSH))
    lab.settle()
    equal(lab.state(cport), "CLOSE")


@test("only a SYN opens a connection; ACK, FIN and RST of nobody do not")
def only_syn(lab):
    for flags in ACK, FIN | ACK, RST, FIN, 0, PSH | ACK, RST | SYN:
        cport = lab.port()
        lab.client.send(tcp(CIP, cport, VIP, NAT, flags))
        lab.settle()
        equal(lab.ipvs.connection(cport), None, f"flags {flags:#04x}")
    cport = lab.port()
    lab.client.send(tcp(CIP, cport, VIP, NAT, SYN | ACK))
    lab.settle()
    equal(lab.state(cport), "SYN_RECV", "after SYN and ACK")


@test("ActiveConn and InActConn follow the states")
def counters(lab):
    vport = 91
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m")
    active = inactive = 0
    for state, way in WAYS.items():
        lab.play(lab.port(), vport, way)
        active += state in ACTIVE
        inactive += state not in ACTIVE
        equal(lab.active(vport), (active, inactive), f"after {way}")


@test("a SYN to a connection in TIME_WAIT or CLOSE is balanced anew")
def reuse(lab):
    vport = 92
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m -w 1")
    cport = lab.port()
    lab.play(cport, vport, "i:syn o:ack i:fin o:fin")
    equal(lab.state(cport), "TIME_WAIT")
    lab.ipvs.rules(f"-d -t {VIP}:{vport} -r {RIP}:{vport}",
                   f"-a -t {VIP}:{vport} -r 10.0.2.200:{vport} -m -w 1")
    lab.director.ip("neigh add 10.0.2.200 lladdr 02:00:00:00:02:02 "
                    "dev server1 nud permanent")
    lab.play(cport, vport, "i:syn")
    found = [(c.daddr, c.state) for c in lab.ipvs.connections()
             if c.cport == cport and c.vport == vport]
    assert ("10.0.2.200", "SYN_RECV") in found, found


@test("UDP has one state, restarts its timer with every packet and is never "
      "active")
def udp_state(lab):
    for vport in NAT, DIRECT:
        request = udp(CIP, lab.port(), VIP, vport)
        lab.exchange(lab.client, request)
        equal(lab.state(request.l4.sport, "UDP"), "UDP")
    equal([(c.protocol, c.caddr, c.vaddr, c.vport, c.daddr, c.dport)
           for c in lab.ipvs.connections()
           if c.protocol == "UDP" and c.vport == NAT],
          [("UDP", CIP, VIP, NAT, RIP, NAT)])


@test("ipvsadm lists connections with their states, addresses and times")
def listing(lab):
    cport = lab.port()
    lab.play(cport, NAT, "i:syn o:ack")
    lines = [line.split() for line in lab.ipvs.listed_connections()
             if f":{cport}" in line]
    equal(len(lines), 1, "lines about the connection")
    protocol, expire, state, source, virtual, destination = lines[0]
    equal((protocol, state, source, virtual, destination),
          ("TCP", "ESTABLISHED", f"{CIP}:{cport}", f"{VIP}:{NAT}",
           f"{RIP}:{NAT}"))
    assert expire.startswith("14:") or expire == "15:00", expire


@test("--set changes the timeouts of connections that are seen from then on, "
      "and 0 changes nothing")
def set_timeouts(lab):
    lab.ipvs.admin("--set", "200", "50", "40")
    equal(lab.ipvs.admin("-l", "--timeout").strip(),
          "Timeout (tcp tcpfin udp): 200 50 40")
    lab.ipvs.admin("--set", "0", "0", "41")
    equal(lab.ipvs.admin("-l", "--timeout").strip(),
          "Timeout (tcp tcpfin udp): 200 50 41")
    for way, limit in (("i:syn o:ack", 200), ("i:syn o:ack o:fin", 50)):
        cport = lab.port()
        lab.play(cport, NAT, way)
        expires = lab.ipvs.connection(cport).expires
        assert limit - 10 * TIME_FACTOR <= expires <= limit, (way, expires)
    request = udp(CIP, lab.port(), VIP, NAT)
    lab.exchange(lab.client, request)
    expires = lab.ipvs.connection(request.l4.sport, "UDP").expires
    assert 41 - 10 * TIME_FACTOR <= expires <= 41, expires
    lab.ipvs.admin("--set", "900", "120", "300")


@test("a connection whose time is over is gone, from the table and from the "
      "counters; one with traffic stays")
def expiry(lab):
    vport = 93
    lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m")
    lab.ipvs.admin("--set", *[str(6 * TIME_FACTOR)] * 3)
    idle, busy = lab.port(), lab.port()
    for cport in idle, busy:
        lab.play(cport, vport, "i:syn o:ack")
    equal(lab.active(vport), (2, 0))
    deadline = time.monotonic() + 30 * TIME_FACTOR
    while lab.ipvs.connection(idle):
        lab.play(busy, vport, "i:ack")
        assert time.monotonic() < deadline, "the idle connection stays"
        time.sleep(0.2)
    equal(lab.ipvs.connection(busy).state, "ESTABLISHED")
    eventually(lambda: lab.active(vport) == (1, 0), "counters of one")
    eventually(lambda: not lab.ipvs.connection(busy), "no connection left",
               20)
    eventually(lambda: lab.active(vport) == (0, 0), "counters of none")
    lab.ipvs.admin("--set", "900", "120", "300")


if __name__ == "__main__":
    main(StateLab)
