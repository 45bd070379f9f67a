#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""Tunnels of IPv4 and IPv6 in each other: every field of the outer header,
and the packet inside, which loses a hop and nothing else."""

from lib.family import FAMILIES, IPV4, IPV6, end
from lib.lab import Lab
from lib.packet import tcp, udp
from lib.tap import Skip, equal, main, test_each
from lib.vs import Settings

# Ports of the services whose server has an address of this family.
PORTS = {IPV4: 84, IPV6: 86}


class Way:
    """A service of one family with a server of the same or of the other."""

    def __init__(self, inner, outer):
        self.inner, self.outer, self.port = inner, outer, PORTS[outer]

    def __str__(self):
        return f"{self.inner} in {self.outer}"

    def request(self, make, cport, **more):
        """Return a client's packet to the service."""
        return make(self.inner.cip, cport, self.inner.vip, self.port, **more)

    def tunnelled(self, request, **outer):
        """Return the packet that the server receives. Only IPv4 in IPv4 has
        DF in the outer header, if the inner one has. Linux sends the ID 0
        with DF, and any ID without."""
        if self.outer is IPV4 and getattr(request, "df", False):
            outer = {"df": True, "id": 0} | outer
        return self.outer.encapsulated(passed(request), **outer)

    def may_be_cut(self):
        """Return the fields of an outer header without DF."""
        return {"df": False, "id": None} if self.outer is IPV4 else {}

    def error(self, kind, quoted, rest=0):
        """Return the ICMP error that the client receives."""
        return self.inner.error(self.inner.vip, self.inner.cip, kind, quoted,
                                rest)

    def cut_outside(self, lab, request, *sent):
        """Send the request, or the fragments `sent`, and check that the server
        receives the outer packet in two fragments that fill the MTU."""
        seen = lab.exchange(lab.client, *sent or [request])
        packet = self.tunnelled(request).but(
            **self.may_be_cut())
        lab.compare(seen, {lab.server: self.outer.cut(
            packet, seen[lab.server], self.outer.first_piece)})


WAYS = [Way(inner, outer) for inner in FAMILIES for outer in FAMILIES]
IPV4_INSIDE = [way for way in WAYS if way.inner is IPV4]


class TunnelLab(Lab):
    """TCP and UDP services of each family with a server of each, behind a
    tunnel."""

    def __init__(self):
        super().__init__(ipv6=True)

    def build(self):
        super().build()
        for way in WAYS:
            for kind in "-t", "-u":
                self.ipvs.service(
                    end(way.inner.vip, way.port),
                    f"{end(way.outer.rip, way.port)} -i", kind=kind)


def passed(request):
    """Return the packet inside the tunnel."""
    return request.but(ttl=request.ttl - 1)


@test_each(WAYS, "a request arrives whole, from the route's source to the "
           "real server; DF goes outward from IPv4 to IPv4 only")
def request_in_tunnel(lab, way):
    for make in udp, tcp:
        for fields in {}, way.inner.whole:
            request = way.request(make, lab.port(), ttl=33, **fields)
            lab.expect(lab.client, request,
                       {lab.server: way.tunnelled(request)})


@test_each(WAYS, "TOS (traffic class) and ECN are copied outward; congestion "
           "that was met outside is not told to the tunnel (RFC 3168, full "
           "functionality)")
def outer_tos(lab, way):
    cport = lab.port()
    for tos, outside in ((0x00, 0x00), (0xb8, 0xb8), (0x10, 0x10),
                         (0x01, 0x01), (0x02, 0x02), (0x03, 0x02),
                         (0xbb, 0xba)):
        request = way.request(udp, cport, tos=tos)
        lab.expect(lab.client, request,
                   {lab.server: way.tunnelled(request, tos=outside)})


@test_each(WAYS, "a hop is counted once: the outer TTL (hop limit) is the "
           "inner one after it, and 1 brings time-exceeded")
