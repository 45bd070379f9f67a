#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""A SYN flood from made-up addresses, with each defence on: memory is bounded,
and what is established goes on, in both directions, without a loss."""

import random
from contextlib import contextmanager

from lib.flood import flood
from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import ACK, PSH, SYN, tcp
from lib.tap import equal, eventually, main, module_under_test, test
from lib.vs import Settings

LARGE = 0x7fffffff
FLOOD, ESTABLISHED = 2048, 64
PORT = 80


class FloodLab(Lab):
    """Established connections, and one service for each flood."""

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        self.random = random.Random(20261125)
        self.attacked = iter(range(1000, 2000))
        self.ipvs.service(f"{VIP}:{PORT}", f"{RIP}:{PORT} -m")
        self.clients = [self.port() for _ in range(ESTABLISHED)]
        for cport in self.clients:
            self.client.send(tcp(CIP, cport, VIP, PORT))
            self.server.send(tcp(RIP, PORT, CIP, cport, SYN | ACK))
            self.client.send(tcp(CIP, cport, VIP, PORT, ACK))
        self.settle()
        # Nobody takes those for idle who have sent that much.
        for _ in range(8):
            self.unharmed()

    def syn(self):
        """The first segment of the client that came last."""
        return tcp(CIP, self.clients[-1], VIP, PORT)

    def unharmed(self):
        """Each established connection carries a request and its answer."""
        requests = self.exchange(self.client, *(
            tcp(CIP, cport, VIP, PORT, PSH | ACK, payload=b"request")
            for cport in self.clients))
        self.all_of_them_at(requests, self.server, 0)
        answers = self.exchange(self.server, *(
            tcp(RIP, PORT, CIP, cport, PSH | ACK, payload=b"answer")
            for cport in self.clients))
        self.all_of_them_at(answers, self.client, 2)

    def all_of_them_at(self, seen, host, offset):
        """What a host has seen is one packet of each client's port."""
        found = [int.from_bytes(frame.ip[20 + offset:22 + offset], "big")
                 for frame in seen[host]]
        equal(found, self.clients, f"at {host}")

    @contextmanager
    def flood(self, *more):
        """Clients that never were, each with a SYN and those segments that
        follow blindly; gone afterwards."""
        vport = next(self.attacked)
        self.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m")
        sources = [f"172.{self.random.randrange(16, 32)}."
                   f"{self.random.randrange(256)}.{self.random.randrange(256)}"
                   for _ in range(FLOOD)]
        for flags in (SYN, *more):
            self.burst(tcp(source, 1024 + number, VIP, vport, flags)
                       for number, source in enumerate(sources))
        try:
            yield lambda: self.states(vport)
        finally:
            with self.settings.but(expire_nodest_conn=1):
                self.ipvs.admin("-D", "-t", f"{VIP}:{vport}")
                eventually(lambda: not self.states(vport), "its end", 30)

    def states(self, vport):
        """The states of a flood's connections."""
        return [found.state for found in self.ipvs.connections()
                if found.vport == vport]


def objects():
    """How many connections the slab has room for in use."""
    with open("/proc/slabinfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("ip_vs_conn "):
                return int(line.split()[1])
    raise AssertionError("no slab of connections")


@test("without a defence, each SYN of a flood takes a connection")
def defenceless(lab):
    with lab.flood() as states:
        lab.unharmed()
        equal(states(), ["SYN_RECV"] * FLOOD)


@test("conn_max: a flood takes no more than is left")
def conn_max(lab):
    most = 1000
    before = objects() if module_under_test() == "rust" else 0
    with lab.settings.but(conn_max=most), lab.flood() as states:
        lab.unharmed()
        equal(states(), ["SYN_RECV"] * (most - ESTABLISHED))
        # Slabs keep some on each processor. Those of the C module are others'
        # too.
        if module_under_test() == "rust":
            assert objects() - before < most + 256, objects()
        lab.clients.append(lab.port())
        equal(lab.exchange(lab.client, lab.syn())[lab.server], [],
              "a client while there is no room")
        lab.settings["conn_max"] = FLOOD
        equal(len(lab.exchange(lab.client, lab.syn())[lab.server]), 1,
              "packets of a client once there is")
        lab.unharmed()


@test("conn_max: packets on both CPUs do not get one more between them")
def conn_max_on_both(lab):
    with lab.settings.but(conn_max=500):
        for _ in range(5):
            vport = next(lab.attacked)
            lab.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -m")
            with flood(*((lab.client, [
                    tcp(f"172.{net}.{number}.1", 1024, VIP, vport)
                    for net in nets for number in range(256)])
                    for nets in ((16, 17), (18, 19)))):
                eventually(lambda: len(lab.ipvs.connections()) >= 500,
                           "as many as there may be")
            lab.settle()
            equal(len(lab.ipvs.connections()), 500, "connections")
            with lab.settings.but(expire_nodest_conn=1):
                lab.ipvs.admin("-D", "-t", f"{VIP}:{vport}")
                eventually(lambda port=vport: not lab.states(port), "its end")


@test("drop_packet 3: a flood gets all but one in am_droprate")
def drop_packet(lab):
    with lab.settings.but(am_droprate=4, drop_packet=3):
        # It takes up to a second until the first is dropped.
        def drops():
            with lab.flood() as states:
                return len(states()) < FLOOD
        eventually(drops, "the first drops", 30)
        with lab.flood() as states:
            lab.unharmed()
            lost = FLOOD - len(states())
            assert abs(lost - FLOOD // 4) <= 1, lost


@test("secure_tcp 3: a flood of SYNs and ACKs establishes nothing")
def secure_tcp(lab):
    with lab.flood(ACK) as states:
        lab.unharmed()
        equal(states(), ["ESTABLISHED"] * FLOOD)
    with lab.settings.but(secure_tcp=3), lab.flood(ACK) as states:
        lab.unharmed()
        equal(states(), ["SYN_RECV"] * FLOOD)


@test("drop_entry 3: a flood's connections are given up, long before their "
      "time")
def drop_entry(lab):
    with lab.settings.but(drop_entry=3), lab.flood() as states:
        def halved():
            lab.unharmed()
            return len(states()) < FLOOD // 2
        eventually(halved, "half of them dropped", 45)


@test("all of them, while memory is low: a flood gets nothing")
def all_of_them(lab):
    modes = {"drop_entry": 1, "drop_packet": 1, "secure_tcp": 1}
    with lab.settings.but(**modes):
        with lab.settings.but(amemthresh=LARGE):
            for name in modes:
                eventually(lambda setting=name: lab.settings[setting] == 2,
                           f"{name} is on")
            with lab.flood() as states:
                lab.unharmed()
                equal(states(), [])
        for name in modes:
            eventually(lambda setting=name: lab.settings[setting] == 1,
                       f"{name} is off")
        # Who was kept out gets in.
        with lab.flood() as states:
            equal(len(states()), FLOOD)


if __name__ == "__main__":
    main(FloodLab)
