#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""ICMP and ICMPv6 errors about packets of a connection, in both directions.

What a router on the client's side says about a reply concerns the real
server; what one behind the director says about a request concerns the
client. Compared is every byte: the outer and the quoted addresses and ports,
the checksums of the outer header, of ICMP and of the quoted header. The quoted
transport checksum stays as it is, since no one could check it.
"""

from lib.family import FAMILIES, IPV4, IPV6, end
from lib.lab import Lab
from lib.packet import fragment_header, tcp, udp
from lib.tap import equal, main, module_under_test, test, test_each

NAT, TUNNEL, DIRECT = 81, 82, 83
RPORT = 8080
# Type, code, rest of the header.
ERRORS = {
    # Host and port unreachable, fragmentation needed, source quench, time
    # exceeded in transit and in reassembly.
    IPV4: [(3, 1, 0), (3, 3, 0), (3, 4, 1400), (4, 0, 0), (11, 0, 0),
           (11, 1, 0)],
    # Port unreachable and no route, too big, hop limit, reassembly, parameter
    # problem, and one that nobody knows.
    IPV6: [(1, 4, 0), (1, 0, 0), (2, 0, 1400), (3, 0, 0), (3, 1, 0),
           (4, 1, 40), (100, 7, 9)],
}
# What is not about connections: redirect and parameter problem; information
# that nobody knows.
OTHERS = {IPV4: [(5, 1, 0x0a000101), (12, 0, 0)], IPV6: [(200, 0, 0)]}
# Fields of a first fragment, and of a later one.
FRAGMENTS = {IPV4: ({"mf": True}, {"frag": 100}),
             IPV6: ({"extensions": (fragment_header(0, True),)},
                    {"extensions": (fragment_header(64, True),)})}


class IcmpLab(Lab):
    """A TCP and a UDP service of each family for each way to forward."""

    def __init__(self):
        super().__init__(ipv6=True)

    def build(self):
        super().build()
        for ip in FAMILIES:
            self.director.ip(f"route add {ip.router} via {ip.cip}")
            for kind in "-t", "-u":
                for vport, method in ((NAT, "-m"), (TUNNEL, "-i"),
                                      (DIRECT, "-g")):
                    rport = RPORT if vport == NAT else vport
                    self.ipvs.service(end(ip.vip, vport),
                                      f"{end(ip.rip, rport)} {method}",
                                      kind=kind)

    def connect(self, ip, make, vport, **more):
        """Open a connection; return the request as the client sent it."""
        request = make(ip.cip, self.port(), ip.vip, vport, **more)
        seen = self.exchange(self.client, request)
        equal(len(seen[self.server]), 1, "packets at the server")
        return request


def about(ip, src, dst, quoted, error=None, **more):
    """Return an ICMP error about a packet: the first of the family's
    errors, if no other is given."""
    kind, code, rest = error or ERRORS[ip][0]
    return ip.router_error(src, dst, (kind, code), quoted, rest, **more)


def as_server_sent(ip, reply):
    """Return a NATed reply as the server sent it."""
    return reply.sealed().but(src=ip.rip, sport=RPORT)


def as_server_got(ip, request):
    """Return a NATed request as the server received it."""
    return request.sealed().but(dst=ip.rip, dport=RPORT)


@test_each(FAMILIES, "NAT, client's side: an error about a reply reaches the "
           "real server, who finds its own address and port quoted")
def nat_inward(lab, ip):
    for make in udp, tcp:
        reply = lab.connect(ip, make, NAT).back()
        for error in ERRORS[ip]:
            lab.expect(
                lab.client, about(ip, ip.router, ip.vip, reply, error),
                {lab.server: about(ip, ip.router, ip.rip,
                                   as_server_sent(ip, reply), error, ttl=63)})


@test_each(FAMILIES, "NAT, server's side: an error about a request reaches "
           "the client from the virtual address, with the virtual address and "
           "port quoted")
def nat_outward(lab, ip):
    for make in udp, tcp:
        request = lab.connect(ip, make, NAT)
        for source in ip.rip, ip.inside:
            for error in ERRORS[ip]:
                sent = about(ip, source, ip.cip, as_server_got(ip, request),
                             error)
                lab.expect(lab.server, sent, {lab.client: about(
                    ip, ip.vip, ip.cip, request, error, ttl=63)})


@test_each(FAMILIES, "direct routing, client's side: the error goes to the "
           "real server as it is")
def direct_inward(lab, ip):
    for make in udp, tcp:
        reply = lab.connect(ip, make, DIRECT).back()
        for error in ERRORS[ip]:
            sent = about(ip, ip.router, ip.vip, reply, error)
            lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


@test_each(FAMILIES, "tunnel, client's side: the error goes through the "
           "tunnel as it is")
def tunnel_inward(lab, ip):
    for make in udp, tcp:
        reply = lab.connect(ip, make, TUNNEL).back()
        for error in ERRORS[ip]:
            sent = about(ip, ip.router, ip.vip, reply, error)
            lab.expect(lab.client, sent,
                       {lab.server: ip.encapsulated(sent.but(ttl=63))})


@test_each(FAMILIES, "direct routing and tunnel, server's side: the error "
           "passes as it is")
def others_outward(lab, ip):
    for vport in DIRECT, TUNNEL:
        for make in udp, tcp:
            request = lab.connect(ip, make, vport)
            sent = about(ip, ip.inside, ip.cip, request)
            lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})


def from_tunnel(ip, request, error):
    """Return an error of a router in the tunnel's path about a request."""
    outer = ip.encapsulated(request.but(ttl=63))
    if ip is IPV4:
        outer = outer.but(id=0, df=True)
    return about(ip, ip.inside, ip.source, outer, error)


