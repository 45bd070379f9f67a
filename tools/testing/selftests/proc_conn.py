#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 400
"""/proc/net/ip_vs_conn and ip_vs_status with many connections: nothing that is
there all the time is missed, whatever comes and goes meanwhile; and the tables
have the C module's sizes, however many entries there were before."""

import os
import re
from collections import Counter

from lib import module
from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import udp
from lib.tap import equal, eventually, main, module_under_test, test
from lib.vs import Settings

VPORT, MANY = 53, 2000


class ManyLab(Lab):
    """One UDP service."""

    def build(self):
        super().build()
        self.serve()

    def serve(self):
        """The service, and its server."""
        self.ipvs.service(f"{VIP}:{VPORT}", f"{RIP}:{VPORT} -m", kind="-u")

    def fresh(self, *parameters):
        """The module as it is when it was just loaded."""
        self.ipvs.admin("-C")
        module.unload()
        module.load(*parameters)

    def connect(self, count):
        """So many new connections; their client ports."""
        made = {self.port() for _ in range(count)}
        self.send(made)
        return made

    def send(self, ports):
        """A packet from each of these client ports."""
        for number, cport in enumerate(ports, 1):
            self.client.send(udp(CIP, cport, VIP, VPORT, b""))
            if number % 200 == 0:
                self.settle()
        self.settle()

    def reader(self, size, between=lambda: None):
        """How often each client port is in the file, read in pieces of
        `size` bytes, with something done `between` two pieces."""
        with self.director:
            handle = os.open("/proc/thread-self/net/ip_vs_conn", os.O_RDONLY)
        text = b""
        while piece := os.read(handle, size):
            text += piece
            between()
        os.close(handle)
        head, *lines = text.decode().splitlines()
        equal(head.split()[:3], ["Pro", "FromIP", "FPrt"])
        for line in lines:
            assert re.fullmatch(
                r"UDP 0A000102 [0-9A-F]{4} C6336401 0035 0A000202 0035 "
                r"UDP +\d+", line), line
        return Counter(int(line.split()[2], 16) for line in lines)

    def status(self):
        """The lines of ip_vs_status, by what is before the colon."""
        return dict(line.split(":\t") for line in
                    self.director.proc("ip_vs_status").splitlines())

    def table(self, name):
        """The size of a table, and its load factor."""
        found = re.match(r"(\d+) \((\d+) bits, lfactor (-?\d+)\)$",
                         self.status()[f"{name} buckets"])
        size, bits, factor = map(int, found.groups())
        equal(size, 1 << bits if size else 0, f"{bits} bits")
        return size, factor

    def becomes(self, name, size, factor, what):
        """Wait until a table has this size and load factor."""
        eventually(lambda: self.table(name) == (size, factor),
                   f"{what}: {size} buckets, lfactor {factor}")


@test("each connection has one line, however the file is read")
def each_once(lab):
    lab.made = lab.connect(MANY)
    for size in (100, 4096, 1 << 20):
        equal(lab.reader(size), Counter(lab.made), f"pieces of {size}")


@test("ip_vs_status tells how many there are, and how they are spread")
def status(lab):
    tables = ("Conn", 2 * MANY, 4096), ("Service", 1, 16)
    for name, _links, size in tables:
        lab.becomes(name, size, -2, "by default")
    found = lab.status()
    equal((found["Conns"], found["Services"]), (str(MANY), "1"))
    for name, links, size in tables:
        counts = {key.rpartition(" ")[2]: re.match(r"(\d+) \((\d+)%\)$", text)
                  for key, text in found.items()
                  if key.startswith(f"{name} buckets ")}
        numbers = {key: int(match[1]) for key, match in counts.items()}
        equal(sum(numbers.values()), size, "buckets")
        used = size - numbers["empty"]
        equal({key: int(match[2]) for key, match in counts.items()},
              {key: 100 * number // (size if key == "empty" else used)
               for key, number in numbers.items()}, "percentages")
        if "len-7" not in numbers:
            equal(sum(int(key[4:]) * number
                      for key, number in numbers.items() if key != "empty"),
                  links, f"links of {name}")
    with lab.director:
        equal(os.stat("/proc/thread-self/net/ip_vs_status").st_mode & 0o777,
              0o440)


