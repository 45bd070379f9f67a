# SPDX-License-Identifier: GPL-2.0
"""The director that streams go through: services of every kind.

Beside those by port there are two kinds by firewall mark, whose packets are
marked as they come in: to an address of the director's, whose answers are
routed by their source address to another wire, and to any address at some
ports, as for a transparent cache.
"""

import socket
from typing import NamedTuple

from lib.encap import GRE, GRE_CSUM, GUE, GUE_CSUM, GUE_REMCSUM, IPIP, Tunnel
from lib.packet import is_ipv6
from lib.quiet import QuietLab
from lib.vs import Settings


class Family(NamedTuple):
    """The addresses of one family."""
    name: str
    client: str
    vip: str
    servers: tuple          # on the wire of each
    far: tuple              # behind the third one: by a small MTU, by none
    directors: tuple        # on the wire of client and of each server
    marked: str             # an address whose packets are marked
    outside: str            # beyond the client's wire
    inside: str             # beyond the first server's wire
    beyond: str             # wherever: by the default route

    def end(self, address, port):
        """An address and port as ipvsadm writes them."""
        return f"[{address}]:{port}" if is_ipv6(address) \
            else f"{address}:{port}"


V4 = Family("IPv4", "10.0.1.2", "198.51.100.1",
            ("10.0.2.2", "10.0.3.2", "10.0.4.2"),
            ("10.9.0.1", "10.9.1.1"),
            ("10.0.1.1", "10.0.2.1", "10.0.3.1", "10.0.4.1"),
            "198.51.100.2", "192.0.2.77", "10.0.2.77", "203.0.113.9")
V6 = Family("IPv6", "fd00:1::2", "2001:db8::1",
            ("fd00:2::2", "fd00:3::2", "fd00:4::2"),
            ("fd00:9::1", "fd00:9:1::1"),
            ("fd00:1::1", "fd00:2::1", "fd00:3::1", "fd00:4::1"),
            "2001:db8::2", "2001:db8:5::77", "fd00:2::77", "2001:db8:6::9")
FAMILIES = V4, V6
SMALL_MTU = 1300
MARK, BYPASS_MARK, BYPASS_PORTS = 1, 9, "6000-6999"
NAT, DIRECT, TUNNEL = "-m", "-g", "-i"


class Service(NamedTuple):
    """A service of each protocol in each family."""
    port: int
    method: str
    servers: tuple          # numbers in Family.servers + Family.far
    rport: int = 0          # the same port
    scheduler: str = "rr"
    tunnel: Tunnel = None
    mixed: bool = False     # servers of the other family
    weight: int = 1
    here: bool = False      # the server is the director

    def options(self):
        """What ipvsadm is told of each server beside its address."""
        text = f"{self.method} -w {self.weight}"
        return f"{text} {self.tunnel.options}" if self.tunnel else text


# No FTP: for that the C module has connections tracked in the namespace.
# Numbers of servers: 0 to 2 on their wires, 3 by a small MTU, 4 by no route.
SERVICES = (
    Service(80, NAT, (0, 1), 8080),
    Service(81, NAT, (0,)),
    Service(82, DIRECT, (0, 1)),
    Service(83, TUNNEL, (0,), tunnel=IPIP),
    Service(84, TUNNEL, (1,), tunnel=GUE),
    Service(85, TUNNEL, (1,), tunnel=GUE_CSUM),
    Service(86, TUNNEL, (1,), tunnel=GUE_REMCSUM),
    Service(87, TUNNEL, (2,), tunnel=GRE),
    Service(88, TUNNEL, (2,), tunnel=GRE_CSUM),
    Service(89, TUNNEL, (0,), tunnel=IPIP, mixed=True),
    Service(90, TUNNEL, (1,), tunnel=GUE_CSUM, mixed=True),
    Service(91, TUNNEL, (2,), tunnel=GRE, mixed=True),
    Service(92, NAT, ()),
    Service(93, NAT, (0,), weight=0),
    Service(94, NAT, (0,), 8094, here=True),
    Service(95, DIRECT, (0,), here=True),
    Service(96, NAT, (4,)),
    Service(97, DIRECT, (4,)),
    Service(98, NAT, (3,)),
    Service(99, DIRECT, (3,)),
    Service(100, TUNNEL, (3,), tunnel=IPIP),
    Service(101, TUNNEL, (3,), tunnel=GUE),
    Service(102, NAT, (0, 1, 2), 8102, "sh"),
    Service(103, NAT, (0, 1, 2), 0, "mh"),
)
OTHER = {V4.name: V6, V6.name: V4}


