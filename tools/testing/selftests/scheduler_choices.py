#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 400
"""Every scheduler, connection by connection: which server each of many
connections goes to while servers come, go, fill up and change their weights.

Arrivals and changes are the same every time (seeded). The server is read off
the wire, and must be the one that lib/schedulers.py chooses by the scheduler's
description. So the C module and ours, which both are compared with it, agree
in every one.

ARRIVALS is the number of connections for each scheduler (1,000).
"""

import os
import struct
from collections import Counter
from random import Random
from statistics import mean, stdev

from lib.lab import Lab
from lib.packet import ACK, FIN, SYN, checksum
from lib.schedulers import FALLBACK, MODELS, PORT, Arrival, Scheduler, Server, \
    Twos
from lib.sctp import NAMES, chunk
from lib.tap import equal, main, test

ARRIVALS = int(os.environ.get("ARRIVALS", "1000"))
BATCH = 250
FEW, MANY = 5, 45       # servers
CLIENTS, TARGETS = 0xac100000, 0xc6330000       # 172.16/12, 198.51/16
TCP, UDP, SCTP = 6, 17, 132
INIT = chunk(NAMES["init"], bytes(16))


class ChoicesLab(Lab):
    """One wire for all servers, which are told apart by link addresses; a
    service by firewall mark, so that clients may connect to any address."""

    run = 0

    def build(self):
        super().build()
        self.director.ip("route add local 198.51.0.0/16 dev lo",
                         "addr add 10.0.2.1/16 dev server1 noprefixroute",
                         "route add 10.8.0.0/16 dev server1")
        self.director.ip(*(
            f"neigh add {self.address(n)} lladdr 02:00:00:01:00:{n:02x} "
            "dev server1 nud permanent" for n in range(MANY)))
        self.director.run("nft", "-f", "-", stdin="""
            table ip marks {
                chain pre { type filter hook prerouting priority mangle; }
            }""")
        # No connection ends while it is counted.
        self.ipvs.admin("--set", "86400", "86400", "86400")

    @staticmethod
    def address(number):
        return f"10.8.0.{number}"

    def frame(self, arrival, number, flags):
        """The first packet of a connection, with its number in it."""
        protocol = self.protocol
        if flags:
            protocol = TCP
            load = struct.pack("!HHIIBBHHH", arrival.port, self.run, number, 1,
                               5 << 4, flags, 65535, 0, 0)
        elif protocol == SCTP:
            load = struct.pack("!HHII", arrival.port, self.run, number,
                               0) + INIT
        else:
            load = struct.pack("!HHHHI", arrival.port, self.run, 12, 0, number)
        header = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(load), 1, 0, 64,
                             protocol, 0, arrival.client, arrival.target)
        header = header[:10] + struct.pack("!H", checksum(header)) \
            + header[12:]
        return self.ethernet + header + load

    def start(self, name, scheduler, flags=(), protocol=UDP):
        """A service without servers, and the protocol of its connections
        where their states do not count."""
        options = ",".join(f"{name}-{flag}" for flag in flags)
        self.ethernet = bytes.fromhex(
            (self.client.router_mac + self.client.mac).replace(":", "")) \
            + b"\x08\x00"
        self.scheduler, self.conns, self.number = scheduler, [], 0
        self.protocol = protocol
        # The firewall mark, and the port that clients connect to: no two runs
        # have a flow in common, nor a server that comes back from the first.
        self.run += 1
        self.director.run("nft", "-f", "-", stdin=f"""
            flush chain ip marks pre
            add rule ip marks pre ip daddr 198.51.0.0/16 mark set {self.run}
            """)
        self.ipvs.admin("--clear")
        self.ipvs.rules(f"-A -f {self.run} -s {name}" +
                        (f" -b {options}" if options else ""))

    def rule(self, command, server):
        settings = f" -g -w {server.weight} -x {server.upper}" \
            if command != "-d" else ""
        return f"{command} -f {self.run} -r {server.address}:0{settings}"

    def add(self, *servers):
        self.ipvs.rules(*(self.rule("-a", server) for server in servers))
        for server in servers:
            self.scheduler.add(server)

    def remove(self, *servers):
        self.ipvs.rules(*(self.rule("-d", server) for server in servers))
        for server in servers:
            self.scheduler.remove(server)

    def edit(self, *changes):
        """Servers with their new weights and thresholds."""
        for server, weight, upper in changes:
            self.scheduler.edit(server, weight, upper)
        self.ipvs.rules(*(self.rule("-e", server)
                          for server, *_ in changes))

    def connect(self, arrivals, random):
        """Let connections come, and some earlier ones end; where they went,
        and where they should have."""
        wanted = {}
        active = self.scheduler.uses_active
        self.servers[0].drain()
        for arrival in arrivals:
            self.number += 1
            picked = self.scheduler.pick(arrival)
            if picked:
                wanted[self.number] = picked.number
                picked.connected(active)
                self.conns.append((arrival, picked))
            packets = [SYN, ACK] if active else [0]
            for flags in packets:
                self.client.socket.send(
                    self.frame(arrival, self.number, flags))
            if active and random.random() < 0.6:
                self.end_one(random)
        return self.arrived(), wanted

    def send(self, clients):
        """Let connections come; where they went."""
        self.servers[0].drain()
        for arrival in clients:
            self.number += 1
            self.client.socket.send(self.frame(arrival, self.number, 0))
        return self.arrived()

    def end_one(self, random):
        """A client that was served closes its connection."""
        if not self.conns:
            return
        place = random.randrange(len(self.conns))
        arrival, server = self.conns[place]
        if server.in_service:
            self.conns[place] = self.conns[-1]
            self.conns.pop()
            server.active -= 1
            self.client.socket.send(self.frame(arrival, 0, FIN | ACK))

    def arrived(self):
        """{number of a connection: number of the server}, by the first packet
        of each."""
        found = {}
        for frame in self.settle()[self.servers[0]]:
            if frame.ip[9] == TCP:
                number, flags = struct.unpack_from("!I", frame.ip, 24)[0], \
                    frame.ip[33]
                if flags != SYN:
                    continue
            elif frame.ip[9] == SCTP:
                number = struct.unpack_from("!I", frame.ip, 24)[0]
            else:
                number = struct.unpack_from("!I", frame.ip, 28)[0]
            found[number] = int(frame.dst[-2:], 16)
        return found


