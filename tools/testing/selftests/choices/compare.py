# SPDX-License-Identifier: GPL-2.0
"""Whether both modules made the same choices; and if not, where they part."""

from collections import Counter

from lib.packet import SYN

from .arrivals import NUMBER
from .changes import END
from .world import RECORD

KIND, SERVER = len(NUMBER), len(NUMBER) + 1     # places in a record
FIRST = 0, SYN          # kinds of a connection's first frame
SHOWN = 60              # servers


def choices(records):
    """{number of a connection: number of its server}."""
    found = {}
    for at in range(0, len(records), RECORD):
        if records[at + KIND] in FIRST:
            found[int.from_bytes(records[at:at + KIND])] = records[at + SERVER]
    return found


class Comparison:
    """A run on both modules."""

    def __init__(self, plan, arrivals, c, ours):
        self.plan, self.arrivals, self.c, self.ours = plan, arrivals, c, ours

    def served(self):
        """How many connections the C module had a server for."""
        kinds = Counter(self.c.records[KIND::RECORD])
        return sum(kinds[kind] for kind in FIRST)

    def summary(self):
        """What came, in a line."""
        servers = set(self.c.records[SERVER::RECORD])
        return (f"{self.plan.scheduler}, {self.plan.count} servers at first: "
                f"{self.arrivals.count} arrivals, "
                f"{self.served()} of them served by {len(servers)} "
                f"servers, {len(self.plan.changes)} changes, "
                f"{len(self.c.records) // RECORD} frames out")

    def difference(self):
        """Where they part, in words; nothing if they don't."""
        if self.c.records != self.ours.records:
            return self.choice()
        if self.c.servers != self.ours.servers:
            return (f"{self.plan.scheduler}, {self.plan.count} servers at "
                    "first: (server, active, inactive) at the end are\n"
                    f"C    {self.c.servers}\nours {self.ours.servers}")
        return ""

    def choice(self):
        """The first choice that differs, and what led to it."""
        c, ours = choices(self.c.records), choices(self.ours.records)
        parted = [number for number in range(self.arrivals.count)
                  if c.get(number) != ours.get(number)]
        if not parted:
            return f"{self.plan.scheduler}: {self.frame()}"
        number = parted[0]
        scheduler, servers = self.before(number)
        return (f"{self.plan.scheduler}, {self.plan.count} servers at first, "
                f"arrival {number} of {self.arrivals.count}: the C module's "
                f"choice is {c.get(number)}, ours is {ours.get(number)}; "
                f"{len(parted)} arrivals differ\n"
                f"scheduler {scheduler}\n" +
                "\n".join(map(str, servers[:SHOWN])))

    def frame(self):
        """Where all choices are the same, but not all frames."""
        pairs = zip(*([record[at:at + RECORD]
                       for at in range(0, len(record), RECORD)]
                      for record in (self.c.records, self.ours.records)))
        for place, (c, ours) in enumerate(pairs):
            if c != ours:
                return f"frame {place} that comes out: C {c}, ours {ours}"
        return (f"{len(self.c.records) // RECORD} frames come out of C, "
                f"{len(self.ours.records) // RECORD} of ours")

    def before(self, number):
        """The scheduler, and the servers in the order in which they are looked
        at, when that connection came."""
        scheduler, servers = None, {}
        for change in self.plan.changes:
            if change.number > number or change.actions == END:
                continue
            for kind, what in change.actions:
                if kind == "schedule":
                    scheduler = what
                elif kind == "remove":
                    del servers[what.number]
                else:
                    servers[what.number] = what
        return scheduler, list(servers.values())[::-1]
