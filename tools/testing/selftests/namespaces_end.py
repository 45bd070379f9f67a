#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
"""Namespaces that end do not wait for grace periods one after the other.

The kernel ends them in batches, and waits for some grace periods for each
batch. What counts here is how many such waits there are, not how long one
takes. So many as there are for a batch of a single namespace there may be for
each batch, and a few more.
"""

import os
import platform
import time
from contextlib import contextmanager

from lib import module
from lib.calls import Calls
from lib.lab import VIP
from lib.netns import Netns, Space
from lib.rules import Rules
from lib.tap import equal, eventually, main, note, test

UDP = 17
MANY = 40
# Those of the C module on the stock kernel, Linux 7.3. One that looks for bugs has
# more for each slab cache.
WAITS_TO_UNLOAD = 9
STOCK = not platform.release().endswith("-debug")
WAITS = {"wait": "p synchronize_rcu", "expedited": "p synchronize_rcu_expedited",
         "barrier": "p rcu_barrier"}


@contextmanager
def loaded():
    """The module, without services."""
    Calls.need()
    module.unload()
    module.load()
    yield
    module.unload(60)


@contextmanager
def spaces(number):
    """So many namespaces that only this process uses, until end() or the end of
    this."""
    made = []
    try:
        for _ in range(number):
            made.append(Space.new())
        yield made
    finally:
        while made:
            made.pop().close()


def end(ending):
    """What the kernel calls while these namespaces end, batch by batch. A
    device shows when: the last one has its peer."""
    last = Netns("ipvs-last")
    last.ip("link set lo up")
    module.run("ip", "link", "add", "ipvs-end", "type", "veth",
               "peer", "name", "eth0", "netns", last.name)
    with Calls(named=True, begin="p cleanup_net", end="r cleanup_net",
               **WAITS) as calls:
        while ending:
            ending.pop().close()
        last.delete()

        def over():
            names = [call.name for call in calls.seen()]
            return not os.path.exists("/sys/class/net/ipvs-end") and \
                names.count("begin") == names.count("end")
        eventually(over, "the end of namespaces", 120)
        return calls.seen()


def batches(calls):
    """How often the one who ends namespaces waited, for each batch."""
    found, inside = [], {}
    for call in calls:
        if call.name == "begin":
            inside[call.pid] = 0
        elif call.name == "end":
            found.append(inside.pop(call.pid))
        elif call.pid in inside:
            inside[call.pid] += 1
    equal(inside, {}, "batches that are not over")
    return found


def few(alone, together, number):
    """Compare a namespace alone with many."""
    note(f"waits in batches: {alone} for one namespace, {together} for "
         f"{number}")
    most = max(alone) * len(together) + number // 4
    assert sum(together) <= most, \
        f"{sum(together)} waits in {len(together)} batches, at most {most}"


@test("namespaces in which IPVS was never used end without waits of their own")
def unused(_lab):
    with spaces(1) as made:
        alone = batches(end(made))
    with spaces(MANY) as made:
        few(alone, batches(end(made)), MANY)


def serve(made):
    """Add a service to each namespace, and wait until no thread
    that estimates rates waits for a grace period: it does when it begins, and
    finds nothing to do."""
    for space in made:
        with Rules(space) as rules:
            rules.add(UDP, VIP, 81)
    with Calls(named=True, **WAITS) as calls:
        def quiet():
            before = len(calls.seen())
            time.sleep(3)
            return not any(call.process.startswith("ipvs-e")
                           for call in calls.seen()[before:])
        eventually(quiet, "threads at rest", 60)


@test("namespaces with services end without waits of their own, and so do the "
      "threads that estimate their rates")
def with_services(_lab):
    with spaces(1) as made:
        serve(made)
        alone = batches(end(made))
    with spaces(MANY) as made:
        serve(made)
        calls = end(made)
    few(alone, batches(calls), MANY)
    threads = sum(call.process.startswith("ipvs-e") for call in calls)
    assert threads <= MANY // 4, f"{threads} waits of threads"


def unload():
    """How often it waits to unload the module."""
    names = module.loaded()
    if names[:-1]:
        module.run("rmmod", *names[:-1])
    with Calls(**WAITS) as calls:
        module.remove("ip_vs")
        found = [call for call in calls.seen() if call.pid == os.getpid()]
    module.load()
    return len(found)


@test("to unload the module it waits as often with many namespaces as with few")
def unloading(_lab):
    few_waits = unload()
    with spaces(MANY):
        many_waits = unload()
    note(f"waits: {few_waits} with few namespaces, {many_waits} with {MANY} more")
    assert few_waits <= WAITS_TO_UNLOAD or not STOCK, \
        f"{few_waits} waits, C has {WAITS_TO_UNLOAD}"
    assert many_waits <= few_waits + MANY // 4, \
        f"{many_waits} waits, {few_waits} with few namespaces"


@test("a service that is removed leaves its hooks without a wait")
def last_service(_lab):
    space = Netns("ipvs-single")
    try:
        with space, Rules(space) as rules:
            rules.add(UDP, VIP, 81)
            with Calls(**WAITS) as calls:
                rules.remove(UDP, VIP, 81)
                found = [call for call in calls.seen()
                         if call.pid == os.getpid()]
    finally:
        space.delete()
    note(f"waits: {len(found)}")
    equal(found, [], "waits of who removes a service")


if __name__ == "__main__":
    main(loaded)