@test("IPv4: a router in the tunnel's path: its error is told to the client "
      "about the packet inside, and a path MTU is learned")
def about_tunnel(lab):
    ip = IPV4
    request = lab.connect(ip, udp, TUNNEL, payload=bytes(1400), df=True)
    quoted = bytes(request.but(ttl=63))[:548 - 20]
    lab.expect(lab.server, from_tunnel(ip, request, (3, 1, 0)), {
        lab.client: ip.error(ip.vip, ip.cip, (3, 1), quoted)})
    # A difference on purpose: the C module tells the client the MTU of the
    # route that it has cached, which has not learned yet, so that the client
    # loses one more packet before it hears of the right one.
    told = 1500 if module_under_test() == "c" else 1200
    lab.expect(lab.server, from_tunnel(ip, request, (3, 4, 1200)), {
        lab.client: ip.error(ip.vip, ip.cip, (3, 4), quoted, told - 20)})
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, (3, 4), request.but(ttl=63), 1200 - 20)})


@test("IPv6: a router in the tunnel's path: its error is told to the client "
      "about the packet inside, and a path MTU is learned; the C module does "
      "neither")
def about_tunnel6(lab):
    ip = IPV6
    request = lab.connect(ip, udp, TUNNEL, payload=bytes(1380))
    inner = request.but(ttl=63)

    def told(error, quoted):
        # A difference on purpose: for IPv4 the C module does it.
        if module_under_test() == "c":
            return {}
        return {lab.client: about(ip, ip.vip, ip.cip, quoted, error)}
    quoted = bytes(inner)[:1232 - 40]
    lab.expect(lab.server, from_tunnel(ip, request, (1, 3, 0)),
               told((1, 3, 0), quoted))
    lab.expect(lab.server, from_tunnel(ip, request, (2, 0, 1400)),
               told((2, 0, 1360), quoted))
    if module_under_test() == "rust":
        lab.expect(lab.client, request, told((2, 0, 1360), inner))


@test_each(FAMILIES, "NAT: an error with a wrong ICMP checksum is dropped, in "
           "both directions; direct routing lets it pass")
def wrong_checksum(lab, ip):
    request = lab.connect(ip, udp, NAT)
    bad = {"check": 0x1234}
    lab.expect(lab.client, about(ip, ip.router, ip.vip, request.back(), **bad),
               {})
    lab.expect(lab.server, about(ip, ip.rip, ip.cip,
                                 as_server_got(ip, request), **bad), {})
    sent = about(ip, ip.router, ip.vip, lab.connect(ip, udp, DIRECT).back(),
                 **bad)
    lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


@test_each(FAMILIES, "a quoted packet that is cut off: four bytes of its "
           "ports are enough, less is nobody's business")
