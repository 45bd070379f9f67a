#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 600
# clock: instructions
"""However many servers, services and connections there are, the kernel does little
of what is asked for at a stretch: with bottom halves off, or (as far as that can be
seen) before it gives other tasks a chance.

Work is counted in calls, not in time: of functions that such loops call for each
server or connection. The C module is no reference here: where it gives way, the
kernel does not show, and it ends the connections of many removed servers without
giving way at all, which the kernel reports as a soft lockup.
"""

import os
import re
import signal
import socket
import struct
from collections import defaultdict
from contextlib import contextmanager

from lib import genl, module, rules
from lib.calls import Calls
from lib.chance import number
from lib.genl import Genl, attributes
from lib.lab import VIP
from lib.netns import Space
from lib.tap import equal, eventually, main, note, test
from lib.vs import Settings

UDP, VPORT = 17, 81
MANY = number("SERVERS", 2000)
SERVICES = MANY // 4
# So many calls there may be at a stretch.
MOST = 500
LOCK = "lock"
WORK = {LOCK: "p _raw_spin_lock_bh", "route": "p dst_release",
        "rcu": "p call_rcu", "timer": "p mod_timer"}
# There the kernel's search for leaks calls it for whatever is freed, by whomever.
if os.uname().release.endswith("-debug"):
    del WORK["rcu"]


def gives_way():
    """Where our module gives way: one of its own functions. And where any task
    does that goes to sleep, as a thread that does a little now and then."""
    with open("/proc/kallsyms", encoding="ascii") as symbols:
        names = [line.split()[2] for line in symbols
                 if line.endswith("[ip_vs]\n")]
    [name] = [name for name in names
              if re.fullmatch("rust_helper_.*_cond_resched", name)]
    return {"way": f"p {name}", "sleep": "p schedule"}


