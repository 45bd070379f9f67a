# SPDX-License-Identifier: GPL-2.0
"""Memory that nothing points to any more, as a kernel with kmemleak finds it.

By the time of a scan the module is gone, and with it the names of its
functions; Symbols knows them from when it was loaded.
"""

import bisect
import os
import re
import socket
import threading
import time

KMEMLEAK = "/sys/kernel/debug/kmemleak"
MIN_AGE = 5                     # seconds; what is younger is not looked at
NETLINK_KOBJECT_UEVENT = 15


def command(word):
    """One of kmemleak's commands; fails when it has been turned off."""
    with open(KMEMLEAK, "w", encoding="ascii") as file:
        file.write(word)


class Symbols(threading.Thread):
    """Takes note of where modules are, each time when one is loaded, and of
    what lies where in them, the first time."""

    def __init__(self, modules):
        super().__init__(daemon=True)
        self.modules = modules
        self.functions = {}     # module: sorted pairs of offset and name
        self.places = []        # base address and module, the newest last
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                    NETLINK_KOBJECT_UEVENT)
        self.socket.bind((0, 1))

    def run(self):
        while True:
            event = self.socket.recv(4096).partition(b"\0")[0].decode()
            found = re.match(r"add@/module/(\w+)$", event)
            if found and re.match(self.modules, found[1]):
                self.note(found[1])

    def note(self, module):
        """Where its code is."""
        try:
            with open(f"/sys/module/{module}/sections/.text",
                      encoding="ascii") as file:
                base = int(file.read(), 16)
        except OSError:         # gone again
            return
        if module not in self.functions:
            with open("/proc/kallsyms", encoding="ascii") as lines:
                rows = [line.split() for line in lines
                        if line.endswith(f"[{module}]\n")]
            if not rows:        # gone by now
                return
            self.functions[module] = sorted(
                (int(address, 16) - base, name)
                for address, kind, name, _module in rows if kind in "tT")
        self.places.append((base, module))

    def name(self, found):
        """A bare address of a trace as the kernel would have written it."""
        address = int(found[0], 16)
        for base, module in reversed(self.places):
            functions = self.functions[module]
            below = bisect.bisect(functions, (address - base, "\xff"))
            if 0 < below < len(functions):
                offset, name = functions[below - 1]
                return f"{name}+{address - base - offset:#x} [{module}, gone]"
        return found[0]

    def decode(self, report):
        """A report with names in the place of addresses."""
        return re.sub(r"(?m)(?<=^    )(0x)?ffffffff[0-9a-f]{8}$", self.name,
                      report)


def reports(symbols):
    """What has leaked since the last time, one text for each object."""
    time.sleep(MIN_AGE + 1)
    # What an object's only pointer was moved from is seen by the second.
    command("scan")
    command("scan")
    with open(KMEMLEAK, encoding="ascii", errors="replace") as file:
        text = file.read()
    command("clear")
    return [symbols.decode(report) for report in
            re.split(r"(?m)^(?=unreferenced object)", text) if report]


def available():
    """Whether this kernel has kmemleak."""
    return os.path.exists(KMEMLEAK)
