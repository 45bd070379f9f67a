#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 900
# clock: instructions
"""Persistent services: which server a client's next connection goes to, what
decides that, and how long; and how users see it."""

import re

from lib import module
from lib.lab import (CIP, CIP6, RIP, RIP2, RIP6, RIP6_2, VIP, VIP6, Lab)
from lib.packet import ACK, FIN, RST, SYN, icmp_error, tcp, udp
from lib.tap import TIME_FACTOR, equal, eventually, main, test
from lib.vs import Settings

NEIGHBOUR, STRANGER = "10.0.1.77", "10.0.9.2"


class PersistenceLab(Lab):
    """Two servers; each test starts with no service."""

    def build(self):
        super().build()
        self.settings = Settings(self.director)

    def clear(self):
        """No service, and no template of those that there were."""
        self.ipvs.admin("-C")
        module.unload()
        module.load()

    def fresh(self, service, *servers, scheduler="rr", options="-p 300"):
        """Only this service."""
        self.clear()
        servers = servers or (f"{RIP} -g", f"{RIP2} -g")
        self.ipvs.rules(f"-A {service} -s {scheduler} {options}",
                        *(f"-a {service} -r {server}" for server in servers))

    def served(self, *packets):
        """Which server each packet gets to, counted from 1; 0 for none."""
        found = []
        for packet in packets:
            seen = self.exchange(self.client, packet)
            at = [number for number, server in enumerate(self.servers, 1)
                  if seen[server]]
            assert len(at) < 2, seen
            found += at or [0]
        return found

    def syns(self, src, vport, count=1, dst=VIP):
        """Which servers new TCP connections go to."""
        return self.served(*(tcp(src, self.port(), dst, vport)
                             for _ in range(count)))

    def templates(self, vaddr=VIP):
        """What is shown of the templates of a service's address, but for
        their time: {network: (protocol, vport, server, dport, state)}."""
        return {each.caddr: (each.protocol, each.vport, each.daddr,
                             each.dport, each.state)
                for each in self.ipvs.connections()
                if each.cport == 0 and each.vaddr == vaddr}

    def persistent(self):
        """Persistent connections of each server, as ipvsadm has them."""
        text = self.ipvs.admin("-Ln", "--persistent-conn")
        return {match[1]: int(match[2]) for match in
                re.finditer(r"-> (\S+):\d+ +\d+ +(\d+) ", text)}

    def left(self, network):
        """How long a template has to live, or None."""
        return next((each.expires for each in self.ipvs.connections()
                     if each.cport == 0 and each.caddr == network), None)


@test("ipvsadm sets timeout and netmask, and shows and saves them; "
      "/proc/net/ip_vs has them too")
def listing(lab):
    rules = [f"-A -t {VIP}:80 -s rr -p 50 -M 255.255.255.0",
             f"-A -u {VIP}:0 -s wlc -p 360",
             "-A -f 9 -s sh -p 7 -M 255.0.0.0"]
    lab.ipvs.admin("-C")
    lab.ipvs.rules(*rules)
    equal(lab.ipvs.saved(), sorted(rules))
    text = lab.ipvs.admin("-Ln")
    for line in ("TCP  198.51.100.1:80 rr persistent 50 mask 255.255.255.0\n",
                 "UDP  198.51.100.1:0 wlc persistent 360\n",
                 "FWM  9 sh persistent 7 mask 255.0.0.0\n"):
        assert line in text, f"no\n{line}in\n{text}"
    equal(sorted(lab.director.proc("ip_vs").splitlines()[3:]),
          ["FWM  00000009 sh persistent 1750 FF000000",
           "TCP  C6336401:0050 rr  persistent 12500 FFFFFF00",
           "UDP  C6336401:0000 wlc  persistent 90000 FFFFFFFF"])
    lab.ipvs.admin("-E", "-t", f"{VIP}:80", "-s", "lc", "-p", "60")
    lab.ipvs.admin("-E", "-f", "9", "-s", "rr")
    equal(lab.ipvs.saved(), sorted([f"-A -t {VIP}:80 -s lc -p 60",
                                    rules[1], "-A -f 9 -s rr"]))


