# SPDX-License-Identifier: GPL-2.0
"""Scenarios by chance: the same ones for the same seed.

There are few of everything, addresses, ports, dialogues, so that what comes
often meets what was there before. Pauses are of all lengths, and many of just
those after which something ends.

Left out, since the C module's outcome depends on chance or on when its threads
run, or differs as abi.rst says: the scheduler twos; drop_entry, drop_packet
and secure_tcp by themselves (1 and 2); thresholds with one-packet scheduling;
counters that are set to zero right after a packet.
"""

import random

from streams.world import FAMILIES, V4

from .steps import (DIRECT, NAT, ONE_PACKET, SCHED1, SCHED2, SCTP, TCP, TUNNEL,
                    UDP, Add, AddServer, Answer, Client, Error, Flow, Look, Remove,
                    RemoveServer, Service, Setting, Starts, Timeouts, Zero)
from .world import MARK, NEAR

STEPS = 24
SCHEDULERS = ("rr",) * 6 + ("wrr", "lc", "wlc", "sed", "nq", "fo", "ovf",
                            "sh", "dh", "mh", "lblc", "lblcr")
PERSISTENT = (10, 60, 60, 120, 300, 300, 300, 900)
UDP_TIMEOUTS = (5, 10, 60, 60, 120, 300, 300)
SHORT = (.2, .3, .5, .9, 1.5, 2.5)
MIDDLE = (4, 7, 11, 14, 20, 28, 35, 48)
LONG = (62, 70, 95, 125, 150, 200, 250, 305, 330, 365)
# At the end there are looks until most of what there is should have gone.
ENDING = (7, 11, 17) + (25,) * 12
PROTOCOLS = TCP, UDP, SCTP
# What is said, by protocols that have states.
OPENING = {
    TCP: ("S",) * 8 + ("A", "FA", "R", "SA"),
    SCTP: ("init",) * 8 + ("cookie_echo", "data", "abort")}
GOING_ON = {
    TCP: ("A",) * 4 + ("PA", "FA", "FA", "R", "S", "S", "RA"),
    SCTP: ("cookie_echo", "data") * 3 + (
        "shutdown", "shutdown_ack", "shutdown_complete", "abort", "init")}
ANSWERS = {
    TCP: ("SA",) * 4 + ("A", "FA", "FA", "R", "RA"),
    SCTP: ("init_ack", "cookie_ack") * 3 + (
        "data", "shutdown", "shutdown_ack", "shutdown_complete", "abort",
        "error")}
SETTINGS = (("expire_nodest_conn", (0, 1, 1)),
            ("expire_quiescent_template", (0, 1, 1)),
            ("conn_reuse_mode", (0, 1, 2, 4, 7)),
            ("conntrack", (0, 1)),
            ("sloppy_tcp", (0, 1)),
            ("sloppy_sctp", (0, 1)),
            ("nat_icmp_send", (0, 1)),
            ("schedule_icmp", (0, 1)),
            ("snat_reroute", (0, 1)),
            ("secure_tcp", (0, 3)),
            ("cache_bypass", (0, 1)),
            ("conn_max", (3, 5, 1000)))


