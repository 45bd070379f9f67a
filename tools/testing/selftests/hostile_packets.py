#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""Packets that no honest sender makes.

Each named case says what arrives at the real server, or that nothing does:
what the C module lets pass (and it looks at little) passes, what it drops is
dropped. Random ones follow, whose only promise is that nothing breaks and
that no connection appears that no service asked for.
"""

import random
import struct
from socket import inet_aton

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import (ACK, FIN, IPPROTO_ICMP, IPPROTO_IPIP, RST, SYN, Icmp,
                        Packet, Raw, checksum, icmp_error, tcp, udp)
from lib.tap import equal, main, test

NAT, TUNNEL, DIRECT = 81, 82, 83
METHODS = {NAT: "-m", TUNNEL: "-i", DIRECT: "-g"}


class HostileLab(Lab):
    """A TCP and a UDP service for each way to forward."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            for vport, method in METHODS.items():
                self.ipvs.service(f"{VIP}:{vport}",
                                  f"{RIP}:{vport} {method}", kind=kind)

    def connected(self):
        """Client ports that have connections."""
        return {found.cport for found in self.ipvs.connections()}

    def silent(self, *packets):
        """None of these reaches anybody, or makes a connection."""
        before = self.connected()
        for number, packet in enumerate(packets):
            seen = self.exchange(self.client, packet)
            equal([frame.ip.hex() for frames in seen.values()
                   for frame in frames], [], f"frames after packet {number}")
        equal(self.connected(), before, "connections")


def cut(packet, size, **more):
    """A packet whose transport part ends after so many bytes, honestly
    declared in the IP header."""
    body = packet.l4.build(packet.src, packet.dst)[:size]
    return packet.but(l4=Raw(body, packet.l4.protocol), **more)


@test("a transport header that is cut off opens no connection and reaches "
      "nobody")
def short_headers(lab):
    for vport in METHODS:
        lab.silent(*(cut(udp(CIP, lab.port(), VIP, vport), size)
                     for size in range(8)))
        lab.silent(*(cut(tcp(CIP, lab.port(), VIP, vport), size)
                     for size in (0, 1, 3, 4, 7, 8, 12, 13, 14, 19)))


@test("on a connection: NAT drops a header that is cut off, as it has to "
      "change it; direct routing passes what has ports")
def short_headers_of_connection(lab):
    for make, full in ((udp, 8), (tcp, 20)):
        request = make(CIP, lab.port(), VIP, NAT)
        lab.exchange(lab.client, request)
        for size in (0, 2, 4, full - 1):
            lab.expect(lab.client, cut(request, size), {})
        request = make(CIP, lab.port(), VIP, DIRECT)
        lab.exchange(lab.client, request)
        for size in (4, full - 1):
            lab.expect(lab.client, cut(request, size),
                       {lab.server: cut(request, size, ttl=63)})
        for size in (0, 3):
            lab.expect(lab.client, cut(request, size), {})


@test("an IP header that is wrong is dropped before anybody looks: version, "
      "length, checksum, total length")
def ip_headers(lab):
    for make in udp, tcp:
        good = make(CIP, lab.port(), VIP, NAT)
        size = len(bytes(good))
        lab.silent(good.but(version=6), good.but(version=0), good.but(ihl=4),
                   good.but(ihl=0), good.but(ihl=15, total=size),
                   good.but(header_check=0x1234), good.but(total=19),
                   good.but(total=0), good.but(total=size + 1),
                   good.but(total=0xffff),
                   good.but(src="255.255.255.255"), good.but(src="224.0.0.1"),
                   good.but(src=VIP), good.but(src="127.0.0.1"),
                   good.but(src="0.0.0.0"))


@test("a total length that is less than the frame cuts the packet, as IP has "
      "it; what comes after is padding")
def padding(lab):
    request = udp(CIP, lab.port(), VIP, NAT, b"short", check=0x1234)
    padded = request.but(l4=Raw(request.l4.build(CIP, VIP) + b"padding" * 5,
                                17), total=28 + 5)
    seen = lab.exchange(lab.client, padded)[lab.server]
    equal([len(frame.ip) for frame in seen], [33], "lengths")
    equal(seen[0].ip[-5:], b"short")


@test("a frame with less in it than an IP header, or no packet at all")
def no_packet(lab):
    for size in (0, 1, 19):
        lab.silent(bytes(udp(CIP, lab.port(), VIP, NAT))[:size] or b"\0")


@test("a wrong data offset, a wrong UDP length, reserved bits: not IPVS's "
      "business, they arrive with the checksum's error intact")
