# SPDX-License-Identifier: GPL-2.0
"""From a scenario that comes to something else to a short one that does, and
from that to a script.

Modules are loaded once for many candidates, which costs more than the steps."""

from .compare import compare
from .play import both

ROUNDS = 12
HEAD = '''#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""{title}

Run it in tools/testing/selftests of the checkout:
    tools/testing/vm/vm --icount -- tools/testing/selftests/NAME.py [c|rust]
"""

from scenarios.script import *

main((
'''


def differing(candidates):
    """Those of the candidates that differ, up to the step that does, each
    with its difference."""
    found = []
    for steps, outcomes in zip(candidates, both(candidates)):
        differs = compare(steps, *outcomes)
        if differs:
            found.append((steps[:differs.at + 1], differs))
    return found


def shrink(steps, differs):
    """Leave out what is not needed for the last step to differ in the same
    thing."""
    best, parts = (steps[:differs.at + 1], differs), 4
    what = differs.what.split()[0]
    for _ in range(ROUNDS):
        steps = best[0]
        if len(steps) == 1:
            break
        size = -(-(len(steps) - 1) // parts)
        shorter = [one for one in differing(
            [steps[:at] + steps[at + size:]
             for at in range(0, len(steps) - 1, size)])
                   if one[1].what.split()[0] == what]
        if shorter:
            best = min(shorter, key=lambda one: len(one[0]))
        elif size == 1:
            break
        else:
            parts *= 2
    return best


def script(title, steps):
    """The text of a script that does it."""
    return HEAD.format(title=title) + "".join(
        f"    {step!r},\n" for step in steps) + "))\n"