class Draft:
    """A scenario that is being made."""

    def __init__(self, seed, number):
        self.rng = random.Random(f"{seed}/{number}")
        rng = self.rng
        self.family = rng.choice(FAMILIES)
        self.servers = {}       # service: what is known of its servers
        self.options = {}       # service: how it was made
        self.steps, self.flows = [], []
        near = NEAR[self.family.name][1]
        stem = self.family.client[:-1]
        self.clients = [self.family.client, stem + "9", near]
        # A scenario is about one thing or about many.
        self.shapes = rng.choices(
            [self.plain, self.persistent, self.all_ports, self.marked,
             self.ftp, self.sip, self.one_packet],
            (4, 4, 1, 1, 1, 3, 1), k=rng.choice((1, 1, 2, 3)))

    def make(self):
        """All of its steps."""
        rng = self.rng
        if rng.random() < .3:
            self.timeouts(.2)
        if rng.random() < .4:
            self.steps.append(Setting(.2, "conntrack", 1))
        for _ in range(rng.choice((0, 0, 1, 2))):
            self.setting(.2)
        for shape in self.shapes:
            shape()
        starts = 20 if any(map(self.engine, self.options)) else 2
        deeds = rng.choices(
            [self.request, self.answer, self.starts, self.error,
             self.edit_server, self.remove_server, self.return_server,
             self.edit_service, self.remove_service, self.setting,
             self.timeouts, self.zero, self.look],
            (30, 12, starts, 3, 6, 5, 7, 4, 1, 4, 1.5, 1, 2), k=STEPS)
        for deed in deeds:
            deed(self.pause())
        if rng.random() < .5:
            self.opens(self.pause())
        return (*self.steps, *map(Look, ENDING))

    def pause(self):
        """Mostly short, sometimes minutes."""
        rng = self.rng
        return rng.choice(rng.choices((SHORT, MIDDLE, LONG), (60, 22, 18))[0])

    # Services.

    def add(self, service, ports=0, methods=(NAT, NAT, NAT, DIRECT, TUNNEL),
            **options):
        """A service with two or three servers."""
        rng = self.rng
        if service in self.options:
            return
        options.setdefault("scheduler", rng.choice(SCHEDULERS))
        if options["scheduler"] in ("sh", "mh") and rng.random() < .5:
            options["flags"] = options.get("flags", 0) | rng.choice(
                (SCHED1, SCHED2, SCHED1 | SCHED2))
        self.options[service] = options
        self.steps.append(Add(.2, service, **options))
        method = rng.choice(methods)
        port = ports or (service.port if rng.random() < .5 or not service.port
                         else service.port + 1000)
        self.servers[service] = known = []
        limits = not options.get("flags", 0) & ONE_PACKET and \
            rng.random() < .25
        for address in self.family.servers[:rng.choice((1, 2, 2, 2, 3))]:
            known.append(AddServer(
                .2, service, address,
                port if method == NAT else service.port, method,
                rng.choice((1, 1, 1, 2, 3, 0)),
                *((rng.choice((1, 2, 4)), rng.choice((0, 1)))
                  if limits else ())))
        if rng.random() < .1:
            known.append(AddServer(.2, service, self.family.directors[0],
                                   port, rng.choice((NAT, DIRECT))))
        self.steps += known

    def persistence(self):
        """How long, and for how large a network."""
        rng = self.rng
        mask = 0 if rng.random() < .6 else 24 if self.family is V4 else 64
        return {"persistent": rng.choice(PERSISTENT), "mask": mask}

    def plain(self):
        protocol = self.rng.choice(PROTOCOLS)
        self.add(Service(protocol, self.family.vip, 80))

    def persistent(self):
        protocol = self.rng.choice(PROTOCOLS)
        self.add(Service(protocol, self.family.vip, 81), **self.persistence())

    def all_ports(self):
        protocol = self.rng.choice(PROTOCOLS)
        self.add(Service(protocol, self.family.vip, 0), **self.persistence())

    def marked(self):
        more = self.persistence() if self.rng.random() < .6 else {}
        self.add(Service("", self.family.marked, 0, MARK), **more)

    def ftp(self):
        more = self.persistence() if self.rng.random() < .8 else {}
        self.add(Service(TCP, self.family.vip, 21), **more)

    def one_packet(self):
        more = self.persistence() if self.rng.random() < .3 else {}
        self.add(Service(UDP, self.family.vip, 53), flags=ONE_PACKET, **more)

    def sip(self):
        rng = self.rng
        flags = ONE_PACKET if rng.random() < .15 else 0
        self.add(Service(UDP, self.family.vip, 5060), 5070,
                 (NAT, NAT, NAT, DIRECT), flags=flags, engine="sip",
                 **self.persistence())

    # Packets.

    def service(self):
        """One that was made, whether it is still there or not."""
        return self.rng.choice(list(self.options))

    def engine(self, service):
        """Whether it is one of SIP."""
        return self.options[service].get("engine")

    def flow(self, service):
        """A flow to a service: a new one, or one that was."""
        rng = self.rng
        those = [flow for of, flow in self.flows if of == service]
        if those and rng.random() < .6:
            return rng.choice(those[-4:])
        port = service.port or rng.choice((79, 443, 5000))
        if service.port == 21 and rng.random() < .4:
            port = rng.choice((20, 2100, 50000))
        flow = Flow(service.protocol or rng.choice(PROTOCOLS),
                    self.client(), 4000 + rng.randrange(4), service.address,
                    port)
        self.flows.append((service, flow))
        return flow

    def client(self):
        """Mostly the same one."""
        return self.rng.choice(self.clients[:1] * 4 + self.clients)

    def datagram(self, service):
        """The content of one."""
        rng = self.rng
        if self.engine(service) and rng.random() < .9:
            return f"call {rng.choice('112')}@a"
        return rng.choice(("a", "bb"))

    def request(self, pause):
        rng = self.rng
        service = self.service()
        known = [flow for _of, flow in self.flows]
        flow = self.flow(service)
        self.steps.append(Client(pause, flow, self.said(
            service, flow, GOING_ON if flow in known else OPENING)))

    def said(self, service, flow, words):
        """The content of a packet of a flow."""
        if flow.protocol in words:
            return self.rng.choice(words[flow.protocol])
        return self.datagram(service)

    def opens(self, pause):
        """A flow that there was not yet begins."""
        service = self.service()
        flow = Flow(service.protocol or UDP, self.client(), 5000,
                    service.address, service.port or 5000)
        self.flows.append((service, flow))
        self.steps.append(Client(pause, flow, self.said(
            service, flow, {TCP: "S", SCTP: ("init",)})))

    def answer(self, pause):
        rng = self.rng
        if not self.flows:
            return self.request(pause)
        service, flow = rng.choice(self.flows[-4:])
        return self.steps.append(Answer(
            pause, flow, self.said(service, flow, ANSWERS)))

    def starts(self, pause):
        rng = self.rng
        services = list(self.options)
        service = rng.choice([each for each in services if self.engine(each)]
                             or services)
        servers = self.servers[service]
        server = rng.choice(servers)
        if server.address not in self.family.servers:
            return self.request(pause)
        flow = Flow(service.protocol or UDP, self.client(),
                    rng.choice((4000, 4000, 4001)), service.address,
                    service.port)
        before = [step.flow for step in self.steps if
                  isinstance(step, Starts) and step.flow.port == flow.port]
        if before and rng.random() < .5:
            flow = before[-1]
        if (service, flow) not in self.flows:
            self.flows.append((service, flow))
        return self.steps.append(Starts(
            pause, self.family.servers.index(server.address),
            server.port or 80, flow, self.said(service, flow, ANSWERS)))

    def error(self, pause):
        rng = self.rng
        if not self.flows:
            return self.request(pause)
        return self.steps.append(Error(
            pause, rng.choice(self.flows[-4:])[1],
            rng.choice(("server", "server", "client")), rng.randrange(3)))

    # What users do.

    def server(self):
        """One that was made, whether it is still there or not."""
        return self.rng.choice(self.servers[self.service()])

    def edit_server(self, pause):
        rng = self.rng
        self.steps.append(self.server()._replace(
            pause=pause, weight=rng.choice((0, 0, 0, 1, 2)), edit=True))

    def remove_server(self, pause):
        server = self.server()
        self.steps.append(RemoveServer(pause, server.service, server.address,
                                       server.port))

    def return_server(self, pause):
        """One comes back; mostly the one that was removed last."""
        rng = self.rng
        removed = [step for step in self.steps
                   if isinstance(step, RemoveServer)]
        server = self.server()
        if removed and rng.random() < .8:
            last = removed[-1]
            server = next(each for each in self.servers[last.service]
                          if (each.address, each.port) ==
                          (last.address, last.port))
        self.steps.append(server._replace(pause=pause))

    def edit_service(self, pause):
        rng = self.rng
        service = self.service()
        options = self.options[service]
        kind = rng.randrange(3)
        if kind == 0:
            options = options | {"scheduler": rng.choice(SCHEDULERS),
                                 "flags": options.get("flags", 0) &
                                 ONE_PACKET}
        elif kind == 1 and options.get("persistent"):
            options = options | {"persistent": rng.choice(PERSISTENT)}
        elif options.get("persistent") and service.port:
            options = options | {"persistent": 0, "engine": "", "mask": 0}
        elif not service.mark:
            options = options | self.persistence()
        self.options[service] = options
        self.steps.append(Add(pause, service, edit=True, **options))

    def remove_service(self, pause):
        """It goes, and comes back with its servers."""
        service = self.service()
        self.steps += [Remove(pause, service),
                       Add(self.pause(), service, **self.options[service]),
                       *self.servers[service]]

    def setting(self, pause):
        name, values = self.rng.choice(SETTINGS)
        self.steps.append(Setting(pause, name, self.rng.choice(values)))

    def timeouts(self, pause):
        rng = self.rng
        self.steps.append(Timeouts(
            pause, rng.choice((20, 60, 300, 900)), rng.choice((10, 30, 120)),
            rng.choice(UDP_TIMEOUTS)))

    def zero(self, pause):
        """Not at once after a packet: what the C module has not summed up by
        then counts afterwards."""
        self.steps.append(Zero(max(pause, 5), self.service()))

    def look(self, pause):
        self.steps.append(Look(max(pause, 5)))


def scenario(seed, number):
    """The steps of a scenario of a run."""
    return Draft(seed, number).make()