def task_name(pid):
    """A task's name, if it is still there."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return str(pid)


class Stretches:
    """The longest ones since it was entered, in calls."""

    def __init__(self, what):
        self.what = what
        self.calls = Calls("raw_syscalls/sys_enter", **WORK,
                           **gives_way())

    def __enter__(self):
        self.calls.__enter__()
        return self

    def __exit__(self, *error):
        try:
            if not error[0]:
                self.judge()
        finally:
            self.calls.__exit__()

    def judge(self):
        """Count, and compare with what there may be."""
        without_bh, without_way = defaultdict(int), defaultdict(int)
        most = {"with bottom halves off": (0, 0), "without giving way": (0, 0)}
        seen = 0
        for call in self.calls.seen(alone=True):
            if call.interrupts:
                continue
            if call.name in ("way", "sleep", "sys_enter"):
                without_way[call.pid] = 0
                continue
            seen += 1
            without_way[call.pid] += 1
            if call.name == LOCK and not call.without_bh:
                without_bh[call.pid] = 0
            elif call.without_bh:
                without_bh[call.pid] += 1
            for kind, counts in zip(most, (without_bh, without_way)):
                most[kind] = max(most[kind], (counts[call.pid], call.pid))
        found = [f"{calls} {kind} by {task_name(pid)}"
                 for kind, (calls, pid) in most.items()]
        note(f"{self.what}: {seen} calls, at a stretch {', '.join(found)}")
        assert max(most.values())[0] <= MOST, \
            f"{self.what}: more than {MOST} calls at a stretch"


def service(vport=VPORT, **more):
    return rules.service(UDP, VIP, vport, **more)


def address(index):
    """That of a server."""
    return f"10.9.{index >> 8}.{index & 255}"


class Crowd:
    """A namespace with a service of many servers, which all have had a packet, and
    with many services."""

    def __enter__(self):
        Calls.need()
        module.load()
        self.space = Space.new()
        self.netlink = Genl(self.space)
        self.settings = Settings(self.space)
        self.ports = iter(range(1024, 65536))
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "addr", "add", f"{VIP}/32", "dev", "lo")
        self.device()
        return self

    def __exit__(self, *_error):
        self.netlink.close()
        self.space.close()
        module.unload(60)

    def run(self, *argv):
        with self.space:
            return module.run(*argv)

    def device(self):
        """The device that leads to all servers, by one neighbour."""
        self.run("ip", "link", "add", "many", "type", "dummy")
        self.run("ip", "addr", "add", "10.8.0.1/24", "dev", "many")
        self.run("ip", "link", "set", "many", "arp", "off", "up")
        self.run("ip", "route", "add", "10.9.0.0/16", "via", "10.8.0.2")

    def must(self, command, *row):
        """A request that succeeds."""
        equal(self.netlink.request(command, *row).error, "", f"{command}")

    def batch(self, command, bodies):
        """Requests that succeed, many at a time, without an answer to each."""
        bodies = list(bodies)
        for first in range(0, len(bodies), 100):
            self.netlink.socket.send(b"".join(
                struct.pack("=IHHIIBBH", 20 + len(body), self.netlink.family,
                            genl.NLM_F_REQUEST, 0, 0, command, 1, 0) + body
                for body in bodies[first:first + 100]))

    def fill(self, scheduler="rr"):
        """Make it all anew."""
        self.must(genl.FLUSH)
        self.must(genl.NEW_SERVICE, service(scheduler=scheduler))
        self.add(range(MANY))
        self.batch(genl.NEW_SERVICE, (service(1000 + index, scheduler="rr")
                                      for index in range(SERVICES)))
        self.batch(genl.NEW_DEST, (
            service(1000 + index) + rules.server(address(0), 80)
            for index in range(SERVICES)))
        equal(len(self.servers()), MANY, "servers")
        equal(len(self.netlink.dump(genl.GET_SERVICE).messages), SERVICES + 1,
              "services")

    def add(self, indices, command=genl.NEW_DEST):
        """Servers, by their numbers."""
        self.batch(command, (
            service() + rules.server(address(index), VPORT, method=genl.TUNNEL)
            for index in indices))

    def servers(self):
        """The service's servers, (address, connections since zero) of each."""
        found = []
        for message in self.netlink.dump(genl.GET_DEST, service()).messages:
            row = attributes(attributes(message)[genl.CMD_DEST])
            counters = attributes(row[genl.DEST_STATS64])
            found.append((socket.inet_ntoa(row[genl.DEST_ADDR][:4]),
                          int.from_bytes(counters[1], "little")))
        return found

    def send(self):
        """As many packets as there are servers, each of another client."""
        with self.space:
            for _ in range(MANY):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.bind((VIP, next(self.ports)))
                    client.sendto(b"", (VIP, VPORT))

    def connect(self):
        """A connection to each server. The C module counts for those who look
        every two seconds."""
        self.send()
        eventually(lambda: all(count == 1 for _address, count
                               in self.servers()), "connections", 30)

    def proc(self, name):
        """The lines of a file."""
        with self.space, open(f"/proc/thread-self/net/{name}",
                              encoding="ascii") as file:
            return file.readlines()

    def table_size(self):
        """Buckets for connections."""
        return int(re.search(r"size=(\d+)", self.proc("ip_vs")[0])[1])


@contextmanager
def alone():
    """While this lasts, no work is done but this process's, or little: there is one
    processor for both, and this process comes first."""
    cpus, mask = os.sched_getaffinity(0), "/sys/devices/virtual/workqueue/cpumask"
    with open(mask, "r+", encoding="ascii") as file:
        before = file.read()
        file.write("1")
    os.sched_setaffinity(0, {0})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cpus)
        with open(mask, "w", encoding="ascii") as file:
            file.write(before)


@test("that the table of connections is to be resized is said once until that is "
      "begun, however many connections come meanwhile")
