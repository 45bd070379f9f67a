# SPDX-License-Identifier: GPL-2.0
"""Frames that a device sends or receives, in memory that the kernel shares.

The slots of the ring have one size, so that a byte of every frame is a slice:
to read a hundred thousand frames takes a few copies, and no call of the
kernel's.
"""

import mmap
import socket
import struct

from .wire import ETH_P_ALL, SOL_PACKET

PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, TPACKET_V2 = 5, 6, 10, 1
SLOT = 128              # bytes; a header, and more than 60 of the frame
BLOCK = 1 << 16
STATUS = range(4)       # bytes of the slot's state, 0 as long as it is free


class Ring:
    """What a device of the current namespace sends and receives, from now on:
    up to `room` frames that were not read yet."""

    def __init__(self, device, room):
        size = -(-room * SLOT // BLOCK) * BLOCK
        self.slots = size // SLOT
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack(
            "=4I", BLOCK, size // BLOCK, SLOT, self.slots))
        self.memory = mmap.mmap(self.socket.fileno(), size)
        self.socket.bind((device, ETH_P_ALL))
        self.place = 0          # the slot of the next frame

    def close(self):
        """See no more."""
        self.memory.close()
        self.socket.close()

    def lost(self):
        """Return the number of frames dropped since the last call."""
        return struct.unpack("=2I", self.socket.getsockopt(
            SOL_PACKET, PACKET_STATISTICS, 8))[1]

    def _column(self, byte, count):
        """A byte of each of the next slots."""
        start = self.place * SLOT + byte
        first = self.memory[start:start + count * SLOT:SLOT]
        return first + self.memory[byte:(count - len(first)) * SLOT:SLOT]

    def read(self, *places):
        """The bytes at these places of each frame, in the order in which the
        frames came: one row for each place."""
        last = self.slots - self.place
        state = self.memory[self.place * SLOT::SLOT] + \
            self.memory[:self.place * SLOT:SLOT]
        count = state.find(b"\0")
        count = self.slots if count < 0 else count
        if not count:
            return [b""] * len(places)
        start, = struct.unpack_from("=H", self.memory,
                                    self.place * SLOT + 12)
        rows = [self._column(start + place, count) for place in places]
        for byte in STATUS:
            at = self.place * SLOT + byte
            here = min(count, last)
            self.memory[at:at + here * SLOT:SLOT] = bytes(here)
            self.memory[byte:(count - here) * SLOT:SLOT] = bytes(count - here)
        self.place = (self.place + count) % self.slots
        return rows
