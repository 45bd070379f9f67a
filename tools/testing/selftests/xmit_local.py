#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""Real servers on the director itself, clients on the director itself, and
connections that bypass all servers.

What the local stack gets is seen through sockets, what goes out on the wire.
"""

import socket

from lib import genl
from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import (ACK, IPPROTO_IPIP, RST, SYN, Packet, Raw,
                        icmp_error, tcp, udp)
from lib.rules import Rules
from lib.sockets import bound, heard, said_to_client
from lib.tap import equal, main, module_under_test, test

OWN = "10.0.1.1"            # an address of the director
SOMEWHERE = "203.0.113.9"   # an address of nobody, routed to the server's wire
TCP, UDP = 6, 17


class LocalLab(Lab):
    """No services: each test has its own."""

    def build(self):
        super().build()
        self.director.ip(f"route add {SOMEWHERE} via {RIP}")

    def bound(self, address, port, mark=0):
        """A UDP socket of the director."""
        return bound(self.director, address, port, mark)


@test("NAT to the director itself: the request is delivered with the real "
      "address and port and all its hops; the answer has the virtual ones")
def nat_to_self(lab):
    lab.ipvs.service(f"{VIP}:81", f"{OWN}:8081 -m", kind="-u")
    request = udp(CIP, lab.port(), VIP, 81, b"question", ttl=9)
    with lab.bound(OWN, 8081) as sock:
        lab.expect(lab.client, request, {})
        equal(heard(sock), (b"question", (CIP, request.l4.sport), 9))
        sock.sendto(b"answer", (CIP, request.l4.sport))
        lab.compare(lab.settle(), {lab.client: request.back(
            payload=b"answer", ttl=64, id=None, df=True)})


@test("NAT to the director itself: what its TCP says has the virtual address, "
      "and nobody listening is said with the virtual port")
def nat_to_closed_port(lab):
    for kind in "-t", "-u":
        lab.ipvs.service(f"{VIP}:82", f"{OWN}:8082 -m", kind=kind)
    segment = tcp(CIP, lab.port(), VIP, 82, SYN, seq=5)
    lab.expect(lab.client, segment, {lab.client: segment.back(
        flags=RST | ACK, seq=0, ack=6, window=0, id=0, df=True)})
    request = udp(CIP, lab.port(), VIP, 82)
    delivered = request.but(dst=OWN, dport=8082).sealed()
    lab.expect(lab.client, request, {lab.client: icmp_error(
        VIP, CIP, 3, 3, delivered.but(dst=VIP, dport=82))})


@test("NAT from outside to a loopback address is refused in silence")
def nat_to_loopback(lab):
    lab.ipvs.service(f"{VIP}:83", "127.0.0.1:8083 -m", kind="-u")
    with lab.bound("127.0.0.1", 8083) as sock:
        lab.expect(lab.client, udp(CIP, lab.port(), VIP, 83), {})
        equal(heard(sock), None)


@test("direct routing, tunnel and the local node: a server that is the "
      "director gets the packet as it came")
def others_to_self(lab):
    with Rules(lab.director) as rules:
        for vport, method in ((84, genl.DROUTE), (85, genl.TUNNEL),
                              (86, genl.LOCALNODE)):
            rules.add(UDP, VIP, vport, OWN, method=method)
            request = udp(CIP, lab.port(), VIP, vport, b"as it is", ttl=1)
            with lab.bound(VIP, vport) as sock:
                lab.expect(lab.client, request, {})
                equal(heard(sock), (b"as it is", (CIP, request.l4.sport), 1),
                      f"method {method}")


@test("the local node shows as Local and counts its connections")
def local_node(lab):
    with Rules(lab.director) as rules:
        rules.add(UDP, VIP, 87, OWN, method=genl.LOCALNODE)
    request = udp(CIP, lab.port(), VIP, 87)
    lab.expect(lab.client, request, {
        lab.client: icmp_error(VIP, CIP, 3, 3, request)})
    equal(lab.ipvs.counters()["C6336401:0057", f"{OWN}:87"], (0, 1))
    assert "Local" in lab.ipvs.admin("-Ln", "-u", f"{VIP}:87")


@test("a client on the director: its requests go out by NAT, direct routing "
      "and tunnel, and the answer to NAT comes from the virtual address")
def local_client(lab):
    for vport, method in ((91, "-m"), (92, "-g"), (93, "-i")):
        lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} {method}",
                         kind="-u")
    with lab.bound(OWN, 5000) as sock:
        request = udp(OWN, 5000, VIP, 91, b"from here", df=True, ttl=63,
                      id=None)
        sock.sendto(b"from here", (VIP, 91))
        lab.compare(lab.settle(), {lab.server: request.but(dst=RIP)})
        lab.expect(lab.server, udp(RIP, 91, OWN, 5000, b"to there"), {})
        equal(heard(sock), (b"to there", (VIP, 91), 64))
        sock.sendto(b"from here", (VIP, 92))
        lab.compare(lab.settle(), {lab.server: request.but(dport=92)})
        sock.sendto(b"from here", (VIP, 93))
        frame, = lab.settle()[lab.server]
        inner = request.but(dport=93, id=int.from_bytes(frame.ip[24:26]))
        lab.compare({lab.server: [frame]}, {lab.server: Packet(
            "10.0.2.1", RIP, Raw(bytes(inner), IPPROTO_IPIP), ttl=63, id=None,
            df=True)})


# A client at the loopback address whose server is on the wire: the C module
# drops what it sends, and it waits; ours refuses it.
UNANSWERED = {"c": {socket.SOCK_STREAM: "EINPROGRESS", socket.SOCK_DGRAM: ""},
              "rust": dict.fromkeys((socket.SOCK_STREAM, socket.SOCK_DGRAM),
                                    "ECONNREFUSED")}[module_under_test()]


@test("a client at the loopback address can't reach a server on the wire, "
      "also if such addresses may be routed; ours tells it at once")
def loopback_client(lab):
    for vport, method in ((94, "-m"), (95, "-g"), (96, "-i")):
        for vip in VIP, "127.0.0.1":
            for kind in "-t", "-u":
                lab.ipvs.service(f"{vip}:{vport}", f"{RIP}:{vport} {method}",
                                 kind=kind)
    lab.director.run("nft", "-f", "-", stdin="""
        table ip hide { chain out {
            type nat hook postrouting priority srcnat
            ip saddr 127.0.0.0/8 masquerade
        }
        }""")
    try:
        for routed in 0, 1:
            lab.director.sysctl("ipv4/conf/all/route_localnet", routed)
            for vport in 94, 95, 96:
                for vip in VIP, "127.0.0.1":
                    for kind, said in UNANSWERED.items():
                        equal(said_to_client(lab.director, kind, "127.0.0.1",
                                             (vip, vport)), said,
                              f"{kind.name} to {vip}:{vport}, {routed}")
            lab.compare(lab.settle(), {})
    finally:
        lab.director.run("nft", "delete", "table", "ip", "hide")
        lab.director.sysctl("ipv4/conf/all/route_localnet", 0)


@test("a client at the loopback address reaches a server on the director")
def loopback_both(lab):
    lab.ipvs.service("127.0.0.1:97", f"{OWN}:8097 -m", kind="-u")
    with lab.bound(OWN, 8097) as server, \
            lab.bound("127.0.0.1", 5001) as client:
        client.sendto(b"from here", ("127.0.0.1", 97))
        lab.compare(lab.settle(), {})
        equal(heard(server), (b"from here", ("127.0.0.1", 5001), 64))
        server.sendto(b"to there", ("127.0.0.1", 5001))
        lab.compare(lab.settle(), {})
        equal(heard(client), (b"to there", ("127.0.0.1", 97), 64))


@test("a packet on its way out is not turned inward: direct routing and "
      "tunnel drop it, NAT translates it and lets it go its way")
def outward_turned_in(lab):
    for mark, method, seen in ((1, "-g", False), (2, "-i", False),
                               (3, "-m", True)):
        lab.ipvs.service(str(mark), f"{OWN}:7000 {method}", kind="-f")
        with lab.bound(OWN, 7000) as inward, \
                lab.bound(OWN, 5100 + mark, mark) as sock:
            sock.sendto(b"turned", (SOMEWHERE, 7777))
            lab.compare(lab.settle(), {lab.server: udp(
                OWN, 5100 + mark, OWN, 7000, b"turned", df=True, id=None)
                                       } if seen else {})
            equal(heard(inward), None, f"heard inside by way of {method}")


def marked(lab, mark):
    """Have what the client sends to ports above 6000 marked, and the marked
    delivered locally, as transparent caches do."""
    lab.director.run("nft", "-f", "-", stdin=f"""
        table ip cache {{ chain in {{
            type filter hook prerouting priority mangle
            iifname client th dport 6000-6999 meta mark set {mark}
        }}
        }}""")
    lab.director.ip(f"rule add fwmark {mark} lookup 100",
                    "route add local default dev lo table 100")


@test("bypass: with cache_bypass a service without servers lets its packets "
      "go where they were going, one hop poorer; without, they are dropped")
def bypass(lab):
    marked(lab, 9)
    lab.ipvs.admin("-A", "-f", "9", "-s", "rr")
    for make in udp, tcp:
        # No ICMP error: its source, the address that the client meant, is
        # none that the director may send from.
        lab.expect(lab.client, make(CIP, lab.port(), SOMEWHERE, 6001), {})
    lab.director.sysctl("ipv4/vs/cache_bypass", 1)
    for make in udp, tcp:
        request = make(CIP, lab.port(), SOMEWHERE, 6001, tos=0x28)
        lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
        more = request.but(id=77, ttl=2)
        lab.expect(lab.client, more, {lab.server: more.but(ttl=1)})
        found = lab.ipvs.connection(request.l4.sport, make.__name__.upper())
        equal((found.vaddr, found.vport, found.daddr, found.dport),
              (SOMEWHERE, 6001, "0.0.0.0", 0))


@test("bypass: hops and MTU count as everywhere")
def bypass_limits(lab):
    request = udp(CIP, lab.port(), SOMEWHERE, 6002, ttl=1)
    lab.expect(lab.client, request, {})
    lab.director.ip(f"route replace {SOMEWHERE} via {RIP} mtu 1300")
    request = request.but(ttl=64, df=True, payload=bytes(1300))
    lab.expect(lab.client, request, {})
    request = request.but(df=False)
    lab.expect(lab.client, request,
               {lab.server: request.but(ttl=63).fragments(1280)})


if __name__ == "__main__":
    main(LocalLab)
