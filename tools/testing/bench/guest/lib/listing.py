# SPDX-License-Identifier: GPL-2.0
"""What it costs to read the list of all connections, in one pass."""

import re

from .sender import clock

PATH = "/proc/net/ip_vs_conn"
ROOM = 192              # bytes for a line, and more
PAGE = 4096
# A line of a connection, and what tells it from others.
LINE = re.compile(rb"^\w+ +((?:[0-9A-Fa-f:]+ ){4})", re.MULTILINE)


class List:
    """The list of so many connections."""

    def __init__(self, connections):
        self.connections = connections
        self.data = bytearray((connections + 100) * ROOM)
        # To be in memory.
        self.data[::PAGE] = bytes(len(range(0, len(self.data), PAGE)))
        self.end = 0

    def read(self):
        """Read it; the cost for each connection."""
        view, end = memoryview(self.data), 0
        with open(PATH, "rb", buffering=0) as file:
            start = clock()
            while count := file.readinto(view[end:]):
                end += count
            cost = clock() - start
        self.end = end
        return cost / self.connections

    def check(self):
        """All must have been listed, each once."""
        found = LINE.findall(memoryview(self.data)[:self.end])
        lines, different = len(found), len(set(found))
        if not lines == different == self.connections:
            raise RuntimeError(
                f"{PATH}: {different:,} connections in {lines:,} lines, "
                f"expected {self.connections:,}")


def measure(connections):
    """The cost for each of them."""
    everything = List(connections)
    cost = everything.read()
    everything.check()
    return cost


def batches(connections):
    """Read the list for ever; the cost for each connection."""
    everything = List(connections)
    while True:
        yield everything.read()
