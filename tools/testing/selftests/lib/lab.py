# SPDX-License-Identifier: GPL-2.0
"""The laboratory: client -- director -- servers, each in a namespace.

            client ------ director ------ server1
        10.0.1.2  10.0.1.1   |  10.0.2.1  10.0.2.2
                             +----------- server2
                             |  10.0.3.1  10.0.3.2
                       VIP 198.51.100.1   ...

With IPv6 there are fd00:1::2, fd00:1::1 and so on too, and 2001:db8::1.

The director is a real network stack with the module under test; the others
are bare ends of wires (see wire.py). No test sleeps: after what it sends, a
marker takes the same way to every host, plainly forwarded by the director.
All of it stays on one CPU, whose backlog is one queue, so when the marker is
there, everything that was to come has come, and what hasn't never will.
"""

import os
from contextlib import contextmanager

from . import module
from .ipvs import Ipvs
from .netns import Netns
from .packet import Packet, Raw, difference
from .tap import equal
from .wire import Host

VIP = "198.51.100.1"
CIP, RIP, RIP2, RIP3 = "10.0.1.2", "10.0.2.2", "10.0.3.2", "10.0.4.2"
VIP6 = "2001:db8::1"
CIP6, RIP6, RIP6_2 = "fd00:1::2", "fd00:2::2", "fd00:3::2"

QUIET = {
    "ipv6/conf/all/disable_ipv6": 1,
    "ipv6/conf/default/disable_ipv6": 1,
}
DIRECTOR = QUIET | {
    "ipv4/ip_forward": 1,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv4/conf/all/send_redirects": 0,
    "ipv4/conf/default/send_redirects": 0,
    "ipv4/icmp_ratemask": 0,
}
# With addresses and routes of its own. What it says by itself is said when it
# has got them: that it has joined groups is repeated at once, not within a
# second.
DIRECTOR6 = {
    "ipv6/conf/all/forwarding": 1,
    "ipv6/conf/default/addr_gen_mode": 1,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/router_solicitations": 0,
    "ipv6/conf/default/mldv2_unsolicited_report_interval": 1,
    "ipv6/auto_flowlabels": 0,
    "ipv6/icmp/ratelimit": 0,
}


def as_list(value):
    """A list of one where one is given."""
    return value if isinstance(value, list) else [value]


class Lab:
    """Namespaces, wires and the module, for as long as `with` lasts."""

    host_kind = Host

    def __init__(self, servers=1, parameters=(), mtu=1500, ipv6=False):
        self.names = ["client"] + [f"server{n + 1}" for n in range(servers)]
        self.parameters, self.mtu, self.ipv6 = parameters, mtu, ipv6
        self.namespaces, self.hosts, self.up = [], [], []
        self.director = self.ipvs = None
        self.marks = 0
        self.ports = iter(range(20000, 60000))

    def __enter__(self):
        os.sched_setaffinity(0, {0})
        try:
            module.load(*self.parameters)
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        for host in self.hosts:
            host.unplug()
        if self.director and module.loaded():
            self.ipvs.admin("--clear")
        for namespace in self.namespaces:
            namespace.delete()
        self.namespaces = []
        module.unload()

    def namespace(self, name, sysctls):
        """Add a namespace with these settings."""
        namespace = Netns(f"ipvs-{name}")
        self.namespaces.append(namespace)
        for path, value in sysctls.items():
            namespace.sysctl(path, value)
        return namespace

    def build(self):
        """Make the picture above."""
        settings = DIRECTOR
        if self.ipv6:
            settings = {key: value for key, value in DIRECTOR.items()
                        if key not in QUIET} | DIRECTOR6
        self.director = self.namespace("director", settings)
        self.director.ip("link set lo up", f"addr add {VIP}/32 dev lo")
        if self.ipv6:
            self.director.ip(f"addr add {VIP6}/128 dev lo")
        self.ipvs = Ipvs(self.director)
        for number, name in enumerate(self.names, 1):
            host = self.host_kind(name, number, self.namespace(name, QUIET),
                                  self.director)
            self.hosts.append(host)
            host.plug(self.mtu, self.ipv6)
        self.up = list(self.hosts)
        self.client, *self.servers = self.hosts
        self.server = self.servers[0] if self.servers else None

    def port(self):
        """A client port that no connection of this lab has had yet."""
        return next(self.ports)

    @contextmanager
    def cut(self, host):
        """While this lasts, the director's device towards a host is down."""
        self.director.ip(f"link set {host.name} down")
        self.up.remove(host)
        try:
            yield
        finally:
            self.director.ip(
                f"link set {host.name} up",
                f"neigh replace {host.ip} lladdr {host.mac} dev {host.name} "
                "nud permanent")
            host.await_carrier()
            self.up.append(host)

    def settle(self):
        """Return the packets that each host has seen since the last
        exchange."""
        self.marks += 1
        marker = b"ipvs selftest marker %08d" % self.marks
        for host in self.up:
            self.client.send(Packet(self.client.ip, host.ip, Raw(marker)))
        return {host: host.until(marker) for host in self.up}

    def exchange(self, origin, *packets):
        """Send packets; the frames that each host sees of it."""
        for host in self.up:
            host.drain()
        for packet in packets:
            origin.send(packet)
        return self.settle()

    def burst(self, packets):
        """Many packets of the client, no more at a time than a backlog has
        room for."""
        for number, packet in enumerate(packets, 1):
            self.client.send(packet)
            if number % 128 == 0:
                self.settle()
        self.settle()

    def expect(self, origin, sent, wanted):
        """Send, and find exactly the wanted packets at the hosts they are
        wanted at, and nothing at any other."""
        seen = self.exchange(origin, *as_list(sent))
        self.compare(seen, wanted)
        return seen

    def compare(self, seen, wanted):
        """Compare what the hosts saw with what they should have."""
        for host, frames in seen.items():
            want = as_list(wanted.get(host, []))
            for frame, packet in zip(frames, want):
                if not packet.matches(frame.ip):
                    raise AssertionError(
                        f"at {host}\n{difference(frame.ip, packet)}")
                equal((frame.dst, frame.src), (host.mac, host.router_mac),
                      f"link addresses at {host}")
            if len(frames) != len(want):
                raise AssertionError(
                    f"at {host}: {len(frames)} packets, {len(want)} wanted\n" +
                    "\n".join(f"  {frame.ip.hex()}" for frame in frames))