@test("conn_lfactor and svc_lfactor set how many there are for a bucket")
def load_factors(lab):
    settings = Settings(lab.director)
    for setting, name, sizes in (
            ("conn_lfactor", "Conn", ((-8, 4096), (8, 256), (0, 2048),
                                      (-5, 4096), (1, 1024), (-2, 4096))),
            ("svc_lfactor", "Service", ((-8, 256), (8, 16), (-5, 32),
                                        (-2, 16)))):
        for factor, size in sizes:
            settings[setting] = factor
            lab.becomes(name, size, factor, setting)
    equal(lab.reader(1 << 20), Counter(lab.made), "connections afterwards")


# The C module ends the list where it is when it installs a new table.
@test("what is there all the time is in the list, once, while the table grows "
      "and others come", modules=("rust",))
def growing(lab):
    before = lab.status()["Conn buckets"]
    for size in (1000, 8192):
        more = iter(range(20))

        def between():
            if next(more, None) is not None:
                lab.connect(100)
        seen = lab.reader(size, between)
        equal({port: seen[port] for port in lab.made},
              {port: 1 for port in lab.made}, f"in pieces of {size}")
    eventually(lambda: lab.status()["Conn buckets"] != before,
               "a larger table")


@test("connections that end meanwhile take no others with them")
def ending(lab):
    here = set(lab.reader(1 << 20))
    lab.ipvs.admin("--set", "0", "0", "1")
    gone = lab.connect(500)
    lab.ipvs.admin("--set", "0", "0", "300")
    # They have a second; the others are looked at meanwhile and afterwards.
    seen = lab.reader(2000)
    if module_under_test() == "rust":
        # The C module skips one where another of its bucket ends meanwhile.
        equal(here - set(seen), set(), "missed while others end")
    eventually(lambda: not gone & set(lab.reader(1 << 20)),
               "the end of the short ones")
    equal(set(lab.reader(3000)), here)


@test("the table of services grows and shrinks as the C module's does")
def service_sizes(lab):
    lab.fresh()
    there = 0
    for count, size in ((1, 16), (4, 16), (5, 32), (8, 32), (9, 64),
                        (300, 2048), (33, 2048), (32, 256), (5, 256), (4, 32),
                        (1, 32), (0, 0), (1, 16), (200, 1024), (0, 0),
                        (3, 16)):
        lab.ipvs.rules(*(f"-A -f {mark + 1}" for mark in range(there, count)),
                       *(f"-D -f {mark + 1}" for mark in range(count, there)))
        there = count
        lab.becomes("Service", size, -2 if count else 0, f"{count} services")
    settings = Settings(lab.director)
    for factor, size in ((-4, 64), (0, 16), (-8, 1024)):
        settings["svc_lfactor"] = factor
        lab.becomes("Service", size, factor, f"{there} services")


@test("the table of connections grows and shrinks as the C module's does")
def conn_sizes(lab):
    lab.fresh()
    lab.serve()
    lab.becomes("Conn", 256, -2, "no connection")
    lab.connect(40)
    others = set()
    for more, size in ((24, 256), (1, 512), (235, 2048), (300, 4096)):
        others |= lab.connect(more)
        lab.becomes("Conn", size, -2, f"{more} more connections")
    lab.ipvs.admin("--set", "0", "0", "1")
    lab.send(others)
    lab.ipvs.admin("--set", "0", "0", "300")
    eventually(lambda: lab.status()["Conns"] == "40",
               "the end of the others", 60)
    lab.becomes("Conn", 512, -2, "40 connections")
    assert lab.director.proc("ip_vs").startswith(
        "IP Virtual Server version 1.2.1 (size=512)\n")
    settings = Settings(lab.director)
    for factor, size in ((-4, 1024), (0, 256), (-7, 4096)):
        settings["conn_lfactor"] = factor
        lab.becomes("Conn", size, factor, "40 connections")


@test("conn_tab_bits is the most that there is, whatever is asked for")
def largest(lab):
    lab.fresh("conn_tab_bits=9")
    lab.serve()
    lab.connect(200)
    lab.becomes("Conn", 512, -2, "200 connections")
    lab.connect(400)
    lab.becomes("Conn", 512, -2, "600 connections")
    settings = Settings(lab.director)
    for factor, size in ((2, 256), (-8, 512), (0, 512)):
        settings["conn_lfactor"] = factor
        lab.becomes("Conn", size, factor, "600 connections")


# The C module has no more than 4096 buckets by default.
@test("beyond 4096 buckets there is one for each connection",
      modules=("rust",))
def beyond(lab):
    lab.fresh()
    lab.serve()
    lab.connect(4096)
    lab.becomes("Conn", 4096, -2, "4096 connections")
    lab.connect(1)
    lab.becomes("Conn", 8192, -2, "4097 connections")


if __name__ == "__main__":
    main(ManyLab)
