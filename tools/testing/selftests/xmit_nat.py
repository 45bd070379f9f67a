#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""The NAT transmitter and the way back, byte by byte.

Each packet that reaches the other side is compared with one built from
scratch: the addresses, ports, TTL (hop limit) and checksums that must change
have their new values, and every other byte is the one that was sent.
"""

import struct

from lib.family import FAMILIES, IPV4, IPV6, end
from lib.ipvs import connection_lines
from lib.lab import Lab
from lib.packet import (ACK, FIN, IPPROTO_AUTH, IPPROTO_DSTOPTS, IPPROTO_HOP,
                        IPPROTO_ROUTING, PSH, RST, SYN, Raw, options_header,
                        pack_address, tcp, udp, updated_checksum)
from lib.tap import equal, main, test, test_each

VPORT, RPORT, MARK = 80, 8080, 6
# Header fields that NAT has to keep.
KEPT = {
    IPV4: [{"tos": tos, "df": df, "id": tos << 8 | 5}
           for tos in (0x00, 0x10, 0xb8, 0x02, 0x03) for df in (False, True)],
    IPV6: [{"tos": tos, "label": label}
           for tos, label in ((0, 0), (0xb9, 1), (0xff, 0xfffff))],
}
# Addresses of services by firewall mark.
MARKED = {IPV4: "203.0.113.99", IPV6: "2001:db8:99::1"}


class NatLab(Lab):
    """A TCP and a UDP service of each family, with one real server by NAT."""

    def __init__(self):
        super().__init__(ipv6=True)

    def build(self):
        super().build()
        for ip in FAMILIES:
            for kind in "-t", "-u":
                self.ipvs.service(end(ip.vip, VPORT),
                                  f"{end(ip.rip, RPORT)} -m", kind=kind)


def translated(ip, request):
    """Return the request as the real server receives it."""
    return request.but(dst=ip.rip, dport=RPORT, ttl=request.ttl - 1)


def returned(ip, reply):
    """Return the reply as the client receives it."""
    return reply.but(src=ip.vip, sport=VPORT, ttl=reply.ttl - 1)


def both_ways(lab, ip, request):
    """Check that a request reaches the server, and its reply the client."""
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})
    reply = translated(ip, request).back(ttl=64)
    lab.expect(lab.server, reply, {lab.client: returned(ip, reply)})


@test_each(FAMILIES, "a UDP request gets the server's address and port, new "
           "checksums and one hop less; nothing else changes")
def udp_request(lab, ip):
    request = udp(ip.cip, lab.port(), ip.vip, VPORT, b"abcdefghi")
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})


@test_each(FAMILIES, "a TCP segment too, with its sequence numbers, window, "
           "urgent pointer and options")
def tcp_request(lab, ip):
    request = tcp(ip.cip, lab.port(), ip.vip, VPORT, SYN, seq=0xfffffff0,
                  window=12345, urgent=7, tcp_options=b"\2\4\5\xb4\1\3\3\7")
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})


@test_each(FAMILIES, "a UDP reply that is forwarded gets the virtual address "
           "and port back")
def udp_reply(lab, ip):
    request = udp(ip.cip, lab.port(), ip.vip, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})
    reply = translated(ip, request).back(payload=b"the answer", ttl=50)
    lab.expect(lab.server, reply, {lab.client: returned(ip, reply)})


@test_each(FAMILIES, "TCP in both directions through a whole connection: "
           "handshake, data, close, reset")
def tcp_conversation(lab, ip):
    cport = lab.port()
    for sender, flags, payload in (
            (lab.client, SYN, b""), (lab.server, SYN | ACK, b""),
            (lab.client, ACK, b""), (lab.client, PSH | ACK, b"GET /\r\n\r\n"),
            (lab.server, PSH | ACK, bytes(range(256))),
            (lab.server, FIN | ACK, b""), (lab.client, FIN | ACK, b""),
            (lab.server, RST, b"")):
        if sender is lab.client:
            request = tcp(ip.cip, cport, ip.vip, VPORT, flags, payload=payload)
            lab.expect(sender, request, {lab.server: translated(ip, request)})
        else:
            reply = tcp(ip.rip, RPORT, ip.cip, cport, flags, payload=payload)
            lab.expect(sender, reply, {lab.client: returned(ip, reply)})


@test_each(FAMILIES, "DSCP, ECN, and DF and identification, or flow label, "
           "are kept")
def kept_fields(lab, ip):
    cport = lab.port()
    for fields in KEPT[ip]:
        both_ways(lab, ip, udp(ip.cip, cport, ip.vip, VPORT, **fields))


@test_each(FAMILIES, "IP options, or extension headers, are kept in both "
           "directions, and do not hide the ports")
def options(lab, ip):
    for make in udp, tcp:
        both_ways(lab, ip, make(ip.cip, lab.port(), ip.vip, VPORT,
                                **ip.options))


@test("IPv6: extension headers of each kind, and several, are passed over and "
      "kept")
def extensions(lab):
    for chain in ((options_header(IPPROTO_HOP),),
                  (options_header(IPPROTO_DSTOPTS, 64),),
                  ((IPPROTO_AUTH, struct.pack("!BHII", 4, 0, 7, 1) +
                    bytes(12)),),
                  (options_header(IPPROTO_HOP),
                   options_header(IPPROTO_DSTOPTS, 8),
                   options_header(IPPROTO_DSTOPTS, 24))):
        for make in udp, tcp:
            both_ways(lab, IPV6, make(IPV6.cip, lab.port(), IPV6.vip, VPORT,
                                      extensions=chain))


@test("IPv6: extension headers that are cut off or don't end reach no server")
def bad_extensions(lab):
    for chain in (((IPPROTO_DSTOPTS, bytes([200, 1, 4]) + bytes(4)),),
                  tuple(options_header(IPPROTO_DSTOPTS) for _ in range(13))):
        request = udp(IPV6.cip, lab.port(), IPV6.vip, VPORT, extensions=chain)
        seen = lab.exchange(lab.client, request)
        equal(seen[lab.server], [], "packets at the server")


@test_each(FAMILIES, "a UDP packet without a checksum gets one on its way, in "
           "both directions")
def udp_no_checksum(lab, ip):
    # The C module computes the missing checksum.
    request = udp(ip.cip, lab.port(), ip.vip, VPORT, b"no checksum", check=0)
    lab.expect(lab.client, request,
               {lab.server: translated(ip, request).but(check=None)})
    reply = translated(ip, request).back(ttl=64, check=0)
    lab.expect(lab.server, reply,
               {lab.client: returned(ip, reply).but(check=None)})


@test_each(FAMILIES, "a wrong TCP or UDP checksum stays wrong by the same "
           "difference")
def wrong_checksum(lab, ip):
    for make in udp, tcp:
        request = make(ip.cip, lab.port(), ip.vip, VPORT, check=0x1234)
        check = updated_checksum(
            0x1234, pack_address(ip.vip) + struct.pack("!H", VPORT),
            pack_address(ip.rip) + struct.pack("!H", RPORT))
        lab.expect(lab.client, request,
                   {lab.server: translated(ip, request).but(check=check)})


@test_each(FAMILIES, "a UDP checksum that comes out as 0 is sent as 0xffff")
def mangled_zero(lab, ip):
    request = udp(ip.cip, lab.port(), ip.vip, VPORT, b"\0\0")
    # The payload word that makes the translated packet's checksum vanish.
    plain = translated(ip, request).l4.build(ip.cip, ip.rip)
    word = struct.unpack_from("!H", plain, 6)[0]
    request = request.but(payload=struct.pack("!H", word))
    wanted = translated(ip, request)
    equal(bytes(wanted)[ip.header + 6:ip.header + 8], b"\xff\xff",
          "checksum of the wanted packet")
    lab.expect(lab.client, request, {lab.server: wanted})


@test_each(FAMILIES, "a packet of odd length, an empty one and the longest of "
           "the wire keep their payload")
def payloads(lab, ip):
    cport, longest = lab.port(), 1500 - ip.header - 8
    for size in (0, 1, 3, 512, longest - 1, longest):
        payload = bytes(n * 7 & 255 for n in range(size))
        request = udp(ip.cip, cport, ip.vip, VPORT, payload, **ip.whole)
        lab.expect(lab.client, request, {lab.server: translated(ip, request)})


@test_each(FAMILIES, "TTL (hop limit) 0 or 1 brings time-exceeded from the "
           "virtual address, quoting the request as it came; 2 passes")
def ttl(lab, ip):
    cport = lab.port()
    for hops in 0, 1:
        request = udp(ip.cip, cport, ip.vip, VPORT, ttl=hops)
        lab.expect(lab.client, request, {lab.client: ip.error(
            ip.vip, ip.cip, ip.time_exceeded, request)})
    request = udp(ip.cip, cport, ip.vip, VPORT, ttl=2)
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})


@test_each(FAMILIES, "longer than the route's MTU (IPv4: with DF): an error "
           "with that MTU and the request quoted, and nothing at the server")
def too_big(lab, ip):
    with ip.narrow(lab.server, 1300):
        cport = lab.port()
        fits = udp(ip.cip, cport, ip.vip, VPORT, bytes(1300 - ip.header - 8),
                   **ip.whole)
        lab.expect(lab.client, fits, {lab.server: translated(ip, fits)})
        for make in udp, tcp:
            request = make(ip.cip, cport, ip.vip, VPORT, payload=bytes(1300),
                           **ip.whole)
            # The hop was counted before the MTU was looked at.
            quoted = request.but(ttl=request.ttl - 1)
            lab.expect(lab.client, request, {lab.client: ip.error(
                ip.vip, ip.cip, ip.too_big, quoted, 1300)})


@test("IPv4: longer than the route's MTU without DF: fragments of the "
      "translated packet")
def mtu_without_df(lab):
    with IPV4.narrow(lab.server, 1300):
        payload = bytes(n * 3 & 255 for n in range(1400))
        request = udp(IPV4.cip, lab.port(), IPV4.vip, VPORT, payload, id=777)
        lab.expect(lab.client, request,
                   {lab.server: translated(IPV4, request).fragments(1280)})


@test_each(FAMILIES, "a request in fragments is translated as a whole, in "
           "whatever order they come, and leaves in such fragments")
def fragments(lab, ip):
    payload = bytes(n * 5 & 255 for n in range(2000))
    for offsets, order in (((800, 1600), (0, 1, 2)), ((800, 1600), (2, 0, 1)),
                           ((1232,), (0, 1)), ((1232,), (1, 0))):
        request = udp(ip.cip, lab.port(), ip.vip, VPORT, payload)
        pieces = request.fragments(*offsets)
        seen = lab.exchange(lab.client, *(pieces[n] for n in order))
        lab.compare(seen, {lab.server: ip.cut(
            translated(ip, request), seen[lab.server], *offsets)})


@test_each(FAMILIES, "a reply in fragments too")
def reply_fragments(lab, ip):
    request = udp(ip.cip, lab.port(), ip.vip, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})
    payload = bytes(n * 11 & 255 for n in range(2000))
    reply = translated(ip, request).back(ttl=64, payload=payload)
    seen = lab.exchange(lab.server, *reply.fragments(1000))
    lab.compare(seen, {lab.client: ip.cut(
        returned(ip, reply), seen[lab.client], 1000)})


@test("IPv6: fragments that were longer than the MTU: packet-too-big, once")
def long_fragments(lab):
    with IPV6.narrow(lab.server, 1280):
        request = udp(IPV6.cip, lab.port(), IPV6.vip, VPORT, bytes(2000))
        seen = lab.exchange(lab.client, *request.fragments(1400))
    equal(seen[lab.server], [], "packets at the server")
    equal([(frame.ip[40:42], frame.ip[44:48]) for frame in seen[lab.client]],
          [(b"\2\0", struct.pack("!I", 1280))], "errors at the client")


@test_each(FAMILIES, "a service by firewall mark takes packets of the family "
           "with that mark only")
def firewall_mark(lab, ip):
    far = MARKED[ip]
    lab.director.ip(f"route add local {far} dev lo")
    lab.ipvs.service(ip.mark(MARK), f"{end(ip.rip, RPORT)} -m", kind="-f")
    lab.director.run("nft", "-f", "-", stdin=f"""
