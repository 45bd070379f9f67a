# SPDX-License-Identifier: GPL-2.0
"""What a scenario that is a script needs."""

import sys

from lib.tap import note

from . import play, steps
from .compare import compare
from .steps import *            # pylint: disable=wildcard-import

__all__ = [*(name for name in vars(steps) if name[0].isupper()), "main"]


def show(scenario, outcomes, times):
    """All that was seen on one module."""
    for step, outcome, at in zip(scenario, outcomes, times):
        note(f"{at:.2f} {step}")
        for entry in outcome.before:
            note(f"    was {entry.left:4} {entry.text}")
        for host, frames in outcome.frames.items():
            for about, data in frames:
                note(f"    at {host}: {about} {data.hex()}")
        for entry in outcome.table:
            note(f"    now {entry.left:4} {entry.text}")
        note(f"    {outcome.error} {outcome.statistics} {outcome.services}")


def main(scenario):
    """Do it on the module that the argument names, or on both. The exit
    status tells whether they differ."""
    if sys.argv[1:]:
        show(scenario, *play.on(sys.argv[1], [scenario])[0])
        sys.exit(0)
    (outcomes,) = play.both([scenario])
    found = compare(scenario, *outcomes)
    if found:
        note(f"step {found.at}, {scenario[found.at]}: {found}")
    sys.exit(found is not None)
