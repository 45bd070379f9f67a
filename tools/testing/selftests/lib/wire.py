# SPDX-License-Identifier: GPL-2.0
"""The far end of a wire: a host without an IP stack of its own.

It sends frames whose every byte the test knows, and sees every frame that
comes. It has no address, so nothing but the test ever answers.
"""

import socket
import struct
from typing import NamedTuple

from .packet import Packet6
from .tap import TIME_FACTOR, eventually

SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_RCVBUFFORCE = 33
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86dd
GROUP = b"\xff\x02"        # groups of the link: how hosts speak of themselves
DEADLINE = 20 * TIME_FACTOR


class Frame(NamedTuple):
    """What came over the wire: link addresses, the bytes of IP, and what a
    tap was told beside them."""
    dst: str
    src: str
    ip: bytes
    about: bytes = b""


def mac_bytes(address):
    """aa:bb:… as six bytes."""
    return bytes.fromhex(address.replace(":", ""))


def tap(namespace, device, outgoing=False):
    """A socket that sends and sees the IP frames of a device."""
    with namespace:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    if not outgoing:
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.bind((device, ETH_P_ALL))
    sock.settimeout(DEADLINE)
    return sock


def received(sock, about=0):
    """The next frame of a tap, but for what hosts say about themselves: ARP,
    neighbour discovery and group membership. So many bytes before it are
    about it."""
    while True:
        data = sock.recv(65600)
        data, before = data[about:], data[:about]
        kind = struct.unpack_from("!H", data, 12)[0]
        if kind == ETH_P_IP or (kind == ETH_P_IPV6 and
                                data[38:40] != GROUP):
            break
    return Frame(data[:6].hex(":"), data[6:12].hex(":"), data[14:], before)


def drain(sock):
    """Forget what a tap has seen so far."""
    sock.setblocking(False)
    try:
        while True:
            sock.recv(65600)
    except BlockingIOError:
        pass
    sock.settimeout(DEADLINE)


class Host:
    """A host on its own wire to the director."""

    def __init__(self, name, number, namespace, director):
        self.name, self.ns, self.director = name, namespace, director
        self.net = f"10.0.{number}"
        self.ip, self.router = f"{self.net}.2", f"{self.net}.1"
        self.net6 = f"fd00:{number}:"
        self.ip6, self.router6 = f"{self.net6}:2", f"{self.net6}:1"
        self.mac = f"02:00:00:00:{number:02x}:02"
        self.router_mac = f"02:00:00:00:{number:02x}:01"
        self.socket = None

    def __repr__(self):
        return self.name

    def plug(self, mtu=1500, ipv6=False):
        """Make the wire; the director's device has this host's name. The
        director knows the link address, so nobody has to answer ARP."""
        self.director.ip(
            f"link add {self.name} mtu {mtu} address {self.router_mac} "
            f"type veth peer name eth0 mtu {mtu} address {self.mac} "
            f"netns {self.ns.name}",
            f"link set {self.name} up",
            f"addr add {self.router}/24 dev {self.name}",
            f"neigh add {self.ip} lladdr {self.mac} dev {self.name} "
            "nud permanent")
        if ipv6:
            self.director.ip(
                f"addr add {self.router6}/64 dev {self.name} nodad",
                f"neigh add {self.ip6} lladdr {self.mac} dev {self.name} "
                "nud permanent")
        self.ns.ip("link set eth0 up")
        self.await_carrier()

    def await_carrier(self):
        """Until a device has noticed its carrier, it drops what is sent."""
        for namespace, device in ((self.director, self.name),
                                  (self.ns, "eth0")):
            eventually(lambda at=namespace, name=device: " state UP " in
                       at.run("ip", "-o", "link", "show", "dev", name),
                       f"{device} in {namespace}")
            namespace.run("ethtool", "-K", device, "tx", "off", "sg", "off",
                          "tso", "off", "gso", "off", "gro", "off")
        self.socket = tap(self.ns, "eth0")

    def unplug(self):
        """Let go of the wire; it goes with the namespaces."""
        if self.socket:
            self.socket.close()

    def frame(self, packet):
        """A packet as it goes to the director."""
        kind = ETH_P_IPV6 if isinstance(packet, Packet6) else ETH_P_IP
        return (mac_bytes(self.router_mac) + mac_bytes(self.mac) +
                struct.pack("!H", kind) + bytes(packet))

    def send(self, packet):
        """Put a packet on the wire, to the director."""
        self.socket.send(self.frame(packet))

    def drain(self):
        """Forget what has come so far."""
        drain(self.socket)

    def receive(self):
        """The next frame."""
        return received(self.socket)

    def until(self, marker):
        """Everything that comes before the marker."""
        frames = []
        while True:
            try:
                frame = self.receive()
            except TimeoutError:
                raise AssertionError(f"the marker never reached {self}, "
                                     f"but {frames}") from None
            if frame.ip.endswith(marker):
                return frames
            frames.append(frame)
