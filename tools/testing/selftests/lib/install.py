# SPDX-License-Identifier: GPL-2.0
"""Runs `make install`, and this machine after it."""

import os
import shutil

from . import module
from .module import RUST_KO, run
from .tap import Skip, module_under_test

RELEASE = os.uname().release
MODULES = f"/lib/modules/{RELEASE}"
CONFIGURATION = "etc/modprobe.d/ipvs-rs.conf"
INSTALL = "/ipvs/tools/env/install-module"
STAND_INS = f"{os.path.dirname(RUST_KO)}/stand_ins"
# The modules of C that ours needs none for: all but those for FTP and iptables.
NAMES = [*module.MODULES, "ip_vs_pe_sip"]
# Those that ours has beside it.
BESIDE = [module.MATCH, "ip_vs_ftp"]
_FEW = "/tmp/modules"


def install(prefix="", release=RELEASE):
    """Install what `make` has built, as `make install` does."""
    return run(INSTALL, os.path.dirname(RUST_KO), release, prefix)


def copy_modules(to):
    """A directory of modules with those that IPVS may need, so that depmod
    has little to do."""
    for part in ("net/netfilter", "net/ipv4", "net/ipv6", "lib"):
        if os.path.isdir(f"{MODULES}/kernel/{part}"):
            shutil.copytree(f"{MODULES}/kernel/{part}", f"{to}/kernel/{part}")
    for name in os.listdir(MODULES):
        if name.startswith(("modules.order", "modules.builtin")):
            shutil.copy(f"{MODULES}/{name}", to)


class FewModules:
    """While this lasts, the kernel's modules are a copy of what IPVS may need
    and nothing of ours is among them. No IPVS is loaded before or after it."""

    def __init__(self):
        self.mounted = False

    def __enter__(self):
        module.unload()
        if not os.path.isdir(STAND_INS):
            raise Skip(f"no {STAND_INS}")
        shutil.rmtree(_FEW, ignore_errors=True)
        copy_modules(_FEW)
        run("mount", "--bind", _FEW, MODULES)
        self.mounted = True
        run("depmod")
        return self

    def __exit__(self, *_error):
        module.unload()
        if self.mounted:
            run("umount", MODULES)
            shutil.rmtree(_FEW)


class Installed(FewModules):
    """While this lasts, the module under test is the one that is installed."""

    def __enter__(self):
        if module_under_test() == "c":
            module.unload()
            return self
        super().__enter__()
        install()
        return self
