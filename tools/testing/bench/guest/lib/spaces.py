# SPDX-License-Identifier: GPL-2.0
"""Network namespaces that end, and namespaces that are there when the module
is unloaded. They have no services: this is what each of a host's containers
costs those who do not use IPVS."""

import os
import subprocess
import time

from . import scale
from .director import read, run

COUNT = 200
STEPS = {"end": f"{COUNT} namespaces end, until the next one has",
         "unload": f"unloading with {COUNT} namespaces"}
DEVICE = "spaces0"
PAUSE = 0.001


def _make():
    """Namespaces, by their open files."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    files = []
    for _ in range(COUNT):
        os.unshare(os.CLONE_NEWNET)
        files.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
    os.setns(here, os.CLONE_NEWNET)
    os.close(here)
    return files


def _end():
    """How long it takes until a device is gone whose peer is in the namespace
    that ends after all others, in ns."""
    run("ip", "netns", "add", "spaces-last")
    run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "eth0",
        "netns", "spaces-last")
    files = _make()
    start = time.perf_counter_ns()
    for file in files:
        os.close(file)
    run("ip", "netns", "del", "spaces-last")
    while os.path.exists(f"/sys/class/net/{DEVICE}"):
        time.sleep(PAUSE)
    return time.perf_counter_ns() - start


def _unload():
    """How long it takes to unload the module itself, in ns."""
    helpers = [line.split()[0] for line in read("/proc/modules").splitlines()
               if line.startswith("ip_vs_")]
    if helpers:
        run("rmmod", *helpers)
    files = _make()
    start = time.perf_counter_ns()
    subprocess.run(["rmmod", "ip_vs"], check=True)
    elapsed = time.perf_counter_ns() - start
    for file in files:
        os.close(file)
    return elapsed


def measure(name, parameters, progress):
    """The times with one module: {step: ns}."""
    progress(f"{name}: namespaces")
    scale.load(name, parameters)
    found = {"end": _end()}
    found["unload"] = _unload()
    return found