def transport_nonsense(lab):
    for offset in (0, 4, 6, 15):
        request = tcp(CIP, lab.port(), VIP, NAT, offset=offset)
        lab.expect(lab.client, request,
                   {lab.server: request.but(dst=RIP, ttl=63)})
    for length in (0, 7, 8, 100, 0xffff):
        request = udp(CIP, lab.port(), VIP, NAT, length=length)
        lab.expect(lab.client, request,
                   {lab.server: request.but(dst=RIP, ttl=63)})


@test("ports 0 and 65535 are ports")
def odd_ports(lab):
    for make in udp, tcp:
        for cport in (0, 0xffff):
            request = make(CIP, cport, VIP, NAT)
            lab.expect(lab.client, request,
                       {lab.server: request.but(dst=RIP, ttl=63)})
            reply = request.back(src=RIP)
            lab.expect(lab.server, reply,
                       {lab.client: reply.but(src=VIP, ttl=63)})


@test("TCP with every combination of flags opens a connection only with SYN "
      "and without RST")
def flags(lab):
    opened = {}
    for bits in range(64):
        cport = lab.port()
        lab.client.send(tcp(CIP, cport, VIP, NAT, bits))
        opened[cport] = bool(bits & SYN and not bits & RST)
    lab.settle()
    have = lab.connected()
    equal({cport: cport in have for cport in opened}, opened, "connections")


@test("fragments that overlap, contradict or never become whole reach nobody")
def bad_fragments(lab):
    request = udp(CIP, lab.port(), VIP, NAT, bytes(range(64)))
    first, second = request.fragments(32)
    lab.silent(first)                                   # the rest is missing
    request = request.but(id=2)
    first, second = request.fragments(32)
    lab.silent(second)                                  # the ports are missing
    request = request.but(id=3)
    first, second = request.fragments(32)
    lab.silent(first, second.but(frag=2))               # overlap
    lab.silent(request.but(id=4, frag=8191, mf=False))  # beyond 64 KiB
    lab.silent(first.but(id=5, l4=Raw(bytes(33), 17)))  # no multiple of eight


@test("fragments so small that the transport header is in pieces are put "
      "together; one that comes twice does no harm")
def tiny_fragments(lab):
    request = tcp(CIP, lab.port(), VIP, NAT, id=20, payload=b"x" * 28)
    wanted = request.but(dst=RIP, ttl=63)
    lab.expect(lab.client, request.fragments(8, 16, 24, 32, 40),
               {lab.server: wanted.fragments(8, 16, 24, 32, 40)})
    request = request.but(id=21)
    first, *rest = request.fragments(24)
    lab.expect(lab.client, [first, first, *rest],
               {lab.server: request.but(dst=RIP, ttl=63).fragments(24)})


@test("options: source routes are dropped, broken ones answered or dropped, "
      "and none of it reaches the server")
def bad_options(lab):
    before = lab.connected()
    for options in (b"\x83\x07\x04\x0a\x00\x02\x02\x00",    # loose route
                    b"\x89\x07\x04\x0a\x00\x02\x02\x00",    # strict route
                    b"\x07\x27\x04\x00",                    # too long
                    b"\x07\x02\x04\x00",                    # too short
                    b"\x07\x07\x03\x00\x00\x00\x00\x00",    # bad pointer
                    b"\x44\x03\x05\x00",                    # short timestamp
                    b"\x01\x01\x01\x07"):                   # without a length
        for make in udp, tcp:
            seen = lab.exchange(lab.client, make(
                CIP, lab.port(), VIP, NAT, options=options))
            equal(seen[lab.server], [], f"options {options.hex()}")
    equal(lab.connected(), before, "connections")


@test("a record of the route: the director's address is in it, and the "
      "header's checksum is right, by each way to forward")
def record_route(lab):
    for vport in METHODS:
        for make in udp, tcp:
            request = make(CIP, lab.port(), VIP, vport,
                           options=b"\7\x0b\4" + bytes(8) + b"\1")
            arrives = request.but(ttl=63, options=b"\7\x0b\x08" +
                                  inet_aton(VIP) + bytes(4) + b"\1")
            if vport == NAT:
                arrives = arrives.but(dst=RIP)
            if vport == TUNNEL:
                arrives = Packet("10.0.2.1", RIP,
                                 Raw(bytes(arrives), IPPROTO_IPIP), ttl=63,
                                 id=None)
            lab.expect(lab.client, request, {lab.server: arrives})


