#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 240
"""A service gets one scheduler after the other while packets of its
connections, and first ones of new connections, come on both CPUs.

Each scheduler is followed by the next, the third and the fifth after it. There
are as many packets as the director and its watcher take: what does not come
out was not lost on the way. One of the servers has weight 0.
"""

import mmap
import os
import struct
import time
import traceback
from collections import Counter, defaultdict

from choices import arrivals
from choices.arrivals import SIZE, TCP, UDP, frame
from choices.changes import Scheduler, Server
from choices.world import RECORD, World, numbers
from lib import module
from lib.cpus import on_cpus
from lib.packet import ACK, SYN
from lib.tap import TIME_FACTOR, equal, main, module_under_test, note, test

CPUS = 0, 1
STEPS = 1, 3, 5         # how far on the next scheduler is
MEANWHILE, AFTER = 2, 1  # batches of each CPU, for each change
BATCHES = MEANWHILE + AFTER
OLD, NEW = 192, 64      # packets of old and new connections in a batch
SERVERS = [Server(1, 30000), Server(2, 20000), Server(3, 0), Server(4, 10000)]
QUIET = {server.number for server in SERVERS if not server.weight}
# Whose tables have a place for a server of weight 0, and nobody else there.
REFUSING = {"dh", "sh"}


def schedulers():
    """One after the other; at the end the first one again."""
    count = len(module.SCHEDULERS)
    for step in STEPS:
        yield from (module.SCHEDULERS[n * step % count] for n in range(count))
    yield module.SCHEDULERS[0]


def flow(number):
    """Of the connection of that number: client, port, target."""
    return (arrivals.CLIENTS + number % 509, 1024 + number % 50000,
            arrivals.TARGETS + number % 11)


