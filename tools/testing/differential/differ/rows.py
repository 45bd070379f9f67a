# SPDX-License-Identifier: GPL-2.0
"""Attributes as rows, as lib.mutate has them: [type, content, length], whose
content is bytes or a row."""

import struct

from lib import genl
from lib.mutate import pack

# What is nested in what, by number.
STATS = {}
SERVICE = {genl.SVC_STATS: STATS, genl.SVC_STATS64: STATS}
DEST = {genl.DEST_STATS: STATS, genl.DEST_STATS64: STATS}
COMMAND = {genl.CMD_SERVICE: SERVICE, genl.CMD_DEST: DEST,
           genl.CMD_DAEMON: {}}


def unpack(data, nests):
    """The row that these bytes are the attributes of; the bytes, if they are
    none."""
    row, rest = [], data
    while len(rest) >= 4:
        size, kind = struct.unpack_from("=HH", rest)
        if not 4 <= size <= len(rest):
            return data
        inside = nests.get(kind & 0x3fff)
        content = rest[4:size]
        row.append([kind, content if inside is None
                    else unpack(content, inside), None])
        rest = rest[size + -size % 4:]
    return row if pack(row) == data else data


def without(row, *numbers):
    """A row with the contents of these attributes left out."""
    return [[kind, b"" if kind & 0x3fff in numbers else content, length]
            for kind, content, length in row]


def frozen(content):
    """The same as tuples, which can be compared and sorted."""
    if isinstance(content, bytes):
        return content
    return tuple((kind, frozen(inner)) for kind, inner, _length in content)