@test("a client stays with its server, and another one goes to the next")
def stays(lab):
    lab.fresh(f"-t {VIP}:80")
    first, = lab.syns(CIP, 80)
    equal(lab.syns(CIP, 80, 3), [first] * 3, CIP)
    other = 3 - first
    equal(lab.syns(NEIGHBOUR, 80, 3), [other] * 3, NEIGHBOUR)
    equal(lab.syns(STRANGER, 80, 2), [first] * 2, STRANGER)
    equal(lab.syns(CIP, 80), [first], "again")
    servers = {1: RIP, 2: RIP2}
    equal(lab.templates(),
          {CIP: ("TCP", 80, servers[first], 80, "NONE"),
           NEIGHBOUR: ("TCP", 80, servers[other], 80, "NONE"),
           STRANGER: ("TCP", 80, servers[first], 80, "NONE")})
    equal(lab.persistent(), {servers[first]: 2, servers[other]: 1},
          "persistent connections")
    equal(lab.ipvs.counters()["C6336401:0050", f"{servers[first]}:80"],
          (7, 0), "connections")
    lines = [line.split() for line in lab.ipvs.listed_connections()
             if f"{NEIGHBOUR}:0" in line]
    equal([[line[0], *line[2:]] for line in lines],
          [["TCP", "NONE", f"{NEIGHBOUR}:0", f"{VIP}:80",
            f"{servers[other]}:80"]], "ipvsadm -c")


@test("a netmask makes neighbours stay together")
def netmask(lab):
    lab.fresh(f"-t {VIP}:80", options="-p 300 -M 255.255.255.0")
    first, = lab.syns(CIP, 80)
    equal(lab.syns(NEIGHBOUR, 80, 2), [first] * 2, NEIGHBOUR)
    equal(lab.syns(STRANGER, 80, 2), [3 - first] * 2, STRANGER)
    equal(set(lab.templates()), {"10.0.1.0", "10.0.9.0"}, "networks")


@test("a prefix length does so for IPv6")
def prefix(lab):
    lab.fresh(f"-t [{VIP6}]:80", f"[{RIP6}]:8080 -m", f"[{RIP6_2}]:8080 -m",
              options="-p 300 -M 64")
    first, = lab.syns(CIP6, 80, dst=VIP6)
    equal(lab.syns("fd00:1::ffff:1", 80, 2, VIP6), [first] * 2, "same /64")
    equal(lab.syns("fd00:8::2", 80, 2, VIP6), [3 - first] * 2, "another /64")
    servers = {1: RIP6, 2: RIP6_2}
    equal(lab.templates(VIP6),
          {"fd00:1::": ("TCP", 80, servers[first], 8080, "NONE"),
           "fd00:8::": ("TCP", 80, servers[3 - first], 8080, "NONE")})
    assert f"-A -t [{VIP6}]:80 -s rr -p 300 -M 64" in lab.ipvs.saved(), \
        lab.ipvs.saved()


@test("each port and protocol of a client is balanced by itself")
def ports(lab):
    lab.clear()
    services = f"-t {VIP}:80", f"-t {VIP}:81", f"-u {VIP}:80"
    for service in services:
        lab.ipvs.rules(f"-A {service} -s rr -p 300",
                       f"-a {service} -r {RIP} -g -w 1")
    lab.syns(CIP, 80)
    for service in services:
        lab.ipvs.rules(f"-a {service} -r {RIP2} -g -w 1",
                       f"-e {service} -r {RIP} -g -w 0")
    equal(lab.syns(CIP, 80), [1], "with a template")
    equal(lab.syns(CIP, 81), [2], "another port")
    equal(lab.served(udp(CIP, lab.port(), VIP, 80)), [2], "another protocol")


@test("NAT: all of a client's connections get the server's address and port, "
      "and answers get through")
