# SPDX-License-Identifier: GPL-2.0
"""The kernel's allocations, to find leaks."""

import glob
import os

from .netns import Netns


def _give_back(cache="*"):
    """Drop what is kept for later (it may hold a namespace), and have slab
    caches return what lies ready on the CPUs: only then is a count of their
    objects exact."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
        drop.write("3")
    for path in set(map(os.path.realpath, glob.glob(
            f"/sys/kernel/slab/{cache}/shrink"))):
        with open(path, "w", encoding="ascii") as shrink:
            shrink.write("1")


def _objects():
    """Objects in use of each slab cache. Addresses of stacks that ended
    threads had are collected, megabytes of them, before they are given back:
    what is still mapped shows in VmallocUsed."""
    with open("/proc/slabinfo", encoding="ascii") as slabs:
        rows = [line.split() for line in slabs][2:]
    return {f"objects of {row[0]}": int(row[1]) for row in rows
            if row[0] != "vmap_area"}


def in_use(cache):
    """Objects in use of one cache."""
    _give_back(cache)
    return _objects()[f"objects of {cache}"]


def namespaces():
    """How many network namespaces there are, with one that has just gone: the
    kernel keeps the last ones' memory until another goes."""
    Netns("ipvs-last").delete()
    return in_use("net_namespace")


def _pages():
    """KiB of kernel memory that is none of a cache's objects: slabs as a
    whole (large allocations are among them), per CPU, mapped."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        rows = dict(line.split()[:2] for line in meminfo)
    return {f"KiB of {name}": int(rows[f"{name}:"])
            for name in ("SUnreclaim", "Percpu", "VmallocUsed")}


def usage():
    """A snapshot. A kernel that debugs memory keeps much of it for itself,
    and finds leaks better (see vm/leaks.py): there, of IPVS's caches only."""
    _give_back()
    if os.path.exists("/sys/kernel/debug/kmemleak"):
        return {what: count for what, count in _objects().items()
                if what.startswith("objects of ip_vs")}
    return _objects() | _pages()


def _named(what):
    """With the other names of a cache that several share: SLUB gives them one
    if their objects have the same size, and the name of the first."""
    name = what.removeprefix("objects of ")
    paths = glob.glob("/sys/kernel/slab/[!:]*")
    here = os.path.realpath(f"/sys/kernel/slab/{name}")
    others = sorted(os.path.basename(path) for path in paths
                    if os.path.realpath(path) == here and
                    os.path.basename(path) != name)
    return f"{what} ({', '.join(others)})" if others else what


def leaks(snapshots, rounds):
    """What has grown, from each snapshot to the next, by an object or a page
    for every three of the rounds between them: what leaks grows each time,
    while what is freed late or cached goes up and down. For fewer than 24
    rounds that is no more than what goes up and down by itself."""
    grown = []
    for what in snapshots[0]:
        growth = [after.get(what, 0) - before.get(what, 0)
                  for before, after in zip(snapshots, snapshots[1:])]
        page = 4 if what.startswith("KiB") else 1
        if min(growth) >= rounds // 3 * page:
            grown.append(
                f"{_named(what)}: {growth} in {rounds} rounds each")
    return grown
