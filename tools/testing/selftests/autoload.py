#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 240
"""The installed module is loaded by whoever asks for it: by its name, by those
of the modules that C has for schedulers and engines, and by its netlink family.

Compared: which modules are loaded after each of these, which of them are in
use by which, and what can be unloaded. Not so with ours, on purpose: a service
needs no module of its scheduler, so it neither loads nor holds one.
"""

import errno
import os
from contextlib import nullcontext

from lib import module
from lib.genl import GENL_ID_CTRL, CTRL_CMD_GETFAMILY, Genl, string
from lib.install import BESIDE, MODULES, NAMES, Installed
from lib.module import run
from lib.tap import equal, eventually, main, module_under_test, test

UPDATES = f"{MODULES}/updates"


def users():
    """Of each loaded module of IPVS, the modules that use it."""
    found = {}
    with open("/proc/modules", encoding="ascii") as lines:
        for line in lines:
            name, _size, _count, by, *_rest = line.split()
            if name == "ip_vs" or name.startswith(("ip_vs_", module.MATCH)):
                found[name] = sorted(n for n in by.split(",") if n.strip("-"))
    return found


def outside(name):
    """Whether a loaded module is from outside of the kernel's tree."""
    with open(f"/sys/module/{name}/taint", encoding="ascii") as taint:
        return "O" in taint.read()


def afresh(ask, *names):
    """Nothing is loaded before `ask`; ip_vs is afterwards, for the modules of
    these names, all of them of the implementation under test."""
    module.unload()
    ask()
    equal(users(), {"ip_vs": sorted(names)} | {name: [] for name in names})
    for name in users():
        equal(outside(name), module_under_test() == "rust", f"{name}'s origin")


def refused(name):
    """The errno with which a module refuses to go."""
    try:
        module.remove(name)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


@test("modprobe finds it by its name, and by each that C has a module of; it "
      "can't go before that, and modprobe -r takes both away")
def by_name(_installed):
    afresh(lambda: run("modprobe", "ip_vs"))
    for name in [*NAMES, "ip_vs_ftp"]:
        afresh(lambda n=name: run("modprobe", n), name)
        equal(refused("ip_vs"), "EAGAIN", f"unloading beside {name}")
        run("modprobe", "-r", name)
        equal(users(), {})


@test("each module of C's has one of its name")
def complete(_installed):
    where = f"{MODULES}/kernel/net/netfilter/ipvs"
    names = {file.split(".")[0] for file in os.listdir(where)}
    equal(sorted(names - {"ip_vs", "ip_vs_ftp"}), sorted(NAMES))
    if module_under_test() == "rust":
        equal(sorted(os.listdir(UPDATES)),
              sorted(f"{name}.ko" for name in ["ip_vs", *BESIDE, *NAMES]))


@test("modprobe -r takes several away at once, and ip_vs with the last")
def removed_by_name(_installed):
    run("modprobe", "-a", *NAMES)
    run("modprobe", "-r", *NAMES[1:])
    equal(users(), {"ip_vs": NAMES[:1], NAMES[0]: []})
    # As scripts have it, who unload all that they know of.
    run("modprobe", "-r", NAMES[0], "ip_vs")
    equal(users(), {})


@test("who looks in /proc/modules and asks modprobe for what is not there, as "
      "kube-proxy does, has all in the end")
def by_proc_modules(_installed):
    wanted = "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack"

    def missing():
        with open("/proc/modules", encoding="ascii") as lines:
            there = {line.split()[0] for line in lines}
        return [name for name in wanted if name not in there]
    module.unload()
    equal(missing()[:4], list(wanted[:4]))
    for name in missing():
        run("modprobe", "--", name)
    equal(missing(), [])


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
    equal(users(), {})
    netlink.close()


@test("ipvsadm needs no modprobe before it, nor for a scheduler or engine; "
      "with C, that is loaded")
def by_ipvsadm(_installed):
    afresh(lambda: run("ipvsadm", "-L", "-n"))
    asked = set()
    for scheduler in module.SCHEDULERS:
        engine = " --pe sip" if scheduler == "rr" else ""
        rule = f"-u 192.0.2.1:80 -s {scheduler}{' -p 60' if engine else ''}"
        run("ipvsadm", "-A", *(rule + engine).split())
        said = run("ipvsadm", "-S", "-n").strip()
        equal((said.startswith(f"-A {rule}"), said.endswith(engine)),
              (True, True), said)
        run("ipvsadm", "-C")
        asked.add(f"ip_vs_{scheduler}")
        if engine:
            asked.add("ip_vs_pe_sip")
        equal(set(users()) - {"ip_vs"},
              asked if module_under_test() == "c" else set())


@test("iptables and ip6tables find what -m ipvs needs, and so does who asks "
      "for it by one of its names; ip_vs is loaded with it")
def by_iptables(_installed):
    for name in module.MATCH, "ipt_ipvs", "ip6t_ipvs":
        afresh(lambda n=name: run("modprobe", n), module.MATCH)
        equal(refused("ip_vs"), "EAGAIN", "unloading beside the match")
        run("modprobe", "-r", name)
        equal(users(), {})
    for program in ("iptables-legacy", "iptables-nft", "ip6tables-legacy",
                    "ip6tables-nft"):
        rule = "INPUT", "-m", "ipvs", "--ipvs"
        afresh(lambda p=program: run(p, "-w", "-A", *rule), module.MATCH)
        equal([refused(name) for name in ("ip_vs", module.MATCH)],
              ["EAGAIN"] * 2, f"unloading with a rule of {program}")
        run("modprobe", "-r", "-q", module.MATCH, check=False)
        run(program, "-w", "-C", *rule)
        run(program, "-w", "-D", *rule)
        eventually(lambda: refused(module.MATCH) is None, "match unloaded")
        eventually(lambda: refused("ip_vs") is None, "ip_vs unloaded")


@test("a scheduler's module can be unloaded when no service uses it; ours at "
      "any time, and the service goes on")
def in_use(_installed):
    rust = module_under_test() == "rust"
    afresh(lambda: run("modprobe", "ip_vs_rr"), "ip_vs_rr")
    run("ipvsadm", "-A", "-t", "192.0.2.1:80", "-s", "rr")
    equal(refused("ip_vs_rr"), None if rust else "EAGAIN", "in use")
    if rust:
        equal(refused("ip_vs"), "EAGAIN", "with a service")
        run("modprobe", "-r", "-q", "ip_vs", check=False)
        equal(run("ipvsadm", "-S", "-n"), "-A -t 192.0.2.1:80 -s rr\n")
        run("modprobe", "ip_vs_rr")
    run("ipvsadm", "-C")
    eventually(lambda: refused("ip_vs_rr") is None, "ip_vs_rr unloaded")
    eventually(lambda: refused("ip_vs") is None, "ip_vs unloaded")


if __name__ == "__main__":
    main(Installed)
