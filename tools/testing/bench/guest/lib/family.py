# SPDX-License-Identifier: GPL-2.0
"""The addresses and headers of the family that a run measures."""

import socket
import struct


def checksum(data):
    """The Internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


class Ipv4:
    """IPv4: frames of 64 bytes on the wire."""
    vip, server, clients = "10.0.0.1", "10.2.0.{}", "10.1.0.0"
    ethertype, size, header = b"\x08\x00", 60, 20
    # Where the last two bytes of each address are, and a word that balances
    # them in the header's checksum.
    source, target, balance = 14, 18, 4
    commands = """
address add 10.0.0.1/32 dev lo
address add 10.2.0.254/16 dev out
route add 10.1.0.0/16 dev out
"""

    @staticmethod
    def pack(address):
        """An address as bytes."""
        return socket.inet_aton(address)

    @staticmethod
    def end(address, port):
        """An address and a port as ipvsadm has them."""
        return f"{address}:{port}"

    @staticmethod
    def build(protocol, source, target, length):
        """A header before so many bytes."""
        def pack(check):
            return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0xffff,
                               0, 64, protocol, check, source, target)
        return pack(checksum(pack(0)))


class Ipv6:
    """IPv6: frames of 78 bytes, which hold a TCP header."""
    vip, server, clients = "fd00::1", "fd02::{}", "fd01::"
    ethertype, size, header = b"\x86\xdd", 74, 40
    source, target, balance = 22, 38, None
    commands = """
address add fd00::1/128 dev lo
address add fd02::ffff/64 dev out nodad
route add fd01::/64 dev out
"""

    @staticmethod
    def pack(address):
        """An address as bytes."""
        return socket.inet_pton(socket.AF_INET6, address)

    @staticmethod
    def end(address, port):
        """An address and a port as ipvsadm has them."""
        return f"[{address}]:{port}"

    @staticmethod
    def build(protocol, source, target, length):
        """A header before so many bytes."""
        return struct.pack("!IHBB16s16s", 6 << 28, length, protocol, 64,
                           source, target)
