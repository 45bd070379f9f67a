# SPDX-License-Identifier: GPL-2.0
"""Sequences on one module and on both."""

import os
from collections import Counter
from typing import NamedTuple

from lib import module

from . import allowed
from .actor import World


class Skipped(NamedTuple):
    """An operation that was not done on the C module."""
    reason: str


def play(operations, skipped=None):
    """The outcomes of a sequence in fresh namespaces, on the module that is
    loaded; of those in `skipped` that is what there is."""
    world = World()
    try:
        return [skipped[number] if skipped and skipped[number]
                else world.do(operation)
                for number, operation in enumerate(operations)]
    finally:
        world.close()


def on(name, sequences, skipped=None):
    """All outcomes on one module."""
    os.environ["MODULE"] = name
    module.load()
    try:
        with module.no_autoload():
            return [play(sequence, skipped and skipped[number])
                    for number, sequence in enumerate(sequences)]
    finally:
        module.unload()


def both(sequences):
    """The outcomes of ours and of the C module, for each sequence."""
    ours = on("rust", sequences)
    skipped = []
    for sequence, outcomes in zip(sequences, ours):
        reasons = map(allowed.absent, sequence, outcomes)
        skipped.append([reason and Skipped(reason) for reason in reasons])
    return list(zip(ours, on("c", sequences, skipped)))


class Difference(NamedTuple):
    """The first one of a sequence."""
    at: int
    ours: object
    c: object


def compare(sequence, outcomes, seen=None):
    """The first difference that is not allowed, or None. Those that are, and
    outcomes, are counted in `seen`."""
    seen = Counter() if seen is None else seen
    for number, (operation, ours, c) in enumerate(zip(sequence, *outcomes)):
        if isinstance(c, Skipped):
            seen["not done: " + c.reason] += 1
            continue
        reason = allowed.difference(operation, ours, c)
        if reason == "":
            return Difference(number, ours, c)
        if reason:
            seen["allowed: " + reason] += 1
        seen[f"{type(operation).__name__} {c.error or 'done'}"] += 1
    return None
