# SPDX-License-Identifier: GPL-2.0
"""Allocations that fail: each of an operation once, one after the other.

The kernel fails the Nth allocation of a task that asked for it in
/proc/self/fail-nth, counting only those that have certain code on their stack
(see Documentation/fault-injection in the kernel). What a packet does that the
task writes into a TUN device is done by the task, too.
"""

import functools
import glob
import os
import re

from .module import run
from .tap import Skip, note

DEBUGFS = "/sys/kernel/debug"
KINDS = ("failslab", "fail_page_alloc")


def _set(name, value, kinds=KINDS):
    for kind in kinds:
        path = f"{DEBUGFS}/{kind}/{name}"
        if os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))


def prepare():
    """All slab and page allocations can fail, and say nothing of it: its
    stack in the log would look like an oops. With TRACE=1 they say it."""
    if not os.path.exists("/proc/self/fail-nth") or not os.path.exists(
            f"{DEBUGFS}/failslab/require-start"):
        raise Skip("this kernel can't make allocations fail")
    _set("probability", 0)
    _set("ignore-gfp-wait", "N")
    _set("task-filter", "N")
    _set("min-order", 0)
    # Its failure is logged with a stack that reads like an oops.
    start, end = function("__kmem_cache_create_args")
    _set("reject-start", f"{start:#x}")
    _set("reject-end", f"{end:#x}")
    _set("stacktrace-depth", 32)
    _set("verbose", 2 if os.environ.get("TRACE") else 0)


def _symbols(wanted):
    """(address, name) of functions, sorted, from the lines of kallsyms that
    grep finds; reading them all takes long."""
    lines = run("grep", "-E", wanted, "/proc/kallsyms").splitlines()
    return sorted((int(line.split()[0], 16), line.split()[2])
                  for line in lines if line.split()[1] in "tTwW")


@functools.cache
def function(name):
    """Return the address range of a kernel function, up to the next one."""
    path = "/proc/kallsyms"
    addresses = []
    with open(path, encoding="ascii") as lines:
        for line in lines:
            address, kind, found, *module = line.split()
            if module:
                break
            if kind in "tTwW":
                addresses.append(int(address, 16))
                if found.split(".")[0] == name:
                    start = addresses[-1]
    return start, min(address for address in addresses if address > start)


def function_of(module, pattern):
    """Return the address range of a module's function."""
    symbols = _symbols(rf"\[{module}\]$")
    start, = [address for address, name in symbols
              if re.fullmatch(pattern, name)]
    return start, min(address for address, _name in symbols
                      if address > start)


def text(module="ip_vs"):
    """Return the address range of a module's code."""
    with open("/proc/modules", encoding="ascii") as modules:
        base, = [line.split()[5] for line in modules
                 if line.split()[0] == module]
    return _text(module, base)


@functools.cache
def _text(module, _base):
    symbols = _symbols(rf"\[{module}\]$")
    return symbols[0][0], symbols[-1][0] + 4096 & ~4095


def confine(place):
    """Only allocations below this code count."""
    _set("require-start", f"{place[0]:#x}")
    _set("require-end", f"{place[1]:#x}")


class Nth:
    """The Nth allocation of this task within `with` fails, or none if there
    are not so many; `hit` tells afterwards."""

    def __init__(self, number):
        self.number, self.hit = number, False
        self.file = os.open("/proc/thread-self/fail-nth", os.O_RDWR)

    def __enter__(self):
        os.pwrite(self.file, b"%d" % self.number, 0)
        return self

    def __exit__(self, *_error):
        left = os.pread(self.file, 20, 0)
        os.pwrite(self.file, b"0", 0)
        os.close(self.file)
        self.hit = int(left) == 0


def walk(what, place, operation, at_least, before=lambda: None,
         after=lambda result, hit: None):
    """Let each allocation of an operation fail, until one run of it is
    through without. `before` prepares a run, `after` gets what it came to and
    whether an allocation failed in it."""
    number = 0
    while True:
        number += 1
        before()
        confine(place() if callable(place) else place)
        with Nth(number) as nth:
            result = operation()
        try:
            after(result, nth.hit)
        except AssertionError as error:
            raise AssertionError(
                f"{what}, allocation {number}: {error}") from error
        if not nth.hit:
            break
    note(f"{what}: {number - 1} allocations failed")
    assert number - 1 >= at_least, \
        f"{what}: {number - 1} allocations failed, at least {at_least} should"


class Anywhere:
    """Within `with`, allocations of slabs below this code fail in any task:
    the first one after `space` bytes of such have been had. `times` are left
    to fail afterwards, `space` bytes to be had."""

    def __init__(self, place, space):
        self.place, self.space = place, space

    def __enter__(self):
        confine(self.place)
        _set("space", self.space, KINDS[:1])
        _set("times", 1, KINDS[:1])
        _set("probability", 100, KINDS[:1])
        return self

    def __exit__(self, *_error):
        _set("probability", 0)

    @staticmethod
    def left():
        """(faults, bytes) that are left."""
        return tuple(int(open(f"{DEBUGFS}/failslab/{name}",
                              encoding="ascii").read())
                     for name in ("times", "space"))


def leaks():
    """Return the leaks of the module that kmemleak has found, "" without
    it."""
    path = f"{DEBUGFS}/kmemleak"
    if not os.path.exists(path):
        return ""
    with open(path, "w", encoding="ascii") as file:
        file.write("scan")
    with open(path, encoding="ascii") as file:
        reports = re.split(r"(?m)^(?=unreferenced)", file.read())
    return "".join(one for one in reports if "ip_vs" in one)


def slabs(pattern):
    """Caches of slabs with such names."""
    return [os.path.basename(path)
            for path in glob.glob(f"/sys/kernel/slab/{pattern}")]
