# SPDX-License-Identifier: GPL-2.0
"""The director of scenarios: no services at first, a clock to go by, and all
that can be seen of it in a form to compare."""

import socket
import struct
import time
from typing import NamedTuple

from lib import genl
from lib.ctnetlink import Table
from lib.genl import Genl
from lib.ipvs import connection_lines
from lib.module import run
from lib.packet import is_ipv6
from lib.quiet import QuietLab
from lib.vs import Settings
from streams.world import FAMILIES, TRACKING, V4, V6

MARK = 1
# Further networks of clients.
NEAR = {V4.name: ("10.0.101.0/24", "10.0.101.7"),
        V6.name: ("fd00:101::/64", "fd00:101::7")}
MARKING = f"""
table inet marks {{ chain in {{
    type filter hook prerouting priority mangle
    ip daddr {V4.marked} meta mark set {MARK}
    ip6 daddr {V6.marked} meta mark set {MARK}
}}
}}
"""
# The kernel looks at its timers in slots: every 4 ms, for longer ones every
# 32 ms and so on, every 131 s for those of more than 17 minutes. A scenario
# begins where a slot of each kind does, so that a timer of the same length,
# set at the same moment, is as late on both modules.
ALIGNED = 1 << 15               # ticks
TICK = 4                        # ms
AFTER_TICK = .001               # s: so late in its tick is every step
REST = 200                      # s: removed servers are forgotten by then
MARKER_PROTOCOL = 253
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "": 0}
TIMEOUTS = 900, 120, 300


class Entry(NamedTuple):
    """A line of ip_vs_conn."""
    text: str                   # without the time it has left
    left: int


class World(QuietLab):
    """Three servers, both families, and nothing to balance yet."""

    def __init__(self):
        super().__init__(servers=3, ipv6=True)
        self.genl = self.settings = self.tracked = None
        self.defaults = {}

    def build(self):
        super().build()
        for family in FAMILIES:
            self.director.ip(
                f"addr add {family.marked} dev lo",
                f"route add {NEAR[family.name][0]} via {family.client}")
        self.director.run("nft", "-f", "-", stdin=MARKING)
        self.settings = Settings(self.director)
        self.genl = Genl(self.director)
        run("modprobe", "nf_conntrack_netlink")
        self.tracked = Table(self.director)

    def __exit__(self, *error):
        if self.genl:
            self.genl.close()
            self.tracked.close()
        super().__exit__(*error)

    # The clock.

    def begin(self, tracks):
        """Everything as at first: services, settings, connections, entries of
        nf_conntrack. Returns the time of the start. `tracks` tells whether
        rules have nf_conntrack look at packets."""
        self.request(genl.FLUSH)
        self.timeouts(*TIMEOUTS)
        for name, value in self.defaults.items():
            self.settings[name] = value
        self.defaults = {}
        while self.table():
            time.sleep(30)
        self.director.run("nft", "destroy", "table", "inet", "tracking")
        if tracks:
            self.director.run("nft", "-f", "-", stdin=TRACKING)
        self.tracked.flush()
        time.sleep(REST)
        self.request(genl.ZERO)         # what there was is in the total
        unit = ALIGNED * TICK / 1000
        start = (time.monotonic() // unit + 1) * unit + AFTER_TICK
        self.until(start)
        return start

    @staticmethod
    def until(moment):
        """Sleep; how many seconds too late it is."""
        late = time.monotonic() - moment
        if late < 0:
            time.sleep(-late)
        return max(late, 0)

    # What can be done to it.

    def set(self, name, value):
        """Write a setting, and remember to take it back."""
        if name not in self.defaults:
            self.defaults[name] = self.settings[name]
        return self.settings.write(name, value)

    def request(self, command, *row):
        """The errno's name."""
        return self.genl.request(command, *row).error

    def timeouts(self, tcp, fin, udp):
        """ipvsadm --set"""
        return self.request(genl.SET_CONFIG,
                            genl.u32(genl.CMD_TIMEOUT_TCP, tcp),
                            genl.u32(genl.CMD_TIMEOUT_TCP_FIN, fin),
                            genl.u32(genl.CMD_TIMEOUT_UDP, udp))

    # What can be seen of it.

    def table(self):
        """All connections and templates, in an order of their own."""
        return sorted(
            Entry(" ".join(part[:8] + part[9:]), int(part[8]))
            for part in map(str.split, connection_lines(self.director)))

    def entries(self):
        """What nf_conntrack knows, but for markers."""
        return [entry for entry in self.tracked.entries()
                if entry.protocol != MARKER_PROTOCOL]

    def services(self):
        """{service: (what it is, [(server, what it is, its connections)])},
        and statistics: {name: conns, packets and bytes}."""
        found, statistics = {}, {}
        for message in self.genl.dump(genl.GET_SERVICE).messages:
            row = genl.attributes(genl.attributes(message)[genl.CMD_SERVICE])
            name = service_name(row)
            statistics[name] = counters(row[genl.SVC_STATS64])
            servers = []
            for answer in self.genl.dump(
                    genl.GET_DEST, genl.nest(genl.CMD_SERVICE, *key(row))
                    ).messages:
                dest = genl.attributes(genl.attributes(answer)[genl.CMD_DEST])
                servers.append(server(dest))
                statistics[f"{name} {servers[-1][0]}"] = counters(
                    dest[genl.DEST_STATS64])
            found[name] = (described(row), servers)
        return found, statistics

    def total(self):
        """Statistics of all there is and was."""
        return self.director.proc("ip_vs_stats").splitlines()[2].split()


def number(data):
    """An attribute's number, in the order of bytes of this machine."""
    return int.from_bytes(data, "little")


def shown(data, family):
    """An address in an attribute."""
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, data[:16])
    return socket.inet_ntop(socket.AF_INET, data[:4])