def addresses(service, family):
    """Of the service's servers."""
    if service.here:
        return family.directors[:1]
    of = OTHER[family.name] if service.mixed else family
    all_of = of.servers + of.far
    return tuple(all_of[number] for number in service.servers)


def rules():
    """All services in the form of ipvsadm --save."""
    for family in FAMILIES:
        for kind in "-t", "-u", "--sctp-service":
            for service in SERVICES:
                virtual = f"{kind} {family.end(family.vip, service.port)}"
                yield f"-A {virtual} -s {service.scheduler}"
                for address in addresses(service, family):
                    real = family.end(address, service.rport or service.port)
                    yield f"-a {virtual} -r {real} {service.options()}"
        six = " -6" if is_ipv6(family.vip) else ""
        yield f"-A -f {MARK}{six} -s rr"
        for address in family.servers[:2]:
            yield f"-a -f {MARK}{six} -r {family.end(address, 0)} -m"
        yield f"-A -f {BYPASS_MARK}{six} -s rr"


MARKING = f"""
table inet marks {{ chain in {{
    type filter hook prerouting priority mangle
    ip daddr {V4.marked} meta mark set {MARK}
    ip6 daddr {V6.marked} meta mark set {MARK}
    iifname client meta l4proto {{ tcp, udp, sctp }} th dport {BYPASS_PORTS} \
        meta mark set {BYPASS_MARK}
}}
}}
"""


# What stands for the rules below among the settings of a group.
TRACKED = "rules that track"
# Packets leave with the state that nf_conntrack has for them as their DSCP.
# There is no nf_nat: where ports are taken, it chooses others by chance.
TRACKING = "table inet tracking { chain state {\n" \
    "type filter hook postrouting priority mangle\n" \
    "meta l4proto 253 accept\n" + "".join(
        f"ct state {state} {kind} dscp set {number}\n"
        for number, state in enumerate(("new", "established", "related",
                                        "invalid", "untracked"), 1)
        for kind in ("ip", "ip6")) + "}\n}\n"


class World(QuietLab):
    """The laboratory with three servers, both families, all services."""

    def __init__(self):
        super().__init__(servers=3, ipv6=True)
        self.settings, self.raw = None, {}

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        last = self.servers[2]
        for family, near in zip(FAMILIES, (last.ip, last.ip6)):
            small, none = family.far
            kind = socket.AF_INET6 if is_ipv6(near) else socket.AF_INET
            self.director.ip(
                f"addr add {family.marked} dev lo",
                f"route add {small} via {near} mtu {SMALL_MTU}",
                f"route add unreachable {none}",
                f"route add {family.outside} via {family.client}",
                f"route add default via {near}",
                *(f"neigh replace {address} lladdr {host.mac} dev {host.name} "
                  "nud permanent" for address, host in (
                      (family.inside, self.server),)),
            )
            six = "-6 " if is_ipv6(near) else ""
            self.director.run("ip", *f"{six}rule add fwmark {BYPASS_MARK} "
                              "lookup 100".split())
            self.director.run("ip", *f"{six}route add local default dev lo "
                              "table 100".split())
            self.director.run("ip", *f"{six}rule add from {family.marked} "
                              "lookup 200".split())
            self.director.run("ip", *f"{six}route add {family.client} via "
                              f"{near} table 200".split())
            with self.director:
                self.raw[family.name] = socket.socket(
                    kind, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.director.run("nft", "-f", "-", stdin=MARKING)
        self.ipvs.rules(*rules())

    def set(self, name, value):
        """Write a setting of net.ipv4.vs, or set the rules that track."""
        if name != TRACKED:
            self.settings[name] = value
        elif value:
            self.director.run("nft", "-f", "-", stdin=TRACKING)
        else:
            self.director.run("nft", "destroy", "table", "inet", "tracking")

    def __exit__(self, *error):
        for sock in self.raw.values():
            sock.close()
        self.raw = {}
        super().__exit__(*error)
