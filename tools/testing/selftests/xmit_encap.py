#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""GUE and GRE tunnels, with and without checksums, of each family in each: the
headers between the outer IP header and the packet, byte by byte."""

from lib.encap import (GRE, GRE_CSUM, GUE, GUE_CSUM, GUE_REMCSUM, between)
from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6, Lab
from lib.packet import (Packet, Packet6, Raw, icmp6_error, icmp_error,
                        is_ipv6, tcp, udp)
from lib.tap import equal, main, module_under_test, test

SOURCE, SOURCE6 = "10.0.2.1", "fd00:2::1"
INSIDE, INSIDE6 = "10.0.2.77", "fd00:2::77"
# port of the service: how its packets are tunnelled
WAYS = {91: GUE, 92: GUE_CSUM, 93: GUE_REMCSUM, 94: GRE, 95: GRE_CSUM}


class EncapLab(Lab):
    """For each way a service of each family with a server of each: those
    of the other family have a port that is greater by ten."""

    def build(self):
        super().build()
        for port, tunnel in WAYS.items():
            for kind in "-t", "-u":
                for vip in VIP, f"[{VIP6}]":
                    for more, server in ((0, RIP), (10, f"[{RIP6}]")):
                        self.ipvs.service(
                            f"{vip}:{port + more}",
                            f"{server}:{port + more} -i {tunnel.options}",
                            kind=kind)

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


def arrives(lab, request, way, source, server, **outer):
    """Send a request; it must arrive in its tunnel."""
    inner = request.but(ttl=request.ttl - 1)
    seen = lab.exchange(lab.client, request)
    frames = seen[lab.server]
    equal(len(frames), 1, f"packets at the server by way {way}")
    got = frames[0].ip[40 if is_ipv6(server) else 20:]
    load = Raw(between(WAYS[way], inner, (source, server), got),
               WAYS[way].protocol)
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
        left = 1400 - WAYS[way].length - (40 if is_ipv6(server) else 20)
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


def too_big(client, virtual, quoted, mtu):
    """What the director tells a client whose packet is too long."""
    if is_ipv6(client):
        return icmp6_error(virtual, client, 2, 0, quoted, mtu)
    return icmp_error(virtual, client, 3, 4, quoted, mtu)


def reported(frame, mtu):
    """What a router behind the director says of a packet in its tunnel."""
    if frame[0] >> 4 == 6:
        return icmp6_error(INSIDE6, SOURCE6, 2, 0, frame, mtu)
    return icmp_error(INSIDE, SOURCE, 3, 4, frame, mtu, tos=0)


def learns(lab, client, virtual, port, way, before, after, told):
    """Have a router report an MTU of the way to the server, which was greater
    `before`. The client is told something at once, or not, and at last with
    its next packet that is too long."""
    lost = WAYS[way].length + (20 if way == port else 40)
    head = 48 if is_ipv6(client) else 28
    more = {} if is_ipv6(client) else {"df": True}
    request = udp(client, lab.port(), virtual, port,
                  bytes(before - lost - head), **more)
    frames = lab.exchange(lab.client, request)[lab.server]
    equal(len(frames), 1, f"packets at the server by way {port}")
    inner = bytes(request.but(ttl=63))
    error = reported(frames[0].ip, after)
    quoted = inner[:len(error.l4.payload) - lost]
    lab.expect(lab.server, error, {lab.client: too_big(
        client, virtual, quoted, told - lost)} if told else {})
    lab.expect(lab.client, request, {
        lab.client: too_big(client, virtual, inner, after - lost)})
    fits = request.but(payload=bytes(after - lost - head))
    frames = lab.exchange(lab.client, fits)[lab.server]
    equal([len(frame.ip) for frame in frames], [after])


@test("a path MTU that a router reports of an IPv4 tunnel is learned: the "
      "client is told, and told the right one at last")
def path_mtu(lab):
    mtu = 1500
    for way in WAYS:
        # Of a way that has had its route's MTU so far, the C module tells
        # that; see icmp.py.
        told = 1500 if mtu == 1500 and module_under_test() == "c" \
            else mtu - 20
        learns(lab, CIP, VIP, way, way, mtu, mtu - 20, told)
        mtu -= 20


@test("the same of an IPv6 tunnel, of which the C module does not know",
      modules=("rust",))
def path_mtu6(lab):
    mtu = 1500
    for way in WAYS:
        learns(lab, CIP6, VIP6, way + 10, way, mtu, mtu - 20, mtu - 20)
        mtu -= 20


@test("of a tunnel with a packet of the other family it is learned without a "
      "word, which the C module does not do", modules=("rust",))
def path_mtu_mixed(lab):
    for way, mtu in zip(WAYS, range(1400, 1350, -10)):
        learns(lab, CIP6, VIP6, way, way, mtu, mtu - 10, None)
        learns(lab, CIP, VIP, way + 10, way, mtu, mtu - 10, None)


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
    for port, tunnel in WAYS.items():
        line = f"-a -u {VIP}:{port} -r {RIP}:{port} -i -w 1"
        found = [other for other in saved if line in other]
        equal(len(found), 1, f"lines with {line!r} in {saved}")
        for option in ("gue", "gre"):
            equal(f"--tun-type {option}" in found[0],
                  option in tunnel.options,
                  f"{option} in {found[0]!r}")


if __name__ == "__main__":
    main(lambda: EncapLab(ipv6=True))
