#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""Real servers on the director itself, clients on the director itself, and
connections that bypass all servers, for IPv6; see xmit_local.py."""

import socket

from lib import genl
from lib.lab import CIP6, RIP, RIP6, VIP6, Lab
from lib.packet import (ACK, IPPROTO_IPV6, RST, SYN, Packet6, Raw,
                        icmp6_error, tcp, udp)
from lib.rules import Rules
from lib.sockets import bound, heard, said_to_client
from lib.tap import equal, main, module_under_test, test

OWN = "fd00:1::1"           # an address of the director
SOMEWHERE = "2001:db8:9::9"     # of nobody, routed to the server's wire
UDP = 17


class LocalLab(Lab):
    """No services: each test has its own."""

    def build(self):
        super().build()
        self.director.ip(f"route add {SOMEWHERE} via {RIP6}")

    def bound(self, address, port, mark=0):
        """A UDP socket of the director."""
        return bound(self.director, address, port, mark)


@test("NAT to the director itself: the request is delivered with the real "
      "address and port and all its hops; the answer has the virtual ones")
def nat_to_self(lab):
    lab.ipvs.service(f"[{VIP6}]:81", f"[{OWN}]:8081 -m", kind="-u")
    request = udp(CIP6, lab.port(), VIP6, 81, b"question", ttl=9)
    with lab.bound(OWN, 8081) as sock:
        lab.expect(lab.client, request, {})
        equal(heard(sock), (b"question", (CIP6, request.l4.sport), 9))
        sock.sendto(b"answer", (CIP6, request.l4.sport))
        lab.compare(lab.settle(), {lab.client: request.back(
            payload=b"answer", ttl=64, label=0)})


@test("NAT to the director itself: what its TCP says has the virtual address, "
      "and nobody listening is said with the virtual port")
def nat_to_closed_port(lab):
    for kind in "-t", "-u":
        lab.ipvs.service(f"[{VIP6}]:82", f"[{OWN}]:8082 -m", kind=kind)
    segment = tcp(CIP6, lab.port(), VIP6, 82, SYN, seq=5)
    lab.expect(lab.client, segment, {lab.client: segment.back(
        flags=RST | ACK, seq=0, ack=6, window=0, label=0)})
    request = udp(CIP6, lab.port(), VIP6, 82)
    delivered = request.but(dst=OWN, dport=8082).sealed()
    lab.expect(lab.client, request, {lab.client: icmp6_error(
        VIP6, CIP6, 1, 4, delivered.but(dst=VIP6, dport=82))})


@test("direct routing, tunnel and the local node: a server that is the "
      "director gets the packet as it came")
def others_to_self(lab):
    with Rules(lab.director) as rules:
        for vport, method in ((84, genl.DROUTE), (85, genl.TUNNEL),
                              (86, genl.LOCALNODE)):
            rules.add(UDP, VIP6, vport, OWN, method=method)
            request = udp(CIP6, lab.port(), VIP6, vport, b"as it is", ttl=1)
            with lab.bound(VIP6, vport) as sock:
                lab.expect(lab.client, request, {})
                equal(heard(sock), (b"as it is", (CIP6, request.l4.sport), 1),
                      f"method {method}")


@test("a client on the director: its requests go out by NAT, direct routing "
      "and tunnel, and the answer to NAT comes from the virtual address")
def local_client(lab):
    for vport, method in ((91, "-m"), (92, "-g"), (93, "-i")):
        lab.ipvs.service(f"[{VIP6}]:{vport}", f"[{RIP6}]:{vport} {method}",
                         kind="-u")
    with lab.bound(OWN, 5000) as sock:
        request = udp(OWN, 5000, VIP6, 91, b"from here", ttl=63, label=0)
        sock.sendto(b"from here", (VIP6, 91))
        lab.compare(lab.settle(), {lab.server: request.but(dst=RIP6)})
        lab.expect(lab.server, udp(RIP6, 91, OWN, 5000, b"to there"), {})
        equal(heard(sock), (b"to there", (VIP6, 91), 64))
        sock.sendto(b"from here", (VIP6, 92))
        lab.compare(lab.settle(), {lab.server: request.but(dport=92)})
        sock.sendto(b"from here", (VIP6, 93))
        lab.compare(lab.settle(), {lab.server: Packet6(
            "fd00:2::1", RIP6,
            Raw(bytes(request.but(dport=93)), IPPROTO_IPV6), ttl=63,
            label=0)})


# A client at the loopback address whose server is on the wire: the C module
# drops what it sends, and it waits; ours refuses it.
UNANSWERED = {"c": {socket.SOCK_STREAM: "EINPROGRESS", socket.SOCK_DGRAM: ""},
              "rust": dict.fromkeys((socket.SOCK_STREAM, socket.SOCK_DGRAM),
                                    "ECONNREFUSED")}[module_under_test()]


@test("a client at the loopback address can't reach a server on the wire; "
      "ours tells it at once")
def loopback_client(lab):
    for vport, server in ((94, f"[{RIP6}]:94 -m"), (95, f"[{RIP6}]:95 -g"),
                          (96, f"[{RIP6}]:96 -i"), (97, f"{RIP}:97 -i")):
        for vip in VIP6, "::1":
            for kind in "-t", "-u":
                lab.ipvs.service(f"[{vip}]:{vport}", server, kind=kind)
            for kind, said in UNANSWERED.items():
                equal(said_to_client(lab.director, kind, "::1", (vip, vport)),
                      said, f"{kind.name} to {vip} {vport}")
    lab.compare(lab.settle(), {})


@test("a packet on its way out is not turned inward: direct routing and "
      "tunnel drop it, NAT translates it and lets it go its way")
def outward_turned_in(lab):
    for mark, method, seen in ((1, "-g", False), (2, "-i", False),
                               (3, "-m", True)):
        lab.ipvs.rules(f"-A -f {mark} -6 -s rr",
                       f"-a -f {mark} -6 -r [{OWN}]:7000 {method}")
        with lab.bound(OWN, 7000) as inward, \
                lab.bound(OWN, 5100 + mark, mark) as sock:
            sock.sendto(b"turned", (SOMEWHERE, 7777))
            lab.compare(lab.settle(), {lab.server: udp(
                OWN, 5100 + mark, OWN, 7000, b"turned", label=0)
                                       } if seen else {})
            equal(heard(inward), None, f"heard inside by way of {method}")


@test("bypass: with cache_bypass a service without servers lets its packets "
      "go where they were going, one hop poorer; without, they are dropped")
def bypass(lab):
    lab.director.run("nft", "-f", "-", stdin="""
        table ip6 cache { chain in {
            type filter hook prerouting priority mangle
            iifname client th dport 6000-6999 meta mark set 9
        }
        }""")
    for what in ("rule add fwmark 9 lookup 100",
                 "route add local default dev lo table 100"):
        lab.director.run("ip", "-6", *what.split())
    lab.ipvs.rules("-A -f 9 -6 -s rr")
    request = udp(CIP6, lab.port(), SOMEWHERE, 6001, tos=0x28)
    equal(lab.exchange(lab.client, request)[lab.server], [], "without")
    lab.director.sysctl("ipv4/vs/cache_bypass", 1)
    for make in udp, tcp:
        request = make(CIP6, lab.port(), SOMEWHERE, 6001, tos=0x28)
        lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
        more = request.but(ttl=2)
        lab.expect(lab.client, more, {lab.server: more.but(ttl=1)})


if __name__ == "__main__":
    main(lambda: LocalLab(ipv6=True))
