#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""Tunnels with IPv6 inside, outside or both: every field of the outer header,
and the packet inside, which loses a hop and nothing else."""

from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6, Lab
from lib.packet import (IPPROTO_DSTOPTS, IPPROTO_IPIP, IPPROTO_IPV6, Packet,
                        Packet6, Raw, icmp6_error, icmp_error, is_ipv6,
                        options_header, tcp, udp)
from lib.tap import equal, main, test

SOURCE, SOURCE6 = "10.0.2.1", "fd00:2::1"
# port: the server's address
SERVERS = {84: RIP, 86: RIP6}


class TunnelLab(Lab):
    """Services of each family with a server of each, behind a tunnel."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            for port, server in SERVERS.items():
                server = f"[{server}]" if is_ipv6(server) else server
                for vip in VIP, f"[{VIP6}]":
                    self.ipvs.service(f"{vip}:{port}", f"{server}:{port} -i",
                                      kind=kind)

    def route_mtu(self, mtu):
        """The path MTU to the real servers' networks."""
        self.director.ip(
            f"route replace {self.server.net6}:/64 dev {self.server.name} "
            f"proto kernel metric 256 mtu {mtu}",
            f"route replace {self.server.net}.0/24 dev {self.server.name} "
            f"src {SOURCE} mtu {mtu}")


def ends(family, port):
    """Client and virtual address, and where the tunnel begins and ends."""
    client, virtual = (CIP6, VIP6) if family == 6 else (CIP, VIP)
    return client, virtual, SOURCE6 if is_ipv6(SERVERS[port]) else SOURCE, \
        SERVERS[port]


def inner(request):
    """The packet in the tunnel."""
    return request.but(ttl=request.ttl - 1)


def tunnelled(request, source, server, **outer):
    """The packet around it."""
    request = inner(request)
    number = IPPROTO_IPV6 if isinstance(request, Packet6) else IPPROTO_IPIP
    around = Packet6(source, server, Raw(bytes(request), number), label=0) \
        if is_ipv6(server) else \
        Packet(source, server, Raw(bytes(request), number), id=None)
    return around.but(ttl=request.ttl, tos=request.tos).but(**outer)


@test("each family in each: a request arrives whole, from the route's source "
      "to the real server")
def request_in_tunnel(lab):
    for family in 4, 6:
        for port in SERVERS:
            client, virtual, source, server = ends(family, port)
            for make in udp, tcp:
                request = make(client, lab.port(), virtual, port, ttl=33)
                lab.expect(lab.client, request,
                           {lab.server: tunnelled(request, source, server)})


@test("traffic class and ECN are copied outward; congestion that was met "
      "outside is not told to the tunnel")
def outer_tos(lab):
    for family in 4, 6:
        for port in SERVERS:
            client, virtual, source, server = ends(family, port)
            cport = lab.port()
            for tos, outside in ((0x00, 0x00), (0xb8, 0xb8), (0x01, 0x01),
                                 (0x02, 0x02), (0x03, 0x02), (0xbb, 0xba)):
                request = udp(client, cport, virtual, port, tos=tos)
                lab.expect(lab.client, request, {lab.server: tunnelled(
                    request, source, server, tos=outside)})


@test("a hop is counted once; the last one brings time-exceeded")
def ttl(lab):
    for family in 4, 6:
        for port in SERVERS:
            client, virtual, source, server = ends(family, port)
            cport = lab.port()
            request = udp(client, cport, virtual, port, ttl=2)
            lab.expect(lab.client, request, {lab.server: tunnelled(
                request, source, server, ttl=1)})
            request = udp(client, cport, virtual, port, ttl=1)
            error = icmp6_error(virtual, client, 3, 0, request) \
                if family == 6 else icmp_error(virtual, client, 11, 0, request)
            lab.expect(lab.client, request, {lab.client: error})


@test("DF of IPv4 goes outward to IPv4; IPv6 has none and gets none")
def dont_fragment(lab):
    for df in False, True:
        client, virtual, source, server = ends(4, 84)
        request = udp(client, lab.port(), virtual, 84, df=df)
        lab.expect(lab.client, request, {lab.server: tunnelled(
            request, source, server, df=df, id=0 if df else None)})
        client, virtual, source, server = ends(4, 86)
        request = udp(client, lab.port(), virtual, 86, df=df)
        lab.expect(lab.client, request,
                   {lab.server: tunnelled(request, source, server)})


