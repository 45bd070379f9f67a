#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 480
"""Both modules do the same with packets: streams by chance are sent through
the C module and through ours, one after the other in this machine, and all
that comes out, at the client and at each server, is compared byte by byte.

What is sent stands in streams/generate.py, through what services in
streams/world.py, and what is not compared in streams/compare.py. The first
groups of packets that come to something else are sent again, packet by packet,
and the first of all is made as short as a few tries get it. N (packets) and
SEED come by the environment, and GROUP, for one group of the stream alone.
"""

import os
import platform
import struct
from collections import Counter
from contextlib import ExitStack

from lib.chance import chance, number
from lib.packet import difference, ip_fields
from lib.tap import TIME_FACTOR, Skip, main, note, test
from streams.compare import compare
from streams.generate import group
from streams.play import Player, both

PACKETS = number("N", 12000 // TIME_FACTOR)
REPORTED = 8            # groups that differ
ATTEMPTS = 8            # at making the first one shorter


def stream(seed):
    """Groups until there are enough packets."""
    groups, count = [], 0
    while count < PACKETS:
        groups.append(group(seed, len(groups)))
        count += len(groups[-1].steps)
    return groups


def fields_of(data):
    """The fields of a packet by name, in one row."""
    try:
        fields = ip_fields(data)
    except (struct.error, IndexError):
        fields = {"bytes": data.hex()}
    return {name: value if len(str(value)) < 100 else
            f"{str(value)[:80]}... ({len(value)})"
            for name, value in fields.items()}


def shown(step):
    """A step for a reader."""
    return f"{step.origin} sends a {step.what}: {fields_of(step.data)}"


def changed(found):
    """What both modules made of it, as far as it differs."""
    if None in (found.c, found.ours):
        return (f"C: {found.c and fields_of(found.c[1])}\n"
                f"ours: {found.ours and fields_of(found.ours[1])}")
    return difference(found.ours[1], found.c[1]) + (
        "" if found.c[0] == found.ours[0] else
        f"\n  link addresses: got {found.ours[0]}, want {found.c[0]}")


def alone(groups):
    """For each group, sent packet by packet in new namespaces, the first step
    that comes to something else, with the difference; or None."""
    return [next(((at, found) for at, found in enumerate(
        compare(*pair, one.differs) for pair in zip(*outcomes)) if found),
                 None)
            for one, outcomes in zip(groups, both(groups, Player.steps))]


def shorter(one, found):
    """Leave out what is not needed for the last step's difference, in a few
    tries: each half, quarter ... of the steps before."""
    parts = 2
    for _ in range(ATTEMPTS):
        before = one.steps[:-1]
        if not before:
            break
        size = -(-len(before) // parts)
        attempts = [one._replace(steps=before[:at] + before[at + size:] +
                                 one.steps[-1:])
                    for at in range(0, len(before), size)]
        for attempt, again in zip(attempts, alone(attempts)):
            if again and again[0] == len(attempt.steps) - 1:
                one, found, parts = attempt, again[1], 2
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(before))
    return one, found


def report(wrong):
    """What there is to know about the first groups that differ."""
    some = [one for one, _found in wrong[:REPORTED]]
    for (one, found), again in zip(wrong, alone(some)):
        note(f"\nGroup {one.number}, {one.settings}:")
        if not again:
            note("differs in the stream, and not by itself, "
                 f"at {found.host}\n{changed(found)}")
            continue
        at, found = again
        one = one._replace(steps=one.steps[:at + 1])
        if one.number == some[0].number:
            one, found = shorter(one, found)
            for step in one.steps:
                note(f"{shown(step)}\n  {step.data.hex()}")
        else:
            note(shown(one.steps[-1]))
        note(f"comes to something else at {found.host}\n{changed(found)}")


@test(f"{PACKETS} packets come out the same of both modules, but for what is "
      "listed")
def same(_nothing):
    if platform.release().endswith("-debug"):
        raise Skip("without IPV6_MIP6, what the C module clears for a tunnel "
                   "has the size of IPv6 fragments in it")
    seed = chance(20261125).randrange(1 << 32)
    if "GROUP" in os.environ:
        groups = [group(seed, number("GROUP", 0))]
    else:
        groups = stream(seed)
    outcomes = both(groups)
    seen, wrong = Counter(), []
    for one, (c, ours) in zip(groups, outcomes):
        found = compare(c, ours, one.differs, seen)
        if found:
            wrong.append((one, found))
        seen["packets sent"] += len(one.steps)
        seen["packets that came out"] += sum(map(len, c.values()))
    for what, times in sorted(seen.items()):
        note(f"{times:6} {what}")
    if wrong:
        report(wrong)
    assert not wrong, "groups that differ: " + " ".join(
        str(one.number) for one, _found in wrong)
    assert seen["packets that came out"], "nothing came out"


if __name__ == "__main__":
    main(ExitStack)
