#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 900
"""Everything at once, for a while: traffic by all methods on both CPUs while
services, servers, weights and schedulers come, change and go, namespaces too,
interfaces go down and up, routes and MTUs change, everything is listed, and
the module is unloaded and loaded. Control and data connections of FTP are
among it while ip_vs_ftp comes and goes, associations of SCTP too, packets are
looked at by rules with `-m ipvs` that come and go, and conntrack is switched on
and off and flushed.

After each stretch of that it is quiet, and then things must add up: what the
wires see is, packet by packet and byte by byte, what the statistics say; no
namespace is held; and when the module has gone, slabs are back where they
were. At last all connections end, and none is counted at a server.

SECONDS and SEED come by the environment; "make soak SECONDS=... SEED=..." sets
them. The order of events follows from the seed; what packets meet when does
not.
"""

import time

from lib import control, ftp, memory, module
from lib.busy import METHODS, PORTS, TCP, UDP, BusyLab
from lib.chance import chance, number
from lib.ctnetlink import Table
from lib.flood import flood
from lib.genl import MASQ
from lib.iptables import Tables
from lib.lab import CIP, DIRECTOR, RIP, RIP2, VIP
from lib.netns import Netns
from lib.packet import (ACK, FIN, IPPROTO_SCTP, RST, icmp_error, tcp, udp)
from lib.rules import Rules
from lib.sctp import ABORT, COOKIE_ECHO, DATA, INIT, INIT_ACK, chunk, sctp
from lib.tap import equal, eventually, main, module_under_test, note, test
from lib.vs import Settings
from lib.wire import Host