def packets(row, protocol, kind):
    """One packet of each of these connections, to port 1."""
    data = bytearray().join(frame(number, protocol, *flow(number), kind)
                            for number in row)
    data[arrivals.DPORT + 1::SIZE] = bytes([1]) * (len(data) // SIZE)
    return data


class Sender:
    """A process on a CPU that sends a batch each time that it is allowed to.
    What both processes know: batches allowed, begun and done."""

    ALLOWED, BEGUN, DONE = 0, 8, 16

    def __init__(self, world, cpu, total):
        self.world, self.cpu = world, cpu
        self.old = range(cpu, 2 * OLD, 2)
        self.shared = mmap.mmap(-1, mmap.PAGESIZE)
        self.total = total
        self.pid = os.fork()
        if not self.pid:
            try:
                os.sched_setaffinity(0, {cpu})
                self.send()
                os._exit(0)
            except BaseException:       # pylint: disable=broad-except
                note(traceback.format_exc())
            os._exit(1)

    def __getitem__(self, place):
        return struct.unpack_from("=Q", self.shared, place)[0]

    def __setitem__(self, place, value):
        struct.pack_into("=Q", self.shared, place, value)

    def new(self, batch):
        """The new connections of a batch."""
        first = 2 * OLD + (2 * batch + self.cpu) * NEW
        return range(first, first + NEW)

    def send(self):
        """In the process."""
        old = packets(self.old, TCP, ACK)
        for batch in range(self.total):
            new = packets(self.new(batch), UDP, 0)
            while self[self.ALLOWED] <= batch:
                time.sleep(0)
            self[self.BEGUN] = batch + 1
            self.world.put(old + new, 0, OLD + NEW)
            self[self.DONE] = batch + 1

    def end(self):
        """Whether it went well."""
        return os.waitpid(self.pid, 0)[1] == 0


class Outcome:
    """Traffic, changes, and what came of it."""

    def __init__(self):
        self.old, self.new = defaultdict(Counter), {}
        self.first, self.sent_old = {}, 0
        self.row, self.counts = list(schedulers()), []
        self.world = None
        # Of a new connection, the schedulers while it came: two of them while
        # they changed, else one.
        self.stages = {}

    def __enter__(self):
        module.load()
        try:
            with on_cpus(CPUS[0]):
                self.world = World()
                self.play()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        if self.world:
            self.world.close()
        module.unload()

    def play(self):
        """All changes, one by one, with traffic on both CPUs."""
        world = self.world
        world.begin(1)
        world.do("schedule", Scheduler(self.row[0]))
        for server in SERVERS:
            world.do("add", server)
        for kind in SYN, ACK:
            world.send(packets(range(2 * OLD), TCP, kind), 0, 2 * OLD)
        world.settle()
        self.first = dict(zip(numbers(world.records, RECORD, 0),
                              world.records[5::RECORD]))
        equal(len(self.first), 2 * OLD, "connections at first")
        world.records.clear()
        changes = list(zip(self.row, self.row[1:]))
        senders = [Sender(world, cpu, len(changes) * BATCHES) for cpu in CPUS]
        for number, pair in enumerate(changes):
            self.change(number, pair, senders)
        assert all([sender.end() for sender in senders]), "a sender failed"
        for place, kind in enumerate(world.records[4::RECORD]):
            record = world.records[place * RECORD:(place + 1) * RECORD]
            connection = int.from_bytes(record[:4])
            if kind == ACK:
                self.old[connection][record[5]] += 1
            else:
                equal(connection in self.new, False, "two packets of one")
                self.new[connection] = record[5]
        self.sent_old = len(changes) * BATCHES
        self.counts = world.connections()

    def change(self, number, pair, senders):
        """One change: packets while it is made, and others after it."""
        first = number * BATCHES

        def allow(batches, stage):
            for sender in senders:
                for batch in batches:
                    self.stages |= dict.fromkeys(sender.new(batch), stage)
                sender[sender.ALLOWED] = batches.stop

        def wait(what, count):
            deadline = time.monotonic() + 30 * TIME_FACTOR
            while any(sender[what] < count for sender in senders):
                assert time.monotonic() < deadline, "a sender stands still"
                self.world.read()
        with on_cpus(*CPUS):
            allow(range(first, first + MEANWHILE), pair)
            wait(Sender.BEGUN, first + 1)
            self.world.do("schedule", Scheduler(pair[1]))
            wait(Sender.DONE, first + MEANWHILE)
            allow(range(first + MEANWHILE, first + BATCHES), pair[1:])
            wait(Sender.DONE, first + BATCHES)
        for cpu in CPUS:
            with on_cpus(cpu):
                self.world.settle()


@test("no packet of a connection that is there is lost, or goes to another "
      "server")
def old(outcome):
    wrong = [f"{number} of server {server}: {dict(outcome.old[number])}"
             for number, server in outcome.first.items()
             if outcome.old[number] != {server: outcome.sent_old}]
    equal(wrong[:8], [], f"{len(wrong)} connections whose {outcome.sent_old} "
          "packets came to {server: packets}")


@test("each new connection goes to a server, and to none of weight 0")
def new(outcome):
    equal(QUIET & set(outcome.new.values()), set(), "servers of weight 0")
    refused = [number for number, stage in outcome.stages.items()
               if number not in outcome.new and not REFUSING & set(stage)]
    meanwhile = [number for number in refused
                 if len(outcome.stages[number]) > 1]
    note(f"{len(outcome.row) - 1} changes, {len(outcome.stages)} new "
         f"connections, {len(outcome.new)} of them served, {len(refused)} "
         f"refused, {len(meanwhile)} of these during a change")
    if module_under_test() == "c":
        # For a grace period, a service of the C module has no scheduler.
        refused = sorted(set(refused) - set(meanwhile))
    equal(refused, [], "connections without server")


@test("afterwards each server counts its connections")
def counted(outcome):
    first, later = (Counter(servers.values())
                    for servers in (outcome.first, outcome.new))
    equal(sorted(outcome.counts), sorted(
        (server.number, first[server.number], later[server.number])
        for server in SERVERS))


if __name__ == "__main__":
    main(Outcome)
