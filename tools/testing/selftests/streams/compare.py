# SPDX-License-Identifier: GPL-2.0
"""Where two outcomes differ, but for fields that the kernel chooses.

These are compared as they are first; only if they differ, what is named here
is left out, and counted, so that the run can say what it has not compared.
"""

import struct
from collections import Counter
from typing import NamedTuple

from lib.packet import (IPPROTO_FRAGMENT, IPPROTO_ICMP, checksum, pack_address)

from .generate import TOLD
from .world import FAMILIES

IDENT = "identification of an IPv4 packet that the director made"
IDENT6 = "identification of IPv6 fragments that the director cut"
CUT = "an IPv6 tunnel's packet, for one of IPv4, that C makes one fragment"
OWN = {pack_address(address) for family in FAMILIES for address in
       (*family.directors, family.vip, family.marked)}
REDIRECT = "redirects of IPv6, which are limited in time"


class Difference(NamedTuple):
    """The first one of an outcome: at which host, in which place."""
    host: str
    at: int
    c: bytes
    ours: bytes


def valid_header(data):
    """Whether the checksum of an IPv4 header is right."""
    return checksum(data[:(data[0] & 15) * 4]) == 0


def without_ident(data):
    """An IPv4 packet of the director's without what its kernel chooses; a
    checksum that is right becomes 0."""
    if len(data) < 20 or data[0] >> 4 != 4 or data[12:16] not in OWN:
        return data
    check = b"\0\0" if valid_header(data) else data[10:12]
    return data[:4] + b"\0\0" + data[6:10] + check + data[12:]


def without_ident6(data):
    """An IPv6 fragment without its identification. The fragment header comes
    behind others if there are any."""
    if len(data) < 48 or data[0] >> 4 != 6:
        return data
    follow, at = data[6], 40
    while follow in (0, 43, 60) and at + 8 <= len(data):
        follow, at = data[at], at + 8 + data[at + 1] * 8
    if follow != IPPROTO_FRAGMENT or at + 8 > len(data):
        return data
    return data[:at + 4] + bytes(4) + data[at + 8:]


def made_whole(data):
    """A packet of the director's that is the only fragment of itself, as it
    would be without a fragment header."""
    if len(data) < 48 or data[0] >> 4 != 6 or data[8:24] not in OWN or \
            data[6] != IPPROTO_FRAGMENT or data[42:44] != b"\0\0":
        return data
    length = struct.pack("!H", struct.unpack_from("!H", data, 4)[0] - 8)
    return data[:4] + length + data[40:41] + data[7:40] + data[48:]


def without_mtu(data):
    """An ICMP error without the MTU that it tells; a checksum that is right
    becomes 0."""
    head = (data[0] & 15) * 4 if data else 0
    if len(data) < head + 8 or data[0] >> 4 != 4 or \
            data[9] != IPPROTO_ICMP or data[head:head + 2] != b"\3\4":
        return data
    check = b"\0\0" if checksum(data[head:]) == 0 else data[head + 2:head + 4]
    return data[:head + 2] + check + bytes(4) + data[head + 8:]


MASKS = ((IDENT, without_ident), (IDENT6, without_ident6), (CUT, made_whole))


def same(c, ours, differs, seen):
    """Whether two packets are the same, but for what is not compared."""
    if c == ours:
        return True
    masks = MASKS + (((TOLD, without_mtu),) if differs == TOLD else ())
    used = []
    for reason, mask in masks:
        if mask(c) != c or mask(ours) != ours:
            used.append(reason)
            c, ours = mask(c), mask(ours)
        if c == ours:
            seen.update(used)
            return True
    return False


def is_redirect(frame):
    """Whether it is a redirect of IPv6."""
    data = frame[1]
    return len(data) > 40 and data[0] >> 4 == 6 and data[6] == 58 \
        and data[40] == 137


def compare(c, ours, differs="", seen=None):
    """The first difference between two outcomes, or None."""
    seen = Counter() if seen is None else seen
    for host in c:
        rows = []
        for frames in c[host], ours[host]:
            rows.append([frame for frame in frames if not is_redirect(frame)])
            seen[REDIRECT] += len(frames) - len(rows[-1])
        for at in range(max(map(len, rows))):
            pair = [row[at] if at < len(row) else None for row in rows]
            if None in pair or pair[0][0] != pair[1][0] or \
                    not same(pair[0][1], pair[1][1], differs, seen):
                return Difference(host, at, *pair)
    return None
