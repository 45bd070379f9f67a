#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 900
"""Both modules choose the same: connections come to every scheduler whose
choices don't depend on chance, in the C module and then in ours, in this
machine, and the server of every arrival is compared.

What comes stands in choices/arrivals.py: connections of UDP, and of TCP that
become active and close. What happens meanwhile stands in choices/changes.py:
servers come, go and return, change weights and thresholds, and the service is
given other schedulers and flags for a while. Half of the connections of each
scheduler come to a service with few servers, half to one with many. All that
comes out is compared, which frame in which order to which server, and the
active and inactive connections of each server at the end.

N (arrivals at each scheduler) and SEED come by the environment, and SCHEDULER,
a regular expression, for some of them alone; "make differential-choices" sets
them.
"""

import os
import re
import time

from choices.arrivals import Arrivals
from choices.changes import SCHEDULERS, Plan
from choices.compare import Comparison
from choices.play import on
from lib.chance import chance, number
from lib.tap import TIME_FACTOR, main, note, test

ARRIVALS = number("N", 5_000 // TIME_FACTOR)
FEW, MANY = 5, 45       # servers
CHOSEN = [each for each in SCHEDULERS
          if re.search(os.environ.get("SCHEDULER", ""), str(each))]


class Choices:
    """The outcomes of all runs, on both modules."""

    def __enter__(self):
        seed = chance(20261128).randrange(1 << 32)
        began = time.monotonic()
        streams = {share: Arrivals(seed, ARRIVALS // 2, share)
                   for share in {each.share for each in CHOSEN}}
        self.jobs = [([Plan(seed, each, count, streams[each.share])
                       for count in (FEW, MANY)], streams[each.share])
                     for each in CHOSEN]
        self.c, self.ours = (on(which, self.jobs) for which in ("c", "rust"))
        note(f"{time.monotonic() - began:.0f} s")
        return self

    def __exit__(self, *_error):
        pass


def compared(place):
    """A test of one scheduler."""
    scheduler = CHOSEN[place]

    @test(f"{scheduler}: each of {ARRIVALS:,} arrivals goes to the same "
          "server")
    def same(choices):
        plans, arrivals = choices.jobs[place]
        for plan, *outcomes in zip(plans, choices.c[place],
                                   choices.ours[place]):
            comparison = Comparison(plan, arrivals, *outcomes)
            note(comparison.summary())
            found = comparison.difference()
            assert not found, (
                f"{found}\nagain: make differential-choices N={ARRIVALS} "
                f"SCHEDULER='^{scheduler}$' and the SEED above")
            assert comparison.served() > arrivals.count // 4, "few are served"


for each in range(len(CHOSEN)):
    compared(each)


if __name__ == "__main__":
    main(Choices)
