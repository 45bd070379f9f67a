#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Two modules of one name: the second is refused, and the first goes on.

Compared: the errno of the loader, what is loaded afterwards, and that the
services of the first module are still there and served.
"""

import errno
import glob
import os

from lib import module
from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import udp
from lib.tap import Skip, equal, main, module_under_test, test


def other():
    """The file of the module that is not under test."""
    if module_under_test() == "c":
        if not os.path.exists(module.RUST_KO):
            raise Skip(f"no {module.RUST_KO}")
        return module.RUST_KO
    release = os.uname().release
    return glob.glob(f"/lib/modules/{release}/kernel/**/ip_vs.ko*",
                     recursive=True)[0]


class Beside(Lab):
    """A service of the module under test."""

    def build(self):
        super().build()
        self.ipvs.service(f"{VIP}:80", f"{RIP}:80 -m", kind="-u")

    def served(self):
        seen = self.exchange(self.client, udp(CIP, self.port(), VIP, 80))
        equal(len(seen[self.server]), 1, "packets at the server")


def refused(path, parameters=b""):
    try:
        module.insert(path, parameters)
    except OSError as error:
        return error.errno
    return None


@test("the other module is refused, and nothing of the first changes")
def beside(lab):
    rules, loaded = lab.ipvs.saved(), module.loaded()
    path = other()
    if not path.endswith(".ko"):
        raise Skip("the C module's file is compressed")
    equal(refused(path), errno.EEXIST, "errno")
    equal(module.loaded(), loaded, "modules")
    equal(lab.ipvs.saved(), rules, "rules")
    lab.served()


@test("a module in use can't be unloaded, and goes on")
def in_use(lab):
    try:
        module.remove("ip_vs")
    except OSError as error:
        equal(error.errno, errno.EWOULDBLOCK, "errno")
    else:
        raise AssertionError("it was unloaded")
    lab.served()


@test("conn_tab_bits: numbers of any size are taken, other words are refused")
def parameter(lab):
    lab.ipvs.admin("--clear")
    module.unload()
    path = module.files()[0]
    if not path.endswith(".ko"):
        raise Skip("the C module's file is compressed")
    for word in b"many", b"8.5", b"":
        equal(refused(path, b"conn_tab_bits=" + word), errno.EINVAL, "errno")
    for number in -1, 0, 8, 20, 99:
        module.load(f"conn_tab_bits={number}")
        lab.ipvs.service(f"{VIP}:80", f"{RIP}:80 -m", kind="-u")
        lab.served()
        lab.ipvs.admin("--clear")
        module.unload()
    module.load()


main(Beside)
