#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""Dumps in pieces, and the files under /proc/net, with many services and
servers: what is there all the time is shown once, whatever is added and
removed between two pieces and however tables grow and shrink by it."""

import os
import re
import struct
from collections import Counter

from lib import genl
from lib.lab import VIP, Lab
from lib.rules import Rules, service
from lib.tap import equal, main, test

UDP, STAY, GO = 17, 400, 900
BUSY = 60000                        # the port of the service with many servers


def far(number):
    """The address of a server that nobody reaches."""
    return f"10.9.{number >> 8}.{number & 255}"


class ManyLab(Lab):
    """Services that stay, and servers that stay between others that go."""

    def build(self):
        super().build()
        self.rules = Rules(self.director)
        self.stay = range(1, STAY + 1)
        self.others = iter(range(STAY + 1, BUSY))
        self.strange = iter(range(STAY * 2, 1 << 16))
        for port in self.stay:
            self.rules.add(UDP, VIP, port)
        self.rules.add(UDP, VIP, BUSY)
        self.here, self.away = [], []
        for number in range(STAY):
            self.rules.add_server(UDP, VIP, BUSY, far(number),
                                  method=genl.DROUTE)
            (self.away if number % 3 else self.here).append(number)

    def __exit__(self, *error):
        if hasattr(self, "rules"):
            self.rules.netlink.close()
        super().__exit__(*error)

    def more_services(self, count):
        """So many more services; their ports."""
        ports = [next(self.others) for _ in range(count)]
        for port in ports:
            self.rules.add(UDP, VIP, port)
        return ports

    def fewer_services(self, ports):
        for port in ports:
            self.rules.remove(UDP, VIP, port)

    def other_servers(self, fewer, more):
        """So many of those that may go have gone, and so many others come."""
        for number in self.away[:fewer]:
            self.rules.remove_server(UDP, VIP, BUSY, far(number))
        del self.away[:fewer]
        for _ in range(more):
            self.away.append(next(self.strange))
            self.rules.add_server(UDP, VIP, BUSY, far(self.away[-1]),
                                  method=genl.DROUTE)

    def dumped(self, command, kind, between, *row):
        """How often each port and address is in a dump that is read piece by
        piece, with something done `between` two of them."""
        link = genl.Genl(self.director)
        found = Counter()
        for number, messages in enumerate(link.pieces(command, *row)):
            for message in messages:
                parts = genl.attributes(genl.attributes(message)[kind])
                port, = struct.unpack("!H", parts[genl.SVC_PORT if
                                                  kind == genl.CMD_SERVICE
                                                  else genl.DEST_PORT])
                ip = parts[genl.SVC_ADDR if kind == genl.CMD_SERVICE
                           else genl.DEST_ADDR]
                found[port, ip[:4]] += 1
            between(number)
        link.close()
        return found

    def services(self, between):
        found = self.dumped(genl.GET_SERVICE, genl.CMD_SERVICE, between)
        return Counter({port: count for (port, _), count in found.items()})

    def servers_of_busy(self, between):
        found = self.dumped(genl.GET_DEST, genl.CMD_DEST, between,
                            service(UDP, VIP, BUSY))
        return Counter({ip[2] << 8 | ip[3]: count
                        for (_, ip), count in found.items()})

    def listed(self, between):
        """How often the port of each service is in /proc/net/ip_vs."""
        with self.director:
            handle = os.open("/proc/thread-self/net/ip_vs", os.O_RDONLY)
        text, number = b"", 0
        while piece := os.read(handle, 4096):
            text += piece
            between(number)
            number += 1
        os.close(handle)
        return Counter(int(port, 16) for port in
                       re.findall(rb"(?m)^UDP  C6336401:([0-9A-F]{4}) ", text))


def nothing(_number):
    pass


def once(numbers):
    return {number: 1 for number in numbers}


def of(found, numbers):
    """What was found of these."""
    return {number: found[number] for number in numbers}


@test("a dump of any size has each service and each server once")
def quiet(lab):
    equal(lab.services(nothing), once([*lab.stay, BUSY]), "services")
    equal(lab.servers_of_busy(nothing), once(lab.here + lab.away), "servers")
    equal(lab.listed(nothing), once([*lab.stay, BUSY]), "file")


# The C module goes on by number: whatever comes or goes before the place where
# it is shifts what is behind.
@test("services that are there all the time are dumped once, while others "
      "come and go and the table grows and shrinks", modules=("rust",))
def services(lab):
    for read in lab.services, lab.listed:
        ports = []

        def growing(number):
            if number < 3:
                ports.extend(lab.more_services(GO // 3))
        equal(of(read(growing), lab.stay), once(lab.stay), "growing")
        equal(len(ports), GO, "there was time for changes")

        def shrinking(number):
            if number < 3:
                lab.fewer_services(ports[:GO // 3])
                del ports[:GO // 3]
        equal(of(read(shrinking), lab.stay), once(lab.stay), "shrinking")
        equal(ports, [], "there was time for changes")


@test("servers that are there all the time are dumped once, while others come "
      "and go", modules=("rust",))
def servers(lab):
    for fewer, more in (40, 80), (80, 40), (20, 360):
        rounds = iter(range(3))

        def changed(_number, few=fewer, many=more, left=rounds):
            if next(left, None) is not None:
                lab.other_servers(few, many)
        found = lab.servers_of_busy(changed)
        equal(of(found, lab.here), once(lab.here), f"-{fewer} +{more}")
        equal(next(rounds, None), None, "there was time for changes")
        equal(max(found.values()), 1, "often")


if __name__ == "__main__":
    main(ManyLab)