def nat(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP}:8080 -m", f"{RIP2}:8081 -m")
    first, = lab.syns(CIP, 80)
    server, rip, rport = ((lab.servers[0], RIP, 8080),
                          (lab.servers[1], RIP2, 8081))[first - 1]
    for _ in range(2):
        request = tcp(CIP, lab.port(), VIP, 80)
        lab.expect(lab.client, request,
                   {server: request.but(dst=rip, dport=rport, ttl=63)})
        reply = request.back(src=rip, sport=rport, flags=SYN | ACK)
        lab.expect(server, reply,
                   {lab.client: reply.but(src=VIP, sport=80, ttl=63)})
    equal(lab.templates()[CIP][3], rport, "port of the template")


@test("a service for all ports: they go together, to the port that the client "
      "chose")
def any_port(lab):
    lab.fresh(f"-t {VIP}:0", f"{RIP}:0 -m", f"{RIP2}:0 -m")
    request = tcp(CIP, lab.port(), VIP, 4711)
    first, = lab.served(request)
    server, rip = ((lab.servers[0], RIP), (lab.servers[1], RIP2))[first - 1]
    for vport in 22, 4712, 65535:
        request = tcp(CIP, lab.port(), VIP, vport)
        lab.expect(lab.client, request,
                   {server: request.but(dst=rip, ttl=63)})
    equal(lab.templates(), {CIP: ("TCP", 0, rip, 0, "NONE")})


@test("a service with its own port comes before the one for all ports")
def own_port(lab):
    lab.fresh(f"-t {VIP}:0", f"{RIP} -g")
    lab.ipvs.service(f"{VIP}:80", f"{RIP2} -g")
    equal(lab.syns(CIP, 81) + lab.syns(CIP, 80) + lab.syns(CIP, 82),
          [1, 2, 1])


@test("a firewall mark: all ports and protocols go together, and its template "
      "has the mark for an address")
def fwmark(lab):
    lab.fresh("-f 258", f"{RIP} -g", f"{RIP2} -g")
    lab.director.run("nft", "-f", "-", stdin="""
        table ip marks { chain in {
            type filter hook prerouting priority mangle
            iifname client th dport 7000-7009 meta mark set 258
        }
        }""")
    first, = lab.syns(CIP, 7000)
    equal(lab.syns(CIP, 7001, 2) +
          lab.served(udp(CIP, lab.port(), VIP, 7002)), [first] * 3, "ports")
    equal(lab.syns(NEIGHBOUR, 7000), [3 - first], NEIGHBOUR)
    servers = {1: RIP, 2: RIP2}
    equal(lab.templates("0.0.1.2"),
          {CIP: ("IP", 0, servers[first], 0, "NONE"),
           NEIGHBOUR: ("IP", 0, servers[3 - first], 0, "NONE")})
    # A server's own port is for those who came for the service's.
    lab.fresh("-f 258", f"{RIP}:443 -m")
    request = tcp(CIP, lab.port(), VIP, 7003)
    lab.expect(lab.client, request, {lab.server: request.but(dst=RIP, ttl=63)})
    lab.director.run("nft", "delete", "table", "ip", "marks")


@test("FTP: data connections to ports that need no privilege, and to port 20, "
      "go where the control connection went; no others do")
def ftp(lab):
    lab.fresh(f"-t {VIP}:21", f"{RIP} -g", f"{RIP2} -g")
    first, = lab.syns(CIP, 21)
    for vport in 1024, 40000, 20:
        equal(lab.syns(CIP, vport, 2), [first] * 2, f"port {vport}")
    equal(lab.syns(CIP, 1023) + lab.syns(CIP, 22), [0, 0], "other ports")
    equal(lab.served(udp(CIP, lab.port(), VIP, 2000)), [0], "UDP")
    equal(lab.templates(), {CIP: ("TCP", 0, (RIP, RIP2)[first - 1], 0,
                                  "NONE")})
    equal(lab.syns(NEIGHBOUR, 3000), [3 - first], "data first")
    # A server's data connection is made by nobody.
    data = tcp(CIP, 20, VIP, 2000)
    equal(lab.served(data), [0], "from port 20")
    # Without a server, data may be for others; control is refused.
    for rip in RIP, RIP2:
        lab.ipvs.admin("-d", "-t", f"{VIP}:21", "-r", rip)
    data, control = (tcp(CIP, lab.port(), VIP, port, seq=7)
                     for port in (2001, 21))
    lab.expect(lab.client, data, {lab.client: data.back(
        flags=RST | ACK, seq=0, ack=8, window=0, id=0, df=True)})
    lab.expect(lab.client, control,
               {lab.client: icmp_error(VIP, CIP, 3, 3, control)})


