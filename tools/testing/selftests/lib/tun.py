# SPDX-License-Identifier: GPL-2.0
"""A wire to this process: what is written to it, the kernel receives at once,
in the task that writes; what the kernel sends, can be read."""

import fcntl
import os
import struct

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


class Tun:
    """A network device of a namespace."""

    def __init__(self, namespace, name, address):
        with namespace:
            self.file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.file, TUNSETIFF, struct.pack(
                "16sH", name.encode(), IFF_TUN | IFF_NO_PI))
        namespace.ip(f"addr add {address} dev {name}", f"link set {name} up")

    def close(self):
        os.close(self.file)

    def write(self, packet):
        """The kernel receives a packet."""
        os.write(self.file, bytes(packet))

    def read(self):
        """All that the kernel has sent."""
        packets = []
        try:
            while True:
                packets.append(os.read(self.file, 1 << 16))
        except BlockingIOError:
            return packets
