# SPDX-License-Identifier: GPL-2.0
"""The kernel's log, from some moment on."""

import os
from contextlib import contextmanager
from typing import NamedTuple

ERROR, WARNING, INFO = 3, 4, 6
NET = "/proc/sys/net/core"


class Line(NamedTuple):
    """A line, with what is not printable as /dev/kmsg has it, as `\\x0a`."""
    level: int
    text: str


class KernelLog:
    """Reads what has been written since it was made, or since the last time."""

    def __init__(self):
        self.handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.handle, 0, os.SEEK_END)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        os.close(self.handle)

    def read(self):
        """All new lines."""
        lines = []
        while True:
            try:
                record = os.read(self.handle, 8192)
            except BlockingIOError:
                return lines
            # Of what follows the first line, nothing is wanted.
            head, _, text = record.decode(errors="replace").partition(";")
            lines.append(Line(int(head.split(",")[0]) & 7,
                              text.partition("\n")[0]))

    def ipvs(self):
        """All new lines of IPVS, without the prefix."""
        return [Line(level, text.removeprefix("IPVS: "))
                for level, text in self.read() if text.startswith("IPVS: ")]


def _set(name, value):
    with open(f"{NET}/{name}", "r+", encoding="ascii") as file:
        before = file.read()
        file.seek(0)
        file.write(str(value))
    return before


@contextmanager
def packet_limit(lines, seconds):
    """While this lasts, packets may cause so many lines in so many seconds; in
    0 seconds, any number."""
    before = {name: _set(name, value) for name, value in (
        ("message_burst", lines), ("message_cost", seconds))}
    try:
        yield
    finally:
        for name, value in before.items():
            _set(name, value)
