# SPDX-License-Identifier: GPL-2.0
"""Chance that can be repeated: what a seeded test is told by its environment,
and prints for whoever has to run it again."""

import os
import random

from .tap import module_under_test, note


def number(name, default, c=None):
    """A number from the environment. The C module may have another default:
    with it, it only has to be seen that the test works."""
    if c is not None and module_under_test() == "c":
        default = c
    return int(os.environ.get(name) or default)


def chance(default):
    """The generator of a run. SEED gives its seed; "random" takes a new one."""
    seed = os.environ.get("SEED") or default
    if seed == "random":
        seed = random.SystemRandom().randrange(1 << 32)
    note(f"SEED={seed}")
    return random.Random(int(seed))