@test("FTP without persistence: data connections are the local stack's")
def ftp_alone(lab):
    lab.fresh(f"-t {VIP}:21", f"{RIP} -g", options="")
    lab.ipvs.rules(f"-A -t {VIP}:0 -s rr -p 300", f"-a -t {VIP}:0 -r {RIP2} -g")
    equal(lab.syns(CIP, 21) + lab.syns(CIP, 2000) + lab.syns(CIP, 22),
          [1, 0, 2])


@test("weight 0 gets no new clients and keeps those it has; with "
      "expire_quiescent_template it loses them")
def quiescent(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -g -w 1")
    old = tcp(CIP, lab.port(), VIP, 80)
    equal(lab.served(old), [1])
    lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP2} -g -w 1",
                   f"-e -t {VIP}:80 -r {RIP} -g -w 0")
    equal(lab.syns(CIP, 80, 2), [1, 1], "the old client")
    equal(lab.syns(NEIGHBOUR, 80, 2), [2, 2], "a new client")
    with lab.settings.but(expire_quiescent_template=1):
        equal(lab.syns(CIP, 80, 2), [2, 2], "the old client's new server")
        equal(lab.served(old.but(flags=ACK)), [1], "its old connection")
        mine = sorted((each.daddr, each.dport)
                      for each in lab.ipvs.connections()
                      if each.cport == 0 and each.caddr == CIP)
        equal(mine, [(RIP, 0xffff), (RIP2, 80)], "templates")
    lab.ipvs.rules(f"-e -t {VIP}:80 -r {RIP} -g -w 1",
                   f"-e -t {VIP}:80 -r {RIP2} -g -w 0")
    equal(lab.syns(CIP, 80, 2), [2, 2], "what is given up is not taken up")


@test("a server that is overloaded keeps its clients")
def overloaded(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -g -w 1 -x 2")
    equal(lab.syns(CIP, 80, 4), [1] * 4, "connections beyond the threshold")
    lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP2} -g -w 1")
    equal(lab.syns(NEIGHBOUR, 80, 2), [2, 2], "a new client")
    equal(lab.syns(CIP, 80), [1], "the old client")


@test("a removed server loses its clients' new connections for good, even if "
      "it comes back")
def removed(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -g -w 1")
    old = tcp(CIP, lab.port(), VIP, 80)
    equal(lab.served(old), [1])
    lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP2} -g -w 1")
    lab.ipvs.admin("-d", "-t", f"{VIP}:80", "-r", RIP)
    equal(lab.syns(CIP, 80), [2], "a new connection")
    equal(lab.served(old.but(flags=ACK)), [0], "the old connection")
    lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP} -g -w 1")
    equal(lab.served(old.but(flags=ACK)), [1], "it came back")
    equal(lab.syns(CIP, 80, 2), [2, 2], "new connections")
    equal(lab.persistent(), {RIP: 1, RIP2: 1}, "persistent connections")


@test("a server that comes back before its client does has the client's "
      "template, and all that it counts")
def comes_back(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -g -w 1")
    equal(lab.syns(CIP, 80), [1])
    lab.ipvs.admin("-d", "-t", f"{VIP}:80", "-r", RIP)
    lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP2} -g -w 9",
                   f"-a -t {VIP}:80 -r {RIP} -g -w 1")
    equal(lab.persistent(), {RIP: 1, RIP2: 0}, "persistent connections")
    equal(lab.syns(CIP, 80, 2), [1, 1], "the client")


@test("expire_nodest_conn: a removed server's connections and templates go, "
      "and its clients are balanced anew")
