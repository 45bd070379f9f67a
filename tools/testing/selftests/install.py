#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 300
"""`make install` changes one kernel: others have C's modules as before, and a
C module that is loaded works until it is unloaded."""

import os
import shutil

from lib import module
from lib.install import (BESIDE, CONFIGURATION, MODULES, NAMES, RELEASE,
                         STAND_INS, FewModules, copy_modules, install)
from lib.module import run
from lib.tap import equal, main, test

TREE = "/tmp/tree"
OTHER = "7.3.0-other"
HEADER = "# The module ip_vs of ipvs-rs contains these.\n"
# As an earlier version wrote it.
OLD = HEADER + "".join(f"alias {name} ip_vs\n" for name in NAMES)


def chosen(name, prefix="", release=RELEASE):
    """The file that modprobe would load last, below the modules' directory,
    as (directory, name)."""
    command = ["modprobe", "-S", release, "-n", "--show-depends", name]
    if prefix:
        command[1:1] = ["-d", prefix]
    path = run(*command).strip().splitlines()[-1].split()[1]
    return (path.split(f"/{release}/")[1].split("/")[0],
            os.path.basename(path).split(".")[0])


def all_chosen(directory, **where):
    """modprobe finds all names, in this directory."""
    for name in ["ip_vs", *BESIDE, *NAMES]:
        equal(chosen(name, **where), (directory, name))


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read(path):
    """A file's text, None without a file."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return None


def files(directory):
    """What is in a directory, with sizes."""
    return {f"{where}/{name}": os.path.getsize(f"{where}/{name}")
            for where, _, names in os.walk(directory) for name in names}


class Tree(FewModules):
    """Besides, another system's files, with this kernel and one more."""

    def __enter__(self):
        super().__enter__()
        shutil.rmtree(TREE, ignore_errors=True)
        for release in RELEASE, OTHER:
            copy_modules(f"{TREE}/lib/modules/{release}")
            run("depmod", "-b", TREE, release)
        return self

    def __exit__(self, *error):
        shutil.rmtree(TREE)
        super().__exit__(*error)


@test("another system's files are changed, of the kernel it is for, and "
      "nothing else")
def elsewhere(_tree):
    here, other = files(MODULES), files(f"{TREE}/lib/modules/{OTHER}")
    all_chosen("kernel", prefix=TREE)
    install(TREE)
    all_chosen("updates", prefix=TREE)
    all_chosen("kernel", prefix=TREE, release=OTHER)
    equal(files(f"{TREE}/lib/modules/{OTHER}"), other)
    equal(files(MODULES), here)
    equal(os.listdir(TREE), ["lib"])


@test("what an older version has left in /etc goes, and nothing that is not "
      "from it")
def older(_tree):
    for prefix in TREE, "":
        path = f"{prefix}/{CONFIGURATION}"
        for before, after in ((OLD, None),
                              (OLD + "blacklist ip_vs_ftp\n",
                               "blacklist ip_vs_ftp\n"),
                              (OLD.removeprefix(HEADER),
                               OLD.removeprefix(HEADER))):
            write(path, before)
            install(prefix)
            equal(read(path), after)
        os.remove(path)
        all_chosen("updates", prefix=prefix)
        run("rm", "-r", f"{prefix}{MODULES}/updates")
        run("depmod", *(["-b", prefix] if prefix else []), RELEASE)
        all_chosen("kernel", prefix=prefix)


def fails(*where):
    """Installing there is an error."""
    try:
        install(*where)
    except AssertionError:
        return
    raise AssertionError(f"{where}: installed")


@test("what can't be installed is an error, and changes nothing")
def refused(_tree):
    before = files(TREE), files(MODULES)
    fails(TREE, "7.3.0-missing")
    moved = f"{STAND_INS}/{NAMES[3]}.ko"
    run("mount", "-t", "tmpfs", "tmpfs", STAND_INS)
    try:
        fails(TREE)
    finally:
        run("umount", STAND_INS)
    assert os.path.exists(moved)
    # No room for all of it.
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs",
        f"{TREE}/lib/modules/{OTHER}")
    try:
        fails(TREE, OTHER)
        equal(os.listdir(f"{TREE}/lib/modules/{OTHER}"), [])
    finally:
        run("umount", f"{TREE}/lib/modules/{OTHER}")
    equal((files(TREE), files(MODULES)), before)


def from_c():
    """Whether every loaded module of IPVS is C's."""
    return not any("O" in read(f"/sys/module/{name}/taint")
                   for name in module.loaded())


def every_module():
    """A service with each scheduler, one with the engine, and a rule with the
    match can be made."""
    rules = [f"-A -u 192.0.2.1:{port} -s {name}"
             for port, name in enumerate(module.SCHEDULERS, 1)]
    rules.append("-A -u 192.0.2.1:99 -s rr -p 60 --pe sip")
    run("ipvsadm", "--restore", stdin="\n".join(rules))
    equal(run("ipvsadm", "-S", "-n").count("-A"), len(rules), "services")
    run("ipvsadm", "-C")
    rule = "INPUT", "-m", "ipvs", "--ipvs"
    run("iptables-legacy", "-w", "-A", *rule)
    run("iptables-legacy", "-w", "-D", *rule)


@test("a C module that is loaded finds all of its schedulers and its match "
      "afterwards")
def beside_c(_tree):
    run("modprobe", "ip_vs_rr")
    install()
    every_module()
    assert from_c()
    module.unload()
    run("modprobe", "ip_vs_rr")
    assert not from_c(), "where it is from after that"
    every_module()
    module.unload()


@test("so does one that was loaded although ours is installed")
def beside_c_again(_tree):
    path = [name for name in files(f"{MODULES}/kernel")
            if os.path.basename(name).split(".")[0] == "ip_vs"][0]
    run("modprobe", "-a", *module.depends(path))
    run("insmod", path)
    install()
    every_module()
    assert from_c()
    module.unload()


if __name__ == "__main__":
    main(Tree)
