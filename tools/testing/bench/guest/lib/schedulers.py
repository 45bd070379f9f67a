# SPDX-License-Identifier: GPL-2.0
"""What a new connection costs by scheduler and number of servers.

There is one service, UDP by direct routing, to one address. Its servers get
the weights of a row, its scheduler changes from row to row, and new clients
connect.
"""

from typing import NamedTuple

from . import director, module
from .director import run
from .family import Ipv4
from .frames import BATCH, UDP, Frames
from .sender import Sender
from .workload import FIRST_NEW, Cost, send

VIP, PORT = Ipv4.vip, 1004
COUNT = BATCH // 4      # new clients in a round
ROUNDS = 5
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


class Service:
    """A service with so many servers, which connections are made to."""

    def __init__(self):
        self.setting, self.block = None, FIRST_NEW
        self.sender = Sender(director.GENERATOR,
                             Frames(Ipv4, UDP, (VIP, PORT), director.mac()))

    def set_up(self, row, count):
        """Have servers and a scheduler as the row wants them."""
        setting = row.weights, row.servers(count)
        if setting != self.setting:
            run("ipvsadm", "-C")
            rules = [f"-A -u {VIP}:{PORT} -s rr"]
            rules += [f"-a -u {VIP}:{PORT} -r {address(number)}:{PORT} -g "
                      f"-w {row.weights(number)}"
                      for number in range(row.servers(count))]
            run("ipvsadm", "--restore", stdin="\n".join(rules))
            self.setting = setting
        run("ipvsadm", "-E", "-u", f"{VIP}:{PORT}", "-s", row.scheduler)

    def round(self):
        """The cost of a packet that makes a connection."""
        self.block += 1
        return send(self.sender, self.block, COUNT)

    def measure(self, row, count):
        """The cost for a row."""
        self.set_up(row, count)
        return Cost.of([self.round() for _ in range(1 + ROUNDS)][1:])


def measure(name, counts, parameters, progress):
    """The costs of all rows with one module: {title: {servers: cost}}."""
    found = {row.title: {} for row in ROWS}
    module.load(name, Ipv4, parameters)
    service = Service()
    for count in counts:
        progress(f"{name}: schedulers, {count:,} servers")
        for row in ROWS:
            found[row.title][count] = service.measure(row, count)._asdict()
    module.unload()
    return found
