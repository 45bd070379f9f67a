#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
"""Rules of iptables with `-m ipvs`: which packets match them, in each chain,
with each option and its inversion.

Compared: the counters of the same rules in each chain of three tables, for
packets of each kind of connection, with what the options should mean (see
lib/xt.py); by iptables-legacy and iptables-nft, IPv4 and IPv6."""

from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from lib import module
from lib.family import FAMILIES, end
from lib.iptables import Tables
from lib.lab import Lab
from lib.packet import ACK, SYN, tcp, udp
from lib.sockets import bound
from lib.tap import Skip, main, test_each
from lib.vs import Settings
from lib.xt import (Conn, Option, Seen, each_and_inverted, expected,
                    rules_everywhere)

TCP, UDP = 6, 17
FRONTS = ["legacy", "nft"]
MARK, STICKY_MARK = 7, 8
IN, OUT = "PREROUTING INPUT", "OUTPUT POSTROUTING"
NEW = Seen()


class Kind:
    """A family by one of the programs."""

    def __init__(self, family, front):
        self.family, self.front = family, front

    def __str__(self):
        return f"{self.family}, {self.front}"


KINDS = [Kind(family, front) for family in FAMILIES for front in FRONTS]


class XtLab(Lab):
    """With services of each method, and what controls connections."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)

    def build(self):
        super().build()
        module.load_match()
        for family in FAMILIES:
            def at(port, family=family):
                return end(family.vip, port)

            def to(port, rip=family.rip):
                return end(rip, port)
            self.ipvs.service(at(80), f"{to(8080)} -m")
            self.ipvs.service(at(80), f"{to(80, family.rip2)} -i", kind="-u")
            self.ipvs.service(at(81), f"{to(81, family.rip2)} -g", kind="-u")
            self.ipvs.service(at(82), f"{to(8082)} -m", kind="-u")
            self.ipvs.service(at(83), f"{end(family.own, 83)} -m", kind="-u")
            self.ipvs.service(at(86), f"{end(family.own, 86)} -g", kind="-u")
            self.ipvs.service(at(84), f"{to(84)} -m", kind="-u",
                              scheduler="rr -o")
            self.ipvs.service(at(85), f"{to(8085)} -m", scheduler="rr -p 60")
            self.ipvs.service(at(21), f"{to(21)} -m", scheduler="rr -p 60")
            self.ipvs.service(at(0), f"{to(0)} -m", scheduler="rr -p 60")
            for mark, more in ((MARK, ""), (STICKY_MARK, " -p 60")):
                self.ipvs.service(
                    family.mark(2 * mark + (family.name == "IPv6")),
                    f"{to(0)} -m", scheduler=f"rr{more}", kind="-f")


def covers(network, address):
    """Whether an address is in a network."""
    return ip_address(address) in ip_network(network, strict=False)


def options(family):
    """Options of rules, alone and together."""
    vip, bits = family.vip, 8 * len(ip_address(family.vip).packed)
    alone = [
        Option("ipvs"), Option("vproto", "tcp"), Option("vproto", "udp"),
        Option("vaddr", vip), Option("vaddr", f"{vip}/{bits - 8}"),
        Option("vaddr", f"{family.cip}/{bits - 8}"),
        Option("vport", 80), Option("vport", 85), Option("vport", 0),
        Option("vportctl", 0), Option("vportctl", 85),
        Option("vdir", "ORIGINAL"), Option("vdir", "REPLY"),
        Option("vmethod", "MASQ"), Option("vmethod", "GATE"),
        Option("vmethod", "IPIP"),
    ]
    together = [Option("vproto", "tcp"), Option("vaddr", f"{vip}/{bits}"),
                Option("vport", 80), Option("vmethod", "MASQ"),
                Option("vportctl", 0, True)]
    # All of them hold for one of the connections, and all but one.
    return (each_and_inverted(*alone) + [together, [Option("ipvs"), *together]]
            + [together[:at] + [wrong._replace(inverted=not wrong.inverted)] +
               together[at + 1:] for at, wrong in enumerate(together)])


class Watch:
    """Rules with all options in all chains of the director, while this
    lasts; those of `after` come after them."""

    def __init__(self, lab, kind, after):
        self.lab, self.kind = lab, kind
        self.tables = Tables(lab.director, kind.front,
                             kind.family.name == "IPv6")
        self.options = options(kind.family)
        self.after, self.before = after, None

    def __enter__(self):
        rules = rules_everywhere(self.options)
        rules["mangle"] = rules["mangle"] + self.after
        self.tables.restore(rules)
        self.before = self.counted()
        return self

    def __exit__(self, *_error):
        self.tables.clear()

    def counted(self):
        """What each rule has counted."""
        return {table: [counted for counted in rules if " -j " not in
                        counted[0]]
                for table, rules in self.tables.counts().items()}

    def saw(self, what, *visits):
        """Since the last time, the chains have seen these packets, and those
        that tell when all have been there."""
        if self.kind.family.name == "IPv4":
            visits += (("PREROUTING FORWARD POSTROUTING", NEW),) * \
                len(self.lab.up)
        want = expected(self.options, visits, covers)
        now = self.counted()
        wrong = []
        for table, rules in now.items():
            for number, (rule, count) in enumerate(rules):
                count -= self.before[table][number][1]
                if count != want[table][number]:
                    wrong.append(f"{table} {rule}: {count} packets, "
                                 f"not {want[table][number]}")
        self.before = now
        if wrong:
            raise AssertionError("\n".join([what, *wrong]))


@contextmanager
def watch(lab, kind):
    """Rules, those that set firewall marks among them."""
    marks = [f"PREROUTING -p udp --dport {7000 + mark} "
             f"-j MARK --set-mark {2 * mark + (kind.family.name == 'IPv6')}"
             for mark in (MARK, STICKY_MARK)]
    with Watch(lab, kind, marks) as watching:
        yield watching


def handled(protocol, conn=None, direction_is=None):
    """A packet that IPVS has handled."""
    return Seen(True, protocol, conn, direction_is)


@test_each(KINDS, "requests by NAT match with all that their connection is, "
           "once they are on the way to the server; answers with nothing but "
           "that IPVS has handled them")
def by_nat(lab, kind):
    family, cport = kind.family, lab.port()
    with watch(lab, kind) as rules:
        request = tcp(family.cip, cport, family.vip, 80, SYN)
        lab.exchange(lab.client, request)
        conn = Conn(family.vip, 80, "MASQ")
        rules.saw("a SYN", (IN, NEW), (OUT, handled(TCP, conn)))
        answer = tcp(family.rip, 8080, family.cip, cport, SYN | ACK)
        lab.exchange(lab.server, answer)
        rules.saw("its answer", ("PREROUTING FORWARD", NEW),
                  ("POSTROUTING", handled(TCP)))
        error = family.error(family.rip, family.cip, family.port_unreachable,
                             request.but(dst=family.rip, dport=8080))
        lab.exchange(lab.server, error)
        rules.saw("an error about it", ("PREROUTING FORWARD", NEW),
                  ("POSTROUTING", handled(error.l4.protocol)))


@test_each(KINDS, "requests by direct routing match, those in a tunnel with "
           "nothing but that IPVS has handled them")
def by_other_methods(lab, kind):
    family = kind.family
    with watch(lab, kind) as rules:
        lab.exchange(lab.client, udp(family.cip, lab.port(), family.vip, 81))
        rules.saw("by direct routing", (IN, NEW), (OUT, handled(
            UDP, Conn(family.vip, 81, "GATE"))))
        lab.exchange(lab.client, udp(family.cip, lab.port(), family.vip, 80))
        rules.saw("by a tunnel", (IN, NEW), (OUT, handled(4)))
        lab.exchange(lab.client, udp(family.cip, lab.port(), family.rip, 80))
        rules.saw("by no service",
                  ("PREROUTING FORWARD POSTROUTING", NEW))


@test_each(KINDS, "--vportctl is the port of the template, 0 if that is for "
           "all ports, FTP's or a firewall mark; without one there is none")
def persistent(lab, kind):
    family = kind.family
    with watch(lab, kind) as rules:
        for port, kind_of, control in (
                (85, tcp, 85), (21, tcp, 0), (90, tcp, 0),
                (7000 + STICKY_MARK, udp, 0), (7000 + MARK, udp, None),
                (82, udp, None)):
            request = kind_of(family.cip, lab.port(), family.vip, port)
            lab.exchange(lab.client, request)
            rules.saw(f"port {port}", (IN, NEW), (OUT, handled(
                request.l4.protocol,
                Conn(family.vip, port, "MASQ", control))))


@test_each(KINDS, "a client on the director is one like others; what it sends "
           "to a server on the director matches wherever it comes")
def local(lab, kind):
    family = kind.family
    with watch(lab, kind) as rules:
        with bound(lab.director, family.own, lab.port()) as sock:
            sock.sendto(b"to a server", (family.vip, 82))
            lab.settle()
            rules.saw("to a server elsewhere",
                      ("raw/OUTPUT mangle/OUTPUT", NEW),
                      (OUT, handled(UDP, Conn(family.vip, 82, "MASQ"))))
        for port, method, server in ((83, "MASQ", family.own),
                                     (86, "GATE", family.vip)):
            with bound(lab.director, server, port), \
                    bound(lab.director, family.own, lab.port()) as sock:
                sock.sendto(b"to the director", (family.vip, port))
                lab.settle()
            rules.saw(f"to a server on the director, {method}",
                      ("raw/OUTPUT mangle/OUTPUT", NEW),
                      ("filter/OUTPUT POSTROUTING PREROUTING INPUT", handled(
                          UDP, Conn(family.vip, port, method))))


@test_each(KINDS, "a packet that came in fragments matches as a whole; a "
           "datagram that is scheduled alone belongs to no connection")
def fragments(lab, kind):
    family = kind.family
    with watch(lab, kind) as rules:
        request = udp(family.cip, lab.port(), family.vip, 82, bytes(2000))
        lab.exchange(lab.client, *request.fragments(1200))
        # Rules see one packet: fragments are gathered before them for IPv6
        # services, and for connection tracking, which FTP's service needs.
        rules.saw("fragments", (IN, NEW), (OUT, handled(
            UDP, Conn(family.vip, 82, "MASQ"))))
        lab.exchange(lab.client, udp(family.cip, lab.port(), family.vip, 84))
        rules.saw("one packet", (IN, NEW), (OUT, handled(UDP)))


@test_each(KINDS, "--vdir is the direction of the packet in connection "
           "tracking; neither without an entry")
def direction(lab, kind):
    family, settings = kind.family, Settings(lab.director)
    if "conntrack" not in settings.names():
        raise Skip("there is no net.ipv4.vs.conntrack")
    tracked = ["PREROUTING -m conntrack --ctstate NEW -j ACCEPT"]
    conn = Conn(family.vip, 82, "MASQ")
    with settings.but(conntrack=1), Watch(lab, kind, tracked) as rules:
        request = udp(family.cip, lab.port(), family.vip, 82)
        lab.exchange(lab.client, request)
        rules.saw("the first packet", (IN, NEW), (OUT, handled(
            UDP, conn, "ORIGINAL")))
        cport = lab.port()
        lab.director.run(
            "conntrack", "-I", "-p", "udp", "-t", "600", "-s", family.vip,
            "--sport", "82", "-d", family.cip, "--dport", str(cport))
        lab.exchange(lab.client, request.but(sport=cport))
        rules.saw("in the other direction of an entry", (IN, NEW),
                  (OUT, handled(UDP, conn, "REPLY")))


if __name__ == "__main__":
    main(XtLab)
