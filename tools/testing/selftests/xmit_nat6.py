#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""NAT for IPv6, both ways, byte by byte: addresses, ports, hop limit and
checksums that must change have their new values, and every other byte is the
one that was sent."""

from lib.lab import CIP6, RIP6, VIP6, Lab
from lib.packet import (ACK, FIN, IPPROTO_AUTH, IPPROTO_DSTOPTS, IPPROTO_HOP,
                        IPPROTO_ROUTING, PSH, RST, SYN, Icmp6, Packet6, Raw,
                        icmp6_error, options_header, pack_address, tcp, udp,
                        updated_checksum)
from lib.tap import equal, main, test
import struct

VPORT, RPORT, MARK = 80, 8080, 6


class NatLab(Lab):
    """A TCP and a UDP service, one real server by NAT."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            self.ipvs.service(f"[{VIP6}]:{VPORT}", f"[{RIP6}]:{RPORT} -m",
                              kind=kind)

    def route_mtu(self, mtu):
        """The path MTU to the real servers' network."""
        self.director.ip(
            f"route replace {self.server.net6}:/64 dev {self.server.name} "
            f"proto kernel metric 256 mtu {mtu}")


def translated(request):
    """What the real server gets of a request."""
    return request.but(dst=RIP6, dport=RPORT, ttl=request.ttl - 1)


def returned(reply):
    """What the client gets of a reply."""
    return reply.but(src=VIP6, sport=VPORT, ttl=reply.ttl - 1)


@test("a UDP request gets the server's address and port, a new checksum and "
      "one hop less; nothing else changes")
def udp_request(lab):
    request = udp(CIP6, lab.port(), VIP6, VPORT, b"abcdefghi", label=0xabcde)
    lab.expect(lab.client, request, {lab.server: translated(request)})


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
            request = tcp(CIP6, cport, VIP6, VPORT, flags, payload=payload)
            lab.expect(sender, request, {lab.server: translated(request)})
        else:
            reply = tcp(RIP6, RPORT, CIP6, cport, flags, payload=payload)
            lab.expect(sender, reply, {lab.client: returned(reply)})


@test("a UDP reply that is forwarded gets the virtual address and port back")
def udp_reply(lab):
    request = udp(CIP6, lab.port(), VIP6, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(request)})
    reply = translated(request).back(payload=b"the answer", ttl=50)
    lab.expect(lab.server, reply, {lab.client: returned(reply)})


@test("traffic class and flow label are kept")
def kept_fields(lab):
    cport = lab.port()
    for tos, label in ((0, 0), (0xb9, 1), (0xff, 0xfffff)):
        request = udp(CIP6, cport, VIP6, VPORT, tos=tos, label=label)
        lab.expect(lab.client, request, {lab.server: translated(request)})
        reply = translated(request).back(ttl=64)
        lab.expect(lab.server, reply, {lab.client: returned(reply)})


@test("extension headers are passed over, kept, and do not hide the ports")
def extensions(lab):
    for chain in ((options_header(IPPROTO_HOP),),
                  (options_header(IPPROTO_DSTOPTS, 64),),
                  ((IPPROTO_AUTH, struct.pack("!BHII", 4, 0, 7, 1) +
                    bytes(12)),),
                  (options_header(IPPROTO_HOP),
                   options_header(IPPROTO_DSTOPTS, 8),
                   options_header(IPPROTO_DSTOPTS, 24))):
        for make in udp, tcp:
            request = make(CIP6, lab.port(), VIP6, VPORT, extensions=chain)
            lab.expect(lab.client, request, {lab.server: translated(request)})
            reply = translated(request).back(ttl=64)
            lab.expect(lab.server, reply, {lab.client: returned(reply)})


@test("extension headers that are cut off or don't end reach no server")
def bad_extensions(lab):
    for chain in (((IPPROTO_DSTOPTS, bytes([200, 1, 4]) + bytes(4)),),
                  tuple(options_header(IPPROTO_DSTOPTS) for _ in range(13))):
        request = udp(CIP6, lab.port(), VIP6, VPORT, extensions=chain)
        seen = lab.exchange(lab.client, request)
        equal(seen[lab.server], [], "packets at the server")


