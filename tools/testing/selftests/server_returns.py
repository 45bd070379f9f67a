#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
# clock: instructions
"""A server is removed and comes back: what becomes of its connections, of what
it counts, and of new ones."""

import time

from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.packet import ACK, FIN, SYN, tcp, udp
from lib.tap import TIME_FACTOR, equal, eventually, main, test
from lib.vs import Settings

METHODS = "m", "g"
TRASH = 190             # seconds until a server without connections is let go
FORGOTTEN = 99          # a port


class ReturnsLab(Lab):
    """Two servers, and a service for each test."""

    vports = iter(range(100, 200))

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        self.ipvs.service(f"{VIP}:{FORGOTTEN}", f"{RIP}:{FORGOTTEN} -g",
                          kind="-u")
        self.exchange(self.client, udp(CIP, self.port(), VIP, FORGOTTEN))
        with self.settings.but(expire_nodest_conn=1):
            self.remove(FORGOTTEN, kind="-u")
            eventually(lambda: not self.ipvs.connections(), "no connection")
        self.forgotten = time.monotonic()

    def add(self, vport, server, options, kind="-t"):
        """A server of a service."""
        self.ipvs.rules(f"-a {kind} {VIP}:{vport} -r {server}:{vport} "
                        f"{options}")

    def remove(self, vport, server=RIP, kind="-t"):
        """It is one no more."""
        self.ipvs.rules(f"-d {kind} {VIP}:{vport} -r {server}:{vport}")

    def fresh(self, method="g"):
        """The port of a service with one server."""
        vport = next(self.vports)
        self.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} -{method} -w 1")
        return vport

    def goes_to(self, packet):
        """The servers that see something of a packet of the client."""
        seen = self.exchange(self.client, packet)
        return [host.name for host in self.servers if seen[host]]

    def connect(self, vport, *flags):
        """A connection of the client: its first packet, after these."""
        request = tcp(CIP, self.port(), VIP, vport)
        for each in SYN, ACK, *flags:
            equal(self.goes_to(request.but(flags=each)), ["server1"])
        return request

    def counts(self, vport, server=RIP):
        """(ActiveConn, InActConn) of a server, or None."""
        return self.ipvs.counters().get(
            (f"C6336401:{vport:04X}", f"{server}:{vport}"))


    def rate(self, vport):
        """A server's packets per second."""
        for line in self.ipvs.admin("-Ln", "--rate").splitlines():
            if f"-> {RIP}:{vport} " in line:
                return int(line.split()[3])
        return None


@test("expire_nodest_conn 0: it has its connections again, active and "
      "inactive, and their packets, dropped meanwhile, get through")
def returns(lab):
    for method in METHODS:
        vport = lab.fresh(method)
        active = [lab.connect(vport) for _ in range(3)]
        # Without answers of the server, FIN_WAIT; with NAT, CLOSE_WAIT.
        inactive = [lab.connect(vport, FIN | ACK) for _ in range(2)]
        equal(lab.counts(vport), (3, 2), method)
        lab.remove(vport)
        equal(lab.counts(vport), None)
        for request in active + inactive:
            lab.expect(lab.client, request.but(flags=ACK), {})
        lab.add(vport, RIP2, f"-{method} -w 1")
        equal(lab.goes_to(tcp(CIP, lab.port(), VIP, vport)), ["server2"])
        lab.add(vport, RIP, f"-{method} -w 7")
        equal(lab.counts(vport), (3, 2), method)
        equal(lab.counts(vport, RIP2), (1, 0), method)
        for request in active + inactive:
            equal(lab.goes_to(request.but(flags=ACK)), ["server1"], method)
        for request in active:
            equal(lab.goes_to(request.but(flags=FIN | ACK)), ["server1"])
        equal(lab.counts(vport), (0, 5), method)


@test("expire_nodest_conn 1: it has none of its connections again, and gets "
      "new ones")
