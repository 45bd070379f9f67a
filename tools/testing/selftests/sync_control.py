#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""Sync daemons as administrators see them: how they are started, shown and
stopped, by generic netlink, socket options and ipvsadm; their threads and
sockets; and their settings. What they send is in sync_sent.py, what they do
with what they get in sync_backup.py."""

import os
import socket
import struct
from socket import inet_aton

from lib import genl, module
from lib.lab import Lab
from lib.netns import Netns, in_user_namespace
from lib.sockopt import GET_DAEMON, STARTDAEMON, STOPDAEMON, Sockopts
from lib.sync import (BACKUP, GROUP, MASTER, PORT, Daemon, Daemons,
                      await_threads, threads)
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

DEV = "server1"
MASTER_SHOWN = Daemon(MASTER, DEV, 7, 1472, GROUP, PORT, 1)
BACKUP_SHOWN = MASTER_SHOWN._replace(state=BACKUP)
INT_MAX, INT_MIN, HZ = 0x7fffffff, -0x80000000, 250


class ControlLab(Lab):
    """A lab with a connection to the daemons of the director."""

    def build(self):
        super().build()
        self.daemons = Daemons(self.director)
        self.options = Sockopts(self.director)
        self.settings = Settings(self.director)

    def __exit__(self, *error):
        if hasattr(self, "daemons"):
            self.daemons.stop()
            self.daemons.close()
            self.options.close()
        super().__exit__(*error)

    def udp(self, name="udp"):
        """Local and remote end of each UDP socket, sorted."""
        lines = self.director.proc(name).splitlines()[1:]
        return sorted(tuple(line.split()[1:3]) for line in lines)


def uses():
    """How often ip_vs is used."""
    with open("/proc/modules", encoding="ascii") as file:
        return next(int(line.split()[2]) for line in file
                    if line.startswith("ip_vs "))


def one(state, device=DEV.encode(), syncid=7):
    """struct ip_vs_daemon_user."""
    return struct.pack("=i16si", state, device, syncid)


@test("a daemon is shown with what it was given, and with defaults")
def shown(lab):
    for daemon in (
            Daemon(MASTER, DEV, 7), Daemon(BACKUP, DEV, 7),
            Daemon(MASTER, DEV, 0, 500, "239.1.2.3", 9000, 9),
            Daemon(BACKUP, DEV, 255, 5000, "224.0.0.18", 65535, 255),
            Daemon(MASTER, DEV, 256), Daemon(BACKUP, DEV, 0xffffffff),
            Daemon(MASTER, "lo", 1),
            Daemon(MASTER, DEV, 7, group="ff05::1234", port=1),
            Daemon(BACKUP, DEV, 7, group="ff02::81", ttl=3),
            Daemon(MASTER, DEV, 7, maxlen=0, port=0, ttl=0)):
        lab.daemons.start(*daemon)
        size = 1452 if ":" in (daemon.group or "") else 1472
        equal(lab.daemons.get(), [Daemon(
            daemon.state, daemon.device, daemon.syncid,
            daemon.maxlen or size, daemon.group or GROUP,
            daemon.port or PORT, daemon.ttl or 1)], f"{daemon}")
        equal(lab.daemons.delete(daemon.state), "")
        equal(lab.daemons.get(), [])


@test("sync_maxlen is brought into its range, which the state, the family "
      "and, for a backup, the MTU decide")
def maxlen(lab):
    for state, group, asked, given in (
            (MASTER, None, 1, 1), (MASTER, None, 1473, 1473),
            (MASTER, None, 65535, 65507), (MASTER, "ff02::81", 65535, 65487),
            (BACKUP, None, 1, 1024), (BACKUP, None, 1023, 1024),
            (BACKUP, "ff02::81", 1, 1024), (BACKUP, None, 65535, 65507),
            (BACKUP, "ff02::81", 65535, 65487)):
        lab.daemons.start(state, DEV, 7, asked, group)
        equal(lab.daemons.get()[0].maxlen, given, f"{state} {group} {asked}")
        lab.daemons.stop()
    for mtu, sizes in ((9000, (1472, 8972, 1452, 8952)),
                       (1300, (1472, 1472, 1452, 1452))):
        lab.director.ip(f"link set {DEV} mtu {mtu}")
        found = []
        for group in None, "ff02::81":
            for state in MASTER, BACKUP:
                lab.daemons.start(state, DEV, 7, group=group)
                found.append(lab.daemons.get()[0].maxlen)
                lab.daemons.stop()
        equal(tuple(found), sizes, f"MTU {mtu}")
    lab.director.ip(f"link set {DEV} mtu 1500")


@test("what can't be a daemon is refused, what is checked first being said")
def refused(lab):
    full = Daemon(MASTER, DEV, 7)
    for daemon, error in (
            (Daemon(), "EINVAL"), (Daemon(MASTER), "EINVAL"),
            (Daemon(MASTER, DEV), "EINVAL"),
            (Daemon(MASTER, None, 7), "EINVAL"),
            (Daemon(None, DEV, 7), "EINVAL"),
            (full._replace(device=""), "ENODEV"),
            (full._replace(device="nowhere"), "ENODEV"),
            (full._replace(device="x" * 15), "ENODEV"),
            (full._replace(device="x" * 16), "EINVAL"),
            (full._replace(state=0), "EINVAL"),
            (full._replace(state=3), "EINVAL"),
            (full._replace(state=0xffffffff), "EINVAL"),
            (full._replace(state=3, device="nowhere"), "ENODEV"),
            (full._replace(group="10.0.0.1"), "EINVAL"),
            (full._replace(group="0.0.0.0"), "EINVAL"),
            (full._replace(group="255.255.255.255"), "EINVAL"),
            (full._replace(group="fe80::1"), "EINVAL"),
            (full._replace(group="::"), "EINVAL"),
            (full._replace(group="10.0.0.1", device="nowhere"), "EINVAL")):
        equal(lab.daemons.new(*daemon), error, f"{daemon}")
        equal(lab.daemons.get(), [])
    for state, error in ((MASTER, "ESRCH"), (BACKUP, "ESRCH"), (0, "EINVAL"),
                         (3, "EINVAL"), (None, "EINVAL")):
        equal(lab.daemons.delete(state), error, f"stop {state}")
    equal(lab.daemons.link.request(genl.NEW_DAEMON).error, "EINVAL")
    equal(lab.daemons.link.request(genl.DEL_DAEMON).error, "EINVAL")
    equal(threads(), [])


@test("sizes of attributes: longer ones are taken, shorter ones refused")
def sizes(lab):
    rows = {1: b"\1\0\0\0", 2: DEV.encode() + b"\0", 3: b"\7\0\0\0",
            4: b"\0\2", 5: inet_aton("224.0.0.81"), 7: b"\1\1", 8: b"\5"}

    def start(**changes):
        return lab.daemons.link.request(genl.NEW_DAEMON, genl.nest(
            genl.CMD_DAEMON, *(
                genl.attr(kind, changes.get(f"a{kind}", data))
                for kind, data in rows.items()))).error
    for kind in 1, 3, 4, 5, 7, 8:
        equal(start(**{f"a{kind}": rows[kind][:-1]}), "EINVAL",
              f"short {kind}")
    equal(start(a2=DEV.encode()), "EINVAL", "no end of the name")
    equal(lab.daemons.get(), [])
    equal(start(), "")
    await_threads()
    equal(lab.daemons.get(),
          [Daemon(MASTER, DEV, 7, 512, GROUP, 257, 5)])
    lab.daemons.stop()
    # With both groups, that of IPv4 counts.
    equal(lab.daemons.link.request(genl.NEW_DAEMON, genl.nest(
        genl.CMD_DAEMON, *(genl.attr(*row) for row in rows.items()),
        genl.attr(6, bytes(16)))).error, "")
    await_threads()
    equal(lab.daemons.get()[0].group, GROUP)
    lab.daemons.stop()


@test("a master and a backup run at once, each only once")
def both(lab):
    lab.daemons.start(MASTER, DEV, 7)
    equal(lab.daemons.new(MASTER, DEV, 8, port=5), "EEXIST")
    equal(lab.daemons.new(MASTER, "nowhere", 8), "ENODEV")
    equal(lab.daemons.new(3, DEV, 8), "EINVAL")
    equal(lab.daemons.delete(BACKUP), "ESRCH")
    equal(lab.daemons.get(), [MASTER_SHOWN])
    lab.daemons.start(BACKUP, "client", 9, 2000, "239.0.0.1")
    equal(lab.daemons.new(BACKUP, DEV, 9), "EEXIST")
    other = Daemon(BACKUP, "client", 9, 2000, "239.0.0.1", PORT, 1)
    equal(lab.daemons.get(), [MASTER_SHOWN, other])
    equal(lab.daemons.delete(MASTER), "")
    equal(lab.daemons.get(), [other])
    lab.daemons.start(MASTER, DEV, 7)
    equal(lab.daemons.get(), [MASTER_SHOWN, other])
    lab.daemons.stop()
    equal(threads(), [])


@test("daemons by socket option")
def options(lab):
    empty = bytes(24)

    def running():
        return lab.options.get(GET_DAEMON, room=48).data
    for option, data, error in (
            (STARTDAEMON, one(MASTER, b""), "EINVAL"),
            (STARTDAEMON, one(MASTER, b"x" * 16), "EINVAL"),
            (STARTDAEMON, one(MASTER, b"nowhere"), "ENODEV"),
            (STARTDAEMON, one(3, b"nowhere"), "ENODEV"),
            (STARTDAEMON, one(0), "EINVAL"), (STARTDAEMON, one(3), "EINVAL"),
            (STARTDAEMON, one(MASTER)[:-1], "EINVAL"),
            (STARTDAEMON, one(MASTER) + b"\0", "EINVAL"),
            (STOPDAEMON, one(MASTER), "ESRCH"), (STOPDAEMON, one(3), "EINVAL"),
            (STARTDAEMON, one(MASTER), ""),
            (STARTDAEMON, one(MASTER), "EEXIST"),
            (STARTDAEMON, one(BACKUP, syncid=-1), "")):
        equal(lab.options.set(option, data), error, f"{option} {data}")
    await_threads()
    equal(running(), one(MASTER) + one(BACKUP, syncid=-1))
    equal(lab.daemons.get(), [MASTER_SHOWN,
                              BACKUP_SHOWN._replace(syncid=0xffffffff)])
    # Only the state tells which is to be stopped.
    equal(lab.options.set(STOPDAEMON, one(MASTER, b"x" * 16, 99)), "")
    equal(running(), empty + one(BACKUP, syncid=-1))
    equal(lab.options.set(STOPDAEMON, one(BACKUP, b"")), "")
    equal(running(), empty * 2)


@test("ipvsadm starts, shows and stops daemons")
def ipvsadm(lab):
    lab.ipvs.admin("--start-daemon", "master", "--mcast-interface", DEV,
                   "--syncid", "7")
    equal(lab.daemons.get(), [MASTER_SHOWN])
    lab.ipvs.admin("--start-daemon", "backup", "--mcast-interface", DEV,
                   "--syncid", "9", "--sync-maxlen", "2000", "--mcast-group",
                   "ff05::7", "--mcast-port", "9999", "--mcast-ttl", "4")
    equal(lab.daemons.get(), [MASTER_SHOWN, Daemon(
        BACKUP, DEV, 9, 2000, "ff05::7", 9999, 4)])
    equal(lab.ipvs.admin("-L", "--daemon"),
          f"master sync daemon (mcast={DEV}, syncid=7, maxlen=1472, "
          f"group={GROUP}, port={PORT}, ttl=1)\n"
          f"backup sync daemon (mcast={DEV}, syncid=9, maxlen=2000, "
          "group=ff05::7, port=9999, ttl=4)\n")
    await_threads()
    lab.ipvs.admin("--stop-daemon", "master")
    lab.ipvs.admin("--stop-daemon", "backup")
    equal(lab.ipvs.admin("-L", "--daemon"), "")
    for arguments, said in (
            (("--stop-daemon", "master"), "No daemon is running"),
            (("--start-daemon", "master", "--mcast-interface", "nowhere"),
             "No such device")):
        try:
            lab.ipvs.admin(*arguments)
        except AssertionError as error:
            equal(said.lower() in str(error).lower(), True, str(error))
        else:
            raise AssertionError(f"{arguments} was accepted")


@test("sync_ports says how many threads there are, each with a port; the "
      "second daemon has as many as the first")
def ports(lab):
    for count, there in ((1, 1), (2, 2), (8, 8), (64, 64), (128, 64)):
        lab.settings["sync_ports"] = count
        lab.daemons.start(MASTER, DEV, 7, port=1000)
        equal(threads(), sorted(f"ipvs-m {n}" for n in range(there)))
        equal(sorted(end[1] for end in lab.udp()),
              sorted(f"510000E0:{1000 + n:04X}" for n in range(there)))
        equal({end[0].split(":")[0] for end in lab.udp()}, {"0102000A"})
        lab.daemons.stop()
        lab.daemons.start(BACKUP, DEV, 7, port=1000)
        equal(threads(), sorted(f"ipvs-b {n}" for n in range(there)))
        equal(lab.udp(), [(f"510000E0:{1000 + n:04X}", "00000000:0000")
                          for n in range(there)])
        lab.settings["sync_ports"] = 1
        lab.daemons.start(MASTER, DEV, 7, port=1000)
        equal(len(threads()), 2 * there, f"both with sync_ports={count}")
        lab.daemons.stop()
    equal((threads(), lab.udp()), ([], []))


@test("a daemon for IPv6 has sockets of IPv6")
def ports6(lab):
    lab.daemons.start(MASTER, DEV, 7, group="ff02::81", port=1000)
    lab.daemons.start(BACKUP, DEV, 7, group="ff02::81", port=1000)
    there = f"{'000002FF' + '0' * 16 + '81000000'}:03E8"
    ends = lab.udp("udp6")
    equal(sorted(end[0] for end in ends if end[0] == there) +
          sorted(end[1] for end in ends if end[1] == there), [there, there])
    equal((len(ends), lab.udp()), (2, []))
    lab.daemons.stop()


@test("a backup joins the group on its device, and leaves it")
def group(lab):
    def joined():
        text = lab.director.run("ip", "maddr", "show", "dev", DEV)
        return [address for address in ("239.9.9.9", "ff05::99")
                if address in text]
    for address in "239.9.9.9", "ff05::99":
        lab.daemons.start(MASTER, DEV, 7, group=address)
        equal(joined(), [], "by a master")
        lab.daemons.start(BACKUP, DEV, 7, group=address)
        equal(joined(), [address])
        lab.daemons.stop()
        equal(joined(), [])


@test("where a port is taken, no backup starts, and nothing stays of it")
def taken(lab):
    lab.settings["sync_ports"] = 4
    before = uses()
    with lab.director:
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("0.0.0.0", PORT + 2))
    equal(lab.daemons.new(BACKUP, DEV, 7), "EADDRINUSE")
    equal((threads(), lab.daemons.get(), uses()), ([], [], before))
    other.close()
    equal(lab.udp(), [])
    lab.settings["sync_ports"] = 1
    lab.daemons.start(BACKUP, DEV, 7)
    lab.daemons.stop()


@test("the module is in use while a daemon runs")
def in_use(lab):
    before = uses()
    lab.daemons.start(MASTER, DEV, 7)
    equal(uses(), before + 1)
    lab.daemons.start(BACKUP, DEV, 7)
    equal(uses(), before + 2)
    equal(module.refuses("ip_vs"), True)
    lab.daemons.new(BACKUP, DEV, 7)
    lab.daemons.new(3, DEV, 7)
    equal(uses(), before + 2, "after failures")
    lab.daemons.stop()
    equal(uses(), before)


@test("daemons outlive their device, and stop without it")
def without_device(lab):
    lab.director.ip("link add sync0 type dummy", "link set sync0 up",
                    "addr add 10.9.9.1/24 dev sync0")
    lab.daemons.start(MASTER, "sync0", 7)
    lab.daemons.start(BACKUP, "sync0", 7)
    there = lab.daemons.get()
    lab.director.ip("link del sync0")
    equal(lab.daemons.get(), there)
    equal(threads(), ["ipvs-b 0", "ipvs-m 0"])
    equal(lab.daemons.new(MASTER, "sync0", 7), "ENODEV")
    lab.daemons.stop()
    equal(threads(), [])


@test("daemons are those of one namespace, and end with it")
def namespaces(lab):
    before = uses()
    lab.daemons.start(MASTER, DEV, 7)
    other = Netns("ipvs-other")
    there = Daemons(other)
    equal(there.get(), [])
    equal(there.new(MASTER, DEV, 1), "ENODEV")
    other.ip("link set lo up")
    there.start(MASTER, "lo", 1)
    there.start(BACKUP, "lo", 1)
    equal(lab.daemons.get(), [MASTER_SHOWN])
    equal(len(there.get()), 2)
    there.close()
    other.delete()
    eventually(lambda: threads() == ["ipvs-m 0"], "the end of the others")
    eventually(lambda: uses() == before + 1, "what they used")
    lab.daemons.stop()


@test("where servers have another family than their service, no daemon "
      "starts; while one runs, there are none such")
def mixed(lab):
    rules = ["-A -t 198.51.100.1:80 -s rr"]
    mixture = "-a -t 198.51.100.1:80 -r [fd00:2::2]:80 -i"
    lab.ipvs.rules(*rules)
    lab.daemons.start(BACKUP, DEV, 7)
    lab.ipvs.admin(*mixture.split(), check=False)
    equal(lab.ipvs.saved(), rules)
    lab.daemons.stop()
    lab.ipvs.admin(*mixture.split())
    equal(lab.daemons.new(MASTER, DEV, 7), "EINVAL")
    equal(lab.daemons.new(MASTER, "nowhere", 7), "EINVAL")
    # Who asks by socket option is not refused.
    equal(lab.options.set(STARTDAEMON, one(MASTER)), "")
    await_threads()
    lab.daemons.stop()
    lab.ipvs.admin("-C")


DEFAULTS = {"backup_only": 0, "sync_persist_mode": 0, "sync_ports": 1,
            "sync_refresh_period": 0, "sync_retries": 0, "sync_sock_size": 0,
            "sync_version": 1}
LIMITED = {"sync_qlen_max", "sync_sock_size"}
EXTRA = {"sync_qlen_max", "sync_threshold"}


@test("the settings are there, with their defaults, in each namespace")
def defaults(lab):
    for settings in Settings(), lab.settings:
        equal({name: settings[name] for name in DEFAULTS}, DEFAULTS)
        equal(settings.text("sync_threshold"), "3\t50\n")
        equal({settings.mode(name) for name in [*DEFAULTS, *EXTRA]}, {0o644})
        # As much memory as there is decides.
        equal(settings["sync_qlen_max"] > 1000, True)
    equal(Settings()["sync_qlen_max"], lab.settings["sync_qlen_max"])


@test("numbers within a setting's range are taken, and no others")
def ranges(lab):
    def write(name, text, error, value):
        equal(lab.settings.write(name, text), error, f"{name}={text!r}")
        equal(lab.settings.text(name), f"{value}\n", f"{name}={text!r}")
    for name, low, high in (
            ("backup_only", INT_MIN, INT_MAX),
            ("sync_persist_mode", INT_MIN, INT_MAX),
            ("sync_sock_size", INT_MIN, INT_MAX),
            ("sync_version", 0, 1), ("sync_retries", 0, 3),
            ("sync_refresh_period", -(INT_MAX // HZ), INT_MAX // HZ),
            ("sync_qlen_max", 0, (1 << 64) - 1)):
        before = lab.settings.text(name)
        for value in (low, high, 0, 1):
            write(name, value, "", value)
        for text in low - 1, high + 1, "x", "1x", "1.5", "\n":
            # Where there is no least number, a minus is not read at all.
            if (name, text) != ("sync_qlen_max", low - 1):
                write(name, text, "EINVAL", 1)
        write(name, "", "", 1)
        lab.settings[name] = before
    for value in 1, 2, 4, 32, 64, 128, 1 << 30:
        write("sync_ports", value, "", value)
    for text in 0, -1, 3, 6, 63, 65, 1 << 31, "x", "":
        write("sync_ports", text, "EINVAL" if text != "" else "", 1 << 30)
    write("sync_ports", 1, "", 1)


@test("sync_threshold is two numbers, of which the first is below the second "
      "unless that is 0")
def threshold(lab):
    for text, error, after in (
            ("5 10", "", "5\t10"), ("5 5", "EINVAL", "5\t10"),
            ("9 10", "", "9\t10"), ("10 10", "EINVAL", "9\t10"),
            ("11 10", "EINVAL", "9\t10"), ("0 0", "", "0\t0"),
            ("7 0", "", "7\t0"), ("-1 5", "EINVAL", "7\t0"),
            ("1 -5", "EINVAL", "7\t0"), ("0 1", "", "0\t1"),
            ("x", "EINVAL", "0\t1"), ("", "", "0\t1"),
            (f"{INT_MAX - 1} {INT_MAX}", "", f"{INT_MAX - 1}\t{INT_MAX}"),
            ("3 50", "", "3\t50"),
            # One number is the first; what follows a good one is lost.
            ("4", "", "4\t50"), ("60", "EINVAL", "4\t50"),
            ("5 x", "EINVAL", "5\t50"), ("6 60 7", "", "6\t60"),
            ("0x3\t062\n", "", "3\t50")):
        equal(lab.settings.write("sync_threshold", text), error, repr(text))
        equal(lab.settings.text("sync_threshold"), f"{after}\n", repr(text))


@test("what is set in one namespace is not set in another; root of a user "
      "namespace may set what costs no memory")
def isolation(lab):
    names = [*DEFAULTS, "sync_qlen_max"]
    before = {name: lab.settings[name] for name in names}
    for name in names:
        lab.settings[name] = 1 if name != "sync_version" else 0
    first = Settings()
    equal({name: first[name] for name in DEFAULTS}, DEFAULTS)
    for name in names:
        lab.settings[name] = before[name]

    def inside():
        settings = Settings()
        return [(name, settings.mode(name), settings.write(name, "1"))
                for name in sorted([*DEFAULTS, *EXTRA])]
    equal(in_user_namespace(inside), repr(
        [(name, 0o444 if name in LIMITED else 0o644,
          "EACCES" if name in LIMITED else "")
         for name in sorted([*DEFAULTS, *EXTRA])]))


@test("ip_vs_conn_sync has a first line, and may be read by all")
def conn_sync(lab):
    equal(lab.director.proc("ip_vs_conn_sync"),
          "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin "
          "Expires\n")
    with lab.director:
        equal(os.stat("/proc/thread-self/net/ip_vs_conn_sync").st_mode & 0o777,
              0o444)


if __name__ == "__main__":
    main(lambda: ControlLab(ipv6=True))
