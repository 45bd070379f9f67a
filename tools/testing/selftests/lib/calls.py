# SPDX-License-Identifier: GPL-2.0
"""Calls of kernel functions, seen by kprobes."""

import os
import re
from typing import NamedTuple

from .module import run
from .tap import Skip

TRACING = "/sys/kernel/tracing"
# PROCESS-PID [CPU] FLAGS TIME: PROBE: …
LINE = re.compile(r"\s*(.*)-(\d+)\s+\[\d+\]\s+(\S+) .*?: (\w+): ")


class Call(NamedTuple):
    """A call, or the end of one: who made it, the probe's name, and flags as the
    kernel's Documentation/trace/ftrace.rst has them."""
    process: str
    pid: int
    name: str
    flags: str = "....."

    @property
    def without_bh(self):
        """Whether bottom halves were off."""
        return self.flags[0] in "bD"

    @property
    def interrupts(self):
        """Whether it was made by what interrupted the process, not by itself."""
        return self.flags[2] != "."


def _write(path, text, mode="w"):
    with open(f"{TRACING}/{path}", mode, encoding="ascii") as file:
        file.write(text)


class Calls:
    """Watches functions until it is left. Takes a probe's name and a place for
    each: "p FUNCTION" for its beginning, "r FUNCTION" for its end; and names of
    the kernel's own events (GROUP/NAME) to be seen among them.

    Processes have their names only if `named`: for that the scheduler's code is
    changed while it runs, and again at the end, which an emulated machine with two
    processors has died of."""

    def __init__(self, *events, named=False, **probes):
        self.events = ("selftest", *events)
        self.named, self.probes = named, probes

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
        _write("options/record-cmd", f"{self.named:d}")
        _write("trace", "")
        for event in self.events:
            _write(f"events/{event}/enable", "1")
        return self

    def __exit__(self, *_error):
        for event in self.events:
            _write(f"events/{event}/enable", "0")
        _write("options/record-cmd", "1")
        _write("kprobe_events", "")
        _write("trace", "")

    def seen(self, alone=False):
        """All calls so far, the first one first. If alone, none is recorded
        meanwhile: whoever reads makes calls, too."""
        if alone:
            _write("tracing_on", "0")
        with open(f"{TRACING}/trace", encoding="ascii") as file:
            matches = [LINE.match(line) for line in file
                       if not line.startswith("#")]
        if alone:
            _write("tracing_on", "1")
        return [Call(match[1], int(match[2]), match[4], match[3])
                for match in matches if match]
