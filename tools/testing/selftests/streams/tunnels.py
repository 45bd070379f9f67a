# SPDX-License-Identifier: GPL-2.0
"""Packets in IPv4 tunnels as routers on the way quote them."""

import struct

from lib.encap import GUE_PORT, IPPROTO_GRE
from lib.packet import IPPROTO_IPIP, IPPROTO_UDP, Packet, Raw


def outer(tunnel, src, dst, inner, rng):
    """The packet around another one. Checksums are not looked at."""
    load, protocol = bytes(inner), IPPROTO_IPIP
    if tunnel.protocol == IPPROTO_GRE:
        flags = 0x8000 if tunnel.checked else 0
        head = struct.pack("!HH", flags, 0x0800)
        load = head + (bytes(4) if tunnel.checked else b"") + load
        protocol = IPPROTO_GRE
    elif tunnel.protocol == IPPROTO_UDP:
        load = struct.pack("!HHHHBBH", rng.randrange(32768, 61000),
                           rng.choice((GUE_PORT,) * 9 + (6081,)),
                           12 + len(load), 0, 0, IPPROTO_IPIP, 0) + load
        protocol = IPPROTO_UDP
    return Packet(src, dst, Raw(load, protocol), ttl=inner.ttl, df=inner.df,
                  frag=rng.choice((0,) * 19 + (5,)))