@test("extension headers and checksums inside are not touched")
def inside(lab):
    for port in SERVERS:
        client, virtual, source, server = ends(6, port)
        for more in ({"check": 0x1234}, {"check": 0},
                     {"extensions": (options_header(IPPROTO_DSTOPTS, 24),)}):
            request = udp(client, lab.port(), virtual, port, **more)
            lab.expect(lab.client, request,
                       {lab.server: tunnelled(request, source, server)})


@test("the tunnel takes 20 or 40 bytes less than the route: what fits passes, "
      "the next brings an error with that MTU")
def mtu(lab):
    lab.route_mtu(1400)
    for port, left in ((84, 1380), (86, 1360)):
        client, virtual, source, server = ends(6, port)
        cport = lab.port()
        fits = udp(client, cport, virtual, port, bytes(left - 48))
        lab.expect(lab.client, fits,
                   {lab.server: tunnelled(fits, source, server)})
        request = fits.but(payload=bytes(left - 47))
        lab.expect(lab.client, request, {lab.client: icmp6_error(
            virtual, client, 2, 0, inner(request), rest=left)})
        client, virtual, source, server = ends(4, port)
        fits = udp(client, lab.port(), virtual, port, bytes(left - 28),
                   df=True)
        ident = {} if port == 86 else {"df": True, "id": 0}
        lab.expect(lab.client, fits,
                   {lab.server: tunnelled(fits, source, server, **ident)})
        request = fits.but(payload=bytes(left - 27))
        lab.expect(lab.client, request, {lab.client: icmp_error(
            virtual, client, 3, 4, inner(request), rest=left)})
    lab.route_mtu(1500)


@test("an IPv6 tunnel of less than 1280 bytes is none: dropped without a word")
def tiny_path(lab):
    lab.route_mtu(1319)
    for family in 4, 6:
        client, virtual, source, server = ends(family, 86)
        request = udp(client, lab.port(), virtual, 86)
        lab.expect(lab.client, request, {})
    lab.route_mtu(1320)
    for family in 4, 6:
        client, virtual, source, server = ends(family, 86)
        request = udp(client, lab.port(), virtual, 86)
        lab.expect(lab.client, request,
                   {lab.server: tunnelled(request, source, server)})
    lab.route_mtu(1500)


@test("without DF, IPv4 in IPv6 is sent in fragments of the outer packet")
def outer_fragments(lab):
    client, virtual, source, server = ends(4, 86)
    request = udp(client, lab.port(), virtual, 86, bytes(1472))
    seen = lab.exchange(lab.client, request)
    frames = seen[lab.server]
    ident = int.from_bytes(frames[0].ip[44:48], "big") if frames else 0
    lab.compare(seen, {lab.server: tunnelled(
        request, source, server).fragments(1448, ident=ident)})


@test("servers of the other family are listed with their own addresses")
def listings(lab):
    client, virtual, _source, _server = ends(6, 84)
    cport = lab.port()
    lab.exchange(lab.client, tcp(client, cport, virtual, 84))
    found = lab.ipvs.connection(cport)
    equal((found.caddr, found.vaddr, found.daddr), (client, virtual, RIP))
    client, virtual, _source, _server = ends(4, 86)
    cport = lab.port()
    lab.exchange(lab.client, tcp(client, cport, virtual, 86))
    found = lab.ipvs.connection(cport)
    equal((found.caddr, found.vaddr, found.daddr), (client, virtual, RIP6))
    saved = lab.ipvs.saved()
    for line in (f"-a -t [{VIP6}]:84 -r {RIP}:84 -i -w 1",
                 f"-a -t {VIP}:86 -r [{RIP6}]:86 -i -w 1"):
        equal(any(line in other for other in saved), True,
              f"{line!r} in {saved}")


if __name__ == "__main__":
    main(lambda: TunnelLab(ipv6=True))
