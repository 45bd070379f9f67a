# SPDX-License-Identifier: GPL-2.0
"""Ethernet frames of many flows, prepared so that the next thousand flows
cost the sender nothing.

Flow i belongs to the client 10.1.x.y or fd01::xy, where x.y is the number of
its block i / 1024, and has the port 32768 + i % 1024. A batch is the 1024 frames of one
block. From block to block only the address changes, and with it words that
keep all checksums right: the identification of IPv4, and a word of the UDP
payload or of the TCP sequence number.
"""

import socket
import struct

from .family import checksum

BATCH = 1024
FIRST_PORT = 32768
ETHERNET = 14
TCP, UDP, SCTP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP
SYN, ACK = 0x02, 0x10
# Chunks of SCTP: four bytes of data, and the beginning of an association.
DATA = struct.pack("!BBHIHHII", 0, 3, 20, 1, 0, 0, 0, 0)
INIT = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 10, 10, 1)


def crc32c(data):
    """The checksum of SCTP."""
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


def association(ports, chunk):
    """An SCTP packet of one chunk. What changes from block to block is no part
    of its checksum."""
    header = struct.pack("!HHI", *ports, 0 if chunk is INIT else 1)
    check = crc32c(header + bytes(4) + chunk)
    return header + struct.pack("<I", check) + chunk


def transport(protocol, source, target, ports, words, flags, room):
    """A UDP datagram of that length, or a TCP segment, with these two words in
    a place where they have no meaning."""
    if protocol == UDP:
        length = room

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

    def __init__(self, family, protocol, server, mac, *, reply=False,
                 same=False, flags=SYN, chunk=DATA):
        self.size = family.size
        if protocol == SCTP:
            self.size = max(self.size,
                            ETHERNET + family.header + 12 + len(chunk))
        self.address = ETHERNET + (family.target if reply else family.source)
        self.words = []
        if protocol != SCTP:
            self.words.append(ETHERNET + family.header +
                              (8 if protocol == UDP else 4))
        if family.balance:
            self.words.append(ETHERNET + family.balance)
        self.data = bytearray()
        there, client = family.pack(server[0]), family.pack(family.clients)
        ends = (there, client) if reply else (client, there)
        for port in range(FIRST_PORT, FIRST_PORT + BATCH):
            port = FIRST_PORT if same else port
            ports = (server[1], port) if reply else (port, server[1])
            load = association(ports, chunk) if protocol == SCTP else \
                transport(protocol, *ends, ports, (0xffff, 0xffff - port),
                          flags, self.size - ETHERNET - family.header)
            frame = (mac + bytes.fromhex("020000000001") + family.ethertype +
                     family.build(protocol, *ends, len(load)) + load)
            self.data += frame.ljust(self.size, b"\0")

    def select(self, block):
        """Make it the batch of that block."""
        inverse = 0xffff - block
        for place, value in (self.address, block), *(
                (place, inverse) for place in self.words):
            self.data[place::self.size] = bytes([value >> 8]) * BATCH
            self.data[place + 1::self.size] = bytes([value & 0xff]) * BATCH
