#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""The installed module is loaded by whoever asks for it: by its name, by those
of the schedulers that it contains, and by its netlink family."""

import os
import shutil
from contextlib import nullcontext

from lib import module
from lib.genl import GENL_ID_CTRL, CTRL_CMD_GETFAMILY, Genl, string
from lib.module import RUST_KO, run
from lib.tap import Skip, equal, main, module_under_test, test

MODULES = f"/lib/modules/{os.uname().release}"
CONFIGURATION = "/etc/modprobe.d/ipvs-rs.conf"
FEW = "/tmp/modules"
INSTALLED = f"{MODULES}/updates/ip_vs.ko"


class Installed:
    """What `make install` puts where, in this machine; for as long as this
    lasts, there are no other modules than those that IPVS may need, so that
    depmod has little to do."""

    def __init__(self):
        self.mounted = False

    def __enter__(self):
        module.unload()
        if module_under_test() == "c":
            return self
        if not os.path.exists(RUST_KO):
            raise Skip(f"no {RUST_KO}")
        shutil.rmtree(FEW, ignore_errors=True)
        for part in ("net/netfilter", "net/ipv4", "net/ipv6", "lib"):
            if os.path.isdir(f"{MODULES}/kernel/{part}"):
                shutil.copytree(f"{MODULES}/kernel/{part}",
                                f"{FEW}/kernel/{part}")
        for name in os.listdir(MODULES):
            if name.startswith(("modules.order", "modules.builtin")):
                shutil.copy(f"{MODULES}/{name}", FEW)
        run("mount", "--bind", FEW, MODULES)
        self.mounted = True
        os.makedirs(os.path.dirname(INSTALLED))
        shutil.copy(RUST_KO, INSTALLED)
        aliases = run("modinfo", "-F", "alias", INSTALLED).split()
        os.makedirs(os.path.dirname(CONFIGURATION), exist_ok=True)
        with open(CONFIGURATION, "w", encoding="ascii") as file:
            for alias in aliases:
                if alias.startswith("ip_vs_"):
                    print("alias", alias, "ip_vs", file=file)
        run("depmod")
        return self

    def __exit__(self, *_error):
        module.unload()
        if self.mounted:
            os.remove(CONFIGURATION)
            run("umount", MODULES)
            shutil.rmtree(FEW)


def loaded():
    """Whether the module under test is there, and nothing but it."""
    names = module.loaded()
    if "ip_vs" not in names:
        return False
    # Only ours is from outside of the kernel's tree.
    with open("/sys/module/ip_vs/taint", encoding="ascii") as taint:
        outside = "O" in taint.read()
    equal(outside, module_under_test() == "rust", "where it is from")
    if outside:
        equal(names, ["ip_vs"])
    return True


def afresh(ask):
    """Nothing is loaded before `ask`, and the module is afterwards."""
    module.unload()
    ask()
    assert loaded(), "not loaded"


@test("modprobe finds it by its name, and by those of schedulers")
def by_name(_installed):
    for name in ["ip_vs", *module.MODULES]:
        afresh(lambda n=name: run("modprobe", n))


@test("who looks for the netlink family gets it")
def by_family(_installed):
    def ask():
        # The socket's maker looks up the family, and raises if it isn't there.
        Genl(nullcontext()).close()
    afresh(ask)


@test("who looks for another family does not")
def by_other_family(_installed):
    netlink = Genl(nullcontext())
    module.unload()
    answer = netlink.send(GENL_ID_CTRL, CTRL_CMD_GETFAMILY,
                          string(2, "IPVT"))
    equal(answer.error, "ENOENT")
    assert not loaded()
    netlink.close()


@test("ipvsadm needs no modprobe before it, nor for a scheduler")
def by_ipvsadm(_installed):
    afresh(lambda: run("ipvsadm", "-L", "-n"))
    for scheduler in "rr", "wrr", "lc", "wlc":
        afresh(lambda s=scheduler: run("ipvsadm", "-A", "-t",
                                       "192.0.2.1:80", "-s", s))
        equal(run("ipvsadm", "-S", "-n").strip(),
              f"-A -t 192.0.2.1:80 -s {scheduler}")
        run("ipvsadm", "-C")


if __name__ == "__main__":
    main(Installed)
