#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
# clock: instructions
"""The setting drop_entry of net.ipv4.vs: which connections are given up in a
flood. It looks at a part of the table once a second, so there have to be many
connections, and some have to be old."""

import time
from collections import Counter

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import ACK, SYN, icmp_error, tcp, udp
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

LARGE = 0x7fffffff
OLD, NEW, UNTRANSLATED = 99, 98, 97


class FloodLab(Lab):
    """Connections of one packet and of nine, which get old meanwhile; and such
    of one packet and eight ICMP errors."""

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        self.ipvs.service(f"{VIP}:{OLD}", f"{RIP}:{OLD} -m", kind="-u")
        self.ipvs.service(f"{VIP}:{NEW}", f"{RIP}:{NEW} -m")
        self.ipvs.service(f"{VIP}:{UNTRANSLATED}", f"{RIP}:0 -g", kind="-u")
        self.idle, self.busy, self.direct, self.translated = (
            [self.port() for _ in range(count)] for count in (512, 64, 64, 64))
        for ports, vport in ((self.direct, UNTRANSLATED),
                             (self.translated, OLD)):
            self.burst(udp(CIP, cport, VIP, vport) for cport in ports)
            for _ in range(8):
                self.burst(icmp_error(CIP, VIP, 3, 3, udp(
                    VIP, vport, CIP, cport)) for cport in ports)
        for _ in range(9):
            self.burst(udp(CIP, cport, VIP, OLD) for cport in self.busy)
        self.burst(udp(CIP, cport, VIP, OLD) for cport in self.idle)
        self.started = time.monotonic()

    def with_errors(self):
        """How many are there of those with ICMP errors: of direct routing, and
        of NAT."""
        ports = {each.cport for each in self.ipvs.connections()}
        return (len(ports & set(self.direct)),
                len(ports & set(self.translated)))

    def left(self):
        """How many are there, of the old ones with one packet and with nine,
        and of the new ones by their state."""
        found = self.ipvs.connections()
        ports = {each.cport for each in found if each.vport == OLD}
        states = Counter(each.state for each in found if each.vport == NEW)
        return (len(ports & set(self.idle)), len(ports & set(self.busy)),
                states["SYN_RECV"], states["ESTABLISHED"])


@test("half-open connections are dropped with mode 3, and neither others nor "
      "any with mode 0")
def half_open(lab):
    ports = [lab.port() for _ in range(64)]
    lab.burst(tcp(CIP, cport, VIP, NEW) for cport in ports)
    for cport in ports:
        lab.server.send(tcp(RIP, NEW, CIP, cport, SYN | ACK))
    lab.burst(tcp(CIP, cport, VIP, NEW, ACK) for cport in ports)
    lab.burst(tcp(CIP, lab.port(), VIP, NEW) for _ in range(512))
    full = (512, 64, 512, 64)
    equal(lab.left(), full)
    time.sleep(2.5)
    equal(lab.left(), full)
    with lab.settings.but(drop_entry=3):
        eventually(lambda: lab.left()[2] < 500, "dropped connections", 30)
    left = lab.left()
    equal(left[:2] + left[3:], (512, 64, 64), "those that are no half-open")
    # Dropped ones are out of the server's count too.
    eventually(lambda: lab.ipvs.counters()[
        "C6336401:0062", f"{RIP}:{NEW}"] == (left[2] + 64, 0), "the count")


@test("connections of few packets that have been idle for a minute are "
      "dropped while memory is low, those of many are not")
def idle(lab):
    time.sleep(max(0, lab.started + 70 - time.monotonic()))
    equal(lab.left()[:2], (512, 64))
    with lab.settings.but(drop_entry=1, amemthresh=LARGE):
        eventually(lambda: lab.left()[0] < 480, "dropped connections", 30)
        equal(lab.settings["drop_entry"], 2)
    # Half-open ones end by themselves by now.
    gone = lab.left()[:2]
    equal(gone[1], 64)
    time.sleep(1.5)
    equal(lab.left()[:2], gone, "when memory is not low")


@test("an ICMP error of the client counts as a packet of a connection by direct "
      "routing, not of one by NAT")
def errors(lab):
    equal(lab.with_errors()[0], 64)
    with lab.settings.but(drop_entry=3):
        eventually(lambda: lab.with_errors()[1] < 32, "dropped connections", 60)
    equal(lab.with_errors()[0], 64)


if __name__ == "__main__":
    main(FloodLab)
