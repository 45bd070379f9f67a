# SPDX-License-Identifier: GPL-2.0
"""How rows are measured.

A level is the number of connections in the table. As many of them each are of
every service that a row of established flows sends to (at level 1: one each);
it sends to its own, spread evenly over them. Every packet must have been
forwarded, or the run fails.
"""

import time
from itertools import cycle, islice
from statistics import fmean, median
from typing import NamedTuple

from . import director
from .frames import BATCH
from .rows import filling

REPEATS, BATCHES = 3, 8
FIRST_NEW = 0x8000      # block number of the first client not yet known


class Cost(NamedTuple):
    """Instructions for one packet: the median, and between which they were."""
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, costs):
        """That of these costs."""
        costs = sorted(costs)
        return cls(median(costs), costs[0], costs[-1])


def send(sender, block, count=BATCH):
    """Send a block, all of which must come out again; the cost of a packet."""
    before = director.forwarded()
    cost = sender.send(block, count)
    out = director.forwarded() - before
    if out != count:
        raise RuntimeError(f"of {count} packets, {out} were forwarded")
    return cost / count


def plain_batches(row, family):
    """Send batches as those of a row, but with no part in them for IPVS."""
    sender = row.sender(family, virtual=False)
    for block in cycle(range(1, 1 + BATCHES)):
        yield send(sender, block)


def plain(row, family):
    """What a row's packets cost where IPVS has no part in them."""
    batches = plain_batches(row, family)
    return Cost.of([fmean(islice(batches, BATCHES))
                    for _ in range(2 + REPEATS)][2:])


class Table:
    """The connection table, filled up to a level."""

    def __init__(self, level, family, rows):
        self.family = family
        self.fillers = filling(rows)
        first, *others = self.fillers
        share = max(1, level // (1 + len(others)))
        if share != 1 and share < BATCH:
            raise ValueError(
                f"a level is 1 or at least {(1 + len(others)) * BATCH}")
        self.size = {first: max(1, level - len(others) * share)} | {
            key: share for key in others}
        self.filled = sum(self.size.values())
        self.created = 0
        self.next_new = FIRST_NEW
        self.packets = [0, 0]   # requests, replies

    def sender(self, row):
        """A sender of packets of that row."""
        return row.sender(self.family, same=not row.new and self.size[row.service] == 1)

    def send(self, row, sender, block, count=BATCH):
        """Send a block of a row, and count it; the cost of a packet."""
        self.packets[row.reply] += count
        return send(sender, block, count)

    def fill(self, progress):
        """Create the connections; what one has cost on the average."""
        cost = 0
        for key, size in self.size.items():
            row, (full, rest) = self.fillers[key], divmod(size, BATCH)
            sender = self.sender(row)
            for block in range(1, full + 1):
                cost += self.send(row, sender, block) * BATCH
                if block % 128 == 0:
                    progress(f"{row.title}: {block * BATCH} of {size}")
            if rest:
                cost += self.send(row, sender, full + 1, rest) * rest
        time.sleep(director.SETTLE)
        return cost / self.filled

    def known(self, row):
        """Blocks of clients all over those that have connections."""
        full = max(1, self.size[row.service] // BATCH)
        return [1 + i * full // BATCHES for i in range(BATCHES)]

    def unknown(self, row, count):
        """A block of which as many clients get connections now."""
        if row.lasting:
            self.created += count
        self.next_new += 1
        return self.next_new

    def batches(self, row):
        """Send batches of a row for ever; the cost of a packet of each."""
        sender = self.sender(row)
        if row.new:
            # Few, where few are there already.
            count = BATCH if self.filled >= BATCH else BATCH // 4
            while True:
                yield self.send(row, sender, self.unknown(row, count), count)
        for block in cycle(self.known(row)):
            yield self.send(row, sender, block)

    def measure(self, row):
        """The cost of a packet of that row."""
        batches = self.batches(row)
        if row.new:
            return Cost.of(islice(batches, BATCHES))
        return Cost.of([fmean(islice(batches, BATCHES))
                        for _ in range(1 + REPEATS)][1:])
