# SPDX-License-Identifier: GPL-2.0
"""A laboratory whose last wire goes to the other director: the test is that.

It sees the datagrams of the director under test, and sends those of the other
one."""

import struct

from .family import FAMILIES, IPV4, end
from .lab import RIP, VIP, Lab
from .packet import ACK, FIN, IPPROTO_UDP, RST, SYN, pack_address, tcp, udp
from .sync import GROUP, MASTER, PORT, Daemons, parse
from .vs import Settings
from .wire import ETH_P_IP, ETH_P_IPV6, drain, tap

DEV, PEER, OWN = "peer", "10.0.99.2", "10.0.99.1"
OWN6 = "fd00:99::1"
FENCE = 9
SEGMENTS = {"syn": SYN, "fin": FIN | ACK, "ack": ACK, "rst": RST}


def group_mac(group):
    """The link address of a multicast group."""
    if ":" in group:
        return b"\x33\x33" + pack_address(group)[-4:]
    low = bytes(map(int, group.split(".")))
    return bytes((1, 0, 0x5e, low[1] & 0x7f, *low[2:]))


class SyncLab(Lab):
    """The laboratory, the wire to the peer, and a service of which closing
    connections tell that all datagrams before them have been sent."""

    daemons = wire = None

    def build(self):
        super().build()
        peer = self.namespace("peer", {
            "ipv6/conf/all/disable_ipv6": 1,
            "ipv6/conf/default/disable_ipv6": 1})
        self.director.ip(f"link add {DEV} type veth peer name eth0 "
                         f"netns {peer.name}", f"link set {DEV} up",
                         f"addr add {OWN}/24 dev {DEV}")
        if self.ipv6:
            self.director.ip(f"addr add {OWN6}/64 dev {DEV} nodad")
        peer.ip("link set eth0 up")
        self.director.run("ethtool", "-K", DEV, "tx", "off")
        self.wire = tap(peer, "eth0")
        self.daemons = Daemons(self.director)
        self.settings = Settings(self.director)
        self.fences()

    def fences(self):
        """The service of fences. Packets of a family are looked at while it
        has a service, so there is one for IPv6, too."""
        for ip in FAMILIES[:1 + self.ipv6]:
            self.ipvs.service(end(ip.vip, FENCE), f"{end(ip.rip, FENCE)} -g")

    def __exit__(self, *error):
        if self.daemons:
            self.daemons.stop()
            self.daemons.close()
        if self.wire:
            self.wire.close()
        super().__exit__(*error)

    def fresh(self, *rules):
        """Only these services."""
        self.ipvs.admin("-C")
        self.fences()
        if rules:
            self.ipvs.rules(*rules)
        drain(self.wire)

    def master(self, **fields):
        """Start a master, each connection of which has its own datagram."""
        self.daemons.start(MASTER, DEV, **{"syncid": 7, "maxlen": 1} | fields)
        self.sent()

    def play(self, way, ends=(IPV4.cip, VIP, RIP), cport=None, vport=80):
        """Send TCP segments of the client (i) and the server (o); the
        client's port."""
        cip, vip, rip = ends
        cport = cport or self.port()
        for step in way.split():
            side, name = step.split(":")
            segment = tcp(cip, cport, vip, vport, SEGMENTS[name])
            if side == "i":
                self.client.send(segment)
            else:
                self.server.send(segment.back(src=rip))
        self.settle()
        return cport

    def frame(self):
        """The next datagram: its IP packet, whole, and the load."""
        while True:
            data = self.wire.recv(65600)
            kind = struct.unpack_from("!H", data, 12)[0]
            ip = data[14:]
            if kind == ETH_P_IP and ip[9] == IPPROTO_UDP:
                return data, ip[28:]
            if kind == ETH_P_IPV6 and ip[6] == IPPROTO_UDP:
                return data, ip[48:]

    def fence(self):
        """Push out what is gathered; the client port of a connection that
        comes after it. It is closed, and that is always sent."""
        return self.play("i:syn i:fin", vport=FENCE)

    def sent(self):
        """The datagrams since the last time, each as it is."""
        last, found = self.fence(), []
        self.fence()
        while True:
            _, load = self.frame()
            conns = parse(load).conns
            if conns and conns[0].vport == FENCE:
                if conns[0].cport == last:
                    return found
                continue
            found.append(load)

    def conns(self, cport=None):
        """The connections that were sent since the last time."""
        return [conn for load in self.sent() for conn in parse(load).conns
                if cport in (None, conn.cport)]

    def inject(self, load, group=GROUP, port=PORT, src=PEER, **more):
        """Send a datagram of the other director."""
        data = udp(src, 40000, group, port, load, ttl=1, **more)
        self.wire.send(group_mac(group) + bytes.fromhex("020000006302") +
                       struct.pack("!H", ETH_P_IPV6 if ":" in group
                                   else ETH_P_IP) + bytes(data))
