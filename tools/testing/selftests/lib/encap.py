# SPDX-License-Identifier: GPL-2.0
"""The headers between both IP headers of a tunnel, byte for byte."""

import struct
from typing import NamedTuple

from .packet import (IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_UDP, Packet6,
                     checksum, pseudo_header)

IPPROTO_GRE, GUE_PORT = 47, 6080
GUE_PRIVATE, GUE_REMOTE_CHECKSUM = 1, 1 << 31


class Tunnel(NamedTuple):
    """A way to tunnel: how ipvsadm calls it, bytes between the IP headers,
    the outer protocol (None: that of the packet inside), and whether there is
    a checksum, one that the receiver completes inside too."""
    options: str
    length: int
    protocol: int = None
    checked: bool = False
    remote: bool = False


IPIP = Tunnel("--tun-type ipip", 0)
GUE = Tunnel("--tun-type gue --tun-port 6080 --tun-nocsum", 12, IPPROTO_UDP)
GUE_CSUM = Tunnel("--tun-type gue --tun-port 6080 --tun-csum", 12, IPPROTO_UDP,
                  True)
GUE_REMCSUM = Tunnel("--tun-type gue --tun-port 6080 --tun-remcsum", 12,
                     IPPROTO_UDP, True, True)
GRE = Tunnel("--tun-type gre --tun-nocsum", 4, IPPROTO_GRE)
GRE_CSUM = Tunnel("--tun-type gre --tun-csum", 8, IPPROTO_GRE, True)


def number(inner):
    """The protocol of a packet inside of another one."""
    return IPPROTO_IPV6 if isinstance(inner, Packet6) else IPPROTO_IPIP


def remote_checksum(start, place):
    """The options of GUE that leave a checksum to the receiver: where it sums
    up from, and where that belongs."""
    return struct.pack("!IHH", GUE_REMOTE_CHECKSUM, start, place)


def between(tunnel, inner, ends, got, options=b"", inside=None, check=None):
    """Return the expected bytes behind the outer IP header, with the inner
    packet.

    `ends` are the addresses of the tunnel. A UDP source port may be any, and
    is taken from what came. `options` are those of GUE. Where the packet has
    other bytes than those that the checksum is for, they are `inside`, and
    where the checksum is another, it is `check`.
    """
    covered = bytes(inner)
    inside = covered if inside is None else inside
    if tunnel.protocol is None:
        return inside
    if tunnel.protocol == IPPROTO_GRE:
        kind = 0x86dd if isinstance(inner, Packet6) else 0x0800
        if not tunnel.checked:
            return struct.pack("!HH", 0, kind) + inside
        start = struct.pack("!HH", 0x8000, kind)
        if check is None:
            check = checksum(start + bytes(4) + covered)
        return start + struct.pack("!HH", check, 0) + inside
    sport = struct.unpack_from("!H", got)[0] if len(got) >= 2 else 0
    gue = struct.pack("!BBH", len(options) // 4, number(inner),
                      GUE_PRIVATE if options else 0) + options
    length = 8 + len(gue) + len(covered)
    start = struct.pack("!HHH", sport, GUE_PORT, length)
    if not tunnel.checked:
        check = 0
    elif check is None:
        check = checksum(pseudo_header(*ends, IPPROTO_UDP, length) + start +
                         b"\0\0" + gue + covered) or 0xffff
    return start + struct.pack("!H", check) + gue + inside
