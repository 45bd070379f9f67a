# SPDX-License-Identifier: GPL-2.0
"""Loading and unloading the module under test, C or Rust."""

import ctypes
import os
import subprocess
from contextlib import contextmanager

from .tap import Skip, eventually, module_under_test

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "lblc",
              "lblcr", "dh", "sh", "mh", "twos")
MODULES = [f"ip_vs_{name}" for name in SCHEDULERS]
SYS_FINIT_MODULE, SYS_DELETE_MODULE = 313, 176     # x86-64
RUST_KO = os.environ.get("IPVS_KO", "/ipvs/ip_vs.ko")
# Beside ip_vs.ko, for what needs the symbols of other modules.
RUST_MODULES = f"{os.path.dirname(RUST_KO)}/modules"
MATCH = "xt_ipvs"


def run(*argv, stdin=None, check=True):
    """A command's standard output; what it says when it fails is the error."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True,
                          check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def loaded():
    """Names of the IPVS modules in the kernel, users before what they use."""
    with open("/proc/modules", encoding="ascii") as modules:
        names = [line.split()[0] for line in modules]
    return sorted((n for n in names if n == "ip_vs" or
                   n.startswith(("ip_vs_", MATCH))),
                  key=lambda name: name == "ip_vs")


def depends(path):
    """The modules that a module file says it needs."""
    return [name for name in run("modinfo", "-F", "depends", path).strip()
            .split(",") if name]


def load(*parameters):
    """Load the module under test; the C schedulers are modules of their own."""
    if module_under_test() == "rust":
        if not os.path.exists(RUST_KO):
            raise Skip(f"no {RUST_KO}")
        needed = depends(RUST_KO)
        if needed:
            run("modprobe", "-a", *needed)
        run("insmod", RUST_KO, *parameters)
        return
    run("modprobe", "ip_vs", *parameters)
    run("modprobe", "-a", *MODULES)


def load_match():
    """Load what `-m ipvs` of iptables needs; ip_vs is loaded already."""
    if module_under_test() == "c":
        run("modprobe", MATCH)
    elif MATCH not in loaded():
        path = f"{RUST_MODULES}/{MATCH}.ko"
        run("modprobe", "-a", *(set(depends(path)) - {"ip_vs"}))
        run("insmod", path)


@contextmanager
def no_autoload():
    """While this lasts, the kernel looks for no module by itself: it would for
    each scheduler's name that comes up."""
    with open("/proc/sys/kernel/modprobe", "r+", encoding="ascii") as file:
        path = file.read()
        file.write("\n")
    try:
        yield
    finally:
        with open("/proc/sys/kernel/modprobe", "w", encoding="ascii") as file:
            file.write(path)


def files():
    """The module files that load() would load, in order."""
    if module_under_test() == "rust":
        return [RUST_KO]
    return [run("modinfo", "-n", name).strip()
            for name in ["ip_vs", *MODULES]]


def _syscall(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def insert(path, parameters=b""):
    """finit_module(2): a module file whose dependencies are there."""
    with open(path, "rb") as file:
        _syscall(SYS_FINIT_MODULE, file.fileno(), parameters, 0)


def remove(name):
    """delete_module(2), without waiting."""
    _syscall(SYS_DELETE_MODULE, name.encode(), os.O_NONBLOCK)


def refuses(name):
    """Try to unload a module; whether it refuses, being in use."""
    try:
        remove(name)
    except BlockingIOError:
        return True
    return False


def unload(seconds=30):
    """Unload all IPVS modules.

    A service holds a reference, and a dying namespace gives up its services
    in a work queue, so "in use" is an answer for a while and not for ever.
    """
    def gone():
        names = loaded()
        if names:
            run("rmmod", *names, check=False)
        return not loaded()
    eventually(gone, "IPVS modules unloaded", seconds)
