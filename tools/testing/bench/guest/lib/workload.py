# SPDX-License-Identifier: GPL-2.0
"""How rows are measured.

A level is the number of connections in the table. One third of them each are
UDP connections by direct routing, by NAT and by tunnel (at level 1: one each);
a row of established flows sends to its third, spread evenly over it. Every
packet must have been forwarded, or the run fails.
"""

import statistics
import time
from typing import NamedTuple

from . import director
from .frames import BATCH
from .rows import ROWS

REPEATS, BATCHES = 3, 8
FIRST_NEW = 0x8000      # block number of the first client not yet known
SETTLE = 10             # seconds, nearly free: an idle guest's clock jumps


class Cost(NamedTuple):
    """Instructions for one packet: the median, and between which they were."""
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, costs):
        """That of these costs."""
        costs = sorted(costs)
        return cls(statistics.median(costs), costs[0], costs[-1])


def send(sender, blocks, count=BATCH):
    """Send blocks, all of which must come out again; the cost of a packet."""
    before = director.forwarded()
    cost = sum(sender.send(block, count) for block in blocks)
    sent, out = count * len(blocks), director.forwarded() - before
    if sent != out:
        raise RuntimeError(f"of {sent} packets, {out} were forwarded")
    return cost / sent


def plain(row):
    """What a row's packets cost where IPVS has no part in them."""
    sender = row.sender(virtual=False)
    blocks = range(1, 1 + BATCHES)
    for _ in range(2):
        send(sender, blocks)
    return Cost.of(send(sender, blocks) for _ in range(REPEATS))


class Table:
    """The connection table, filled up to a level."""

    def __init__(self, level):
        third = max(1, level // 3)
        if third != 1 and third < BATCH:
            raise ValueError(f"a level is 1 or at least {3 * BATCH}")
        self.size = {"dr": max(1, level - 2 * third), "nat": third,
                     "tunnel": third}
        self.filled = sum(self.size.values())
        self.created = 0
        self.next_new = FIRST_NEW
        self.packets = [0, 0]   # requests, replies

    def sender(self, row):
        """A sender of packets of that row."""
        return row.sender(same=not row.new and self.size[row.service] == 1)

    def send(self, row, sender, blocks, count=BATCH):
        """Send blocks of a row, and count them; the cost of a packet."""
        self.packets[row.reply] += count * len(blocks)
        return send(sender, blocks, count)

    def fill(self, progress):
        """Create the connections; what one has cost on the average."""
        cost = 0
        for key, size in self.size.items():
            row, (full, rest) = ROWS[key], divmod(size, BATCH)
            sender = self.sender(row)
            for block in range(1, full + 1):
                cost += self.send(row, sender, [block]) * BATCH
                if block % 128 == 0:
                    progress(f"{row.title}: {block * BATCH} of {size}")
            if rest:
                cost += self.send(row, sender, [full + 1], rest) * rest
        time.sleep(SETTLE)
        return cost / self.filled

    def known(self, row):
        """Blocks of clients all over those that have connections."""
        full = max(1, self.size[row.service] // BATCH)
        return [1 + i * full // BATCHES for i in range(BATCHES)]

    def unknown(self, count):
        """A block of which as many clients get connections now."""
        self.created += count
        self.next_new += 1
        return [self.next_new]

    def measure(self, row):
        """The cost of a packet of that row."""
        sender = self.sender(row)
        if row.new:
            # Few, where few are there already.
            count = BATCH if self.filled >= BATCH else BATCH // 4
            return Cost.of(self.send(row, sender, self.unknown(count), count)
                           for _ in range(BATCHES))
        blocks = self.known(row)
        self.send(row, sender, blocks)
        return Cost.of(self.send(row, sender, blocks) for _ in range(REPEATS))
