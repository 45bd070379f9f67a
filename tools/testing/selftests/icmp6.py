#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""ICMPv6 errors about packets of a connection, in both directions: every byte
of the outer and the quoted packet, and the checksum, which is right."""

from lib.lab import CIP6, RIP6, VIP6, Lab
from lib.packet import (IPPROTO_DSTOPTS, IPPROTO_IPV6, Icmp6, Packet6, Raw,
                        fragment_header, icmp6_error, options_header, tcp, udp)
from lib.tap import equal, main, module_under_test, test

NAT, TUNNEL, DIRECT = 81, 82, 83
RPORT = 8080
ROUTER = "2001:db8:5::77"       # somewhere beyond the client's wire
INSIDE = "fd00:2::77"           # somewhere behind the director
# type, code, rest of the header: no route and port unreachable, too big, hop
# limit, reassembly, parameter problem, and one that nobody knows
ERRORS = [(1, 0, 0), (1, 4, 0), (2, 0, 1400), (3, 0, 0), (3, 1, 0),
          (4, 1, 40), (100, 7, 9)]


class IcmpLab(Lab):
    """A TCP and a UDP service for each way to forward."""

    def build(self):
        super().build()
        self.director.ip(f"route add {ROUTER} via {CIP6}")
        for kind in "-t", "-u":
            for vport, method in ((NAT, "-m"), (TUNNEL, "-i"),
                                  (DIRECT, "-g")):
                rport = RPORT if vport == NAT else vport
                self.ipvs.service(f"[{VIP6}]:{vport}",
                                  f"[{RIP6}]:{rport} {method}", kind=kind)

    def connect(self, make, vport, **more):
        """Open a connection; the request as the client sent it."""
        request = make(CIP6, self.port(), VIP6, vport, **more)
        seen = self.exchange(self.client, request)
        equal(len(seen[self.server]), 1, "packets at the server")
        return request


def about(src, dst, quoted, error=(1, 4, 0), **more):
    """An ICMP error of somebody about a packet."""
    kind, code, rest = error
    return icmp6_error(src, dst, kind, code, quoted, rest, **more)


def as_server_sent(reply):
    """A NATed reply before it was translated, as the server remembers it."""
    return reply.sealed().but(src=RIP6, sport=RPORT)


def as_server_got(request):
    """A NATed request after it was translated."""
    return request.sealed().but(dst=RIP6, dport=RPORT)


@test("NAT, client's side: an error about a reply reaches the real server, "
      "who finds its own address and port quoted")
def nat_inward(lab):
    for make in udp, tcp:
        reply = lab.connect(make, NAT).back()
        for error in ERRORS:
            lab.expect(lab.client, about(ROUTER, VIP6, reply, error), {
                lab.server: about(ROUTER, RIP6, as_server_sent(reply), error,
                                  ttl=63)})


@test("NAT, server's side: an error about a request reaches the client from "
      "the virtual address, with the virtual address and port quoted")
def nat_outward(lab):
    for make in udp, tcp:
        request = lab.connect(make, NAT)
        for source in RIP6, INSIDE:
            for error in ERRORS:
                sent = about(source, CIP6, as_server_got(request), error)
                lab.expect(lab.server, sent, {lab.client: about(
                    VIP6, CIP6, request, error, ttl=63)})


@test("direct routing, client's side: the error goes to the real server as "
      "it is; through a tunnel inside of it")
def others_inward(lab):
    for make in udp, tcp:
        for error in ERRORS:
            reply = lab.connect(make, DIRECT).back()
            sent = about(ROUTER, VIP6, reply, error)
            lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})
            reply = lab.connect(make, TUNNEL).back()
            sent = about(ROUTER, VIP6, reply, error)
            inner = Raw(bytes(sent.but(ttl=63)), IPPROTO_IPV6)
            lab.expect(lab.client, sent, {lab.server: Packet6(
                "fd00:2::1", RIP6, inner, ttl=63, label=0)})


@test("direct routing and tunnel, server's side: the error passes as it is")
def others_outward(lab):
    for vport in DIRECT, TUNNEL:
        for make in udp, tcp:
            request = lab.connect(make, vport)
            sent = about(INSIDE, CIP6, request)
            lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})


@test("a router in the tunnel's path: its error is told to the client about "
      "the packet inside, and a path MTU is learned; the C module does neither")
def about_tunnel(lab):
    request = lab.connect(udp, TUNNEL, payload=bytes(1380))
    inner = request.but(ttl=63)

    def outside(error):
        outer = Packet6("fd00:2::1", RIP6, Raw(bytes(inner), IPPROTO_IPV6),
                        ttl=63, label=0)
        return about(INSIDE, "fd00:2::1", outer, error)

    def told(error, quoted):
        # A difference on purpose: for IPv4 the C module does it.
        if module_under_test() == "c":
            return {}
        return {lab.client: about(VIP6, CIP6, quoted, error)}
    quoted = bytes(inner)[:1232 - 40]
    lab.expect(lab.server, outside((1, 3, 0)), told((1, 3, 0), quoted))
    lab.expect(lab.server, outside((2, 0, 1400)), told((2, 0, 1360), quoted))
    if module_under_test() == "rust":
        lab.expect(lab.client, request, told((2, 0, 1360), inner))


@test("NAT: an error with a wrong checksum is dropped, in both directions; "
      "direct routing lets it pass")
def wrong_checksum(lab):
    request = lab.connect(udp, NAT)
    bad = {"check": 0x1234}
    lab.expect(lab.client, about(ROUTER, VIP6, request.back(), **bad), {})
    lab.expect(lab.server, about(RIP6, CIP6, as_server_got(request), **bad),
               {})
    sent = about(ROUTER, VIP6, lab.connect(udp, DIRECT).back(), **bad)
    lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


@test("a quoted packet that is cut off: four bytes of its ports are enough, "
      "less is nobody's business")
def truncated(lab):
    for make in udp, tcp:
        request = lab.connect(make, NAT)
        inward, outward = request.back(), as_server_got(request)
        for size in (0, 1, 20, 39, 40, 42, 43, 44, 45, 47, 48):
            enough = size >= 44
            sent = about(ROUTER, VIP6, bytes(inward)[:size])
            lab.expect(lab.client, sent, {lab.server: about(
                ROUTER, RIP6, bytes(as_server_sent(inward))[:size], ttl=63)
            } if enough else {})
            sent = about(RIP6, CIP6, bytes(outward)[:size])
            lab.expect(lab.server, sent, {lab.client: about(
                VIP6, CIP6, bytes(request)[:size], ttl=63)
                if enough else sent.but(ttl=63)})


@test("extension headers in the outer and in the quoted packet do not mislead")
def extensions(lab):
    request = lab.connect(tcp, NAT)
    chain = (options_header(IPPROTO_DSTOPTS, 24),)
    for outer, inner in ((chain, ()), ((), chain), (chain, chain)):
        reply = request.back(extensions=inner)
        lab.expect(lab.client, about(ROUTER, VIP6, reply, extensions=outer), {
            lab.server: about(ROUTER, RIP6, as_server_sent(reply), ttl=63,
                              extensions=outer)})
        quoted = request.but(extensions=inner)
        lab.expect(lab.server,
                   about(RIP6, CIP6, as_server_got(quoted), extensions=outer),
                   {lab.client: about(VIP6, CIP6, quoted, ttl=63,
                                      extensions=outer)})


@test("a quoted first fragment is of its connection; a later one, and a "
      "packet of no connection, are left alone")
def quoted_fragments(lab):
    request = lab.connect(udp, NAT, payload=bytes(100))
    first = (fragment_header(0, True),)
    sent = about(RIP6, CIP6, as_server_got(request).but(extensions=first))
    lab.expect(lab.server, sent, {lab.client: about(
        VIP6, CIP6, request.but(extensions=first), ttl=63)})
    later = as_server_got(request).but(extensions=(fragment_header(64, True),))
    other = udp(CIP6, lab.port(), RIP6, RPORT)
    for quoted in later, other:
        sent = about(RIP6, CIP6, quoted)
        lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})
    lab.expect(lab.client, about(ROUTER, VIP6, other.back(src=VIP6)), {})


@test("informational messages are not about connections: echo is forwarded "
      "and answered")
def informational(lab):
    request = lab.connect(udp, NAT)
    echo = Packet6(CIP6, VIP6, Icmp6(128, 0, 0x00010002, b"are you there"))
    lab.expect(lab.client, echo, {lab.client: Packet6(
        VIP6, CIP6, Icmp6(129, 0, 0x00010002, b"are you there"), label=0)})
    sent = about(RIP6, CIP6, as_server_got(request), (200, 0, 0))
    lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})


@test("an error whose last hop this is: dropped, and no error about the error")
def last_hop(lab):
    request = lab.connect(udp, NAT)
    lab.expect(lab.client, about(ROUTER, VIP6, request.back(), ttl=1), {})


@test("a later fragment in a packet that says it is all of its fragments is "
      "dropped, to the director and on its way through")
def fragment_in_fragment(lab):
    request = lab.connect(udp, NAT)
    for origin, error in (
            (lab.client, about(ROUTER, VIP6, request.back())),
            (lab.server, about(RIP6, CIP6, as_server_got(request)))):
        nested = error.but(extensions=(fragment_header(0, False),))
        lab.expect(origin, nested.fragments(16)[1], {})


if __name__ == "__main__":
    main(lambda: IcmpLab(ipv6=True))