def truncated(lab, ip):
    for make in udp, tcp:
        request = lab.connect(ip, make, NAT)
        inward, outward = request.back(), as_server_got(ip, request)
        for size in range(0, ip.header + 9):
            enough = size >= ip.header + 4
            sent = about(ip, ip.router, ip.vip, bytes(inward)[:size])
            lab.expect(lab.client, sent, {lab.server: about(
                ip, ip.router, ip.rip,
                bytes(as_server_sent(ip, inward))[:size], ttl=63)
            } if enough else {})
            sent = about(ip, ip.rip, ip.cip, bytes(outward)[:size])
            lab.expect(lab.server, sent, {lab.client: about(
                ip, ip.vip, ip.cip, bytes(request)[:size], ttl=63)
                if enough else sent.but(ttl=63)})


@test_each(FAMILIES, "IP options, or extension headers, in the outer and in "
           "the quoted header do not mislead")
def options(lab, ip):
    request = lab.connect(ip, tcp, NAT)
    for outer, inner in ((ip.options, {}), ({}, ip.options),
                         (ip.options, ip.options)):
        reply = request.back(**inner)
        lab.expect(lab.client, about(ip, ip.router, ip.vip, reply, **outer), {
            lab.server: about(ip, ip.router, ip.rip, as_server_sent(ip, reply),
                              ttl=63, **outer)})
        quoted = request.but(**inner)
        lab.expect(lab.server, about(ip, ip.rip, ip.cip,
                                     as_server_got(ip, quoted), **outer), {
            lab.client: about(ip, ip.vip, ip.cip, quoted, ttl=63, **outer)})


@test_each(FAMILIES, "an error in fragments is put together and translated")
def fragments(lab, ip):
    request = lab.connect(ip, udp, NAT, payload=bytes(range(200)))
    sent = about(ip, ip.router, ip.vip, request.back())
    wanted = about(ip, ip.router, ip.rip, as_server_sent(ip, request.back()),
                   ttl=63)
    seen = lab.exchange(lab.client, *sent.fragments(120))
    lab.compare(seen, {lab.server: ip.cut(wanted, seen[lab.server], 120)})


@test_each(FAMILIES, "a quoted first fragment is of its connection; a later "
           "one, without ports, and a packet of no connection are left alone")
def quoted_fragments(lab, ip):
    request = lab.connect(ip, udp, NAT, payload=bytes(100))
    first, later = FRAGMENTS[ip]
    sent = about(ip, ip.rip, ip.cip, as_server_got(ip, request).but(**first))
    lab.expect(lab.server, sent, {lab.client: about(
        ip, ip.vip, ip.cip, request.but(**first), ttl=63)})
    other = udp(ip.cip, lab.port(), ip.rip, RPORT)
    for quoted in as_server_got(ip, request).but(**later), other:
        sent = about(ip, ip.rip, ip.cip, quoted)
        lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})
    lab.expect(lab.client,
               about(ip, ip.router, ip.vip, other.back(src=ip.vip)), {})


@test_each(FAMILIES, "messages of other kinds are not about connections: they "
           "do not reach the server, and pass from it as they are")
def other_kinds(lab, ip):
    request = lab.connect(ip, udp, NAT)
    for error in OTHERS[ip]:
        lab.expect(lab.client,
                   about(ip, ip.router, ip.vip, request.back(), error), {})
        sent = about(ip, ip.rip, ip.cip, as_server_got(ip, request), error)
        lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})


@test_each(FAMILIES, "echo is answered by the director")
def echo(lab, ip):
    lab.expect(lab.client, ip.echo(ip.cip, ip.vip, b"are you there"), {
        lab.client: ip.echo(ip.vip, ip.cip, b"are you there",
                            reply=True).but(**ip.made)})


@test_each(FAMILIES, "an error whose last hop this is: dropped, and no error "
           "about the error")
def last_hop(lab, ip):
    request = lab.connect(ip, udp, NAT)
    lab.expect(lab.client, about(ip, ip.router, ip.vip, request.back(), ttl=1),
               {})


@test("IPv6: a later fragment in a packet that says it is all of its "
      "fragments is dropped, to the director and on its way through")
def fragment_in_fragment(lab):
    ip = IPV6
    request = lab.connect(ip, udp, NAT)
    for origin, error in (
            (lab.client, about(ip, ip.router, ip.vip, request.back())),
            (lab.server, about(ip, ip.rip, ip.cip,
                               as_server_got(ip, request)))):
        nested = error.but(extensions=(fragment_header(0, False),))
        lab.expect(origin, nested.fragments(16)[1], {})


if __name__ == "__main__":
    main(IcmpLab)
