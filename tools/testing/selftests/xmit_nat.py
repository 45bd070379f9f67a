#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""The NAT transmitter and the way back, byte by byte.

Each packet that reaches the other side is compared with one built from
scratch: the addresses, ports, TTL and checksums that must change have their
new values, and every other byte is the one that was sent.
"""

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import (ACK, FIN, PSH, RST, SYN, Icmp, Packet, Raw, icmp_error,
                        tcp, udp, updated_checksum)
from lib.tap import equal, main, test
from socket import inet_aton
import struct

VPORT, RPORT = 80, 8080


class NatLab(Lab):
    """One TCP and one UDP service, one real server by NAT."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            self.ipvs.service(f"{VIP}:{VPORT}", f"{RIP}:{RPORT} -m", kind=kind)

    def route_mtu(self, mtu):
        """The path MTU to the real servers' network."""
        self.director.ip(
            f"route replace {self.server.net}.0/24 dev {self.server.name} "
            f"src {self.server.router} mtu {mtu}")


def translated(request):
    """What the real server gets of a request."""
    return request.but(dst=RIP, dport=RPORT, ttl=request.ttl - 1)


def returned(reply):
    """What the client gets of a reply."""
    return reply.but(src=VIP, sport=VPORT, ttl=reply.ttl - 1)


@test("a UDP request gets the server's address and port, new checksums and "
      "one hop less; nothing else changes")
def udp_request(lab):
    request = udp(CIP, lab.port(), VIP, VPORT, b"abcdefghi", id=0x4321)
    lab.expect(lab.client, request, {lab.server: translated(request)})


@test("a TCP segment too, with its sequence numbers, window, urgent pointer "
      "and options")
def tcp_request(lab):
    request = tcp(CIP, lab.port(), VIP, VPORT, SYN, seq=0xfffffff0,
                  window=12345, urgent=7, tcp_options=b"\2\4\5\xb4\1\3\3\7")
    lab.expect(lab.client, request, {lab.server: translated(request)})


@test("a UDP reply that is forwarded gets the virtual address and port back")
def udp_reply(lab):
    request = udp(CIP, lab.port(), VIP, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(request)})
    reply = translated(request).back(payload=b"the answer", id=99, ttl=50)
    lab.expect(lab.server, reply, {lab.client: returned(reply)})


@test("TCP in both directions through a whole connection: handshake, data, "
      "close, reset")
def tcp_conversation(lab):
    cport = lab.port()
    for sender, flags, payload in (
            (lab.client, SYN, b""), (lab.server, SYN | ACK, b""),
            (lab.client, ACK, b""), (lab.client, PSH | ACK, b"GET /\r\n\r\n"),
            (lab.server, PSH | ACK, bytes(range(256))),
            (lab.server, FIN | ACK, b""), (lab.client, FIN | ACK, b""),
            (lab.server, RST, b"")):
        if sender is lab.client:
            request = tcp(CIP, cport, VIP, VPORT, flags, payload=payload)
            lab.expect(sender, request, {lab.server: translated(request)})
        else:
            reply = tcp(RIP, RPORT, CIP, cport, flags, payload=payload)
            lab.expect(sender, reply, {lab.client: returned(reply)})


@test("type of service, DSCP, ECN and identification are kept, with DF and "
      "without")
def kept_fields(lab):
    cport = lab.port()
    for tos in (0x00, 0x10, 0xb8, 0x02, 0x03):
        for df in (False, True):
            request = udp(CIP, cport, VIP, VPORT, tos=tos, df=df,
                          id=tos << 8 | 5)
            lab.expect(lab.client, request, {lab.server: translated(request)})
            reply = translated(request).back(ttl=64)
            lab.expect(lab.server, reply, {lab.client: returned(reply)})


@test("options of the IP header are kept, in both directions")
def ip_options(lab):
    options = b"\x88\x04\x12\x34\x01\x01\x01\x00"     # stream id, padding
    for make in udp, tcp:
        request = make(CIP, lab.port(), VIP, VPORT, options=options)
        lab.expect(lab.client, request, {lab.server: translated(request)})
        reply = translated(request).back(ttl=64)
        lab.expect(lab.server, reply, {lab.client: returned(reply)})


@test("a UDP packet without a checksum gets one on its way")
def udp_no_checksum(lab):
    # The C module computes the missing checksum.
    request = udp(CIP, lab.port(), VIP, VPORT, b"no checksum", check=0)
    lab.expect(lab.client, request,
               {lab.server: translated(request).but(check=None)})
    reply = translated(request).back(ttl=64, check=0)
    lab.expect(lab.server, reply,
               {lab.client: returned(reply).but(check=None)})


