#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""Real servers on the director itself, clients on the director itself, and
connections that bypass all servers.

What the local stack gets is seen through sockets, what goes out on the wire.
"""

import socket

from lib import genl
from lib.family import FAMILIES, IPV4, end
from lib.lab import Lab
from lib.packet import ACK, RST, SYN, tcp, udp
from lib.rules import Rules
from lib.sockets import bound, heard, said_to_client
from lib.tap import equal, main, module_under_test, test, test_each
from lib.vs import Settings

UDP = 17


class LocalLab(Lab):
    """No services: each test has its own."""

    def __init__(self):
        super().__init__(ipv6=True)

    def build(self):
        super().build()
        for ip in FAMILIES:
            self.director.ip(f"route add {ip.beyond} via {ip.rip}")

    def bound(self, address, port, mark=0):
        """Return a UDP socket of the director."""
        return bound(self.director, address, port, mark)


@test_each(FAMILIES, "NAT to the director itself: the request is delivered "
           "with the real address and port and all its hops; the answer has "
           "the virtual ones")
def nat_to_self(lab, ip):
    lab.ipvs.service(end(ip.vip, 81), f"{end(ip.own, 8081)} -m", kind="-u")
    request = udp(ip.cip, lab.port(), ip.vip, 81, b"question", ttl=9)
    with lab.bound(ip.own, 8081) as sock:
        lab.expect(lab.client, request, {})
        equal(heard(sock), (b"question", (ip.cip, request.l4.sport), 9))
        sock.sendto(b"answer", (ip.cip, request.l4.sport))
        lab.compare(lab.settle(), {lab.client: request.back(
            payload=b"answer", ttl=64, **ip.said)})


@test_each(FAMILIES, "NAT to the director itself: what its TCP says has the "
           "virtual address, and nobody listening is said with the virtual "
           "port")
def nat_to_closed_port(lab, ip):
    for kind in "-t", "-u":
        lab.ipvs.service(end(ip.vip, 82), f"{end(ip.own, 8082)} -m", kind=kind)
    segment = tcp(ip.cip, lab.port(), ip.vip, 82, SYN, seq=5)
    lab.expect(lab.client, segment, {lab.client: segment.back(
        flags=RST | ACK, seq=0, ack=6, window=0, **ip.reset)})
    request = udp(ip.cip, lab.port(), ip.vip, 82)
    delivered = request.but(dst=ip.own, dport=8082).sealed()
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, ip.port_unreachable,
        delivered.but(dst=ip.vip, dport=82))})


@test_each(FAMILIES, "NAT from outside to a loopback address is refused in "
           "silence")
def nat_to_loopback(lab, ip):
    lab.ipvs.service(end(ip.vip, 83), f"{end(ip.loopback, 8083)} -m",
                     kind="-u")
    with lab.bound(ip.loopback, 8083) as sock:
        lab.expect(lab.client, udp(ip.cip, lab.port(), ip.vip, 83), {})
        equal(heard(sock), None)


@test_each(FAMILIES, "direct routing, tunnel and the local node: a server "
           "that is the director gets the packet as it came")
def others_to_self(lab, ip):
    with Rules(lab.director) as rules:
        for vport, method in ((84, genl.DROUTE), (85, genl.TUNNEL),
                              (86, genl.LOCALNODE)):
            rules.add(UDP, ip.vip, vport, ip.own, method=method)
            request = udp(ip.cip, lab.port(), ip.vip, vport, b"as it is",
                          ttl=1)
            with lab.bound(ip.vip, vport) as sock:
                lab.expect(lab.client, request, {})
                equal(heard(sock),
                      (b"as it is", (ip.cip, request.l4.sport), 1),
                      f"method {method}")


@test_each(FAMILIES, "the local node shows as Local and counts its "
           "connections")
def local_node(lab, ip):
    with Rules(lab.director) as rules:
        rules.add(UDP, ip.vip, 87, ip.own, method=genl.LOCALNODE)
    request = udp(ip.cip, lab.port(), ip.vip, 87)
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, ip.port_unreachable, request)})
    equal(lab.ipvs.counters()[ip.listed_end(ip.vip, 87), f"{ip.own}:87"],
          (0, 1))
    assert "Local" in lab.ipvs.admin("-Ln", "-u", end(ip.vip, 87))


@test_each(FAMILIES, "a client on the director: its requests go out by NAT, "
           "direct routing and tunnel, and the answer to NAT comes from the "
           "virtual address")
def local_client(lab, ip):
    for vport, method in ((91, "-m"), (92, "-g"), (93, "-i")):
        lab.ipvs.service(end(ip.vip, vport), f"{end(ip.rip, vport)} {method}",
                         kind="-u")
    with lab.bound(ip.own, 5000) as sock:
        request = udp(ip.own, 5000, ip.vip, 91, b"from here", ttl=63,
                      **ip.said)
        sock.sendto(b"from here", (ip.vip, 91))
        lab.compare(lab.settle(), {lab.server: request.but(dst=ip.rip)})
        lab.expect(lab.server, udp(ip.rip, 91, ip.own, 5000, b"to there"), {})
        equal(heard(sock), (b"to there", (ip.vip, 91), 64))
        sock.sendto(b"from here", (ip.vip, 92))
        lab.compare(lab.settle(), {lab.server: request.but(dport=92)})
        sock.sendto(b"from here", (ip.vip, 93))
        seen = lab.settle()
        inner = request.but(dport=93)
        if ip is IPV4:      # its identification is the stack's choice
            frame, = seen[lab.server]
            inner = inner.but(id=int.from_bytes(frame.ip[24:26], "big"))
        lab.compare(seen, {lab.server: ip.encapsulated(inner, **ip.whole)})


# A client at the loopback address whose server is on the wire: the C module
# drops what it sends, and it waits; ours refuses it.
UNANSWERED = {"c": {socket.SOCK_STREAM: "EINPROGRESS", socket.SOCK_DGRAM: ""},
              "rust": dict.fromkeys((socket.SOCK_STREAM, socket.SOCK_DGRAM),
                                    "ECONNREFUSED")}[module_under_test()]


def unanswered(lab, ip, vports):
    """Check that a client at the loopback address reaches none of these
    services."""
    for vport in vports:
        for vip in ip.vip, ip.loopback:
            for kind, said in UNANSWERED.items():
                equal(said_to_client(lab.director, kind, ip.loopback,
                                     (vip, vport)), said,
                      f"{kind.name} to {end(vip, vport)}")
    lab.compare(lab.settle(), {})


@test_each(FAMILIES, "a client at the loopback address can't reach a server "
           "on the wire; ours tells it at once")
def loopback_client(lab, ip):
    other, = set(FAMILIES) - {ip}
    servers = {94: f"{end(ip.rip, 94)} -m", 95: f"{end(ip.rip, 95)} -g",
               96: f"{end(ip.rip, 96)} -i", 97: f"{end(other.rip, 97)} -i"}
    for vport, server in servers.items():
        for vip in ip.vip, ip.loopback:
            for kind in "-t", "-u":
                lab.ipvs.service(end(vip, vport), server, kind=kind)
    unanswered(lab, ip, servers)


@test("IPv4: nor if such addresses may be routed (route_localnet)")
def loopback_client_routed(lab):
    lab.director.run("nft", "-f", "-", stdin="""
        table ip hide { chain out {
            type nat hook postrouting priority srcnat
            ip saddr 127.0.0.0/8 masquerade
        }
        }""")
    try:
        for routed in 0, 1:
            lab.director.sysctl("ipv4/conf/all/route_localnet", routed)
            unanswered(lab, IPV4, (94, 95, 96, 97))
    finally:
        lab.director.run("nft", "delete", "table", "ip", "hide")
        lab.director.sysctl("ipv4/conf/all/route_localnet", 0)


@test_each(FAMILIES, "a client at the loopback address reaches a server on "
           "the director")
def loopback_both(lab, ip):
    lab.ipvs.service(end(ip.loopback, 98), f"{end(ip.own, 8098)} -m",
                     kind="-u")
    with lab.bound(ip.own, 8098) as server, \
            lab.bound(ip.loopback, 5001) as client:
        client.sendto(b"from here", (ip.loopback, 98))
        lab.compare(lab.settle(), {})
        equal(heard(server), (b"from here", (ip.loopback, 5001), 64))
        server.sendto(b"to there", (ip.loopback, 5001))
        lab.compare(lab.settle(), {})
        equal(heard(client), (b"to there", (ip.loopback, 98), 64))


@test_each(FAMILIES, "a packet on its way out is not turned inward: direct "
           "routing and tunnel drop it, NAT translates it and lets it go its "
           "way")
def outward_turned_in(lab, ip):
    for mark, method, seen in ((1, "-g", False), (2, "-i", False),
                               (3, "-m", True)):
        lab.ipvs.service(ip.mark(mark), f"{end(ip.own, 7000)} {method}",
                         kind="-f")
        with lab.bound(ip.own, 7000) as inward, \
                lab.bound(ip.own, 5100 + mark, mark) as sock:
            sock.sendto(b"turned", (ip.beyond, 7777))
            lab.compare(lab.settle(), {lab.server: udp(
                ip.own, 5100 + mark, ip.own, 7000, b"turned", **ip.said)
                                       } if seen else {})
            equal(heard(inward), None, f"heard inside by way of {method}")


def marked(lab, ip, mark):
    """Mark the packets of the client to ports 6000 to 6999, and deliver them
    locally, as transparent caches do."""
    lab.director.run("nft", "-f", "-", stdin=f"""
        table {ip.table} cache {{ chain in {{
            type filter hook prerouting priority mangle
            iifname client th dport 6000-6999 meta mark set {mark}
        }}
        }}""")
    for what in (f"rule add fwmark {mark} lookup 100",
                 "route add local default dev lo table 100"):
        lab.director.run("ip", ip.option, *what.split())


def bypass_error(lab, ip, kind, quoted, rest=0):
    """Return the errors about a packet that was delivered locally but is for
    no address of the director. An ICMP error of IPv4 would have the packet's
    destination as its source, which the director may not send from, so there
    is none. IPv6 takes an address of the director."""
    return {} if ip is IPV4 else {
        lab.client: ip.error(ip.own, ip.cip, kind, quoted, rest)}


@test_each(FAMILIES, "bypass: with cache_bypass a service without servers "
           "lets its packets go where they were going, with one hop less; "
           "without, they are dropped")
def bypass(lab, ip):
    marked(lab, ip, 9)
    lab.ipvs.service(ip.mark(9), kind="-f")
    for make in udp, tcp:
        request = make(ip.cip, lab.port(), ip.beyond, 6001)
        lab.expect(lab.client, request,
                   bypass_error(lab, ip, ip.port_unreachable, request))
    with Settings(lab.director).but(cache_bypass=1):
        for make in udp, tcp:
            request = make(ip.cip, lab.port(), ip.beyond, 6001, tos=0x28)
            lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
            more = request.but(ttl=2)
            lab.expect(lab.client, more, {lab.server: more.but(ttl=1)})
            found = lab.ipvs.connection(request.l4.sport,
                                        make.__name__.upper())
            equal((found.vaddr, found.vport, found.daddr, found.dport),
                  (ip.beyond, 6001, ip.unspecified, 0))


@test_each(FAMILIES, "bypass: hops and MTU count as everywhere")
def bypass_limits(lab, ip):
    with Settings(lab.director).but(cache_bypass=1):
        request = udp(ip.cip, lab.port(), ip.beyond, 6002, ttl=1)
        lab.expect(lab.client, request,
                   bypass_error(lab, ip, ip.time_exceeded, request))
        lab.director.ip(f"route replace {ip.beyond} via {ip.rip} mtu 1300")
        request = request.but(ttl=64, payload=bytes(1300), **ip.whole)
        lab.expect(lab.client, request, bypass_error(
            lab, ip, ip.too_big, request.but(ttl=63), 1300))
        if ip is IPV4:
            request = request.but(df=False)
            lab.expect(lab.client, request, {lab.server: request.but(
                ttl=63).fragments(1280)})


if __name__ == "__main__":
    main(LocalLab)
