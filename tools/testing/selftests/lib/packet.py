# SPDX-License-Identifier: GPL-2.0
"""IPv4 and IPv6 packets, byte for byte.

Every field can be given, absurd values too; what is not given is what a
correct sender would put there. A test describes the packet that it sends and
the one that must arrive, and compares all bytes, so a field that must not
change is checked as much as one that must.
"""

import struct
from dataclasses import dataclass, fields, replace
from socket import AF_INET6, inet_aton, inet_ntoa, inet_ntop, inet_pton

IPPROTO_ICMP, IPPROTO_IPIP, IPPROTO_TCP, IPPROTO_UDP = 1, 4, 6, 17
IPPROTO_HOP, IPPROTO_IPV6, IPPROTO_ROUTING, IPPROTO_FRAGMENT = 0, 41, 43, 44
IPPROTO_AUTH, IPPROTO_ICMPV6, IPPROTO_DSTOPTS = 51, 58, 60
IPPROTO_SCTP = 132
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


def fold(total):
    """The 16-bit one's complement sum of what was added up."""
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def checksum(data):
    """The Internet checksum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    return ~fold(sum(struct.unpack(f"!{len(data) // 2}H", data))) & 0xffff


def updated_checksum(old, before, after):
    """RFC 1624: what a checksum becomes where these bytes change. Wrong ones
    stay wrong by the same difference, so the receiver still notices."""
    words = struct.Struct(f"!{len(before) // 2}H")
    total = ~old & 0xffff
    total += sum(~word & 0xffff for word in words.unpack(before))
    total += sum(words.unpack(after))
    return ~fold(total) & 0xffff


def _crc32c_table():
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C = _crc32c_table()


def crc32c(data):
    """The checksum of SCTP, as the bytes that its field has."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 255]
    return struct.pack("<I", crc ^ 0xffffffff)


def is_ipv6(address):
    """Return whether an address is an IPv6 address."""
    return ":" in address


def pack_address(address):
    """An address of either family as bytes."""
    return inet_pton(AF_INET6, address) if is_ipv6(address) \
        else inet_aton(address)


def pseudo_header(src, dst, protocol, length):
    """Return the pseudo header of a transport checksum, of either family."""
    return pack_address(src) + pack_address(dst) + struct.pack(
        "!IHBB", length, 0, 0, protocol)


def pseudo_sum(src, dst, protocol, length):
    """Return the value of a transport checksum that a device has to
    complete."""
    pseudo = pseudo_header(src, dst, protocol, length)
    return fold(sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo)))

@dataclass(frozen=True)
class Raw:
    """Bytes as they are, under any protocol number."""
    payload: bytes = b""
    protocol: int = 253

    def build(self, _src, _dst):
        return self.payload


@dataclass(frozen=True)
class Udp:
    sport: int = 0
    dport: int = 0
    payload: bytes = b""
    length: int = None
    check: int = None
    protocol = IPPROTO_UDP

    def build(self, src, dst):
        length = 8 + len(self.payload) if self.length is None else self.length
        start = struct.pack("!HHH", self.sport, self.dport, length)
        check = self.check
        if check is None:
            pseudo = pseudo_header(src, dst, self.protocol,
                                   8 + len(self.payload))
            check = checksum(pseudo + start + b"\0\0" + self.payload) or 0xffff
        return start + struct.pack("!H", check) + self.payload


@dataclass(frozen=True)
class Tcp:
    sport: int = 0
    dport: int = 0
    flags: int = SYN
    seq: int = 1000
    ack: int = 0
    payload: bytes = b""
    tcp_options: bytes = b""
    window: int = 64240
    urgent: int = 0
    offset: int = None
    check: int = None
    protocol = IPPROTO_TCP

    def build(self, src, dst):
        header = 20 + len(self.tcp_options)
        offset = header // 4 if self.offset is None else self.offset
        start = struct.pack("!HHIIBBH", self.sport, self.dport, self.seq,
                            self.ack, offset << 4, self.flags, self.window)
        end = struct.pack("!H", self.urgent) + self.tcp_options + self.payload
        check = self.check
        if check is None:
            pseudo = pseudo_header(src, dst, self.protocol,
                                   header + len(self.payload))
            check = checksum(pseudo + start + b"\0\0" + end)
        return start + struct.pack("!H", check) + end


