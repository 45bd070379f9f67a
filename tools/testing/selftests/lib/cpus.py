# SPDX-License-Identifier: GPL-2.0
"""Selects the CPUs on which this process runs."""

import os
from contextlib import contextmanager


@contextmanager
def on_cpus(*cpus):
    """While this lasts, this process may run on these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
