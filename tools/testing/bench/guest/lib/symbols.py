# SPDX-License-Identifier: GPL-2.0
"""Names of the kernel's functions, those of modules and of Rust included."""

import re
from bisect import bisect_right

from .director import read

# What has digits in it and is no identifier: constants of generics,
# disambiguators and references to what came before.
NOISE = re.compile(r"K[a-z]n?[0-9a-f]*_|[sB][0-9A-Za-z]*_|[A-Za-z_]")


def demangle(name):
    """The identifiers of a symbol of Rust; any other symbol as it is."""
    if not name.startswith("_R"):
        return name
    found, rest = [], name[2:]
    while rest:
        length = re.match(r"([1-9][0-9]*)_?", rest)
        if length:
            end = length.end() + int(length[1])
            found.append(rest[length.end():end])
            rest = rest[end:]
        else:
            noise = NOISE.match(rest)
            rest = rest[noise.end() if noise else 1:]
    return "::".join(found)


class Symbols:
    """The functions in the kernel at this moment."""

    def __init__(self):
        known = []
        for line in read("/proc/kallsyms").splitlines():
            part = line.split()
            if part[1] in "tTwW":
                known.append((int(part[0], 16), part[2],
                              part[3] if len(part) > 3 else ""))
        known.sort()
        self.starts = [start for start, _name, _module in known]
        self.known = known

    def find(self, address):
        """The function there: its name with its module's, and the offset."""
        start, name, module = self.known[bisect_right(self.starts, address) - 1]
        return f"{demangle(name)} {module}".rstrip(), address - start
