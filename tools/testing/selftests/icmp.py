#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""ICMP errors about packets of a connection, in both directions.

What a router on the client's side says about a reply concerns the real
server; what one behind the director says about a request concerns the
client. Compared is every byte: the outer and the quoted addresses and ports,
the checksums of the outer header, of ICMP and of the quoted header. The quoted
transport checksum stays as it is, since no one could check it.
"""

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import (IPPROTO_IPIP, Icmp, Packet, Raw, icmp_error, tcp, udp)
from lib.tap import equal, main, module_under_test, test

NAT, TUNNEL, DIRECT = 81, 82, 83
RPORT = 8080
ROUTER = "192.0.2.77"           # somewhere beyond the client's wire
INSIDE = "10.0.2.77"            # somewhere behind the director
# type, code, rest of the header: host and port unreachable, fragmentation
# needed, source quench, time exceeded in transit and in reassembly
ERRORS = [(3, 1, 0), (3, 3, 0), (3, 4, 1400), (4, 0, 0), (11, 0, 0),
          (11, 1, 0)]
OPTIONS = b"\x88\x04\x12\x34\x01\x01\x01\x00"


class IcmpLab(Lab):
    """A TCP and a UDP service for each way to forward."""

    def build(self):
        super().build()
        self.director.ip(f"route add {ROUTER} via {CIP}")
        for kind in "-t", "-u":
            for vport, method in ((NAT, "-m"), (TUNNEL, "-i"),
                                  (DIRECT, "-g")):
                rport = RPORT if vport == NAT else vport
                self.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{rport} {method}",
                                  kind=kind)

    def connect(self, make, vport, **more):
        """Open a connection; the request as the client sent it."""
        request = make(CIP, self.port(), VIP, vport, **more)
        seen = self.exchange(self.client, request)
        equal(len(seen[self.server]), 1, "packets at the server")
        return request


def about(src, dst, quoted, error=(3, 1, 0), **more):
    """An ICMP error of somebody about a packet."""
    kind, code, rest = error
    return icmp_error(src, dst, kind, code, quoted, rest, tos=0, id=0x55,
                      **more)


def as_server_sent(reply):
    """A NATed reply before it was translated, as the server remembers it."""
    return reply.sealed().but(src=RIP, sport=RPORT)


def as_server_got(request):
    """A NATed request after it was translated."""
    return request.sealed().but(dst=RIP, dport=RPORT)


@test("NAT, client's side: an error about a reply reaches the real server, "
      "who finds its own address and port quoted")
def nat_inward(lab):
    for make in udp, tcp:
        reply = lab.connect(make, NAT).back()
        for error in ERRORS:
            lab.expect(lab.client, about(ROUTER, VIP, reply, error), {
                lab.server: about(ROUTER, RIP, as_server_sent(reply), error,
                                  ttl=63)})


@test("NAT, server's side: an error about a request reaches the client from "
      "the virtual address, with the virtual address and port quoted")
def nat_outward(lab):
    for make in udp, tcp:
        request = lab.connect(make, NAT)
        for source in RIP, INSIDE:
            for error in ERRORS:
                sent = about(source, CIP, as_server_got(request), error)
                lab.expect(lab.server, sent, {lab.client: about(
                    VIP, CIP, request, error, ttl=63)})


@test("direct routing, client's side: the error goes to the real server as "
      "it is")
def direct_inward(lab):
    for make in udp, tcp:
        reply = lab.connect(make, DIRECT).back()
        for error in ERRORS:
            sent = about(ROUTER, VIP, reply, error)
            lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


@test("tunnel, client's side: the error goes through the tunnel as it is")
def tunnel_inward(lab):
    for make in udp, tcp:
        reply = lab.connect(make, TUNNEL).back()
        for error in ERRORS:
            sent = about(ROUTER, VIP, reply, error)
            inner = Raw(bytes(sent.but(ttl=63)), IPPROTO_IPIP)
            lab.expect(lab.client, sent, {lab.server: Packet(
                "10.0.2.1", RIP, inner, ttl=63, id=None)})


@test("direct routing and tunnel, server's side: the error passes as it is")
def direct_outward(lab):
    for vport in DIRECT, TUNNEL:
        for make in udp, tcp:
            request = lab.connect(make, vport)
            sent = about(INSIDE, CIP, request)
            lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})


@test("a router in the tunnel's path: its error is told to the client about "
      "the packet inside, and a path MTU is learned")
def about_tunnel(lab):
    request = lab.connect(udp, TUNNEL, payload=bytes(1400), df=True)

    def outside(rest):
        inner = Raw(bytes(request.but(ttl=63)), IPPROTO_IPIP)
        outer = Packet("10.0.2.1", RIP, inner, ttl=63, id=0, df=True)
        return about(INSIDE, "10.0.2.1", outer, rest)
    quoted = bytes(request.but(ttl=63))[:548 - 20]
    lab.expect(lab.server, outside((3, 1, 0)), {
        lab.client: icmp_error(VIP, CIP, 3, 1, quoted)})
    # A difference on purpose: the C module tells the client the MTU of the
    # route that it has cached, which has not learned yet, so that the client
    # loses one more packet before it hears of the right one.
    told = 1500 if module_under_test() == "c" else 1200
    lab.expect(lab.server, outside((3, 4, 1200)), {
        lab.client: icmp_error(VIP, CIP, 3, 4, quoted, told - 20)})
    lab.expect(lab.client, request, {lab.client: icmp_error(
        VIP, CIP, 3, 4, request.but(ttl=63), 1200 - 20)})


@test("NAT: an error with a wrong ICMP checksum is dropped, in both "
      "directions; direct routing lets it pass")
def wrong_checksum(lab):
    request = lab.connect(udp, NAT)
    bad = {"check": 0x1234}
    lab.expect(lab.client, about(ROUTER, VIP, request.back(), **bad), {})
    lab.expect(lab.server, about(RIP, CIP, as_server_got(request), **bad), {})
    sent = about(ROUTER, VIP, lab.connect(udp, DIRECT).back(), **bad)
    lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


@test("a quoted packet that is cut off: four bytes of its ports are enough, "
      "less is nobody's business")
def truncated(lab):
    for make in udp, tcp:
        request = lab.connect(make, NAT)
        inward, outward = request.back(), as_server_got(request)
        for size in range(0, 29):
            enough = size >= 24
            sent = about(ROUTER, VIP, bytes(inward)[:size])
            lab.expect(lab.client, sent, {lab.server: about(
                ROUTER, RIP, bytes(as_server_sent(inward))[:size], ttl=63)
            } if enough else {})
            sent = about(RIP, CIP, bytes(outward)[:size])
            lab.expect(lab.server, sent, {lab.client: about(
                VIP, CIP, bytes(request)[:size], ttl=63)
                if enough else sent.but(ttl=63)})


@test("options in the outer and in the quoted header do not mislead")
def options(lab):
    request = lab.connect(tcp, NAT)
    for outer, inner in ((OPTIONS, b""), (b"", OPTIONS), (OPTIONS, OPTIONS)):
        reply = request.back(options=inner)
        lab.expect(lab.client, about(ROUTER, VIP, reply, options=outer), {
            lab.server: about(ROUTER, RIP, as_server_sent(reply), ttl=63,
                              options=outer)})
        quoted = request.but(options=inner)
        lab.expect(lab.server,
                   about(RIP, CIP, as_server_got(quoted), options=outer),
                   {lab.client: about(VIP, CIP, quoted, ttl=63,
                                      options=outer)})


@test("an error in fragments is put together and translated")
def fragments(lab):
    request = lab.connect(udp, NAT, payload=bytes(range(200)))
    sent = about(ROUTER, VIP, request.back())
    wanted = about(ROUTER, RIP, as_server_sent(request.back()), ttl=63)
    lab.expect(lab.client, sent.fragments(120),
               {lab.server: wanted.fragments(120)})


@test("a quoted fragment without ports, and one of no connection, are left "
      "alone")
def unrelated(lab):
    request = lab.connect(udp, NAT)
    later = as_server_got(request).but(frag=100)
    other = udp(CIP, lab.port(), RIP, RPORT)
    for quoted in later, other:
        sent = about(RIP, CIP, quoted)
        lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})
    lab.expect(lab.client, about(ROUTER, VIP, other.back(src=VIP)), {})


@test("errors of other kinds and echo are not about connections: redirects "
      "and parameter problems do not reach the server, echo is answered")
def other_kinds(lab):
    request = lab.connect(udp, NAT)
    for error in (5, 1, 0x0a000101), (12, 0, 0):
        lab.expect(lab.client, about(ROUTER, VIP, request.back(), error), {})
        sent = about(RIP, CIP, as_server_got(request), error)
        lab.expect(lab.server, sent, {lab.client: sent.but(ttl=63)})
    echo = Packet(CIP, VIP, Icmp(8, 0, 0x00010002, b"are you there"))
    lab.expect(lab.client, echo, {lab.client: Packet(
        VIP, CIP, Icmp(0, 0, 0x00010002, b"are you there"), id=None)})


@test("an error whose last hop this is: dropped, and no error about the error")
def last_hop(lab):
    request = lab.connect(udp, NAT)
    lab.expect(lab.client, about(ROUTER, VIP, request.back(), ttl=1), {})


if __name__ == "__main__":
    main(IcmpLab)
