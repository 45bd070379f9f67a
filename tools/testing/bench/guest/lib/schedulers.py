# SPDX-License-Identifier: GPL-2.0
"""What a new connection costs by scheduler and number of servers.

There is one service, UDP by direct routing, to one address. Its servers get
the weights of a row, its scheduler changes from row to row, and new clients
connect. They are gone before the next row. Others stay, so many that no table
grows or shrinks meanwhile; and every server has had a connection before, so that the
way to it is known.
"""

import time
from itertools import islice
from typing import NamedTuple

from . import director, module
from .director import read, run
from .family import Ipv4
from .frames import BATCH, UDP, Frames
from .rows import PACKETS, services
from .sender import Sender
from .workload import FIRST_NEW, Cost, send

VIP, PORT = Ipv4.vip, 2000
COUNT = BATCH // 4      # new clients in a round
ROUNDS = 5
OTHERS = 5              # blocks of clients that stay
TIMEOUT = 10            # seconds until those of a row are gone
NEIGHBOURS = 1 << 16    # more than there are servers
PLACES = 4093           # mh has no room for more servers


def mixed(number):
    """1 to 100, in turn."""
    return 1 + number % 100


def heavy(number):
    """One server that counts more than all others."""
    return 65535 if number == 0 else 1


class Row(NamedTuple):
    """A row: a scheduler, and the weights of its servers."""
    scheduler: str
    weights: object = mixed
    quick: bool = False     # among many servers, a small part of C's cost

    @property
    def title(self):
        """The name of the row."""
        return self.scheduler + (", one server heavy"
                                 if self.weights is heavy else "")

    def servers(self, count):
        """How many servers it can have."""
        return min(count, PLACES) if self.scheduler == "mh" else count


ROWS = [Row("rr"), Row("wrr"), Row("lc", quick=True), Row("wlc", quick=True),
        Row("sed", quick=True), Row("nq"), Row("fo"), Row("ovf"), Row("lblc"),
        Row("lblcr"), Row("dh"), Row("sh"), Row("twos"), Row("mh"),
        Row("wrr", heavy, quick=True)]


def address(number):
    """Of a server, from 10.2.1.0 on."""
    number += 256
    return f"10.2.{number >> 8}.{number & 255}"


def table_size():
    """How many buckets the table of connections has."""
    head = read("/proc/net/ip_vs").splitlines()[0]
    return int(head.rpartition("size=")[2].rstrip(")"))


def check(what, found, expected):
    """A figure counts only if it is of what it is meant to be."""
    if found != expected:
        raise RuntimeError(f"{what}: {found}, expected {expected}")


class Service:
    """A service with so many servers, which connections are made to."""

    def __init__(self):
        self.setting, self.block = None, FIRST_NEW
        self.sender = Sender(director.GENERATOR,
                             Frames(Ipv4, UDP, (VIP, PORT), director.mac()))
        others = PACKETS["dr"].sender(Ipv4)
        for block in range(1, 1 + OTHERS):
            send(others, block)
        # What there is keeps the time that it has.
        run("ipvsadm", "--set", "0", "0", str(TIMEOUT))
        self.settle()

    def settle(self):
        """Wait until only those are there that stay."""
        time.sleep(TIMEOUT + director.SETTLE)
        check("connections", module.connections(), OTHERS * BATCH)

    def set_up(self, row, count):
        """Have servers and a scheduler as the row wants them."""
        setting = row.weights, row.servers(count)
        if setting != self.setting:
            if self.setting:
                run("ipvsadm", "-D", "-u", f"{VIP}:{PORT}")
            rules = [f"-A -u {VIP}:{PORT} -s rr"]
            rules += [f"-a -u {VIP}:{PORT} -r {address(number)}:{PORT} -g "
                      f"-w {row.weights(number)}"
                      for number in range(row.servers(count))]
            run("ipvsadm", "--restore", stdin="\n".join(rules))
            self.setting = setting
            self.visit(row.servers(count))
        run("ipvsadm", "-E", "-u", f"{VIP}:{PORT}", "-s", row.scheduler)
        # What the one before had is given back after a grace period.
        time.sleep(director.SETTLE)

    def visit(self, count):
        """Have a packet go to each server."""
        for first in range(0, count, BATCH):
            self.connect(min(BATCH, count - first))
        listed = run("ipvsadm", "-Ln", "-u", f"{VIP}:{PORT}").splitlines()
        check("servers with a connection",
              sum(line.split()[5] == "1" for line in listed
                  if line.startswith(f"  -> {address(0)[:5]}")), count)
        self.settle()

    def connect(self, count):
        """The cost of a packet of as many new clients."""
        self.block += 1
        return send(self.sender, self.block, count)

    def rounds(self):
        """Make connections for ever; the cost of one, round by round."""
        while True:
            yield self.connect(COUNT)

    def measure(self, row, count):
        """The cost for a row."""
        self.set_up(row, count)
        size = table_size()
        cost = Cost.of([*islice(self.rounds(), 1 + ROUNDS)][1:])
        self.settle()
        check("size of the table", table_size(), size)
        return cost


def load(name, parameters):
    """A service of a module that is loaded for it."""
    thresholds = [f"net.ipv4.neigh.default.gc_thresh{n}={NEIGHBOURS}"
                  for n in (1, 2, 3)]
    run("sysctl", "-q", *thresholds)
    module.load(name, Ipv4, services(PACKETS), parameters)
    return Service()


def measure(name, counts, parameters, progress):
    """The costs of all rows with one module: {title: {servers: cost}}."""
    found = {row.title: {} for row in ROWS}
    service = load(name, parameters)
    for count in counts:
        progress(f"{name}: schedulers, {count:,} servers")
        for row in ROWS:
            found[row.title][count] = service.measure(row, count)._asdict()
    module.unload()
    return found
