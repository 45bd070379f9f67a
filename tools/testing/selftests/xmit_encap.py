#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""GUE and GRE tunnels, with and without checksums, of each family in each: the
headers between the outer IP header and the packet, byte by byte."""

from lib.encap import (GRE, GRE_CSUM, GUE, GUE_CSUM, GUE_REMCSUM, between)
from lib.family import FAMILIES, IPV4, IPV6, end
from lib.lab import Lab
from lib.packet import Raw, icmp_error, tcp, udp
from lib.tap import equal, main, module_under_test, test

# number: how packets are tunnelled
WAYS = {91: GUE, 92: GUE_CSUM, 93: GUE_REMCSUM, 94: GRE, 95: GRE_CSUM}


def port_of(way, outer):
    """Return the port of the services with a server of that family."""
    return way + 10 if outer is IPV6 else way


class EncapLab(Lab):
    """Services of each family with a server of each, for each tunnel."""

    def build(self):
        super().build()
        for ip, outer, way in cases():
            port = port_of(way, outer)
            for kind in "-t", "-u":
                self.ipvs.service(
                    end(ip.vip, port), f"{end(outer.rip, port)} -i "
                    f"{WAYS[way].options}", kind=kind)


def cases():
    """Yield the family of a client and its service, the family of the server,
    and the way to tunnel."""
    for ip in FAMILIES:
        for way in WAYS:
            for outer in FAMILIES:
                yield ip, outer, way


def arrives(lab, request, way, outer, **fields):
    """Send a request; it must arrive in its tunnel."""
    inner = request.but(ttl=request.ttl - 1)
    seen = lab.exchange(lab.client, request)
    frames = seen[lab.server]
    equal(len(frames), 1, f"packets at the server by way {way}")
    load = between(WAYS[way], inner, (outer.source, outer.rip),
                   frames[0].ip[outer.header:])
    lab.compare(seen, {lab.server: outer.around(
        inner, Raw(load, WAYS[way].protocol), **fields)})


@test("each family in each, by GUE and GRE, with and without checksum")
def all_ways(lab):
    for ip, outer, way in cases():
        for make in udp, tcp:
            for size in 0, 1, 300:
                arrives(lab, make(ip.cip, lab.port(), ip.vip,
                                  port_of(way, outer), ttl=33, tos=0xb8,
                                  payload=bytes(range(256))[:size]),
                        way, outer)


@test("DF of IPv4 goes outward to IPv4")
def dont_fragment(lab):
    for way in WAYS:
        arrives(lab, udp(IPV4.cip, lab.port(), IPV4.vip, way, df=True), way,
                IPV4, df=True, id=0)


@test("the tunnel takes what its headers take from the route's MTU")
def mtu(lab):
    for ip, outer, way in cases():
        left = 1400 - WAYS[way].length - outer.header
        longest = left - ip.header - 8
        both_ipv4 = ip is outer is IPV4
        with outer.narrow(lab.server, 1400):
            fits = udp(ip.cip, lab.port(), ip.vip, port_of(way, outer),
                       bytes(longest), **ip.whole)
            arrives(lab, fits, way, outer,
                    **{"df": True, "id": 0} if both_ipv4 else {})
            request = fits.but(payload=bytes(longest + 1))
            quoted = request.but(ttl=request.ttl - 1)
            lab.expect(lab.client, request, {lab.client: ip.error(
                ip.vip, ip.cip, ip.too_big, quoted, left)})


@test("a router in the path of an IPv4 tunnel: its error is told to the client "
      "about the packet inside")
def errors(lab):
    for way in WAYS:
        request = udp(IPV4.cip, lab.port(), IPV4.vip, way, bytes(400),
                      df=True)
        frames = lab.exchange(lab.client, request)[lab.server]
        equal(len(frames), 1, "packets at the server")
        sent = IPV4.router_error(IPV4.inside, IPV4.source, IPV4.unreachable,
                                 frames[0].ip, limit=2000)
        lab.expect(lab.server, sent, {lab.client: IPV4.error(
            IPV4.vip, IPV4.cip, IPV4.unreachable, request.but(ttl=63))})


def learns(lab, ip, outer, way, before, after, told):
    """Have a router report an MTU of the way to the server, which was greater
    `before`. The client is told something at once, or not, and at last with
    its next packet that is too long."""
    lost = WAYS[way].length + outer.header
    head = ip.header + 8

    def too_big(quoted, mtu):
        return {lab.client: ip.error(ip.vip, ip.cip, ip.too_big, quoted, mtu)}
    port = port_of(way, outer)
    request = udp(ip.cip, lab.port(), ip.vip, port,
                  bytes(before - lost - head), **ip.whole)
    frames = lab.exchange(lab.client, request)[lab.server]
    equal(len(frames), 1, f"packets at the server by way {port}")
    inner = bytes(request.but(ttl=63))
    error = outer.router_error(outer.inside, outer.source, outer.too_big,
                               frames[0].ip, after)
    quoted = inner[:len(error.l4.payload) - lost]
    lab.expect(lab.server, error,
               too_big(quoted, told - lost) if told else {})
    lab.expect(lab.client, request, too_big(inner, after - lost))
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
        learns(lab, IPV4, IPV4, way, mtu, mtu - 20, told)
        mtu -= 20


@test("the same of an IPv6 tunnel, of which the C module does not know",
      modules=("rust",))
def path_mtu6(lab):
    mtu = 1500
    for way in WAYS:
        learns(lab, IPV6, IPV6, way, mtu, mtu - 20, mtu - 20)
        mtu -= 20


@test("of a tunnel with a packet of the other family it is learned without a "
      "word, which the C module does not do", modules=("rust",))
def path_mtu_mixed(lab):
    for way, mtu in zip(WAYS, range(1400, 1350, -10)):
        learns(lab, IPV6, IPV4, way, mtu, mtu - 10, None)
        learns(lab, IPV4, IPV6, way, mtu, mtu - 10, None)


@test("an error about a tunnel that nobody has is not IPVS's business")
def foreign_errors(lab):
    request = udp(IPV4.cip, lab.port(), IPV4.vip, 91)
    frames = lab.exchange(lab.client, request)[lab.server]
    equal(len(frames), 1, "packets at the server")
    for at, value in ((23, b"\x01"), (28, b"\x20"), (29, b"\x06")):
        quoted = bytearray(frames[0].ip)
        quoted[at:at + 1] = value
        lab.expect(lab.server, icmp_error(IPV4.inside, IPV4.source, 3, 1,
                                          bytes(quoted)), {})


@test("what was set is shown")
def shown(lab):
    saved = lab.ipvs.saved()
    for port, tunnel in WAYS.items():
        line = f"-a -u {end(IPV4.vip, port)} -r {end(IPV4.rip, port)} -i -w 1"
        found = [other for other in saved if line in other]
        equal(len(found), 1, f"lines with {line!r} in {saved}")
        for option in ("gue", "gre"):
            equal(f"--tun-type {option}" in found[0],
                  option in tunnel.options,
                  f"{option} in {found[0]!r}")


if __name__ == "__main__":
    main(lambda: EncapLab(ipv6=True))