def ttl(lab, way):
    cport = lab.port()
    for hops in (2, 64, 255):
        request = way.request(udp, cport, ttl=hops)
        lab.expect(lab.client, request,
                   {lab.server: way.tunnelled(request, ttl=hops - 1)})
    request = way.request(udp, cport, ttl=1)
    lab.expect(lab.client, request, {lab.client: way.error(
        way.inner.time_exceeded, request)})


@test_each(WAYS, "IP options, or extension headers, stay inside; the outer "
           "header has none")
def inner_options(lab, way):
    request = way.request(udp, lab.port(), **way.inner.options)
    lab.expect(lab.client, request, {lab.server: way.tunnelled(request)})


@test_each(WAYS, "checksums inside are not touched, wrong ones and missing "
           "ones either")
def inner_checksums(lab, way):
    for check in 0, 0x1234:
        request = way.request(udp, lab.port(), check=check)
        lab.expect(lab.client, request, {lab.server: way.tunnelled(request)})


@test_each(WAYS, "the tunnel takes its header (20 or 40 bytes) from the "
           "route's MTU: what fits passes, the next (IPv4: with DF) brings an "
           "error with that MTU")
def mtu(lab, way):
    cport = lab.port()
    for route in (1500, 1400, 1320):
        left = route - way.outer.header
        longest = left - way.inner.header - 8
        with way.outer.narrow(lab.server, route):
            fits = way.request(udp, cport, payload=bytes(longest),
                               **way.inner.whole)
            lab.expect(lab.client, fits, {lab.server: way.tunnelled(fits)})
            request = fits.but(payload=bytes(longest + 1))
            lab.expect(lab.client, request, {lab.client: way.error(
                way.inner.too_big, passed(request), left)})


@test_each(IPV4_INSIDE, "without DF the outer packet is sent in fragments")
def mtu_without_df(lab, way):
    way.cut_outside(lab, way.request(udp, lab.port(), payload=bytes(1472)))


@test_each(IPV4_INSIDE, "fragments of a request are put together before they "
           "go into the tunnel")
def fragments(lab, way):
    payload = bytes(n * 7 & 255 for n in range(2000))
    request = way.request(udp, lab.port(), payload=payload)
    way.cut_outside(lab, request, *request.fragments(way.inner.first_piece))


@test_each(WAYS, "a path of less than 68 (IPv6: 1280) bytes inside the tunnel "
           "is no path: dropped without a word; that many is one")
def tiny_path(lab, way):
    cport, least = lab.port(), way.outer.header + way.outer.least_mtu
    request = way.request(udp, cport, payload=bytes(10))
    with way.outer.narrow(lab.server, least - 1):
        lab.expect(lab.client, request, {})
    with way.outer.narrow(lab.server, least):
        lab.expect(lab.client, request, {lab.server: way.tunnelled(request)})


@test_each(IPV4_INSIDE, "pmtu_disc=0: DF is not copied and nothing is refused "
           "for its length")
def no_pmtu_discovery(lab, way):
    if not lab.director.has_sysctl("ipv4/vs/pmtu_disc"):
        raise Skip("no sysctl net.ipv4.vs.pmtu_disc")
    request = way.request(udp, lab.port(), df=True)
    with Settings(lab.director).but(pmtu_disc=0):
        lab.expect(lab.client, request,
                   {lab.server: way.tunnelled(request, **way.may_be_cut())})
        way.cut_outside(lab, request.but(payload=bytes(1472)))


@test_each(WAYS, "servers and connections are listed with their own addresses")
def listings(lab, way):
    request = way.request(tcp, lab.port())
    lab.expect(lab.client, request, {lab.server: way.tunnelled(request)})
    found = lab.ipvs.connection(request.l4.sport)
    equal((found.caddr, found.vaddr, found.daddr),
          (way.inner.cip, way.inner.vip, way.outer.rip))
    saved = lab.ipvs.saved()
    line = (f"-a -t {end(way.inner.vip, way.port)} "
            f"-r {end(way.outer.rip, way.port)} -i -w 1")
    equal(any(line in other for other in saved), True, f"{line!r} in {saved}")


if __name__ == "__main__":
    main(TunnelLab)