def nodest(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -m -w 1")
    request = tcp(CIP, lab.port(), VIP, 80)
    equal(lab.served(request), [1])
    lab.served(tcp(NEIGHBOUR, lab.port(), VIP, 80))
    reply = request.back(src=RIP, flags=SYN | ACK)
    lab.exchange(lab.server, reply)
    lab.exchange(lab.client, request.but(flags=ACK))
    equal([lab.templates()[client][4] for client in (CIP, NEIGHBOUR)],
          ["ASSURED", "NONE"], "states")
    with lab.settings.but(expire_nodest_conn=1):
        lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP2} -m -w 1")
        lab.ipvs.admin("-d", "-t", f"{VIP}:80", "-r", RIP)
        eventually(lambda: not lab.ipvs.connections(),
                   "no connection and no template is left")
        equal(lab.syns(CIP, 80), [2], "a new connection")


@test("a template is assured by an established TCP connection, and by an "
      "answer of UDP")
def assured(lab):
    lab.clear()
    for kind in "-t", "-u":
        lab.ipvs.rules(f"-A {kind} {VIP}:80 -s rr -p 300",
                       f"-a {kind} {VIP}:80 -r {RIP} -m")
    for make, states in ((tcp, ("NONE", "NONE", "ASSURED")),
                         (udp, ("NONE", "ASSURED", "ASSURED"))):
        client = "10.0.1.30" if make is tcp else "10.0.1.31"
        request = make(client, lab.port(), VIP, 80)
        seen = []
        for side in "cs", "s", "c":
            packets = []
            if "c" in side:
                more = {"flags": ACK} if make is tcp and seen else {}
                packets.append((lab.client, request.but(**more)))
            elif make is tcp:
                packets.append((lab.server, request.back(
                    src=RIP, flags=SYN | ACK)))
            else:
                packets.append((lab.server, request.back(src=RIP)))
            for origin, packet in packets:
                lab.exchange(origin, packet)
            seen.append(lab.templates()[client][4])
        if make is tcp:
            # Its SYN and ACK establish nothing for the C module's NAT, the
            # client's ACK does.
            assert tuple(seen) in (states, ("NONE", "ASSURED", "ASSURED")), \
                seen
        else:
            equal(tuple(seen), states, "UDP")


@test("its time begins anew with each new connection; it ends in time, and "
      "not while it has connections")
def timer(lab):
    short = 2 * TIME_FACTOR
    lab.fresh(f"-u {VIP}:80", f"{RIP} -g", options=f"-p {short}")
    lab.ipvs.admin("--set", "0", "0", str(10 * TIME_FACTOR))
    request = udp(CIP, lab.port(), VIP, 80)
    lab.served(request)
    # Its time is over, but it has a connection: it is looked again later.
    eventually(lambda: (lab.left(CIP) or 0) > 50, "one more minute")
    lab.served(request.but(sport=lab.port()))
    assert 50 < lab.left(CIP) <= 60, lab.left(CIP)
    brief = 8 * TIME_FACTOR
    lab.fresh(f"-u {VIP}:81", f"{RIP} -g", options=f"-p {brief}")
    lab.ipvs.admin("--set", "0", "0", "1")
    client = "10.0.1.40"
    lab.served(udp(client, lab.port(), VIP, 81))
    eventually(lambda: not [each for each in lab.ipvs.connections()
                            if each.caddr == client and each.cport],
               "the connection is over")
    before = lab.left(client)
    lab.served(udp(client, lab.port(), VIP, 81))
    assert before < brief and lab.left(client) >= before, before
    eventually(lambda: lab.left(client) is None, "its time is over", 30)
    equal(lab.persistent()[RIP], 0, "persistent connections")


@test("a template whose time is over with that of its last connection ends "
      "with it")