def asked_once(crowd):
    crowd.fill()
    with Calls("workqueue/workqueue_execute_start",
               ask="p mod_delayed_work_on") as calls:
        with alone():
            crowd.send()
        seen = calls.seen(alone=True)
    asked = sum(call.name == "ask" and call.pid == os.getpid()
                for call in seen)
    # Of any work, which is no less.
    begun = sum(call.name == "workqueue_execute_start" for call in seen)
    note(f"asked {asked} times; work was begun {begun} times")
    assert 1 <= asked <= begun + 1, \
        f"asked {asked} times, while any work was begun {begun} times"


@test("counters are zeroed bit by bit, of all services and of one")
def zero(crowd):
    crowd.fill()
    with Stretches("zero all"):
        crowd.must(genl.ZERO)
    with Stretches("zero one"):
        crowd.must(genl.ZERO, service())


@test("lists are written bit by bit")
def lists(crowd):
    with Stretches("list servers"):
        crowd.netlink.dump(genl.GET_DEST, service())
    with Stretches("list services"):
        crowd.netlink.dump(genl.GET_SERVICE)
    with Stretches("ip_vs"):
        crowd.proc("ip_vs")


@test("a service, and a server of it, are changed bit by bit, whatever its "
      "scheduler looks at")
def edits(crowd):
    for scheduler in "wlc", "sh", "wrr", "rr":
        with Stretches(f"scheduler {scheduler}"):
            crowd.must(genl.SET_SERVICE, service(scheduler=scheduler))
    with Stretches("server"):
        crowd.must(genl.SET_DEST, service(), rules.server(
            address(7), VPORT, method=genl.TUNNEL, weight=9))
        crowd.must(genl.DEL_DEST, service(), rules.server(address(7), VPORT))
        crowd.must(genl.NEW_DEST, service(), rules.server(
            address(7), VPORT, method=genl.TUNNEL))


@test("a device that goes down takes the routes of all servers with it bit by "
      "bit")
def device(crowd):
    crowd.fill()
    crowd.connect()
    with Stretches("down"):
        crowd.run("ip", "link", "set", "many", "down")
    with Stretches("deleted"):
        crowd.run("ip", "link", "del", "many")
    crowd.device()


@test("the table of connections is resized, and read, bit by bit")
def connections(crowd):
    with Stretches("ip_vs_conn"):
        assert len(crowd.proc("ip_vs_conn")) > MANY
    for factor in 8, -8:
        before = crowd.table_size()
        with Stretches(f"conn_lfactor {factor}"):
            crowd.settings["conn_lfactor"] = factor
            eventually(lambda size=before: crowd.table_size() != size,
                       "a table of another size", 60)


@test("a service with many servers, and all services, are removed bit by bit, "
      "and so are the connections of their servers")
def removal(crowd):
    crowd.settings["expire_nodest_conn"] = 1
    with Stretches("service"):
        crowd.must(genl.DEL_SERVICE, service())
        eventually(lambda: len(crowd.proc("ip_vs_conn")) == 1,
                   "the end of connections", 60)
    crowd.fill()
    with Stretches("all services"):
        crowd.must(genl.FLUSH)


def come_and_go(crowd):
    """A process that adds and removes other servers until it is killed."""
    child = os.fork()
    if not child:
        try:
            crowd.netlink = Genl(crowd.space)
            others = range(MANY, MANY + 64)
            while True:
                crowd.add(others)
                crowd.add(others, genl.DEL_DEST)
        finally:
            os._exit(1)
    return child


@test("counters of all servers are zeroed, none is lost and none is there twice, "
      "while others come and go")
def zero_in_motion(crowd):
    crowd.fill()
    crowd.connect()
    stay = sorted(address(index) for index in range(MANY))
    child = come_and_go(crowd)
    try:
        for _ in range(5):
            crowd.must(genl.ZERO)
            found = [row for row in crowd.servers() if row[0] in set(stay)]
            assert sorted(where for where, _count in found) == stay, \
                f"{len(found)} servers, {len(stay)} wanted"
            equal({count for _where, count in found}, {0}, "counters")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Crowd)
