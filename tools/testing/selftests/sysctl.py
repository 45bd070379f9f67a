#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""The files of net.ipv4.vs: which there are, what may be written to them, and
by whom. What they do is in sysctl_effects.py."""

import os

from lib.cpus import on_cpus
from lib.lab import Lab
from lib.netns import Netns, in_child, in_user_namespace
from lib.tap import equal, main, module_under_test, test
from lib.vs import PATH, Settings

CONN_MAX, DAY, HZ = 1 << 30, 24 * 60 * 60, 250
DEFAULTS = {
    "am_droprate": 10,
    "amemthresh": 1024,
    "cache_bypass": 0,
    "conn_lfactor": -2,
    "conn_max": CONN_MAX,
    "conn_reuse_mode": 1,
    "conntrack": 0,
    "drop_entry": 0,
    "drop_packet": 0,
    "est_nice": 0,
    "expire_nodest_conn": 0,
    "expire_quiescent_template": 0,
    "ignore_tunneled": 0,
    "lblc_expiration": DAY,
    "lblcr_expiration": DAY,
    "nat_icmp_send": 0,
    "pmtu_disc": 1,
    "run_estimation": 1,
    "schedule_icmp": 0,
    "secure_tcp": 0,
    "sloppy_sctp": 0,
    "sloppy_tcp": 0,
    "snat_reroute": 1,
    "svc_lfactor": -2,
}
# Of the first namespace.
FIRST = DEFAULTS | {"conn_lfactor": -4, "svc_lfactor": -3}
# Those that take any number; the others are checked.
CHECKED = {
    "conn_lfactor": (-8, 8),
    "conn_max": (0, CONN_MAX),
    "drop_entry": (0, 3),
    "drop_packet": (0, 3),
    "est_nice": (-20, 19),
    "lblc_expiration": (-(0x7fffffff // HZ), 0x7fffffff // HZ),
    "lblcr_expiration": (-(0x7fffffff // HZ), 0x7fffffff // HZ),
    "secure_tcp": (0, 3),
    "svc_lfactor": (-8, 8),
}
# Read-only in namespaces of a user namespace.
LIMITED = {"conn_lfactor", "est_nice", "run_estimation", "svc_lfactor"}
# Not there at all in such.
PRIVATE = {"lblc_expiration", "lblcr_expiration"}
# The one that is no number is tested by itself.
LIST = "est_cpulist"
# Those of the sync daemons are tested in sync_control.py.
SYNC = {"backup_only", "sync_persist_mode", "sync_ports", "sync_qlen_max",
        "sync_refresh_period", "sync_retries", "sync_sock_size",
        "sync_threshold", "sync_version"}


@test("each setting is there, with its default, in the first namespace and "
      "in others")
def defaults(lab):
    for settings, numbers in ((Settings(), FIRST),
                              (Settings(lab.director), DEFAULTS)):
        names = settings.names()
        if module_under_test() == "rust":
            equal(names, set(DEFAULTS) | SYNC | {LIST})
        else:
            equal(set(DEFAULTS) - names, set())
        equal({name: settings[name] for name in DEFAULTS}, numbers)
        equal({settings.mode(name) for name in DEFAULTS}, {0o644})


def shown(name, value):
    """What a value that was written is read as: a defence is on, for lack of
    memory, only for as long as that lasts."""
    return 1 if CHECKED.get(name) == (0, 3) and value == 2 else value


@test("numbers within a setting's range are taken, and no others")
def ranges(lab):
    settings = Settings(lab.director)
    for name, default in DEFAULTS.items():
        low, high = CHECKED.get(name, (-0x80000000, 0x7fffffff))
        for value in {low, high, 0, 1, 2, 3} - set(range(high + 1, 4)):
            equal(settings.write(name, value), "", f"{name}={value}")
            equal(settings[name], shown(name, value), name)
        before = settings[name]
        for text in ([low - 1, high + 1, -1 if low == 0 else high + 1,
                      1 << 31, 1 << 40, "", "x", "1x", "\n", "1.5"]):
            equal(settings.write(name, text), "EINVAL" if text != "" else "",
                  f"{name}={text!r}")
            equal(settings[name], before, f"{name} after {text!r}")
        for text, value in ((f" {default} \n", default), ("0x3", 3), ("02", 2)):
            equal(settings.write(name, text), "", f"{name}={text!r}")
            equal(settings[name], shown(name, value), f"{name}={text!r}")
        settings[name] = default


@test("a second write through the same handle is ignored")
def second_write(lab):
    settings = Settings(lab.director)
    for name in ("snat_reroute", "conn_max"):
        with lab.director:
            handle = os.open(f"{PATH}/{name}", os.O_WRONLY)
        os.write(handle, b"3")
        os.write(handle, b"4")
        os.close(handle)
        equal(settings[name], 3, name)
        settings[name] = DEFAULTS[name]


@test("what is set in one namespace is not set in another")
def isolation(lab):
    first, one = Settings(), Settings(lab.director)
    for name in DEFAULTS:
        one[name] = 2
    equal({name: first[name] for name in DEFAULTS}, FIRST)
    other = Netns("ipvs-other")
    equal({name: Settings(other)[name] for name in DEFAULTS}, DEFAULTS)
    other.delete()
    for name, value in DEFAULTS.items():
        one[name] = value


@test("root of a user namespace has the same settings, and may change those "
      "that concern his namespace alone")
def user_namespace(_lab):
    here = {name: value for name, value in DEFAULTS.items()
            if name not in PRIVATE}

    def inside():
        settings = Settings()
        return [sorted(settings.names() & PRIVATE),
                {name: settings[name] for name in here} == here,
                sorted((settings.mode(name), name) for name in here),
                sorted((name, settings.write(name, 2)) for name in here)]
    equal(in_user_namespace(inside), repr([
        [], True,
        sorted((0o444 if name in LIMITED else 0o644, name) for name in here),
        sorted((name, "EACCES" if name in LIMITED else "") for name in here)]))


@test("who has no capability may read and not write")
def unprivileged(lab):
    settings = Settings(lab.director)

    def inside():
        # Only root may enter the namespace.
        os.setns(lab.director.handle, os.CLONE_NEWNET)
        os.setgid(65534)
        os.setuid(65534)
        here = Settings()
        return [here["conn_max"], here.write("conn_max", 5),
                here.write("snat_reroute", 0)]
    equal(in_child(inside), repr([CONN_MAX, "EACCES", "EACCES"]))
    equal((settings["conn_max"], settings["snat_reroute"]), (CONN_MAX, 1))


@test("conn_max: new namespaces have the first one's; root of a user "
      "namespace can lower it, and raise it up to that")
def connection_limit(_lab):
    def inside():
        settings = Settings()
        return [settings["conn_max"], settings.write("conn_max", 10),
                settings["conn_max"], settings.write("conn_max", 101),
                settings["conn_max"], settings.write("conn_max", 100),
                settings["conn_max"], settings.write("conn_max", -1)]
    with Settings().but(conn_max=100):
        equal(in_user_namespace(inside),
              repr([100, "", 10, "EINVAL", 10, "", 100, "EINVAL"]))
        child = Netns("ipvs-child")
        equal(Settings(child)["conn_max"], 100)
        # Who administers the machine is not bound by that.
        equal(Settings(child).write("conn_max", 200), "")
        child.delete()
    equal(Settings()["conn_max"], CONN_MAX)


def possible():
    """The list of all CPUs that the machine may have."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        return file.read()


