# SPDX-License-Identifier: GPL-2.0
"""Samples where the kernel is, by perf_event_open(2) and the clock of the CPU.

The samples are as exact as the clock, and that counts instructions. Where
interrupts are off, the sample is taken where they are enabled again.
"""

import ctypes
import fcntl
import mmap
import os
import struct

PERF_EVENT_OPEN = 298       # on x86-64
TYPE_SOFTWARE, CPU_CLOCK = 1, 0
SAMPLE_IP = 1
DISABLED, EXCLUDE_USER = 1 << 0, 1 << 4
ENABLE, DISABLE = 0x2400, 0x2401
RECORD_SAMPLE = 9
DATA_HEAD = 1024            # offset in struct perf_event_mmap_page
SIZE = 1 << 24              # for a million samples


def prepare():
    """Allow as many samples as are asked for."""
    for name, value in (("max_sample_rate", 1000000),
                        ("cpu_time_max_percent", 0)):
        prefix = "perf_event_" if name.startswith("max") else "perf_"
        with open(f"/proc/sys/kernel/{prefix}{name}", "w",
                  encoding="ascii") as file:
            file.write(str(value))


class Sampler:
    """While entered, takes a sample each time that the clock has advanced by
    the period."""

    def __init__(self, period):
        attr = struct.pack("=IIQQQQQ", TYPE_SOFTWARE, 64, CPU_CLOCK, period,
                           SAMPLE_IP, 0, DISABLED | EXCLUDE_USER)
        buffer = ctypes.create_string_buffer(attr.ljust(64, b"\0"), 64)
        self.fd = ctypes.CDLL(None, use_errno=True).syscall(
            PERF_EVENT_OPEN, buffer, -1, 0, -1, 0)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        self.ring = mmap.mmap(self.fd, mmap.PAGESIZE + SIZE)

    def __enter__(self):
        fcntl.ioctl(self.fd, ENABLE, 0)
        return self

    def __exit__(self, *_error):
        fcntl.ioctl(self.fd, DISABLE, 0)

    def close(self):
        """Give everything back."""
        self.ring.close()
        os.close(self.fd)

    def samples(self):
        """The addresses."""
        head, = struct.unpack_from("=Q", self.ring, DATA_HEAD)
        place, end = mmap.PAGESIZE, mmap.PAGESIZE + min(head, SIZE)
        while place < end:
            kind, _misc, size = struct.unpack_from("=IHH", self.ring, place)
            if kind == RECORD_SAMPLE:
                yield struct.unpack_from("=Q", self.ring, place + 8)[0]
            place += size
