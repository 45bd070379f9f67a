# SPDX-License-Identifier: GPL-2.0
"""Where the outcomes of a scenario differ, but for what is allowed.

The time that a connection has left is shown in seconds and compared so. Both
modules show when it is meant to end, not when the kernel will look at its
timer, and every step is done in the same tick of a clock that counts
instructions: what is left is that a module may note the tick in which a packet
came, or the one after. That makes one second of difference at most.
"""

from collections import Counter
from typing import NamedTuple

from streams.compare import compare as compare_frames

from .steps import Add, AddServer, Remove, RemoveServer
from .world import PROTOCOLS

CLOSE = 1               # s
RETURNED = ("statistics of a server that came back to another service than it "
            "was removed from")


class Difference(NamedTuple):
    """The first one of a scenario: at which step, of what."""
    at: int
    what: str
    c: object
    ours: object

    def __str__(self):
        return f"{self.what}\n  C:    {self.c}\n  ours: {self.ours}"


class Returned:
    """Which servers have come back to another object of their service: the C
    module goes on with their statistics (abi.rst)."""

    def __init__(self):
        self.there = {}         # service: its servers
        self.left, self.back = set(), set()

    def step(self, step):
        """Take note of a step that was done."""
        if isinstance(step, Add) and not step.edit:
            self.there[step.service] = set()
        elif isinstance(step, Remove):
            for server in self.there.pop(step.service, ()):
                self.left.add((step.service, server))
        elif isinstance(step, (AddServer, RemoveServer)):
            server = step.address, step.port
            servers = self.there.get(step.service, set())
            if isinstance(step, RemoveServer):
                servers.discard(server)
            else:
                servers.add(server)
                if (step.service, server) in self.left:
                    self.back.add(server_name(step))


def server_name(step):
    """The server's name in statistics."""
    service = step.service
    return f"{name(service)} {step.address} {step.port}"


def name(service):
    """The service's name in statistics."""
    if service.mark:
        family = 10 if ":" in service.address else 2
        return f"mark {service.mark} of family {family}"
    return (f"{PROTOCOLS[service.protocol]} {service.address} "
            f"{service.port}")


def tables(c, ours):
    """The first lines that differ, and by what."""
    for one, other in zip(c, ours):
        if one.text != other.text:
            return (one, None) if one.text < other.text else (None, other)
        if abs(one.left - other.left) > CLOSE:
            return one, other
    if len(c) != len(ours):
        more = c if len(c) > len(ours) else ours
        entry = more[min(len(c), len(ours))]
        return (entry, None) if more is c else (None, entry)
    return None


def first(c, ours, returned, seen):
    """What differs first of a step: (what, C's, ours), or None."""
    found = tables(c.before, ours.before)
    if found:
        return "connections after the pause", *found
    for name_of, value in c.statistics.items():
        other = ours.statistics.get(name_of)
        if value != other:
            if name_of not in returned.back:
                return f"statistics of {name_of}", value, other
            seen[RETURNED] += 1
    if c.error != ours.error:
        return "error", c.error, ours.error
    found = compare_frames(c.frames, ours.frames, "", seen)
    if found:
        return f"packet at {found.host}", found.c, found.ours
    found = tables(c.table, ours.table)
    if found:
        return "connections", *found
    if c.entries != ours.entries:
        return "entries of nf_conntrack", *(
            [entry for entry in one.entries if entry not in other.entries]
            for one, other in ((c, ours), (ours, c)))
    for name_of in sorted({*c.services, *ours.services}):
        one, other = (side.services.get(name_of) for side in (c, ours))
        if one != other:
            return f"service {name_of}", one, other
    return None


def compare(steps, c, ours, seen=None):
    """The first difference, or None. What was compared, and what was allowed
    to differ, is counted in `seen`."""
    seen = Counter() if seen is None else seen
    returned = Returned()
    for at, (step, *both) in enumerate(zip(steps, c, ours)):
        found = first(*both, returned, seen)
        if found:
            return Difference(at, *found)
        if not both[0].error:
            returned.step(step)
        count(step, both[0], seen)
    return None


def count(step, outcome, seen):
    """What a run says that it has compared."""
    seen["steps"] += 1
    seen["steps refused"] += bool(outcome.error)
    seen[f"steps: {type(step).__name__}"] += 1
    seen["packets that came out"] += sum(map(len, outcome.frames.values()))
    seen["lines of connections and templates"] += len(outcome.table)
    seen["entries of nf_conntrack"] += len(outcome.entries)
    seen["seconds"] += int(step.pause)