def returns_empty(lab):
    for method in METHODS:
        vport = lab.fresh(method)
        old = [lab.connect(vport), lab.connect(vport, FIN | ACK)]
        equal(lab.counts(vport), (1, 1), method)
        with lab.settings.but(expire_nodest_conn=1):
            lab.remove(vport)
            eventually(lambda port=vport: not [
                each for each in lab.ipvs.connections()
                if each.vport == port], "the end of its connections")
            lab.add(vport, RIP, f"-{method} -w 1")
            equal(lab.counts(vport), (0, 0), method)
            for request in old:
                equal(lab.goes_to(request.but(flags=ACK)), [], method)
                equal(lab.goes_to(request), ["server1"], method)
            equal(lab.counts(vport), (2, 0), method)


@test("a connection that ends while its server is away is not counted when it "
      "returns")
def ends_meanwhile(lab):
    vport = lab.fresh()
    lab.ipvs.admin("--set", *[str(2 * TIME_FACTOR)] * 3)
    lab.connect(vport)
    lab.connect(vport, FIN | ACK)
    lab.ipvs.admin("--set", "900", "120", "300")
    stays = lab.connect(vport)
    lab.remove(vport)
    eventually(lambda: [each.cport for each in lab.ipvs.connections()
                        if each.vport == vport] == [stays.l4.sport],
               "the end of two connections")
    lab.add(vport, RIP, "-g -w 1")
    equal(lab.counts(vport), (1, 0))
    equal(lab.goes_to(stays.but(flags=ACK)), ["server1"])


@test("it has the weight and the thresholds that it returns with: with no "
      "more room than it has connections, it gets no new ones")
def returns_full(lab):
    vport = lab.fresh()
    lab.add(vport, RIP2, "-g -w 0")
    old = [lab.connect(vport) for _ in range(3)]
    for options, reached in (("-w 1 -x 3", "server2"),
                             ("-w 1 -x 5", "server1"),
                             ("-w 0", "server2"), ("-w 1", "server1")):
        lab.remove(vport)
        lab.add(vport, RIP, f"-g {options}")
        weight = int(reached == "server2")
        lab.ipvs.rules(f"-e -t {VIP}:{vport} -r {RIP2}:{vport} -g "
                       f"-w {weight}")
        found = [lab.goes_to(tcp(CIP, lab.port(), VIP, vport))
                 for _ in range(2)]
        equal(found, [[reached]] * 2, options)
        equal(lab.goes_to(old[0].but(flags=ACK)), ["server1"], options)


@test("its rates stand still while it is away, and go down once it is back")
def rates_return(lab):
    vport = lab.fresh()
    request = lab.connect(vport)
    for _ in range(400):
        lab.client.send(request.but(flags=ACK))
    lab.settle()
    eventually(lambda: lab.rate(vport), "a rate")
    # That step may have met the first packets; the next one has counted all.
    time.sleep(2.5)
    high = lab.rate(vport)
    lab.remove(vport)
    # Four steps would leave less than a third of it, and one may be on its way.
    time.sleep(9)
    lab.add(vport, RIP, "-g -w 1")
    kept = lab.rate(vport)
    if kept < high // 2:
        raise AssertionError(f"{kept} packets per second, {high} before")
    eventually(lambda: lab.rate(vport) < kept // 2, "a lower rate", 20)


@test("after three minutes without connections it is let go: what returns is "
      "a new server, which has counted nothing", modules=("rust",))
def let_go(lab):
    def statistics():
        return lab.ipvs.statistics()[
            f"UDP {VIP}:{FORGOTTEN} {RIP}:{FORGOTTEN}"]
    vport = lab.fresh()
    lab.connect(vport)
    name = f"TCP {VIP}:{vport} {RIP}:{vport}"
    kept = lab.ipvs.statistics()[name]
    lab.remove(vport)
    time.sleep(max(0, lab.forgotten + TRASH - time.monotonic()))
    lab.add(FORGOTTEN, RIP, "-g", kind="-u")
    equal(statistics(), (0, 0, 0, 0, 0), "statistics of the new server")
    # One with a connection is kept as long as that.
    lab.add(vport, RIP, "-g -w 1")
    equal(lab.ipvs.statistics()[name], kept, "statistics of the one kept")
    equal(lab.counts(vport), (1, 0))


if __name__ == "__main__":
    main(lambda: ReturnsLab(servers=2))