SECONDS = number("SECONDS", 24, c=12)
STRETCHES = max(2, min(5, SECONDS // 6))
# How many objects a stretch may have lost for other reasons than a leak; it
# does hundreds of things.
NOISE = 40
SERVERS = (RIP, RIP2)
PROTOCOLS = TCP, UDP, IPPROTO_SCTP
SHORT, LONG = ("3", "1", "2"), ("900", "120", "300")
FTP = 21
# Rules of iptables that only count.
MATCHES = ("--ipvs", "--vproto 6", "--vport 81", "--vportctl 21",
           "--vmethod MASQ", "--vdir ORIGINAL", "--vaddr 198.51.100.0/24")
ROUTES = ("blackhole {net}.0/24", "prohibit {net}.0/24",
          "{net}.0/24 dev {dev} mtu 576", "{net}.2 dev {dev} mtu 1000",
          "{net}.2 via 10.0.1.2 dev client")


def association(*ends, kind=DATA, payload=b""):
    """A packet of SCTP with one chunk."""
    return sctp(*ends, chunk(kind, payload))


MAKERS = {udp: "UDP", tcp: "TCP", association: "SCTP"}


class SoakLab(BusyLab):
    """The laboratory, and what can happen in it."""

    def build(self):
        module.run("modprobe", "-a", "nf_conntrack", "nf_conntrack_netlink")
        super().build()
        self.load_others()
        self.table = Table(self.director)
        self.tables = Tables(self.director)
        self.rng = chance(20261126)
        self.director.sysctl("ipv4/ipfrag_time", 1)
        self.happened = {}

    def __exit__(self, *error):
        if hasattr(self, "table"):
            self.table.close()
        super().__exit__(*error)

    @staticmethod
    def load_others():
        """The modules beside ip_vs."""
        if "ip_vs_ftp" not in module.loaded():
            ftp.load()
        module.load_match()

    def load(self):
        """The modules as they are when all begins, and services."""
        module.load()
        self.load_others()
        self.configure()

    def unload(self):
        """All modules go, with what keeps them."""
        self.tables.clear()
        control.end(self)
        self.ipvs.admin("-C")
        module.unload()

    def configure(self):
        """Services, and connections that last for seconds only."""
        super().configure()
        with Rules(self.director) as rules:
            control.configure(rules)
            for vport, method in METHODS.items():
                rules.add(IPPROTO_SCTP, VIP, vport, *SERVERS, method=method)
        # Else an association would end within seconds.
        Settings(self.director)["sloppy_sctp"] = 1
        self.ipvs.admin("--set", *SHORT)

    def admin(self):
        """One change of services or servers, which may find nothing there."""
        rng, vport = self.rng, self.rng.choice([*METHODS, FTP])
        method = METHODS.get(vport, MASQ)
        service = rng.choice(PROTOCOLS), VIP, vport
        server = *service, rng.choice(SERVERS)
        settings = {"method": method, "weight": rng.randrange(4)}
        with Rules(self.director, lax=True) as rules:
            rng.choice((
                lambda: rules.change_server(*server, **settings),
                lambda: rules.change_server(*server, **settings),
                lambda: rules.change_server(*server, method=method,
                                            weight=1, upper=rng.randrange(9)),
                lambda: rules.add_server(*server, **settings),
                lambda: rules.add_server(*server, **settings),
                lambda: rules.remove_server(*server),
                lambda: rules.change(*service,
                                     scheduler=rng.choice(module.SCHEDULERS)),
                lambda: rules.remove(*service),
                lambda: rules.add(*service, *SERVERS, method=method),
                rules.flush if rng.random() < .1 else self.configure_lax))()

    def configure_lax(self):
        """What is missing of the services."""
        with Rules(self.director, lax=True) as rules:
            for vport, method in METHODS.items():
                for protocol in PROTOCOLS:
                    rules.add(protocol, VIP, vport, *SERVERS, method=method)
            control.configure(rules)

    def look(self):
        """All lists are read, while they change."""
        self.rng.choice((
            lambda: self.ipvs.admin("-Ln", "--stats", check=False),
            lambda: self.ipvs.admin("-Lnc", check=False),
            lambda: self.director.proc("ip_vs"),
            lambda: self.director.proc("ip_vs_conn"),
            lambda: self.director.proc("ip_vs_stats"),
            lambda: self.director.proc("ip_vs_stats_percpu"),
            lambda: self.director.proc("ip_vs_app"),
            self.table.entries, self.tables.counts,
            lambda: self.ipvs.admin("-Z")))()

    def interface(self):
        """A device goes down and comes up, or gets another MTU."""
        host = self.rng.choice(self.hosts)
        if self.rng.random() < .5:
            with self.cut(host):
                time.sleep(self.rng.random() / 20)
        else:
            for mtu in (self.rng.choice((68, 576, 1280)), 1500):
                self.director.ip(f"link set {host.name} mtu {mtu}")

    def route(self):
        """The way to a server changes, and back."""
        host = self.rng.choice(self.servers)
        route = self.rng.choice(ROUTES).format(net=host.net, dev=host.name)
        kind = "" if "dev" in route else " metric 0"
        self.director.ip(f"route add {route}{kind} table 100",
                         f"rule add to {host.net}.0/24 lookup 100 pref 10")
        time.sleep(self.rng.random() / 20)
        self.director.ip("rule del pref 10", "route flush table 100")

    def namespace_lives(self):
        """A namespace comes, has services and traffic, and goes."""
        doomed, wire = Netns("ipvs-doomed"), Netns("ipvs-doomed-wire")
        for path, value in DIRECTOR.items():
            doomed.sysctl(path, value)
        doomed.ip("link set lo up", f"addr add {VIP}/32 dev lo")
        host = Host("doomed", 9, wire, doomed)
        host.plug()
        with Rules(doomed) as rules:
            for vport, method in METHODS.items():
                rules.add(UDP, VIP, vport, host.ip, method=method)
        with flood((host, [udp(host.ip, cport, VIP, vport)
                           for cport in range(1000, 1100)
                           for vport in METHODS])):
            eventually(lambda: doomed.proc("ip_vs_conn").count("\n") > 10,
                       "connections in the namespace")
            doomed.delete()
            host.unplug()
            wire.delete()

    def tracking(self):
        """Conntrack is switched on or off, or all its entries are removed."""
        if self.rng.random() < .5:
            self.table.flush()
        else:
            Settings(self.director)["conntrack"] = self.rng.randrange(2)

    def matches(self):
        """Other rules look at packets."""
        self.tables.restore({"mangle": [
            f"{chain} -m ipvs {options}" for chain in ("INPUT", "FORWARD",
                                                       "POSTROUTING")
            for options in MATCHES if self.rng.random() < .5]})

    def ftp_goes(self):
        """The module of FTP goes with its connections, and comes again."""
        control.end(self)
        eventually(lambda: not module.refuses("ip_vs_ftp"),
                   "ip_vs_ftp unloaded")
        self.load_others()
        with Rules(self.director, lax=True) as rules:
            control.configure(rules)

    def reload(self):
        """The modules go and come again."""
        self.unload()
        self.load()

    def happen(self, seconds):
        """Things happen one after the other until the time is up; each kind
        at least once."""
        kinds = {self.admin: 60, self.look: 20, self.interface: 4,
                 self.route: 4, self.tracking: 4, self.matches: 2,
                 self.ftp_goes: 1, self.namespace_lives: 1, self.reload: 1}
        due = [self.interface, self.route, self.tracking, self.matches,
               self.ftp_goes, self.namespace_lives, self.reload]
        end = time.monotonic() + seconds
        while due or time.monotonic() < end:
            event = self.rng.choices(list(kinds), list(kinds.values()))[0]
            if due and time.monotonic() > end:
                event = due[0]
            if event in due:
                due.remove(event)
            event()
            name = event.__name__
            self.happened[name] = self.happened.get(name, 0) + 1

    def storm(self):
        """Traffic of new and old connections, with ends, on both CPUs."""
        def all_of(ports, make, **more):
            return [make(CIP, cport, VIP, vport, **more) for cport in ports
                    for vport in METHODS]
        ports, more = PORTS[:100], range(2000, 2100)
        answers = [make(server, 81, CIP, cport) for cport in ports
                   for make in (udp, tcp) for server in SERVERS]
        answers += [association(server, 81, CIP, cport, kind=INIT_ACK)
                    for cport in ports[:40] for server in SERVERS]
        associations = [packet for kind in (INIT, COOKIE_ECHO, DATA, ABORT)
                        for packet in all_of(ports[:40], association,
                                             kind=kind)]
        errors = [icmp_error(RIP, CIP, 3, 1, udp(CIP, cport, RIP, 81))
                  for cport in ports]
        client, server = control.sources(self)
        return flood(
            client, server,
            (self.client, all_of(ports, udp) + all_of(ports, tcp) +
             all_of(ports, tcp, flags=ACK)),
            (self.client, all_of(more, udp, payload=bytes(1400)) +
             all_of(more, tcp) + all_of(more, tcp, flags=FIN | ACK) +
             associations),
            (self.servers[0], answers + errors))

    def quiet(self):
        """All connections end, and none is counted at a server any more."""
        # FTP's, which wait for minutes, end with their server.
        control.end(self)
        # A server that was removed takes no packets of its connections.
        self.configure_lax()
        self.ipvs.admin("--set", *SHORT)
        # Those of SCTP, which wait too, with their services.
        with Settings(self.director).but(expire_nodest_conn=1):
            with Rules(self.director) as rules:
                for vport in METHODS:
                    rules.remove(IPPROTO_SCTP, VIP, vport)
            eventually(lambda: not any(found.protocol == "SCTP" for found in
                                       self.ipvs.connections()),
                       "the end of associations", 120)
        told = set()

        def ended():
            # The C module's list may leave one out.
            connections = self.ipvs.connections()
            for found in connections:
                ends = found.caddr, found.cport, found.vaddr, found.vport
                if (found.protocol, ends) in told:
                    continue
                told.add((found.protocol, ends))
                if found.protocol == "UDP":
                    self.client.send(udp(*ends))
                else:
                    # From wherever it is, to CLOSE: ten seconds.
                    self.client.send(tcp(*ends, ACK))
                    self.client.send(tcp(*ends, RST))
            return not connections
        eventually(ended, "the end of all connections", 120)
        for server, counts in self.ipvs.counters().items():
            equal(counts, (0, 0), f"connections counted at {server}")

    def current_statistics(self):
        """Those of the C module are up to two seconds old."""
        if module_under_test() == "c":
            time.sleep(4.5)
        return self.ipvs.statistics()

    def exact(self):
        """What the wires see is what the statistics say."""
        rng = self.rng
        self.ipvs.admin("-C")
        self.configure()
        self.ipvs.admin("--set", *LONG)
        # On the C module a server that was there lately comes back with what
        # it has counted.
        self.current_statistics()
        self.ipvs.admin("-Z")
        sent, answers, seen = {}, [], {host: [] for host in self.hosts}
        for _ in range(20):
            batch, replies = [], []
            for _ in range(20):
                make, vport = rng.choice(list(MAKERS)), rng.choice(
                    list(METHODS))
                packet = make(CIP, self.port(), VIP, vport,
                              payload=rng.randbytes(rng.randrange(600)))
                kind = MAKERS[make]
                sent.setdefault((kind, vport), []).append(len(bytes(packet)))
                batch.append(packet)
                if vport == 81:
                    replies.append((kind, packet.back()))
            for host, frames in self.exchange(self.client, *batch).items():
                seen[host] += frames
            # Each answers from where its request went.
            found = {}

            def listed(found=found, replies=replies):
                # The C module's list ends early while its table grows.
                found.update(((c.protocol, c.cport), c.daddr)
                             for c in self.ipvs.connections())
                return all((kind, reply.l4.dport) in found
                           for kind, reply in replies)
            eventually(listed, "all connections in the list")
            for host in self.servers:
                mine = [(kind, reply.but(src=host.ip))
                        for kind, reply in replies
                        if found[kind, reply.l4.dport] == host.ip]
                frames = self.exchange(host, *(reply for _, reply in mine))
                equal([frame.ip for frame in frames[self.client]],
                      [bytes(reply.but(src=VIP, ttl=63))
                       for _, reply in mine], "what the client gets")
                answers += [(kind, len(bytes(reply))) for kind, reply in mine]
        wanted = {}
        for (kind, vport), sizes in sent.items():
            back = [size for k, size in answers if (k, 81) == (kind, vport)]
            wanted[kind, vport] = (len(sizes), len(sizes), len(back),
                                   sum(sizes), sum(back))
        said = self.current_statistics()
        for (kind, vport), want in wanted.items():
            equal(said[f"{kind} {VIP}:{vport}"], want,
                  f"statistics of {kind} {vport}")
            of_servers = [said[f"{kind} {VIP}:{vport} {s}:{vport}"]
                          for s in SERVERS]
            equal(tuple(map(sum, zip(*of_servers))), want,
                  f"statistics of the servers of {kind} {vport}")
        for host in self.servers:
            rows = [value for name, value in said.items()
                    if f" {host.ip}:" in name]
            # A tunnel's packets are longer by a header on the wire.
            size = sum(len(f.ip) - (20 if f.ip[9] == 4 else 0)
                       for f in seen[host])
            equal((len(seen[host]), size),
                  (sum(row[1] for row in rows), sum(row[3] for row in rows)),
                  f"packets and bytes at {host} and in its statistics")
        equal(seen[self.client], [], "what the client gets of requests")

    def gone(self):
        """The modules leave; what the kernel has allocated then."""
        self.unload()
        self.table.flush()
        # Two may be on their way out at once. What is held adds up, since
        # each stretch has namespaces of its own.
        eventually(lambda: memory.namespaces() <= self.at_first + 1,
                   "the end of namespaces", 60)
        return memory.usage()


@test(f"{SECONDS} seconds of everything at once, and then all adds up and "
      "nothing is left")
def soak(lab):
    lab.at_first = max(memory.namespaces() for _ in range(3))
    snapshots = []
    for stretch in range(STRETCHES):
        with lab.storm():
            lab.happen(SECONDS / STRETCHES)
        lab.exchange(lab.client)
        lab.exact()
        if stretch == STRETCHES - 1:
            lab.quiet()
        snapshots.append(lab.gone())
        lab.load()
    note(", ".join(f"{count} {name}" for name, count in lab.happened.items()))
    # The first stretch fills what the kernel keeps for later.
    if len(snapshots) > 2:
        equal(memory.leaks(snapshots[1:], 3 * NOISE), [], "what leaks")
    lab.works()
    control.works(lab)


if __name__ == "__main__":
    main(SoakLab)