@test("est_cpulist: all CPUs by default; a list of those that the writer may "
      "run on, or of none; and what is no list changes nothing")
def cpu_list(lab):
    settings, other = Settings(lab.director), Settings()
    equal((settings.mode(LIST), settings.text(LIST), other.text(LIST)),
          (0o644, possible(), possible()))
    for cpus, lists in (
            ((0, 1), {"0": "0", "1": "1", "0,1": "0-1", "1 0": "0-1",
                      "0-1": "0-1", " 0-1 \n": "0-1", "0-0,1-1": "0-1",
                      "\n": "", "all": "0-1", "N": "1", "0-1:1/2": "0",
                      "1\0x": "1"}),
            ((0,), {"0": "0", "1": "", "0-1": "0", "all": "0"}),
            ((1,), {"0": "", "0-1": "1"})):
        with on_cpus(*cpus):
            for text, shown_list in lists.items():
                equal(settings.write(LIST, text), "", repr(text))
                equal(settings.text(LIST), f"{shown_list}\n", repr(text))
    with on_cpus(0, 1):
        for text, error in (("", ""), ("x", "EINVAL"), ("0x1", "EINVAL"),
                            ("1-0", "EINVAL"), ("-1", "EINVAL"),
                            ("0-", "EINVAL"),
                            ("8192", "ERANGE"), ("0,8192", "ERANGE"),
                            ("4294967296", "EOVERFLOW")):
            equal(settings.write(LIST, text), error, repr(text))
            equal(settings.text(LIST), "1\n", f"after {text!r}")
        settings[LIST] = "0-1"
    equal(other.text(LIST), possible())


@test("est_cpulist is read in one piece, and written in one")
def cpu_list_pieces(lab):
    settings = Settings(lab.director)
    with on_cpus(0, 1):
        settings[LIST] = "0-1"
        with lab.director:
            handle = os.open(f"{PATH}/{LIST}", os.O_RDWR)
        for size, piece in ((1, b"0"), (3, b"0-1"), (4, b"0-1\n"),
                            (99, b"0-1\n")):
            os.lseek(handle, 0, os.SEEK_SET)
            equal((os.read(handle, 0), os.read(handle, size),
                   os.read(handle, size)), (b"", piece, b""))
        os.lseek(handle, 0, os.SEEK_SET)
        equal((os.write(handle, b"1"), os.write(handle, b"0")), (1, 0))
        os.close(handle)
        equal(settings.text(LIST), "1\n")
        settings[LIST] = "0-1"


@test("est_cpulist: root of a user namespace may read it")
def cpu_list_limited(_lab):
    def inside():
        settings = Settings()
        return [settings.mode(LIST), settings.text(LIST),
                settings.write(LIST, "0"), settings.text(LIST)]
    equal(in_user_namespace(inside),
          repr([0o444, possible(), "EACCES", possible()]))


if __name__ == "__main__":
    main(Lab)
