# SPDX-License-Identifier: GPL-2.0
"""What happens to the servers of a service, and to its scheduler, while
connections come."""

from random import Random
from typing import NamedTuple

# The flags of sh and mh, as the kernel has them.
FALLBACK, PORT = 0x08, 0x10
BATCH = 200             # connections between two changes, on average
SPARE = 3               # one in so many servers more that come later
END = [("end",)]


class Scheduler(NamedTuple):
    """A scheduler with its flags."""
    name: str
    flags: int = 0
    share: float = .1       # of TCP among what comes

    def __str__(self):
        flags = [f"{self.name}-{word}" for bit, word in
                 ((FALLBACK, "fallback"), (PORT, "port")) if self.flags & bit]
        return " with ".join(filter(None, (self.name, " and ".join(flags))))


# Those that look at active connections get more of them.
SCHEDULERS = [
    *(Scheduler(name) for name in ("rr", "wrr", "fo", "dh")),
    *(Scheduler(name, share=.5) for name in
      ("lc", "wlc", "sed", "nq", "ovf", "lblc", "lblcr")),
    *(Scheduler(name, flags) for name in ("sh", "mh")
      for flags in (0, PORT, FALLBACK, FALLBACK | PORT)),
]


class Server(NamedTuple):
    """A server's settings."""
    number: int
    weight: int
    upper: int = 0
    lower: int = 0

    def __str__(self):
        return (f"server {self.number}: weight {self.weight}, thresholds "
                f"{self.lower} to {self.upper}")


class Change(NamedTuple):
    """What is done before connection `number` comes: ("add", Server),
    ("edit", Server), ("remove", Server), ("schedule", Scheduler); or END, for
    the moment at which many connections end."""
    number: int
    actions: list


class Plan:
    """The changes of one run: `count` servers at first."""

    def __init__(self, seed, scheduler, count, arrivals):
        self.random = Random(f"{seed} {scheduler} {count}")
        self.scheduler, self.count = scheduler, count
        self.number = 0
        spare = count + count // SPARE + 1
        self.here = [Server(number, self.random.randrange(1, 6))
                     for number in range(count)]
        self.away = [Server(number, 1) for number in range(count, spare)]
        self.foreign = False        # another scheduler than the run's
        self.changes = [Change(0, [("schedule", scheduler)] +
                               [("add", server) for server in self.here])]
        while True:
            before = self.number
            self.number += self.random.randrange(1, 2 * BATCH)
            end = arrivals.ends.number
            if before < end <= self.number:
                self.changes.append(Change(end, END))
                self.number = end
                continue
            if self.number >= arrivals.count:
                break
            actions = self.change()
            if actions:
                self.changes.append(Change(self.number, actions))

    def weight(self):
        """Small ones, such with a common divisor, 0, and great ones."""
        random = self.random
        return random.choice((
            random.randrange(6), 12 * random.randrange(5),
            random.randrange(300), 1, 0, random.randrange(1 << 16),
            random.randrange(1 + self.number // self.count)))

    def settings(self, server):
        """New ones. Mostly no threshold, or one that will be reached or has
        been."""
        random = self.random
        upper = random.choice((0, 0, 0, max(
            1, self.number // self.count + random.randrange(-40, 60)),
            random.randrange(1, self.number + 2)))
        lower = random.choice((0, random.randrange(upper + 1)))
        return Server(server.number, self.weight(), upper, lower)

    def some(self, row, limit=8):
        """A few of these, if there are any."""
        return self.random.sample(row, min(
            len(row), self.random.randrange(limit) + 1))

    def edit(self, servers):
        """Servers with their new settings."""
        by_number = {server.number: server for server in servers}
        self.here = [by_number.get(server.number, server)
                     for server in self.here]
        return [("edit", server) for server in servers]

    def change(self):
        """A change, or none."""
        random = self.random
        actions = []
        if self.foreign:
            self.foreign = False
            actions.append(("schedule", self.scheduler))
        kind = random.randrange(12)
        if kind < 2 and len(self.here) > 2:
            gone = self.some(self.here, 3 if self.count < 10 else 8)
            self.here = [each for each in self.here if each not in gone]
            self.away += gone
            actions += [("remove", server) for server in gone]
        elif kind < 4 and self.away:
            back = self.some(self.away)
            self.away = [each for each in self.away if each not in back]
            back = [self.settings(server) for server in back]
            self.here += back
            actions += [("add", server) for server in back]
        elif kind < 8:
            actions += self.edit([self.settings(server) for server in
                                  self.some(self.here)])
        elif kind == 8:
            actions += self.edit([Server(server.number, random.randrange(1, 6))
                                  for server in self.here])
        elif kind == 9:
            # Another scheduler or other flags, for a while.
            other = random.choice(SCHEDULERS)
            self.foreign = other != self.scheduler
            actions.append(("schedule", other))
        return actions
