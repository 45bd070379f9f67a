#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""Which server a new connection goes to, and what happens to old ones.

The sequences are those of the C module, literally: whoever has tuned weights
to them must find them again. They depend on the order of the servers, and the
server that was added last stands first.
"""

from lib.lab import CIP, RIP, RIP2, RIP3, VIP, Lab
from lib.module import SCHEDULERS
from lib.packet import ACK, FIN, icmp_error, tcp, udp
from lib.tap import equal, main, test

SERVERS = RIP, RIP2, RIP3


class SchedulerLab(Lab):
    """Three servers; each test has a service of its own."""

    vports = iter(range(100, 1000))

    def balance(self, scheduler, *weights, options=("", "", ""), kind="-t"):
        """A service by direct routing; its address. Servers that get no
        weight are not part of it."""
        vport = next(self.vports)
        self.ipvs.service(
            f"{VIP}:{vport}",
            *(f"{server}:{vport} -g -w {weight} {option}" for
              server, weight, option in zip(SERVERS, weights, options)),
            scheduler=scheduler, kind=kind)
        return vport

    def edit(self, vport, server, weight, kind="-t"):
        """Change a server's weight."""
        self.ipvs.rules(f"-e {kind} {VIP}:{vport} -r "
                        f"{SERVERS[server - 1]}:{vport} -g -w {weight}")

    def go(self, request):
        """The number of the server that a packet reaches, 0 for none."""
        seen = self.exchange(self.client, request)
        reached = [number for number, server in enumerate(self.servers, 1)
                   if seen[server]]
        assert len(reached) <= 1, "one packet reached several servers"
        return reached[0] if reached else 0

    def picks(self, vport, count, make=tcp):
        """The servers that new connections reach, as a string of numbers."""
        return "".join(str(self.go(make(CIP, self.port(), VIP, vport)))
                       for _ in range(count))

    def counters(self, vport):
        """(ActiveConn, InActConn) of each server."""
        found = self.ipvs.counters()
        return [found.get((f"C6336401:{vport:04X}", f"{server}:{vport}"))
                for server in SERVERS]


@test("rr takes the servers in turn")
def rr(lab):
    equal(lab.picks(lab.balance("rr", 1, 1, 1), 7), "3213213")


@test("rr does not look at weights, but leaves out weight 0")
def rr_weights(lab):
    equal(lab.picks(lab.balance("rr", 5, 0, 1), 5), "31313")


@test("wrr gives each server its share, in the same order every round")
def wrr(lab):
    equal(lab.picks(lab.balance("wrr", 4, 2, 1), 14), "32111213211121")


@test("wrr goes by the greatest common divisor of the weights")
def wrr_divisor(lab):
    equal(lab.picks(lab.balance("wrr", 40, 20, 20), 8), "32113211")


@test("wrr leaves out weight 0")
def wrr_quiesced(lab):
    equal(lab.picks(lab.balance("wrr", 2, 0, 1), 6), "311311")


@test("lc takes the server with the fewest connections, and the first of "
      "equals")
def lc(lab):
    vport = lab.balance("lc", 1, 1, 1)
    equal(lab.picks(vport, 6), "321321")
    equal(lab.counters(vport), [(2, 0)] * 3, "connections")


@test("lc counts an active connection as much as 256 others")
def lc_active(lab):
    vport = lab.balance("lc", 1, 1)
    first = tcp(CIP, lab.port(), VIP, vport)
    equal(lab.go(first), 2)
    equal(lab.go(first.but(flags=FIN | ACK)), 2)
    # One SYN_RECV is active on 1; on 2 there are ever more that are not.
    equal(lab.picks(vport, 1), "1")
    for _ in range(4):
        other = tcp(CIP, lab.port(), VIP, vport)
        equal((lab.go(other), lab.go(other.but(flags=FIN | ACK))), (2, 2))
    equal(lab.counters(vport)[:2], [(1, 0), (0, 5)], "connections")


@test("wlc divides the connections by the weight")
def wlc(lab):
    vport = lab.balance("wlc", 1, 2, 3)
    equal(lab.picks(vport, 12), "321323321323")


