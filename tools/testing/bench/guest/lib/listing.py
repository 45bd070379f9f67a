# SPDX-License-Identifier: GPL-2.0
"""What it costs to read the list of all connections, in one pass."""

import re

from .sender import clock

PATH = "/proc/net/ip_vs_conn"
ROOM = 192              # bytes for a line, and more
PAGE = 4096
# A line of a connection, and what tells it from others.
LINE = re.compile(rb"^\w+ +((?:[0-9A-Fa-f:]+ ){4})", re.MULTILINE)


def _read(connections):
    """The list, and the cost of reading it."""
    data = bytearray((connections + 100) * ROOM)
    data[::PAGE] = bytes(len(range(0, len(data), PAGE)))    # to be in memory
    view, end = memoryview(data), 0
    with open(PATH, "rb", buffering=0) as file:
        start = clock()
        while count := file.readinto(view[end:]):
            end += count
        cost = clock() - start
    return view[:end], cost


def measure(connections):
    """The cost for each of them. All must be listed, each once."""
    data, cost = _read(connections)
    found = LINE.findall(data)
    lines, different = len(found), len(set(found))
    if not lines == different == connections:
        raise RuntimeError(f"{PATH}: {different:,} connections in {lines:,} "
                           f"lines, expected {connections:,}")
    return cost / connections
