#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""GUE and GRE tunnels, with and without checksums, of each family in each: the
headers between the outer IP header and the packet, byte by byte."""

import struct

from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6, Lab
from lib.packet import (IPPROTO_IPIP, IPPROTO_IPV6, Packet, Packet6, Raw,
                        checksum, icmp6_error, icmp_error,
                        is_ipv6, pseudo_header, tcp, udp)
from lib.tap import equal, main, test

SOURCE, SOURCE6 = "10.0.2.1", "fd00:2::1"
INSIDE = "10.0.2.77"
GUE_PORT, GRE = 6080, 47
# port of the service: how its packets are tunnelled, and what that takes
WAYS = {
    91: ("--tun-type gue --tun-port 6080 --tun-nocsum", 12),
    92: ("--tun-type gue --tun-port 6080 --tun-csum", 12),
    93: ("--tun-type gue --tun-port 6080 --tun-remcsum", 12),
    94: ("--tun-type gre --tun-nocsum", 4),
    95: ("--tun-type gre --tun-csum", 8),
}
SUMMED = 92, 93, 95


class EncapLab(Lab):
    """For each way a service of each family with a server of each: those
    of the other family have a port that is greater by ten."""

    def build(self):
        super().build()
        for port, (options, _length) in WAYS.items():
            for kind in "-t", "-u":
                for vip in VIP, f"[{VIP6}]":
                    for more, server in ((0, RIP), (10, f"[{RIP6}]")):
                        self.ipvs.service(
                            f"{vip}:{port + more}",
                            f"{server}:{port + more} -i {options}", kind=kind)

    def route_mtu(self, mtu):
        """The path MTU to the real servers' networks."""
        self.director.ip(
            f"route replace {self.server.net6}:/64 dev {self.server.name} "
            f"proto kernel metric 256 mtu {mtu}",
            f"route replace {self.server.net}.0/24 dev {self.server.name} "
            f"src {SOURCE} mtu {mtu}")


def cases():
    """Client, virtual address, port, way, and both ends of the tunnel."""
    for client, virtual in (CIP, VIP), (CIP6, VIP6):
        for way in WAYS:
            yield client, virtual, way, way, SOURCE, RIP
            yield client, virtual, way + 10, way, SOURCE6, RIP6


def between(way, inner, source, server, got):
    """What must be between the outer IP header and the packet. A UDP source
    port may be any."""
    number = IPPROTO_IPV6 if isinstance(inner, Packet6) else IPPROTO_IPIP
    inside = bytes(inner)
    if way >= 94:
        kind = 0x86dd if isinstance(inner, Packet6) else 0x0800
        if way != 95:
            return struct.pack("!HH", 0, kind) + inside
        start = struct.pack("!HH", 0x8000, kind)
        check = checksum(start + bytes(4) + inside)
        return start + struct.pack("!HH", check, 0) + inside
    sport = struct.unpack_from("!H", got)[0] if len(got) >= 2 else 0
    load = bytes([0, number, 0, 0]) + inside
    start = struct.pack("!HHH", sport, GUE_PORT, 8 + len(load))
    check = 0
    if way in SUMMED:
        check = checksum(pseudo_header(source, server, 17, 8 + len(load)) +
                         start + b"\0\0" + load) or 0xffff
    return start + struct.pack("!H", check) + load


def arrives(lab, request, way, source, server, **outer):
    """Send a request; it must arrive in its tunnel."""
    inner = request.but(ttl=request.ttl - 1)
    seen = lab.exchange(lab.client, request)
    frames = seen[lab.server]
    equal(len(frames), 1, f"packets at the server by way {way}")
    got = frames[0].ip[40 if is_ipv6(server) else 20:]
    load = Raw(between(way, inner, source, server, got),
               GRE if way >= 94 else 17)
    around = Packet6(source, server, load, label=0) if is_ipv6(server) \
        else Packet(source, server, load, id=None)
    lab.compare(seen, {lab.server: around.but(
        ttl=inner.ttl, tos=inner.tos).but(**outer)})


@test("each family in each, by GUE and GRE, with and without checksum")
def all_ways(lab):
    for client, virtual, port, way, source, server in cases():
        for make in udp, tcp:
            for size in 0, 1, 300:
                arrives(lab, make(client, lab.port(), virtual, port, ttl=33,
                                  tos=0xb8, payload=bytes(range(256))[:size]),
                        way, source, server)


@test("DF of IPv4 goes outward to IPv4")
def dont_fragment(lab):
    for way in WAYS:
        arrives(lab, udp(CIP, lab.port(), VIP, way, df=True), way, SOURCE, RIP,
                df=True, id=0)


@test("the tunnel takes what its headers take from the route's MTU")
def mtu(lab):
    lab.route_mtu(1400)
    for client, virtual, port, way, source, server in cases():
        left = 1400 - WAYS[way][1] - (40 if is_ipv6(server) else 20)
        cport = lab.port()
        head = 48 if is_ipv6(client) else 28
        more = {} if is_ipv6(client) else {"df": True}
        outer = {"df": True, "id": 0} if more and not is_ipv6(server) else {}
        fits = udp(client, cport, virtual, port, bytes(left - head), **more)
        arrives(lab, fits, way, source, server, **outer)
        request = fits.but(payload=bytes(left - head + 1))
        quoted = request.but(ttl=request.ttl - 1)
        error = icmp6_error(virtual, client, 2, 0, quoted, rest=left) \
            if is_ipv6(client) else \
            icmp_error(virtual, client, 3, 4, quoted, rest=left)
        lab.expect(lab.client, request, {lab.client: error})
    lab.route_mtu(1500)


@test("a router in the path of an IPv4 tunnel: its error is told to the client "
      "about the packet inside")
def errors(lab):
    for way in WAYS:
        request = udp(CIP, lab.port(), VIP, way, bytes(400), df=True)
        frames = lab.exchange(lab.client, request)[lab.server]
        equal(len(frames), 1, "packets at the server")
        quoted = bytes(frames[0].ip)
        sent = icmp_error(INSIDE, SOURCE, 3, 1, quoted, limit=2000, tos=0)
        inner = bytes(request.but(ttl=63))
        lab.expect(lab.server, sent, {
            lab.client: icmp_error(VIP, CIP, 3, 1, inner)})


@test("an error about a tunnel that nobody has is not IPVS's business")
def foreign_errors(lab):
    request = udp(CIP, lab.port(), VIP, 91)
    frames = lab.exchange(lab.client, request)[lab.server]
    equal(len(frames), 1, "packets at the server")
    for at, value in ((23, b"\x01"), (28, b"\x20"), (29, b"\x06")):
        quoted = bytearray(frames[0].ip)
        quoted[at:at + 1] = value
        lab.expect(lab.server, icmp_error(INSIDE, SOURCE, 3, 1, bytes(quoted)),
                   {})


@test("what was set is shown")
def shown(lab):
    saved = lab.ipvs.saved()
    for port, (options, _length) in WAYS.items():
        line = f"-a -u {VIP}:{port} -r {RIP}:{port} -i -w 1"
        found = [other for other in saved if line in other]
        equal(len(found), 1, f"lines with {line!r} in {saved}")
        for option in ("gue", "gre"):
            equal(f"--tun-type {option}" in found[0], option in options,
                  f"{option} in {found[0]!r}")


if __name__ == "__main__":
    main(lambda: EncapLab(ipv6=True))