@test("lc and wlc leave out weight 0")
def least_quiesced(lab):
    for scheduler in "lc", "wlc":
        equal(lab.picks(lab.balance(scheduler, 1, 0, 1), 5), "31313")


@test("UDP connections are balanced too, and never active")
def udp_connections(lab):
    for scheduler, wanted in (("rr", "321321"), ("wlc", "321321")):
        vport = lab.balance(scheduler, 1, 1, 1, kind="-u")
        equal(lab.picks(vport, 6, udp), wanted)
        equal(lab.counters(vport), [(0, 2)] * 3, "connections")


@test("weight 0 keeps its connections and gets no new ones; a weight brings "
      "it back")
def quiesce(lab):
    for scheduler in "rr", "wrr", "lc", "wlc":
        vport = lab.balance(scheduler, 1, 1)
        old = tcp(CIP, lab.port(), VIP, vport)
        equal(lab.go(old), 2, scheduler)
        lab.edit(vport, 2, 0)
        equal(lab.picks(vport, 3), "111", scheduler)
        equal(lab.go(old.but(flags=ACK)), 2, scheduler)
        lab.edit(vport, 2, 10)
        assert "2" in lab.picks(vport, 3), scheduler


@test("wrr goes on evenly when a weight changes between connections")
def wrr_changes(lab):
    vport = lab.balance("wrr", 1, 1, 1)
    equal(lab.picks(vport, 4), "3213")
    lab.edit(vport, 1, 3)
    equal(lab.picks(vport, 10), "3211132111")
    lab.edit(vport, 1, 1)
    equal(lab.picks(vport, 6), "321321")


@test("rr goes on with the next when the server of its turn is removed")
def rr_removed(lab):
    vport = lab.balance("rr", 1, 1, 1)
    equal(lab.picks(vport, 2), "32")
    lab.ipvs.rules(f"-d -t {VIP}:{vport} -r {RIP2}:{vport}")
    equal(lab.picks(vport, 4), "1313")
    lab.ipvs.rules(f"-a -t {VIP}:{vport} -r {RIP2}:{vport} -g -w 1")
    equal(lab.picks(vport, 4), "1231")


@test("a removed server's connections are cut off in silence; added again, "
      "it has them and their count back")
def removed_and_added(lab):
    vport = lab.balance("wlc", 1, 1)
    old = tcp(CIP, lab.port(), VIP, vport)
    equal(lab.go(old), 2)
    equal(lab.go(old.but(flags=ACK)), 2)
    lab.ipvs.rules(f"-d -t {VIP}:{vport} -r {RIP2}:{vport}")
    lab.expect(lab.client, old.but(flags=ACK), {})
    equal(lab.picks(vport, 2), "11")
    lab.ipvs.rules(f"-a -t {VIP}:{vport} -r {RIP2}:{vport} -g -w 1")
    equal(lab.counters(vport)[:2], [(2, 0), (1, 0)], "connections")
    equal(lab.go(old.but(flags=ACK)), 2)
    equal(lab.picks(vport, 1), "2")


@test("a server at its upper threshold gets nothing until it is below the "
      "lower one")
def thresholds(lab):
    for scheduler in "rr", "wrr", "lc", "wlc":
        vport = lab.balance(scheduler, 1, 100, options=("", "-x 2 -y 2"))
        held = []
        while len(held) < 2:
            request = tcp(CIP, lab.port(), VIP, vport)
            if lab.go(request) == 2:
                held.append(request)
        equal(lab.picks(vport, 3), "111", scheduler)
        equal(lab.go(held[0].but(flags=ACK)), 2, scheduler)


@test("no server, or none with a weight: port-unreachable, and the packet is "
      "dropped")
def nobody(lab):
    for scheduler in SCHEDULERS:
        for make, kind in ((tcp, "-t"), (udp, "-u")):
            for weights in ((), (0, 0)):
                vport = lab.balance(scheduler, *weights, kind=kind)
                request = make(CIP, lab.port(), VIP, vport)
                lab.expect(lab.client, request, {
                    lab.client: icmp_error(VIP, CIP, 3, 3, request)})


if __name__ == "__main__":
    main(lambda: SchedulerLab(servers=3))