table {ip.table} marks {{
    chain prerouting {{
        type filter hook prerouting priority mangle;
        {ip.table} daddr {far} udp dport 99 meta mark set {MARK};
    }}
}}
""")
    request = udp(ip.cip, lab.port(), far, 99)
    lab.expect(lab.client, request,
               {lab.server: request.but(dst=ip.rip, dport=RPORT, ttl=63)})
    reply = udp(ip.rip, RPORT, ip.cip, request.l4.sport)
    lab.expect(lab.server, reply,
               {lab.client: reply.but(src=far, sport=99, ttl=63)})
    seen = lab.exchange(lab.client, udp(ip.cip, lab.port(), far, 98))
    equal(seen[lab.server], [], "packets without the mark")


@test_each(FAMILIES, "a service without a server answers port-unreachable")
def no_server(lab, ip):
    lab.ipvs.service(end(ip.vip, 82), kind="-u")
    request = udp(ip.cip, lab.port(), ip.vip, 82)
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, ip.port_unreachable, request)})


@test_each(FAMILIES, "what belongs to no connection passes untranslated")
def unrelated(lab, ip):
    stray = tcp(ip.cip, lab.port(), ip.vip, VPORT, ACK)
    lab.expect(lab.client, stray, {lab.client: stray.back(
        flags=RST, seq=0, ack=0, window=0, **ip.reset)})
    passing = udp(ip.rip, 4000, ip.cip, 4001)
    lab.expect(lab.server, passing, {lab.client: passing.but(ttl=63)})
    echo = ip.echo(ip.cip, ip.rip)
    lab.expect(lab.client, echo, {lab.server: echo.but(ttl=63)})
    echo = ip.echo(ip.cip, ip.vip)
    lab.expect(lab.client, echo, {lab.client: ip.echo(
        ip.vip, ip.cip, reply=True).but(**ip.made)})
    other = ip.packet(ip.cip, ip.rip, Raw(b"any", 254))
    lab.expect(lab.client, other, {lab.server: other.but(ttl=63)})


@test("IPv6: so does what has a routing header that is used up")
def routing_header(lab):
    routed = udp(IPV6.cip, 4000, IPV6.rip, 4001, extensions=(
        (IPPROTO_ROUTING, bytes([0, 4, 0]) + bytes(4)),))
    lab.expect(lab.client, routed, {lab.server: routed.but(ttl=63)})


@test_each(FAMILIES, "/proc/net and netlink show services, servers and "
           "connections")
def listings(lab, ip):
    request = tcp(ip.cip, lab.port(), ip.vip, VPORT)
    lab.expect(lab.client, request, {lab.server: translated(ip, request)})
    text = lab.director.proc("ip_vs")
    # Where flags would be, a line of IPv4 has one space more.
    space = " " if ip is IPV4 else ""
    for line in (f"TCP  {ip.listed_end(ip.vip, VPORT)} rr {space}\n",
                 f"  -> {ip.listed_end(ip.rip, RPORT)}      Masq    1 "):
        equal(line in text, True, f"{line!r} in\n{text}")
    line = (f"TCP {ip.listed(ip.cip)} {request.l4.sport:04X} "
            f"{ip.listed(ip.vip)} {VPORT:04X} {ip.listed(ip.rip)} "
            f"{RPORT:04X} SYN_RECV   ")
    lines = connection_lines(lab.director)
    equal(any(shown.startswith(line) for shown in lines), True,
          f"{line!r} in {lines}")
    saved = lab.ipvs.saved()
    for line in (f"-A -t {end(ip.vip, VPORT)} -s rr",
                 f"-a -t {end(ip.vip, VPORT)} -r {end(ip.rip, RPORT)} "
                 "-m -w 1"):
        equal(line in saved, True, f"{line!r} in {saved}")
    found = lab.ipvs.connection(request.l4.sport)
    equal((found.caddr, found.vaddr, found.daddr), (ip.cip, ip.vip, ip.rip))


if __name__ == "__main__":
    main(NatLab)