@dataclass(frozen=True)
class Sctp:
    """The payload is chunks; see sctp.py."""
    sport: int = 0
    dport: int = 0
    payload: bytes = b""
    tag: int = 0x5c709a31
    check: int = None
    protocol = IPPROTO_SCTP

    def build(self, _src, _dst):
        start = struct.pack("!HHI", self.sport, self.dport, self.tag)
        check = crc32c(start + bytes(4) + self.payload) \
            if self.check is None else struct.pack("!I", self.check)
        return start + check + self.payload


@dataclass(frozen=True)
class Icmp:
    type: int = 8
    code: int = 0
    rest: int = 0
    payload: bytes = b""
    check: int = None
    protocol = IPPROTO_ICMP

    def build(self, _src, _dst):
        start = struct.pack("!BB", self.type, self.code)
        end = struct.pack("!I", self.rest) + bytes(self.payload)
        check = self.check
        if check is None:
            check = checksum(start + b"\0\0" + end)
        return start + struct.pack("!H", check) + end


@dataclass(frozen=True)
class Icmp6:
    type: int = 128
    code: int = 0
    rest: int = 0
    payload: bytes = b""
    check: int = None
    protocol = IPPROTO_ICMPV6

    def build(self, src, dst):
        start = struct.pack("!BB", self.type, self.code)
        end = struct.pack("!I", self.rest) + bytes(self.payload)
        check = self.check
        if check is None:
            pseudo = pseudo_header(src, dst, self.protocol, 4 + len(end))
            check = checksum(pseudo + start + b"\0\0" + end)
        return start + struct.pack("!H", check) + end


class Changes:
    """Packets that are like another one."""

    def but(self, **changes):
        """A copy with other fields, of the IP header or of what it carries."""
        own = {field.name for field in fields(self)}
        inner = {k: changes.pop(k) for k in list(changes) if k not in own}
        if inner:
            changes["l4"] = replace(self.l4, **inner)
        return replace(self, **changes)

    def back(self, **changes):
        """The packet that answers this one: addresses and ports swapped."""
        return self.but(src=self.dst, dst=self.src, sport=self.l4.dport,
                        dport=self.l4.sport).but(**changes)

    def sealed(self):
        """The same packet, but its transport checksum stays what it is now
        when addresses and ports change, as in what an ICMP error quotes."""
        at, size = {IPPROTO_UDP: (6, "!H"), IPPROTO_TCP: (16, "!H"),
                    IPPROTO_SCTP: (8, "!I")}[self.l4.protocol]
        body = self.l4.build(self.src, self.dst)
        return self.but(check=struct.unpack_from(size, body, at)[0])


@dataclass(frozen=True)
class Packet(Changes):
    """An IPv4 packet. An `id` of None matches any when packets are compared,
    and is sent as 0."""
    src: str
    dst: str
    l4: object
    ttl: int = 64
    tos: int = 0
    id: int = 0x1234
    df: bool = False
    mf: bool = False
    frag: int = 0
    options: bytes = b""
    version: int = 4
    ihl: int = None
    total: int = None
    header_check: int = None
    protocol: int = None

    def __bytes__(self):
        body = self.l4.build(self.src, self.dst)
        header = 20 + len(self.options)
        ihl = header // 4 if self.ihl is None else self.ihl
        total = header + len(body) if self.total is None else self.total
        protocol = self.l4.protocol if self.protocol is None else self.protocol
        flags = self.df << 14 | self.mf << 13 | self.frag
        start = struct.pack("!BBHHHBB", self.version << 4 | ihl, self.tos,
                            total, self.id or 0, flags, self.ttl, protocol)
        end = inet_aton(self.src) + inet_aton(self.dst) + self.options
        check = self.header_check
        if check is None:
            check = checksum(start + b"\0\0" + end)
        return start + struct.pack("!H", check) + end + body

    def fragments(self, *offsets):
        """Cut in pieces at these offsets of the payload (multiples of 8)."""
        body = self.l4.build(self.src, self.dst)
        cuts = [0, *offsets, len(body)]
        return [self.but(l4=Raw(body[a:b], self.l4.protocol), frag=a // 8,
                         mf=self.mf or b < len(body))
                for a, b in zip(cuts, cuts[1:])]

    def matches(self, got):
        """Return whether these bytes are this packet."""
        want = self
        if self.id is None and len(got) >= 6:
            want = self.but(id=struct.unpack_from("!H", got, 4)[0])
        return bytes(want) == got


