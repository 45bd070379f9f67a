# SPDX-License-Identifier: GPL-2.0
"""What ipvsadm takes with many services, and with a service that has many
servers.

A figure is the CPU time of one ipvsadm, its own and the kernel's for it, in
instructions; the kernel's part of it is beside, and IPVS's own part of that, as
samples of another run have it. What it waits for, as grace periods, is in none,
and in the elapsed time.
"""

import resource
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

from . import module, sampler
from .family import Ipv4
from .symbols import Symbols

COUNT = 20_000
PERIOD = 5003       # of samples


def services(count):
    """Many services with two servers each."""
    for number in range(count):
        yield f"-A -t {_address(198, number)}:80 -s wlc", [
            f"-t {_address(198, number)}:80 -r {_address(10 + i, number)}:80 "
            "-m" for i in range(2)]


def servers(count):
    """A service with many servers."""
    yield "-A -t 198.18.0.1:80 -s wlc", [
        f"-t 198.18.0.1:80 -r {_address(10, number)}:80 -m"
        for number in range(count)]


def _address(first, number):
    number += 256
    return f"{first}.18.{number >> 8}.{number & 255}"


class Scale(NamedTuple):
    """A set of rules, and how much of the C module's cost it may have."""
    title: str
    rules: object
    limit: float


SCALES = {
    "services": Scale("20,000 services with 2 servers", services, 1.0),
    "servers": Scale("a service with 20,000 servers", servers, 0.1),
}
STEPS = ("restore", "list", "edit", "clear")


def _cost(argv, lines=()):
    """What a command costs, and its output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), \
        time.perf_counter_ns()
    done = subprocess.run(argv, input="\n".join(lines), capture_output=True,
                          text=True, check=False)
    elapsed = time.perf_counter_ns() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{argv}: {done.returncode} {done.stderr[:500]}")
    kernel = after.ru_stime - before.ru_stime
    user = after.ru_utime - before.ru_utime
    return {"total": (kernel + user) * 1e9, "kernel": kernel * 1e9,
            "elapsed": elapsed}, done.stdout


def _check(what, found, expected):
    """A figure counts only if it was done."""
    if found != expected:
        raise RuntimeError(f"{what}: {found}, expected {expected}")


def steps(scale, watch=lambda _step: nullcontext()):
    """The cost of each step, with `watch` entered for the time that it takes."""
    rules = list(scale.rules(COUNT))
    total = sum(len(own) for _service, own in rules)
    found = {}

    def do(step, argv, lines=()):
        with watch(step):
            found[step], text = _cost(argv, lines)
        return text

    do("restore", ["ipvsadm", "-R"], [
        line for service, own in rules
        for line in [service, *(f"-a {server} -w 1" for server in own)]])
    text = do("list", ["ipvsadm", "-Ln"])
    _check("servers that are listed", text.count("  -> ") - 1, total)
    do("edit", ["ipvsadm", "-R"], [
        f"-e {server} -w 2" for _service, own in rules
        for server in own[-COUNT:][-(COUNT // len(rules)):]])
    with open("/proc/net/ip_vs", encoding="ascii") as file:
        changed = sum(line.split()[3] == "2" for line in file
                      if line.startswith("  ->") and "Remote" not in line)
    _check("servers that were changed", changed, COUNT)
    do("clear", ["ipvsadm", "-C"])
    with open("/proc/net/ip_vs", encoding="ascii") as file:
        _check("lines that are left", len(file.readlines()), 3)
    return found


def load(name, parameters=()):
    """Load a module, without services."""
    module.load(name, Ipv4, (), parameters)


def profile(name, key):
    """Where the kernel spends its instructions for one of COUNT:
    {step: {function: {offset: instructions}}}."""
    places = {step: Counter() for step in STEPS}

    @contextmanager
    def watch(step):
        clock = sampler.Sampler(PERIOD)
        with clock:
            yield
        places[step].update(clock.samples())
        clock.close()

    load(name)
    steps(SCALES[key], watch)
    symbols = Symbols()
    module.unload()
    found = {step: {} for step in STEPS}
    for step, samples in places.items():
        for address, count in samples.items():
            function, offset = symbols.find(address)
            found[step].setdefault(function, Counter())[offset] += \
                count * PERIOD / COUNT
    return found


def share(functions):
    """Of such a profile, what is spent in IPVS itself."""
    return COUNT * sum(places.total() for function, places
                       in functions.items() if "[ip_vs" in function)


def measure(name, parameters, progress):
    """The costs with one module: {scale: {step: cost}}."""
    found = {}
    for key, scale in SCALES.items():
        progress(f"{name}: {scale.title}")
        load(name, parameters)
        found[key] = steps(scale)
        module.unload()
        for step, functions in profile(name, key).items():
            found[key][step]["own"] = share(functions)
    return found
