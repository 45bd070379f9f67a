# SPDX-License-Identifier: GPL-2.0
"""IPv4 packets, byte for byte.

Every field can be given, absurd values too; what is not given is what a
correct sender would put there. A test describes the packet that it sends and
the one that must arrive, and compares all bytes, so a field that must not
change is checked as much as one that must.
"""

import struct
from dataclasses import dataclass, fields, replace
from socket import inet_aton, inet_ntoa

IPPROTO_ICMP, IPPROTO_IPIP, IPPROTO_TCP, IPPROTO_UDP = 1, 4, 6, 17
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
            pseudo = inet_aton(src) + inet_aton(dst) + struct.pack(
                "!HH", self.protocol, 8 + len(self.payload))
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
            pseudo = inet_aton(src) + inet_aton(dst) + struct.pack(
                "!HH", self.protocol, header + len(self.payload))
            check = checksum(pseudo + start + b"\0\0" + end)
        return start + struct.pack("!H", check) + end


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
class Packet:
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
        at = {IPPROTO_UDP: 6, IPPROTO_TCP: 16}[self.l4.protocol]
        body = self.l4.build(self.src, self.dst)
        return self.but(check=struct.unpack_from("!H", body, at)[0])

    def fragments(self, *offsets):
        """Cut in pieces at these offsets of the payload (multiples of 8)."""
        body = self.l4.build(self.src, self.dst)
        cuts = [0, *offsets, len(body)]
        return [self.but(l4=Raw(body[a:b], self.l4.protocol), frag=a // 8,
                         mf=self.mf or b < len(body))
                for a, b in zip(cuts, cuts[1:])]

    def matches(self, got):
        """Whether these bytes are this packet."""
        want = self
        if self.id is None and len(got) >= 6:
            want = self.but(id=struct.unpack_from("!H", got, 4)[0])
        return bytes(want) == got


def udp(src, sport, dst, dport, payload=b"payload", **more):
    """A UDP packet; more fields of either header by name."""
    return Packet(src, dst, Udp(sport, dport, payload)).but(**more)


def tcp(src, sport, dst, dport, flags=SYN, **more):
    """A TCP packet; more fields of either header by name."""
    return Packet(src, dst, Tcp(sport, dport, flags)).but(**more)


def icmp_error(src, dst, kind, code, quoted, rest=0, limit=576, **more):
    """An ICMP error as Linux sends it: the quoted packet cut so that the
    whole is at most 576 bytes, precedence "internetwork control"."""
    quoted = bytes(quoted)[:limit - 28]
    return Packet(src, dst, Icmp(kind, code, rest, quoted), tos=0xc0,
                  id=None).but(**more)


def ip_fields(data):
    """The fields of an IPv4 packet by name, for messages and loose checks."""
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
    elif protocol == IPPROTO_UDP and len(body) >= 8:
        found |= dict(zip(("sport", "dport", "length", "check"),
                          struct.unpack_from("!HHHH", body)))
        found["payload"] = body[8:].hex()
    elif protocol == IPPROTO_TCP and len(body) >= 20:
        found |= dict(zip(("sport", "dport", "seq", "ack", "offset", "flags",
                           "window", "check", "urgent"),
                          struct.unpack_from("!HHIIBBHHH", body)))
        found["payload"] = body[20:].hex()
    elif protocol == IPPROTO_ICMP and len(body) >= 8:
        found |= dict(zip(("type", "code", "check", "rest"),
                          struct.unpack_from("!BBHI", body)))
        found |= {f"quoted {name}": value
                  for name, value in ip_fields(body[8:]).items()}
    elif protocol == IPPROTO_IPIP and len(body) >= 20:
        found |= {f"inner {name}": value
                  for name, value in ip_fields(body).items()}
    else:
        found["payload"] = body.hex()
    return found


def difference(got, want):
    """What a reader needs to see where two packets differ."""
    if want.id is None:
        want = want.but(id=ip_fields(got).get("id"))
    have, need = ip_fields(got), ip_fields(bytes(want))
    lines = [f"  {name}: got {have.get(name)}, want {need.get(name)}"
             for name in {**need, **have} if have.get(name) != need.get(name)]
    return "\n".join(lines) or f"  got  {got.hex()}\n  want {bytes(want).hex()}"