def arrivals(random, count, number):
    """New clients; some addresses are seen again and again."""
    found = []
    for n in range(number, number + count):
        wraps, port = divmod(n, 60000)
        client = random.randrange(random.choice((512, 1 << 16)))
        found.append(Arrival(CLIENTS + (wraps << 16) + client, 1024 + port,
                             TARGETS + random.randrange(300)))
    return found


def weight(random):
    """Small ones, such with a common divisor, 0, and great ones."""
    return random.choice((random.randrange(6), 12 * random.randrange(5),
                          random.randrange(300), 1, 0,
                          random.randrange(1 << 16)))


def upper(random, server):
    """Mostly no threshold, or one that will be reached or has been."""
    return random.choice((0, 0, 0, max(1, server.total
                                       + random.randrange(-20, 60))))


def change(lab, random, away):
    """A change of the servers, or none."""
    servers = lab.scheduler.servers
    kind = random.randrange(6)
    if kind == 0 and len(servers) > 2:
        gone = random.sample(servers, random.randrange(1, 3))
        lab.remove(*gone)
        away.extend(gone)
    elif kind == 1 and away:
        random.shuffle(away)
        back = [away.pop() for _ in range(random.randrange(len(away)) + 1)]
        for server in back:
            server.weight = weight(random)
        lab.add(*back)
    elif kind in (2, 3):
        some = random.sample(servers, random.randrange(len(servers)) + 1)
        lab.edit(*((server, weight(random), upper(random, server))
                   for server in some))
    elif kind == 4:
        lab.edit(*((server, random.randrange(1, 6), 0) for server in servers))


def compare(lab, name, flags, protocol, count, total):
    """Let so many connections come to a service with so many servers."""
    random = Random(f"{name} {flags} {count}")
    lab.start(name, MODELS[name](flags), flags, protocol)
    fresh = [Server(n, lab.address(n), random.randrange(1, 6))
             for n in range(count)]
    lab.add(*fresh)
    away, done = [], 0
    while done < total:
        batch = arrivals(random, min(BATCH, total - done), done)
        got, wanted = lab.connect(batch, random)
        if got != wanted:
            first = min(n for n in {*got, *wanted}
                        if got.get(n) != wanted.get(n))
            raise AssertionError(
                f"{name} {flags}, {count} servers, connection {first} of "
                f"{total}: got {got.get(first)}, want {wanted.get(first)}\n" +
                "\n".join(str(server)
                          for server in lab.scheduler.servers[:16]))
        done += len(batch)
        change(lab, random, away)


def scheduler(name, *flags, protocol=UDP):
    """A test of one scheduler with these flags."""
    kind = "associations" if protocol == SCTP else "connections"
    title = " with ".join((name, " and ".join(f"{name}-{flag}"
                                              for flag in flags))) \
        if flags else name

    @test(f"{title}: {ARRIVALS:,} {kind} go where they should")
    def run(lab):
        compare(lab, name, flags, protocol, FEW, ARRIVALS // 2)
        compare(lab, name, flags, protocol, MANY, ARRIVALS - ARRIVALS // 2)
    return run


for each in MODELS:
    scheduler(each)
for each in "sh", "mh":
    scheduler(each, PORT)
    scheduler(each, FALLBACK, PORT)
    scheduler(each, PORT, protocol=SCTP)


def simulated(lab, weights, total, random):
    """How many of so many connections each server gets from a source of
    chance of our own."""
    model = Twos(random)
    servers = [Server(n, lab.address(n), weight)
               for n, weight in enumerate(weights)]
    for server in servers:
        model.add(server)
    for _ in range(total):
        model.pick(None).connected(False)
    return [server.total for server in servers]


@test("twos spreads connections as the power of two choices does: each server "
      "gets what it gets in simulations, to within 6 standard deviations")
def twos(lab):
    total, rounds = 1000, 30
    for count in FEW, MANY:
        random = Random(count)
        weights = [random.randrange(6) for _ in range(count)]
        expected = list(zip(*(simulated(lab, weights, total, random)
                              for _ in range(rounds))))
        lab.start("twos", Scheduler())
        lab.add(*(Server(n, lab.address(n), weight)
                  for n, weight in enumerate(weights)))
        found = Counter()
        for done in range(0, total, BATCH):
            found.update(lab.send(arrivals(random, BATCH, done)).values())
        equal(found.total(), total, "connections")
        for number, shares in enumerate(expected):
            off = abs(found[number] - mean(shares))
            # A connection more or less is no deviation.
            if off > 6 * stdev(shares) + 1:
                raise AssertionError(
                    f"server {number} of {count}, weight {weights[number]}: "
                    f"got {found[number]}, want about {mean(shares):.0f} "
                    f"+- {stdev(shares):.1f}")


if __name__ == "__main__":
    main(lambda: ChoicesLab(servers=1))
