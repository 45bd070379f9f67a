# SPDX-License-Identifier: GPL-2.0
"""What connections take of the kernel's memory.

Slab caches of the same object size are merged, so that the cache of the
connections has any name. It is found by what it does: it grows with them.
"""

import glob
from typing import NamedTuple

from .director import read

PAGE = 4096


class Cache(NamedTuple):
    """A line of /proc/slabinfo."""
    objects: int        # in all of its slabs
    size: int           # of all of them


def shrink():
    """Give back the empty slabs that earlier connections have left."""
    for path in glob.glob("/sys/kernel/slab/*/shrink"):
        with open(path, "w", encoding="ascii") as file:
            file.write("1")


class Snapshot:
    """Memory at this moment."""

    def __init__(self):
        self.caches = {}
        for line in read("/proc/slabinfo").splitlines()[2:]:
            part = line.split()
            self.caches[part[0]] = Cache(int(part[2]), int(part[14])
                                         * int(part[5]) * PAGE)
        info = {}
        for line in read("/proc/meminfo").splitlines():
            name, value = line.split()[:2]
            info[name.rstrip(":")] = int(value) * 1024
        # Slab has what is too large for a cache in it, too.
        self.kernel = info["Slab"] + info["VmallocUsed"]

    def grown(self, earlier, connections):
        """Caches that grew by an object for one in four connections since
        then, or for more."""
        return {name for name, cache in self.caches.items()
                if cache.objects - earlier.caches[name].objects
                > connections / 4}

    def slab(self, earlier, caches):
        """Bytes that these caches have grown by since then."""
        return sum(self.caches[name].size - earlier.caches[name].size
                   for name in caches)
