#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 420
"""Both modules do the same: sequences of operations by chance, of all
interfaces, in three namespaces, are done on ours and on the C module, one
after the other in this machine, and every outcome is compared.

What is generated stands in differ/generate.py, what is compared and how in
differ/outcome.py, and the differences that are allowed in differ/allowed.py.
No packets are sent: counters, rates and connections are those of nothing.

A sequence that comes to different things is made as short as it gets, and
printed as a script, which is left with the results, too. N (operations) and
SEED come by the environment; "make differential N=... SEED=..." sets them.
"""

from collections import Counter
from contextlib import ExitStack

from differ import play
from differ.generate import LENGTH, sequence
from differ.script import outcomes_of, script, shown
from differ.shrink import shrink
from lib.chance import chance, number
from lib.tap import TIME_FACTOR, main, note, test

OPERATIONS = number("N", 5000 // TIME_FACTOR)
BATCH = 50              # sequences between two changes of the module
REPORTED = 3            # sequences that are made short


def different(seed, seen):
    """The sequences that come to different things, with the difference."""
    total = -(-OPERATIONS // LENGTH)
    for first in range(0, total, BATCH):
        numbers = range(first, min(first + BATCH, total))
        sequences = [sequence(seed, n) for n in numbers]
        for n, one, outcomes in zip(numbers, sequences, play.both(sequences)):
            found = play.compare(one, outcomes, seen)
            if found:
                yield n, one, found


def report(n, one, found):
    """Make a sequence short, and show it."""
    short = shrink(one, found.at)
    (outcomes,) = play.both([short])
    found = play.compare(short, outcomes) or found
    text = script(f"Sequence {n} of the run: both modules differ.", short)
    with open(f"/out/differential-{n}.py", "w", encoding="utf-8") as file:
        file.write(text)
    note(f"sequence {n}, made short:\n{text}{outcomes_of(found)}")


@test(f"{OPERATIONS} operations come to the same on both modules, but for "
      "what is listed")
def same(_nothing):
    seed = chance(20261125).randrange(1 << 32)
    seen, wrong = Counter(), []
    for found in different(seed, seen):
        wrong.append(found[0])
        if len(wrong) <= REPORTED:
            report(*found)
        else:
            note(f"sequence {found[0]}, number {found[2].at}: "
                 f"{shown(found[1][found[2].at])}\n{outcomes_of(found[2])}")
    for what, times in sorted(seen.items()):
        note(f"{times:6} {what}")
    assert not wrong, f"sequences that differ: {wrong}"
    assert seen, "no operation was done"


if __name__ == "__main__":
    main(ExitStack)
