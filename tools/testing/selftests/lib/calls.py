# SPDX-License-Identifier: GPL-2.0
"""Calls of kernel functions, seen by kprobes."""

import os
import re
from typing import NamedTuple

from .module import run
from .tap import Skip

TRACING = "/sys/kernel/tracing"
# PROCESS-PID [CPU] FLAGS TIME: PROBE: (PLACE)
LINE = re.compile(r"\s*(.*)-(\d+)\s+\[\d+\].*: (\w+): \(")


class Call(NamedTuple):
    """A call, or the end of one: who made it, and the probe's name."""
    process: str
    pid: int
    name: str


def _write(path, text, mode="w"):
    with open(f"{TRACING}/{path}", mode, encoding="ascii") as file:
        file.write(text)


class Calls:
    """Watches functions until it is left. Takes a probe's name and a place for
    each: "p FUNCTION" for its beginning, "r FUNCTION" for its end."""

    def __init__(self, **probes):
        self.probes = probes

    @staticmethod
    def need():
        """Skip what comes, if the kernel can't do it."""
        if not os.path.exists(f"{TRACING}/trace"):
            run("mount", "-t", "tracefs", "tracefs", TRACING)
        if not os.path.exists(f"{TRACING}/kprobe_events"):
            raise Skip("a kernel without kprobe events")

    def __enter__(self):
        self.need()
        _write("kprobe_events", "".join(
            f"{place.split()[0]}:selftest/{name} {place.split()[1]}\n"
            for name, place in self.probes.items()))
        _write("trace", "")
        _write("events/selftest/enable", "1")
        return self

    def __exit__(self, *_error):
        _write("events/selftest/enable", "0")
        _write("kprobe_events", "")
        _write("trace", "")

    def seen(self):
        """All calls so far, the first one first."""
        with open(f"{TRACING}/trace", encoding="ascii") as file:
            matches = [LINE.match(line) for line in file
                       if not line.startswith("#")]
        return [Call(match[1], int(match[2]), match[3])
                for match in matches if match]
