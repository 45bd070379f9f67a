#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# clock: instructions
# timeout: 900
"""Both modules do the same as time goes by: scenarios by chance of packets,
edits, removals and settings, with up to minutes between two of them, on the C
module and then on ours. After each step all that can be seen is compared:
packets, connections and templates with the time that they have left,
services with the connections of their servers, statistics.

What is done stands in scenarios/generate.py, on what in scenarios/world.py,
what is compared and what may differ in scenarios/compare.py. It takes a clock
that counts instructions ("vm --icount"), in which idle time costs nothing and
each step is done at the same moment on both modules.

Scenarios that differ are made short and printed as scripts, which are left
with the results, too. N (scenarios) and SEED come by the environment, and
SCENARIO, for one of them alone; "make differential-scenarios" sets them.
"""

import os
import platform
from collections import Counter
from contextlib import ExitStack

from lib.chance import chance, number
from lib.tap import Skip, main, note, test
from scenarios.compare import compare
from scenarios.generate import scenario
from scenarios.play import both
from scenarios.shrink import script, shrink

SCENARIOS = number("N", 3)
BATCH = 25              # scenarios between two changes of the module
REPORTED = number("SHRINK", 3)


def report(which, steps, found):
    """Make a scenario short, and show it."""
    steps, found = shrink(steps, found)
    text = script(f"Scenario {which}: both modules differ.", steps)
    with open(f"/out/scenario-{which}.py", "w", encoding="utf-8") as file:
        file.write(text)
    note(f"scenario {which}, made short:\n{text}{found}")


@test(f"{SCENARIOS} scenarios come to the same on both modules, step by step, "
      "but for what is listed")
def same(_nothing):
    if os.environ.get("CLOCK") != "instructions":
        raise Skip("it takes a clock that counts instructions: vm --icount")
    if platform.release().endswith("-debug"):
        raise Skip("not tried on this kernel, where steps take longer")
    seed = chance(904).randrange(1 << 32)
    numbers = range(SCENARIOS)
    if os.environ.get("SCENARIO"):
        numbers = [number("SCENARIO", 0)]
    seen, wrong = Counter(), []
    for first in range(0, len(numbers), BATCH):
        some = numbers[first:first + BATCH]
        made = [scenario(seed, each) for each in some]
        for which, steps, outcomes in zip(some, made, both(made)):
            found = compare(steps, *outcomes, seen)
            if found:
                wrong.append((which, steps, found))
                note(f"scenario {which}, step {found.at}, "
                     f"{steps[found.at]}: {found}")
    for what, times in sorted(seen.items()):
        note(f"{times:7} {what}")
    for each in wrong[:REPORTED]:
        report(*each)
    assert not wrong, "scenarios that differ: " + " ".join(
        str(which) for which, _steps, _found in wrong)
    assert seen["packets that came out"], "nothing came out"


if __name__ == "__main__":
    main(ExitStack)