@dataclass(frozen=True)
class Packet6(Changes):
    """An IPv6 packet. `extensions` are pairs: the number of an extension
    header, and its bytes after the number of what comes next."""
    src: str
    dst: str
    l4: object
    ttl: int = 64
    tos: int = 0
    label: int = 0x12345
    extensions: tuple = ()
    version: int = 6
    length: int = None
    protocol: int = None

    def __bytes__(self):
        body = self.l4.build(self.src, self.dst)
        follow = self.l4.protocol if self.protocol is None else self.protocol
        for number, content in reversed(self.extensions):
            body, follow = bytes([follow]) + content + body, number
        length = len(body) if self.length is None else self.length
        word = self.version << 28 | self.tos << 20 | self.label
        return struct.pack("!IHBB", word, length, follow, self.ttl) + \
            pack_address(self.src) + pack_address(self.dst) + body

    def fragments(self, *offsets, ident=0x01020304):
        """Cut in pieces at these offsets of the payload (multiples of 8)."""
        body = self.l4.build(self.src, self.dst)
        cuts = [0, *offsets, len(body)]
        return [self.but(l4=Raw(body[a:b], self.l4.protocol),
                         extensions=(*self.extensions, fragment_header(
                             a, b < len(body), ident)))
                for a, b in zip(cuts, cuts[1:])]

    def matches(self, got):
        """Return whether these bytes are this packet."""
        return bytes(self) == got


def fragment_header(offset, more, ident=0x01020304):
    """A fragment header among extension headers."""
    return IPPROTO_FRAGMENT, struct.pack("!BHI", 0, offset | more, ident)


