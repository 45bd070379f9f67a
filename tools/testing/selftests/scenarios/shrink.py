# SPDX-License-Identifier: GPL-2.0
"""From a scenario that comes to something else to a short one that does, and
from that to a script.

Modules are loaded once for many candidates: that costs more than steps."""

from .compare import compare
from .play import both

HEAD = '''#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""{title}

Run it in tools/testing/selftests of the checkout:
    tools/testing/vm/vm --icount -- tools/testing/selftests/NAME.py [c|rust]
"""

from scenarios.script import *

main((
'''


def without(steps, pieces):
    """The steps but for those with these numbers, at the same times."""
    left, pause = [], 0
    for number, step in enumerate(steps):
        pause = round(pause + step.pause, 3)
        if number not in pieces:
            left.append(step._replace(pause=pause))
            pause = 0
    return tuple(left)


def attempts(candidates, what):
    """For each candidate that differs in the same thing, up to the step that
    does, with the difference; None for others."""
    found = []
    for steps, outcomes in zip(candidates, both(candidates)):
        differs = compare(steps, *outcomes)
        same = differs and differs.what.split()[0] == what
        found.append((steps[:differs.at + 1], differs) if same else None)
    return found


def shrink(steps, differs):
    """Leave out what is not needed for the last step to differ in the same
    thing: pieces of the steps before, smaller and smaller ones, all at once of
    which none was needed by itself if that does."""
    best, what = (steps[:differs.at + 1], differs), differs.what.split()[0]
    size = len(best[0])
    while size > 1:
        size = -(-size // 4)
        steps = best[0]
        pieces = [range(at, min(at + size, len(steps) - 1))
                  for at in range(0, len(steps) - 1, size)]
        found = attempts([without(steps, piece) for piece in pieces], what)
        needless = [piece for piece, one in zip(pieces, found) if one]
        if len(needless) > 1:
            found += attempts([without(
                steps, {each for piece in needless for each in piece})], what)
        best = min(filter(None, [best, *found]), key=lambda one: len(one[0]))
    return best


def script(title, steps):
    """The text of a script that does it."""
    return HEAD.format(title=title) + "".join(
        f"    {step!r},\n" for step in steps) + "))\n"