@test("a wrong TCP or UDP checksum stays wrong by the same difference")
def wrong_checksum(lab):
    for make in udp, tcp:
        request = make(CIP6, lab.port(), VIP6, VPORT, check=0x1234)
        check = updated_checksum(
            0x1234, pack_address(VIP6) + struct.pack("!H", VPORT),
            pack_address(RIP6) + struct.pack("!H", RPORT))
        lab.expect(lab.client, request,
                   {lab.server: translated(request).but(check=check)})


@test("a UDP packet without a checksum gets one on its way")
def udp_no_checksum(lab):
    request = udp(CIP6, lab.port(), VIP6, VPORT, b"no checksum", check=0)
    lab.expect(lab.client, request,
               {lab.server: translated(request).but(check=None)})


@test("a UDP checksum that comes out as 0 is sent as 0xffff")
def mangled_zero(lab):
    request = udp(CIP6, lab.port(), VIP6, VPORT, b"\0\0")
    # The payload word that makes the translated packet's checksum vanish.
    plain = translated(request).l4.build(CIP6, RIP6)
    word = struct.unpack_from("!H", plain, 6)[0]
    request = request.but(payload=struct.pack("!H", word))
    wanted = translated(request)
    equal(bytes(wanted)[46:48], b"\xff\xff", "checksum of the wanted packet")
    lab.expect(lab.client, request, {lab.server: wanted})


@test("hop limit 1 brings time-exceeded from the virtual address, quoting the "
      "request as it came; 2 passes")
def hop_limit(lab):
    cport = lab.port()
    for limit in 0, 1:
        request = udp(CIP6, cport, VIP6, VPORT, ttl=limit)
        lab.expect(lab.client, request, {
            lab.client: icmp6_error(VIP6, CIP6, 3, 0, request)})
    request = udp(CIP6, cport, VIP6, VPORT, ttl=2)
    lab.expect(lab.client, request, {lab.server: translated(request)})


@test("longer than the route's MTU: packet-too-big with that MTU and the "
      "request quoted, and nothing at the server")
def too_big(lab):
    lab.route_mtu(1300)
    cport = lab.port()
    fits = udp(CIP6, cport, VIP6, VPORT, bytes(1300 - 48))
    lab.expect(lab.client, fits, {lab.server: translated(fits)})
    for make in udp, tcp:
        request = make(CIP6, cport, VIP6, VPORT, payload=bytes(1300))
        # The hop was counted before the MTU was looked at.
        quoted = request.but(ttl=request.ttl - 1)
        lab.expect(lab.client, request, {
            lab.client: icmp6_error(VIP6, CIP6, 2, 0, quoted, rest=1300)})
    lab.route_mtu(1500)


@test("a request in fragments is translated as a whole, in whatever order "
      "they come, and leaves in such fragments")
def fragments(lab):
    payload = bytes(n * 5 & 255 for n in range(2000))
    for number, order in enumerate(((0, 1), (1, 0))):
        request = udp(CIP6, lab.port(), VIP6, VPORT, payload)
        pieces = request.fragments(1232, ident=number)
        seen = lab.exchange(lab.client, *(pieces[n] for n in order))
        # The director chooses another identification.
        ident = seen[lab.server][0].ip[44:48] if seen[lab.server] else b"none"
        lab.compare(seen, {lab.server: translated(request).fragments(
            1232, ident=int.from_bytes(ident, "big"))})


@test("fragments that were longer than the MTU: packet-too-big, once")
def long_fragments(lab):
    lab.route_mtu(1280)
    request = udp(CIP6, lab.port(), VIP6, VPORT, bytes(2000))
    seen = lab.exchange(lab.client, *request.fragments(1400))
    equal(seen[lab.server], [], "packets at the server")
    equal([(frame.ip[40:42], frame.ip[44:48]) for frame in seen[lab.client]],
          [(b"\2\0", struct.pack("!I", 1280))], "errors at the client")
    lab.route_mtu(1500)


