# SPDX-License-Identifier: GPL-2.0
"""Ethernet frames of many flows, prepared so that the next thousand flows
cost the sender nothing.

Flow i belongs to the client 10.1.x.y, where x.y is the number of its block
i / 1024, and has the port 32768 + i % 1024. A batch is the 1024 frames of one
block. From block to block only the address changes, and with it two words that
keep all checksums right: the IP identification, and a word of the UDP payload
or of the TCP sequence number.
"""

import socket
import struct

BATCH = 1024
SIZE = 60           # on the wire 64, with the frame check sequence
FIRST_PORT = 32768
CLIENTS = "10.1.0.0"
ETHERNET, IP = 14, 20
IP_ID, IP_SOURCE, IP_TARGET = ETHERNET + 4, ETHERNET + 12, ETHERNET + 16
TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
SYN, ACK = 0x02, 0x10


def checksum(data):
    """The Internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def ip_header(protocol, source, target, length, ident):
    """An IPv4 header."""
    def pack(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, ident, 0, 64,
                           protocol, check, source, target)
    return pack(checksum(pack(0)))


def transport(protocol, source, target, ports, words, flags):
    """A UDP datagram or TCP segment with these two words in a place where
    they have no meaning."""
    if protocol == UDP:
        length = SIZE - ETHERNET - IP

        def pack(check):
            return struct.pack("!HHHHHH", *ports, length, check,
                               *words).ljust(length, b"\0")
    else:
        length = 20

        def pack(check):
            return struct.pack("!HHHHIBBHHH", *ports, *words, 0, 5 << 4,
                               flags, 65535, check, 0)
    pseudo = source + target + struct.pack("!HH", protocol, length)
    return pack(checksum(pseudo + pack(0)) or 0xffff)


class Frames:
    """A batch: from clients to `server`, an address and a port, or back."""

    def __init__(self, protocol, server, mac, *, reply=False, same=False,
                 flags=SYN):
        self.address = (IP_TARGET if reply else IP_SOURCE) + 2
        self.word = ETHERNET + IP + (8 if protocol == UDP else 4)
        self.data = bytearray()
        there, client = socket.inet_aton(server[0]), socket.inet_aton(CLIENTS)
        ends = (there, client) if reply else (client, there)
        for port in range(FIRST_PORT, FIRST_PORT + BATCH):
            port = FIRST_PORT if same else port
            ports = (server[1], port) if reply else (port, server[1])
            load = transport(protocol, *ends, ports,
                             (0xffff, 0xffff - port), flags)
            frame = (mac + bytes.fromhex("020000000001") + b"\x08\x00" +
                     ip_header(protocol, *ends, IP + len(load), 0xffff) + load)
            self.data += frame.ljust(SIZE, b"\0")

    def select(self, block):
        """Make it the batch of that block."""
        inverse = 0xffff - block
        for place, value in (self.address, block), (IP_ID, inverse), \
                (self.word, inverse):
            self.data[place::SIZE] = bytes([value >> 8]) * BATCH
            self.data[place + 1::SIZE] = bytes([value & 0xff]) * BATCH
