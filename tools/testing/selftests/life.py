#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 900
"""Life and death: everything that goes away while it is in use.

The kernel's log is half of what is tested here: whoever runs this looks for
warnings in it. The other half is that afterwards it all still works, and that
no memory is lost.
"""

import random

from lib import memory, module
from lib.busy import METHODS, PORTS, TCP, UDP, BusyLab
from lib.chance import number
from lib.flood import flood
from lib.lab import CIP, DIRECTOR, RIP, RIP2, VIP
from lib.module import SCHEDULERS
from lib.netns import Netns
from lib.packet import tcp, udp
from lib.rules import Rules
from lib.tap import equal, eventually, main, test
from lib.wire import Host

UNLOADS = number("UNLOADS", 4, c=1)
# As few as memory.leaks() can tell from noise.
ROUNDS = number("ROUNDS", 24)


@test("the module is unloaded and loaded again under full traffic, again and "
      "again")
def unload_under_traffic(lab):
    with lab.traffic():
        for _ in range(UNLOADS):
            eventually(lab.ipvs.connections, "connections")
            lab.ipvs.admin("-C")
            module.unload()
            module.load()
            lab.configure()
    lab.works()


@test("services and servers come, change and go under full traffic, 600 times")
def change_under_traffic(lab):
    rng = random.Random(3)
    with Rules(lab.director, lax=True) as rules:
        with lab.traffic():
            eventually(lab.ipvs.connections, "connections")
            for _ in range(600):
                vport = rng.choice(list(METHODS))
                service = rng.choice((TCP, UDP)), VIP, vport
                server = *service, rng.choice((RIP, RIP2))
                settings = {"method": METHODS[vport],
                            "weight": rng.randrange(3)}
                action = rng.randrange(10)
                if action < 2:
                    rules.change_server(*server, **settings)
                elif action < 4:
                    rules.add_server(*server, **settings)
                elif action < 7:
                    rules.remove_server(*server)
                elif action < 8:
                    rules.change(*service, scheduler=rng.choice(SCHEDULERS))
                elif action < 9:
                    rules.remove(*service)
                else:
                    rules.add(*service, RIP, method=METHODS[vport])
        rules.flush()
    lab.configure()
    lab.works()


@test("a namespace dies with services, connections and traffic in it; the "
      "other one does not notice")
def namespace_dies(lab):
    for _ in range(3):
        doomed, wire = Netns("ipvs-doomed"), Netns("ipvs-doomed-wire")
        for path, value in DIRECTOR.items():
            doomed.sysctl(path, value)
        doomed.ip("link set lo up", f"addr add {VIP}/32 dev lo")
        host = Host("doomed", 9, wire, doomed)
        host.plug()
        with Rules(doomed) as rules:
            rules.add(UDP, VIP, 81, "10.0.9.2")
        packets = [udp(host.ip, cport, VIP, 81) for cport in PORTS]
        with flood((host, packets), (host, packets)):
            eventually(lambda ns=doomed: ns.proc("ip_vs_conn").count("\n") >
                       100, "connections in the namespace")
            doomed.delete()
            host.unplug()
            wire.delete()
            lab.works()
    lab.works()


@test("connections live on when the last service goes, and the module leaves "
      "with them")
def connections_left(lab):
    def here():
        return {found[:7] for found in lab.ipvs.connections()}
    before = here()
    lab.works()
    # Others, of the traffic before, may end just now.
    mine = here() - before
    assert mine
    lab.ipvs.admin("-C")
    equal(mine - here(), set(), "connections that ended")
    module.unload()
    module.load()
    equal(lab.ipvs.connections(), [], "connections")
    lab.configure()


@test("many rounds of loading, a service, a connection and unloading leave "
      "no memory behind")
def rounds(lab):
    lab.ipvs.admin("-C")
    module.unload()
    paths = module.files()[:2]
    names = [path.rsplit("/", 1)[1].split(".")[0] for path in paths]

    def one_round():
        for path in paths:
            module.insert(path)
        with Rules(lab.director) as rules:
            rules.add(TCP, VIP, 81, RIP, scheduler="rr")
            seen = lab.exchange(lab.client, tcp(CIP, lab.port(), VIP, 81))
            equal(len(seen[lab.server]), 1, "packets at the server")
            rules.flush()
        for name in reversed(names):
            module.remove(name)
    snapshots = []
    for _ in range(20):
        one_round()
    snapshots.append(memory.usage())
    for _ in range(3):
        for _ in range(ROUNDS):
            one_round()
        snapshots.append(memory.usage())
    equal(memory.leaks(snapshots, ROUNDS), [], "what leaks")
    left = [name for name in snapshots[-1] if "ip_vs" in name]
    equal(left, [], "caches of the module")
    module.load()


if __name__ == "__main__":
    main(BusyLab)