@test("protocols that IPVS does not know are the local stack's")
def other_protocols(lab):
    strange = Packet(CIP, VIP, Raw(b"nobody knows this", 250))
    lab.expect(lab.client, strange,
               {lab.client: icmp_error(VIP, CIP, 3, 2, strange)})


@test("ICMP errors whose quoted header lies: version, length, protocol, "
      "fragment; nobody gets them but whom they were for")
def icmp_lies(lab):
    request = udp(CIP, lab.port(), VIP, NAT)
    lab.exchange(lab.client, request)
    reply = request.back()
    asked = request.but(dst=RIP)
    for change in ({"version": 6}, {"version": 0}, {"ihl": 0}, {"ihl": 4},
                   {"ihl": 15}, {"protocol": 6}, {"protocol": 250},
                   {"frag": 1}, {"protocol": 4}, {"protocol": 47},
                   {"src": "10.99.99.99"}):
        lab.expect(lab.client, icmp_error(
            "192.0.2.77", VIP, 3, 1, reply.sealed().but(**change)), {})
        sent = icmp_error(RIP, CIP, 3, 1, asked.sealed().but(**change))
        if "src" in change:
            continue
        lab.expect(lab.server, sent, {lab.client: sent.but(
            ttl=63, id=0)})
    for size in range(8):
        lab.expect(lab.client, Packet("192.0.2.77", VIP, Raw(
            b"\3\1\0\0\0\0\0\0"[:size], 1)), {})


def mutated(rng, packet):
    """The packet's bytes with some changed, cut off or added."""
    data = bytearray(bytes(packet))
    for _ in range(rng.randint(0, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < .2:
        del data[rng.randrange(1, len(data)):]
    if rng.random() < .2:
        data += rng.randbytes(rng.randrange(1, 64))
    if rng.random() < .7 and len(data) >= 20:
        return bytes(fixed_header(data))
    return bytes(data)


def fixed_header(data):
    """With a header checksum and a length that let it pass IP's own look."""
    data[0] = 0x40 | data[0] & 15
    if (data[0] & 15) * 4 > len(data) or data[0] & 15 < 5:
        data[0] = 0x45
    data[2:4] = struct.pack("!H", len(data))
    data[10:12] = b"\0\0"
    data[10:12] = struct.pack("!H", checksum(
        bytes(data[:(data[0] & 15) * 4])))
    return data


def template(rng):
    """Who sends it, and what would be an honest packet."""
    vport, cport = rng.choice(list(METHODS)), rng.randrange(1000, 1100)
    make = rng.choice((udp, tcp))
    request = make(CIP, cport, VIP, vport, payload=rng.randbytes(
        rng.randrange(64)), options=rng.choice((b"", rng.randbytes(8))))
    if make is tcp:
        request = request.but(flags=rng.choice((SYN, ACK, FIN | ACK, RST)))
    reply = request.but(dst=RIP).back()
    kind = rng.randrange(8)
    if kind < 3:
        return "client", request
    if kind < 5:
        return "server", reply
    if kind < 6:
        return "client", rng.choice(request.but(
            id=rng.randrange(8)).fragments(8))
    quoted = rng.choice((request, request.but(dst=RIP), request.back()))
    data = bytes(quoted)[:rng.randrange(48)]
    error = Icmp(rng.choice((3, 4, 5, 11, 12)), rng.randrange(5), 0, data)
    if kind < 7:
        return "client", Packet("192.0.2.77", VIP, error)
    return "server", Packet(RIP, CIP, error)


@test("3000 random packets: nothing breaks, and every connection is one that "
      "a service asked for")
def random_packets(lab):
    rng = random.Random(20)
    hosts = {host.name: host for host in lab.hosts}
    hosts["server"] = lab.server
    for number in range(3000):
        name, packet = template(rng)
        hosts[name].send(mutated(rng, packet))
        if number % 250 == 0:
            lab.settle()
    lab.settle()
    strange = [found for found in lab.ipvs.connections()
               if found.vaddr != VIP or found.vport not in METHODS or
               found.daddr != RIP or found.protocol not in ("TCP", "UDP")]
    equal(strange, [], "connections of nobody")
    for vport in METHODS:
        request = udp(CIP, lab.port(), VIP, vport)
        # For seconds the director still says which of the server's packets
        # had no neighbour to go to.
        seen = lab.exchange(lab.client, request)[lab.server]
        equal(len([frame for frame in seen if frame.ip[9] != IPPROTO_ICMP]),
              1, "packets at the server, afterwards")


if __name__ == "__main__":
    main(HostileLab)
