# SPDX-License-Identifier: GPL-2.0
"""IPsec between the director and a server that has an IP stack of its own."""

import socket
import struct
import subprocess
from contextlib import contextmanager
from itertools import count

from .lab import RIP, RIP6, VIP, VIP6, Lab
from .packet import is_ipv6
from .tap import Skip, eventually
from .wire import Host, received, tap

ESP = 50
KEY = "0x" + bytes(range(20)).hex()
IP_XFRM_POLICY = 17
MARKER = b"ipvs selftest marker"
MARKER_PROTOCOL = 253
# The address of a host behind the server, for what bypasses all servers.
SOMEWHERE, SOMEWHERE6 = "203.0.113.9", "2001:db8:9::9"


def protocol(data):
    """The number of what follows the IP header."""
    return data[6] if data[0] >> 4 == 6 else data[9]


def block_to(address):
    """A struct xfrm_userpolicy_info for a socket: nothing may be sent to an
    IPv4 address."""
    out, block = 1, 1
    selector = struct.pack("=16s16s8xHBBB3xiI", socket.inet_aton(address), b"",
                           socket.AF_INET, 32, 0, 0, 0, 0)
    forever = struct.pack("=4Q32x", *4 * [2 ** 64 - 1])
    return selector + forever + bytes(32) + \
        struct.pack("=IIBBBB4x", 0, 0, out, block, 0, 0)


class Server(Host):
    """A server that receives, decrypts and answers. It has the virtual
    addresses, and those that are somewhere behind it, too."""

    def plug(self, mtu=1500, ipv6=False):
        for what in "all", "default", "lo":
            self.ns.sysctl(f"ipv6/conf/{what}/disable_ipv6", 0)
        self.ns.sysctl("ipv6/conf/default/accept_dad", 0)
        self.ns.sysctl("ipv6/conf/default/addr_gen_mode", 1)
        super().plug(mtu, ipv6)
        self.ns.ip(
            "link set lo up",
            *(f"addr add {address} dev lo"
              for address in (VIP, VIP6, SOMEWHERE, SOMEWHERE6)),
            f"addr add {self.ip}/24 dev eth0",
            f"addr add {self.ip6}/64 dev eth0 nodad",
            f"neigh add {self.router} lladdr {self.router_mac} dev eth0 "
            "nud permanent",
            f"neigh add {self.router6} lladdr {self.router_mac} dev eth0 "
            "nud permanent",
            f"route add default via {self.router}",
            f"route add default via {self.router6}")
        # So that nobody says of markers that their protocol is unknown.
        with self.ns:
            self.deaf = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                      MARKER_PROTOCOL)

    def unplug(self):
        super().unplug()
        self.deaf.close()


class IpsecLab(Lab):
    """A client, which is the bare end of a wire, and a server as above."""

    def __init__(self):
        super().__init__(ipv6=True)
        self.spis = count(256)
        self.wire = None

    def __enter__(self):
        if subprocess.run(["modprobe", "-q", "-a", "esp4", "esp6",
                           "xfrm_user"], check=False).returncode:
            raise Skip("the kernel's configuration leaves ESP out")
        return super().__enter__()

    def host_kind(self, name, number, *more):
        """The client is the first."""
        return (Host if number == 1 else Server)(name, number, *more)

    def build(self):
        super().build()
        self.wire = tap(self.director, self.server.name, outgoing=True)
        self.wire.setblocking(False)
        self.director.ip(f"route add {SOMEWHERE} via {RIP}",
                         f"route add {SOMEWHERE6} via {RIP6}")

    def __exit__(self, *_error):
        if self.wire:
            self.wire.close()
        super().__exit__()

    def left(self):
        """The packets that the director has sent to the server since it was
        asked last, markers excepted."""
        return self._seen(self.server.router_mac)

    def got(self):
        """Those that it has got from the server."""
        return self._seen(self.server.mac)

    def _seen(self, sender):
        found = []
        try:
            while True:
                frame = received(self.wire)
                if frame.src == sender and MARKER not in frame.ip:
                    found.append(frame.ip)
        except BlockingIOError:
            return found

    def leaves(self, packet, what="a packet on the wire to the server"):
        """Send a packet of the client's; the packets that the director makes
        of it, of which there must be one at least."""
        self.left()
        self.client.send(packet)
        return eventually(self.left, what)

    def protect(self, flows, mode, sender=None, receiver=None):
        """Have what is selected encrypted where it leaves the sender, the
        director if nothing else is said, and ask for that where it comes to
        the receiver, the server. For each flow its selector, and the ends of
        its security association."""
        out, inward = [], []
        for selector, (src, dst) in flows.items():
            spi = next(self.spis)
            known = (f"xfrm state add src {src} dst {dst} proto esp spi {spi} "
                     f"reqid {spi} mode {mode} "
                     f"aead rfc4106(gcm(aes)) {KEY} 128")
            ends = f"src {src} dst {dst}" if mode == "tunnel" else ""
            for commands, way in (out, "out"), (inward, "in"):
                commands += (known, f"xfrm policy add {selector} dir {way} "
                             f"tmpl {ends} proto esp reqid {spi} mode {mode}")
        (sender or self.director).ip(*out)
        (receiver or self.server.ns).ip(*inward)

    def forget(self, *namespaces):
        """No policies and associations any more, at the director and the
        server if nothing else is said."""
        for namespace in namespaces or (self.director, self.server.ns):
            namespace.ip("xfrm policy flush", "xfrm state flush")

    @contextmanager
    def raw(self, address, number):
        """A socket that gets the packets of a protocol that come to the
        server."""
        family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
        with self.server.ns:
            sock = socket.socket(family, socket.SOCK_RAW, number)
        sock.bind((address, 0))
        sock.setblocking(False)
        try:
            yield sock
        finally:
            sock.close()


def hears(sock, what="something to come to the socket"):
    """Wait for a datagram; return its payload and its sender."""
    def waiting():
        try:
            return sock.recvfrom(65600)
        except BlockingIOError:
            return None
    return eventually(waiting, what)
