# SPDX-License-Identifier: GPL-2.0
"""Chance that can be repeated: what a seeded test is told by its environment,
and prints for whoever has to run it again."""

import os
import random

from .tap import note


def number(name, default):
    """A number from the environment."""
    return int(os.environ.get(name) or default)


def chance(default):
    """The generator of a run. SEED gives its seed; "random" takes a new one."""
    seed = os.environ.get("SEED") or default
    if seed == "random":
        seed = random.SystemRandom().randrange(1 << 32)
    note(f"SEED={seed}")
    return random.Random(int(seed))