def ends_together(lab):
    brief = 3 * TIME_FACTOR
    lab.fresh(f"-u {VIP}:83", f"{RIP} -g", options=f"-p {brief}")
    lab.ipvs.admin("--set", "0", "0", str(brief))
    clients = [f"10.0.8.{number}" for number in range(1, 17)]
    for client in clients:
        lab.served(udp(client, lab.port(), VIP, 83))
    eventually(lambda: all((lab.left(client) or 0) < brief - 1
                           for client in clients), "half of the time")
    for client in clients:
        lab.served(udp(client, lab.port(), VIP, 83))
    # Not all: a few times the clock ticks between the two deadlines, and the
    # template's is the earlier one. It gets another minute then.
    eventually(lambda: len({each.caddr for each in lab.ipvs.connections()} &
                           set(clients)) <= len(clients) / 2,
               "most of them have ended", (brief + 40) / TIME_FACTOR)


@test("a SYN for a connection in TIME_WAIT is not balanced anew: its template "
      "knows better")
def reuse(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -m -w 1")
    request = tcp(CIP, lab.port(), VIP, 80)
    lab.exchange(lab.client, request)
    lab.exchange(lab.server, request.back(src=RIP, flags=SYN | ACK))
    for flags in ACK, FIN | ACK:
        lab.exchange(lab.client, request.but(flags=flags))
    lab.exchange(lab.server, request.back(src=RIP, flags=FIN | ACK))
    equal(lab.ipvs.connection(request.l4.sport).state, "TIME_WAIT")
    conns = [each for each in lab.ipvs.connections()
             if each.cport == request.l4.sport]
    for mode in 1, 3:
        with lab.settings.but(conn_reuse_mode=mode):
            equal(lab.served(request), [1], f"mode {mode}")
    again = [each for each in lab.ipvs.connections()
             if each.cport == request.l4.sport]
    equal((len(again), again[0].state), (len(conns), "SYN_RECV"),
          "the connection")
    with lab.settings.but(expire_nodest_conn=1):
        lab.ipvs.rules(f"-a -t {VIP}:80 -r {RIP2} -m -w 1",
                       f"-e -t {VIP}:80 -r {RIP} -m -w 0")
        equal(lab.served(request), [1], "by its template")
        with lab.settings.but(expire_quiescent_template=1):
            equal(lab.served(request), [2], "without a good template")


@test("drop_entry drops templates of clients that have not shown that they "
      "are there, with their half-open connections")
def drop_entry(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -m")
    client = "10.0.1.50"
    request = tcp(client, lab.port(), VIP, 80)
    lab.exchange(lab.client, request)
    lab.exchange(lab.server, request.back(src=RIP, flags=SYN | ACK))
    lab.exchange(lab.client, request.but(flags=ACK))
    equal(lab.templates()[client][4], "ASSURED")
    clients = [f"10.0.7.{number}" for number in range(1, 25)]
    for each in clients:
        lab.client.send(tcp(each, lab.port(), VIP, 80))
    lab.settle()
    equal(set(lab.templates()) >= set(clients), True, "templates")
    # A part of the table that is chosen by chance is looked at each second.
    with lab.settings.but(drop_entry=3):
        eventually(lambda: len(set(lab.templates()) & set(clients)) <
                   len(clients) / 2, "most of their templates are gone", 150)
    equal(lab.templates()[client][4], "ASSURED", "the one that was assured")


@test("statistics count each connection once, and templates not at all")
def statistics(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -g")
    lab.syns(CIP, 80, 3)
    for name in f"TCP {VIP}:80", f"TCP {VIP}:80 {RIP}:80":
        eventually(lambda key=name: lab.ipvs.statistics()[key][:3] ==
                   (3, 3, 0), f"statistics of {name}", 6)


@test("conn_max counts templates; a client that finds no room is dropped")
def conn_max(lab):
    lab.fresh(f"-t {VIP}:80", f"{RIP} -g")
    with lab.settings.but(conn_max=2):
        equal(lab.syns("10.0.1.60", 80, 2), [1, 0], "one and its template")
        equal(lab.syns("10.0.1.61", 80), [0], "another client")
    equal(lab.syns("10.0.1.61", 80), [1], "with room")


if __name__ == "__main__":
    main(lambda: PersistenceLab(servers=2, ipv6=True))