def options_header(number, size=8):
    """Hop-by-hop or destination options: padding, as long as asked for."""
    return number, bytes([size // 8 - 1, 1, size - 4]) + bytes(size - 4)


def packet(src, dst, l4, **more):
    """A packet of the family of its addresses."""
    kind = Packet6 if is_ipv6(src) else Packet
    return kind(src, dst, l4).but(**more)


def udp(src, sport, dst, dport, payload=b"payload", **more):
    """A UDP packet; more fields of either header by name."""
    return packet(src, dst, Udp(sport, dport, payload), **more)


def tcp(src, sport, dst, dport, flags=SYN, **more):
    """A TCP packet; more fields of either header by name."""
    return packet(src, dst, Tcp(sport, dport, flags), **more)


def icmp_error(src, dst, kind, code, quoted, rest=0, limit=576, **more):
    """An ICMP error as Linux sends it: the quoted packet cut so that the
    whole is at most 576 bytes, precedence "internetwork control"."""
    quoted = bytes(quoted)[:limit - 28]
    return Packet(src, dst, Icmp(kind, code, rest, quoted), tos=0xc0,
                  id=None).but(**more)


def icmp6_error(src, dst, kind, code, quoted, rest=0, limit=1280, **more):
    """An ICMPv6 error as Linux sends it: the quoted packet cut so that the
    whole is at most 1280 bytes, and no flow label."""
    quoted = bytes(quoted)[:limit - 48]
    return Packet6(src, dst, Icmp6(kind, code, rest, quoted),
                   label=0).but(**more)


def transport_fields(protocol, body):
    """The fields of a transport header by name."""
    if protocol == IPPROTO_UDP and len(body) >= 8:
        found = dict(zip(("sport", "dport", "length", "check"),
                         struct.unpack_from("!HHHH", body)))
        return found | {"payload": body[8:].hex()}
    if protocol == IPPROTO_TCP and len(body) >= 20:
        found = dict(zip(("sport", "dport", "seq", "ack", "offset", "flags",
                          "window", "check", "urgent"),
                         struct.unpack_from("!HHIIBBHHH", body)))
        return found | {"payload": body[20:].hex()}
    if protocol == IPPROTO_SCTP and len(body) >= 12:
        found = dict(zip(("sport", "dport", "tag", "check"),
                         struct.unpack_from("!HHII", body)))
        return found | {"payload": body[12:].hex()}
    if protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6) and len(body) >= 8:
        found = dict(zip(("type", "code", "check", "rest"),
                         struct.unpack_from("!BBHI", body)))
        return found | {f"quoted {name}": value
                        for name, value in ip_fields(body[8:]).items()}
    if protocol in (IPPROTO_IPIP, IPPROTO_IPV6) and len(body) >= 20:
        return {f"inner {name}": value
                for name, value in ip_fields(body).items()}
    return {"payload": body.hex()}


def ip6_fields(data):
    """The fields of an IPv6 packet by name."""
    word, length, follow, ttl = struct.unpack_from("!IHBB", data)
    found = {"version": word >> 28, "tos": word >> 20 & 255,
             "label": word & 0xfffff, "length of payload": length, "ttl": ttl,
             "src": inet_ntop(AF_INET6, data[8:24]),
             "dst": inet_ntop(AF_INET6, data[24:40]), "next": follow}
    body, count = data[40:], 0
    while follow in (IPPROTO_HOP, IPPROTO_ROUTING, IPPROTO_FRAGMENT,
                     IPPROTO_DSTOPTS) and len(body) >= 8:
        size = 8 if follow == IPPROTO_FRAGMENT else 8 + body[1] * 8
        later = follow == IPPROTO_FRAGMENT and body[2] << 8 | body[3] & ~7
        count += 1
        found[f"extension {count}"] = body[:size].hex()
        follow, body = 255 if later else body[0], body[size:]
    return found | transport_fields(follow, body)


def ip_fields(data):
    """The fields of an IP packet by name, for messages and loose checks."""
    if len(data) >= 40 and data[0] >> 4 == 6:
        return ip6_fields(data)
    if len(data) < 20:
        return {"short": data.hex()}
    (vihl, tos, total, ident, flags, ttl, protocol, check, src,
     dst) = struct.unpack_from("!BBHHHBBH4s4s", data)
    header = (vihl & 15) * 4
    found = {"version": vihl >> 4, "ihl": vihl & 15, "tos": tos,
             "total": total, "id": ident, "df": flags >> 14 & 1,
             "mf": flags >> 13 & 1, "frag": flags & 0x1fff, "ttl": ttl,
             "protocol": protocol, "header_check": f"{check:#06x}",
             "src": inet_ntoa(src), "dst": inet_ntoa(dst),
             "options": data[20:header].hex()}
    body = data[header:]
    if flags & 0x1fff:
        found["payload"] = body.hex()
    else:
        found |= transport_fields(protocol, body)
    return found


def around_change(have, need, most=120):
    """Two values, cut to where they start to differ if they are long."""
    if not isinstance(have, str) or not isinstance(need, str) \
            or max(len(have), len(need)) <= most:
        return have, need
    at = next((n for n, pair in enumerate(zip(have, need))
               if pair[0] != pair[1]), min(len(have), len(need)))
    start = max(at - most // 4, 0)
    return tuple(f"[{len(text)} digits, {start} on] "
                 f"{text[start:start + most]}" for text in (have, need))


def difference(got, want):
    """What a reader needs to see where two packets differ; either may be bytes
    as they are."""
    if getattr(want, "id", 0) is None:
        want = want.but(id=ip_fields(got).get("id"))
    have, need = ip_fields(got), ip_fields(bytes(want))
    lines = ["  {}: got {}, want {}".format(
        name, *around_change(have.get(name), need.get(name)))
             for name in {**need, **have} if have.get(name) != need.get(name)]
    return "\n".join(lines) or f"  got  {got.hex()}\n  want {bytes(want).hex()}"
