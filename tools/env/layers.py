# SPDX-License-Identifier: GPL-2.0
"""Looks at what the files of the module import of each other, and fails if

- a file of the ground (GROUND) imports a room above it;
- files of several rooms import each other in a circle. Within a room, which is a file with what is
  in the directory of its name, a circle may be: that of service, server and scheduler is by nature.
"""

import os
import re
import sys

GROUND = {"defence", "family", "log", "settings", "walk"}
# Files that are in a room of the ground by their name, but are not of it.
ABOVE = {"defence::drop_entry"}
ELSEWHERE = {"build", "Documentation", "ipvs_core", "linux", "modules", "stand_ins", "tools"}


def modules():
    """The source of each module, by its path in the crate."""
    found = {}
    for directory, below, files in os.walk("."):
        if directory == ".":
            below[:] = [name for name in below if name not in ELSEWHERE and name[0] != "."]
        for name in files:
            if name.endswith(".rs"):
                path = os.path.normpath(os.path.join(directory, name))
                module = path[:-3].replace("/", "::")
                with open(path) as source:
                    text = re.sub(r"//[^\n]*", "", source.read())
                found["" if module == "ip_vs_main" else module] = text
    return found


def split(text):
    """The parts of a list, at the commas that no braces are around."""
    depth, parts = 0, [""]
    for char in text:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def flatten(tree, before=()):
    """The paths of a use declaration."""
    if "{" not in tree:
        names = [name.strip() for name in tree.split(" as ")[0].split("::")]
        return [before + tuple(names)]
    head, rest = tree.split("{", 1)
    before += tuple(name.strip() for name in head.split("::") if name.strip())
    return [path for part in split(rest[: rest.rindex("}")]) for path in flatten(part, before)]


def imports(module, text, known):
    """The modules that a module needs."""
    use = re.compile(r"\buse\s+([^;]*);")
    paths = [path for tree in use.findall(text) for path in flatten(tree)]
    paths += [tuple(path.split("::")) for path in re.findall(r"\b\w+(?:::\w+)+", use.sub("", text))]
    here = tuple(module.split("::")) if module else ()
    for path in paths:
        if path[0] == "crate":
            path = path[1:]
        elif path[0] == "super":
            base = here
            while path and path[0] == "super":
                base, path = base[:-1], path[1:]
            path = base + path
        elif "::".join(here + path[:1]) in known:
            path = here + path
        else:
            continue
        while path and "::".join(path) not in known:
            path = path[:-1]
        if path and path != here:
            yield "::".join(path)


def circles(edges):
    """The strongly connected components of more than one module (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in edges[module]:
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            circle = stack[stack.index(module):]
            del stack[stack.index(module):]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in edges:
        if module not in index:
            visit(module)
    return found


def room(module):
    return module.split("::")[0]


def main():
    sources = modules()
    edges = {module: set(imports(module, text, sources)) for module, text in sources.items()}
    if sum(map(len, edges.values())) < len(edges):
        sys.exit("hardly any imports were found: this check does not understand the source")
    faults = []
    for module in edges:
        if room(module) in GROUND and module not in ABOVE:
            above = {other for other in edges[module] if other in ABOVE or room(other) not in GROUND}
            faults += [f"{module} is of the ground, and imports {other}" for other in sorted(above)]
    for circle in sorted(circles(edges), key=len):
        print(f"circle of {len(circle)}: {' '.join(circle)}")
        if len({room(module) for module in circle}) > 1:
            faults.append(f"a circle through several rooms: {' '.join(circle)}")
    print("\n".join(faults))
    sys.exit(bool(faults))


main()
