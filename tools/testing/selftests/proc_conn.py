#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""/proc/net/ip_vs_conn and ip_vs_status with many connections: nothing that is
there all the time is missed, whatever comes and goes meanwhile."""

import os
import re
from collections import Counter

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import udp
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

VPORT, MANY = 53, 2000


class ManyLab(Lab):
    """One UDP service."""

    def build(self):
        super().build()
        self.ipvs.service(f"{VIP}:{VPORT}", f"{RIP}:{VPORT} -m", kind="-u")

    def connect(self, count):
        """So many new connections; their client ports."""
        made = {self.port() for _ in range(count)}
        for number, cport in enumerate(made, 1):
            self.client.send(udp(CIP, cport, VIP, VPORT, b""))
            if number % 200 == 0:
                self.settle()
        self.settle()
        return made

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


@test("each connection has one line, however the file is read")
def each_once(lab):
    lab.made = lab.connect(MANY)
    for size in (100, 4096, 1 << 20):
        equal(lab.reader(size), Counter(lab.made), f"pieces of {size}")


@test("ip_vs_status tells how many there are, and how they are spread")
def status(lab):
    found = lab.status()
    equal((found["Conns"], found["Services"]), (str(MANY), "1"))
    for name, links in (("Conn", 2 * MANY), ("Service", 1)):
        size, bits = re.match(r"(\d+) \((\d+) bits, lfactor -?\d+\)$",
                              found[f"{name} buckets"]).groups()
        # With a table for each family, the sum is no power of two.
        equal(int(bits), int(size).bit_length() - 1)
        counts = {key.rpartition(" ")[2]: re.match(r"(\d+) \((\d+)%\)$", text)
                  for key, text in found.items()
                  if key.startswith(f"{name} buckets ")}
        numbers = {key: int(match[1]) for key, match in counts.items()}
        equal(sum(numbers.values()), int(size), "buckets")
        used = int(size) - numbers["empty"]
        equal({key: int(match[2]) for key, match in counts.items()},
              {key: 100 * number // (int(size) if key == "empty" else used)
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
    for setting, name, count in (("conn_lfactor", "Conn", 2 * MANY),
                                 ("svc_lfactor", "Service", 1)):
        before = settings[setting]
        for factor in (-8, 8, -5, before):
            settings[setting] = factor

            def fits():
                found = re.match(r"(\d+) \(\d+ bits, lfactor (-?\d+)\)$",
                                 lab.status()[f"{name} buckets"])
                size = int(found[1])
                # The C module has no more than 4096 unless it is told to;
                # ours a table for each family, and no less than 256 for each.
                right = (count << 8) // (1 << (factor + 8))
                return (int(found[2]) == factor and
                        size >= min(right, 4096) and
                        size <= max(4 * right, 256) + 256)
            eventually(fits, f"{setting}={factor}")
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
    equal(here - set(seen), set(), "missed while others end")
    eventually(lambda: not gone & set(lab.reader(1 << 20)),
               "the end of the short ones")
    equal(set(lab.reader(3000)), here)


if __name__ == "__main__":
    main(ManyLab)