@test("a wrong TCP or UDP checksum stays wrong by the same difference")
def wrong_checksum(lab):
    for make in udp, tcp:
        request = make(CIP, lab.port(), VIP, VPORT, check=0x1234)
        check = updated_checksum(
            0x1234, inet_aton(VIP) + struct.pack("!H", VPORT),
            inet_aton(RIP) + struct.pack("!H", RPORT))
        lab.expect(lab.client, request,
                   {lab.server: translated(request).but(check=check)})


@test("a UDP checksum that comes out as 0 is sent as 0xffff")
def mangled_zero(lab):
    cport = lab.port()
    request = udp(CIP, cport, VIP, VPORT, b"\0\0")
    # The payload word that makes the translated packet's checksum vanish.
    plain = translated(request).l4.build(CIP, RIP)
    word = struct.unpack_from("!H", plain, 6)[0]
    request = request.but(payload=struct.pack("!H", word))
    wanted = translated(request)
    equal(bytes(wanted)[26:28], b"\xff\xff", "checksum of the wanted packet")
    lab.expect(lab.client, request, {lab.server: wanted})


@test("a packet of odd length, an empty one and the longest of the wire keep "
      "their payload")
def payloads(lab):
    cport = lab.port()
    for size in (0, 1, 3, 512, 1471, 1472):
        payload = bytes(n * 7 & 255 for n in range(size))
        request = udp(CIP, cport, VIP, VPORT, payload, df=True)
        lab.expect(lab.client, request, {lab.server: translated(request)})


@test("TTL 1 brings time-exceeded from the virtual address, quoting the "
      "request as it came; TTL 2 passes")
def ttl(lab):
    cport = lab.port()
    request = udp(CIP, cport, VIP, VPORT, ttl=1)
    lab.expect(lab.client, request, {
        lab.client: icmp_error(VIP, CIP, 11, 0, request)})
    request = udp(CIP, cport, VIP, VPORT, ttl=2)
    lab.expect(lab.client, request, {lab.server: translated(request)})


@test("longer than the route's MTU with DF: fragmentation-needed with that "
      "MTU and the request quoted, and nothing at the server")
def mtu_with_df(lab):
    lab.route_mtu(1300)
    cport = lab.port()
    fits = udp(CIP, cport, VIP, VPORT, bytes(1300 - 28), df=True)
    lab.expect(lab.client, fits, {lab.server: translated(fits)})
    for make in udp, tcp:
        request = make(CIP, cport, VIP, VPORT, payload=bytes(range(256)) * 5,
                       df=True)
        # The hop was counted before the MTU was looked at.
        quoted = request.but(ttl=request.ttl - 1)
        lab.expect(lab.client, request.but(payload=bytes(1300)), {
            lab.client: icmp_error(VIP, CIP, 3, 4, quoted.but(
                payload=bytes(1300)), rest=1300)})
    lab.route_mtu(1500)


@test("longer than the route's MTU without DF: fragments of the translated "
      "packet")
def mtu_without_df(lab):
    lab.route_mtu(1300)
    payload = bytes(n * 3 & 255 for n in range(1400))
    request = udp(CIP, lab.port(), VIP, VPORT, payload, id=777)
    lab.expect(lab.client, request,
               {lab.server: translated(request).fragments(1280)})
    lab.route_mtu(1500)


@test("a request in fragments is translated as a whole, in whatever order "
      "they come")
def fragments(lab):
    payload = bytes(n * 5 & 255 for n in range(2000))
    for order in (0, 1, 2), (2, 0, 1):
        request = udp(CIP, lab.port(), VIP, VPORT, payload, id=order[0] + 1)
        pieces = request.fragments(800, 1600)
        lab.expect(lab.client, [pieces[n] for n in order],
                   {lab.server: translated(request).fragments(800, 1600)})


@test("a reply in fragments too")
def reply_fragments(lab):
    request = udp(CIP, lab.port(), VIP, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(request)})
    payload = bytes(n * 11 & 255 for n in range(2000))
    reply = translated(request).back(ttl=64, payload=payload)
    lab.expect(lab.server, reply.fragments(1000),
               {lab.client: returned(reply).fragments(1000)})


@test("what belongs to no connection passes untranslated")
def unrelated(lab):
    stray = tcp(CIP, lab.port(), VIP, VPORT, ACK)
    reset = Packet(VIP, CIP, stray.back().l4, id=0, df=True).but(
        flags=RST, seq=0, ack=0, window=0)
    lab.expect(lab.client, stray, {lab.client: reset})
    passing = udp(RIP, 4000, CIP, 4001)
    lab.expect(lab.server, passing, {lab.client: passing.but(ttl=63)})
    echo = Packet(CIP, VIP, Icmp(8, 0, 0x12340001, b"ping"))
    lab.expect(lab.client, echo, {lab.client: Packet(
        VIP, CIP, Icmp(0, 0, 0x12340001, b"ping"), id=None)})
    other = Packet(CIP, RIP, Raw(b"any", 254))
    lab.expect(lab.client, other, {lab.server: other.but(ttl=63)})


if __name__ == "__main__":
    main(NatLab)