@test("a service by firewall mark takes IPv6 packets with that mark only")
def firewall_mark(lab):
    far = "2001:db8:99::1"
    lab.director.ip(f"route add local {far} dev lo")
    lab.ipvs.rules(f"-A -f {MARK} -6 -s rr",
                   f"-a -f {MARK} -6 -r [{RIP6}]:{RPORT} -m")
    lab.director.run("nft", "-f", "-", stdin=f"""
table ip6 marks {{
    chain prerouting {{
        type filter hook prerouting priority mangle;
        ip6 daddr {far} udp dport 99 meta mark set {MARK};
    }}
}}
""")
    request = udp(CIP6, lab.port(), far, 99)
    lab.expect(lab.client, request,
               {lab.server: request.but(dst=RIP6, dport=RPORT, ttl=63)})
    reply = udp(RIP6, RPORT, CIP6, request.l4.sport)
    lab.expect(lab.server, reply,
               {lab.client: reply.but(src=far, sport=99, ttl=63)})
    seen = lab.exchange(lab.client, udp(CIP6, lab.port(), far, 98))
    equal(seen[lab.server], [], "packets without the mark")


@test("a service without a server answers port-unreachable")
def no_server(lab):
    lab.ipvs.rules(f"-A -u [{VIP6}]:82 -s rr")
    request = udp(CIP6, lab.port(), VIP6, 82)
    lab.expect(lab.client, request,
               {lab.client: icmp6_error(VIP6, CIP6, 1, 4, request)})


@test("what belongs to no connection passes untranslated")
def unrelated(lab):
    passing = udp(RIP6, 4000, CIP6, 4001)
    lab.expect(lab.server, passing, {lab.client: passing.but(ttl=63)})
    echo = Packet6(CIP6, RIP6, Icmp6(128, 0, 0x12340001, b"ping"))
    lab.expect(lab.client, echo, {lab.server: echo.but(ttl=63)})
    other = Packet6(CIP6, RIP6, Raw(b"any", 254))
    lab.expect(lab.client, other, {lab.server: other.but(ttl=63)})
    routed = udp(CIP6, 4000, RIP6, 4001, extensions=(
        (IPPROTO_ROUTING, bytes([0, 4, 0]) + bytes(4)),))
    lab.expect(lab.client, routed, {lab.server: routed.but(ttl=63)})


@test("/proc/net and netlink show IPv6 services, servers and connections")
def listings(lab):
    request = tcp(CIP6, lab.port(), VIP6, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(request)})
    long = {"vip": "2001:0db8:0000:0000:0000:0000:0000:0001",
            "rip": "fd00:0002:0000:0000:0000:0000:0000:0002",
            "cip": "fd00:0001:0000:0000:0000:0000:0000:0002"}
    text = lab.director.proc("ip_vs")
    for line in (f"TCP  [{long['vip']}]:{VPORT:04X} rr \n",
                 f"  -> [{long['rip']}]:{RPORT:04X}      Masq    1 "):
        equal(line in text, True, f"{line!r} in\n{text}")
    line = (f"TCP {long['cip']} {request.l4.sport:04X} {long['vip']} "
            f"{VPORT:04X} {long['rip']} {RPORT:04X} SYN_RECV   ")
    text = lab.director.proc("ip_vs_conn")
    equal(line in text, True, f"{line!r} in\n{text}")
    saved = lab.ipvs.saved()
    for line in (f"-A -t [{VIP6}]:{VPORT} -s rr",
                 f"-a -t [{VIP6}]:{VPORT} -r [{RIP6}]:{RPORT} -m -w 1"):
        equal(line in saved, True, f"{line!r} in {saved}")
    found = lab.ipvs.connection(request.l4.sport)
    equal((found.caddr, found.vaddr, found.daddr), (CIP6, VIP6, RIP6))


if __name__ == "__main__":
    main(lambda: NatLab(ipv6=True))