def key(row):
    """The attributes that name a service."""
    wanted = (genl.SVC_AF, genl.SVC_FWMARK) if genl.SVC_FWMARK in row else (
        genl.SVC_AF, genl.SVC_PROTOCOL, genl.SVC_ADDR, genl.SVC_PORT)
    return [genl.attr(kind, row[kind]) for kind in wanted]


def service_name(row):
    """How notes speak of it."""
    family = number(row[genl.SVC_AF])
    if genl.SVC_FWMARK in row:
        return f"mark {number(row[genl.SVC_FWMARK])} of family {family}"
    return (f"{number(row[genl.SVC_PROTOCOL])} "
            f"{shown(row[genl.SVC_ADDR], family)} "
            f"{int.from_bytes(row[genl.SVC_PORT], 'big')}")


def described(row):
    """What a service is."""
    return {"scheduler": row[genl.SVC_SCHED_NAME].rstrip(b"\0").decode(),
            "flags": number(row[genl.SVC_FLAGS][:4]),
            "persistent": number(row[genl.SVC_TIMEOUT]),
            "mask": row[genl.SVC_NETMASK].hex(),
            "engine": row.get(genl.SVC_PE_NAME, b"").rstrip(b"\0").decode()}


def server(row):
    """A server's name, and what it is and has."""
    family = number(row[genl.DEST_ADDR_FAMILY])
    return (f"{shown(row[genl.DEST_ADDR], family)} "
            f"{int.from_bytes(row[genl.DEST_PORT], 'big')}",
            {name: number(row[kind]) for name, kind in (
                ("method", genl.DEST_FWD_METHOD),
                ("weight", genl.DEST_WEIGHT),
                ("upper", genl.DEST_U_THRESH),
                ("lower", genl.DEST_L_THRESH),
                ("active", genl.DEST_ACTIVE_CONNS),
                ("inactive", genl.DEST_INACT_CONNS),
                ("persistent", genl.DEST_PERSIST_CONNS))})


def counters(data):
    """Connections, packets and bytes, without rates."""
    rows = genl.attributes(data)
    return tuple(struct.unpack("=Q", rows[kind])[0] for kind in range(1, 6))


def of_service(service):
    """The attributes that name a service of a scenario."""
    family = socket.AF_INET6 if is_ipv6(service.address) else socket.AF_INET
    row = [genl.u16(genl.SVC_AF, family)]
    if service.mark:
        return row + [genl.u32(genl.SVC_FWMARK, service.mark)]
    return row + [genl.u16(genl.SVC_PROTOCOL, PROTOCOLS[service.protocol]),
                  genl.address(genl.SVC_ADDR, service.address),
                  genl.be16(genl.SVC_PORT, service.port)]
