# SPDX-License-Identifier: GPL-2.0
"""Connections that come to a director, frame by frame.

Each has a number, which is in all of its frames. A TCP connection begins with
a SYN and an ACK, so that it is active; some close later. What comes is the
same for all schedulers that get this share of TCP, and for both modules.
"""

import struct
from random import Random
from typing import NamedTuple

from lib.packet import ACK, FIN, SYN, fold

SIZE = 60
DIRECTOR, WIRE = "02:00:00:00:00:01", "02:00:00:00:00:02"
CLIENTS, TARGETS = 0xac100000, 0xc6330000       # 172.16/12, 198.51/16
ENDS = 2000             # of each protocol, at most
PORTS = range(1024, 61024)                      # of clients
TCP, UDP, AGAIN = 6, 17, 1
# Ethernet, IPv4, and 26 bytes that are TCP's or UDP's: ports, then (TCP) two
# numbers, length of the header, flags, window, or (UDP) length and payload.
LAYOUT = struct.Struct("!12sHBBHHHBBHIIHHIIBB6s6x")
ETHERNET = bytes.fromhex((DIRECTOR + WIRE).replace(":", ""))
UDP_LENGTH, TCP_OFFSET, WINDOW = 14 << 16, 5 << 4, b"\xff\xff\0\0\0\0"
DPORT = 36
# Where a frame that comes out has the end of the link address that it goes to,
# the number of its connection, and TCP's flags or (UDP) 0, or 1 for a datagram
# that is not the first.
SERVER, NUMBER, KIND = 5, range(42, 46), 47


class Ends(NamedTuple):
    """A moment at which many connections see their last packet."""
    number: int             # of the connection that comes next
    first: int              # frames, from
    last: int               # up to this one


def frame(number, protocol, client, port, target, kind):
    """A packet to a port that is filled in later."""
    length = 40 if protocol == TCP else 34
    words = (0x4500, length, 1, 64 << 8 | protocol, client >> 16,
             client & 0xffff, target >> 16, target & 0xffff)
    return LAYOUT.pack(ETHERNET, 0x0800, 0x45, 0, length, 1, 0, 64, protocol,
                       ~fold(sum(words)) & 0xffff, client, target, port, 0,
                       UDP_LENGTH if protocol == UDP else 0, number,
                       TCP_OFFSET if protocol == TCP else 0, kind,
                       WINDOW if protocol == TCP else bytes(6))


class Arrivals:
    """So many connections, this share of them by TCP."""

    def __init__(self, seed, count, share):
        random = Random(f"{seed} arrivals {share}")
        self.count, self.share = count, share
        self.starts = []        # the first frame of each connection
        self.frames = bytearray()
        self.open, self.udp = [], []
        for number in range(count):
            if number == count // 2:
                self.ends = self._ends(number, random)
            self.starts.append(len(self.frames) // SIZE)
            self._arrive(number, random)
        self.starts.append(len(self.frames) // SIZE)
        self.open = self.udp = None

    def _arrive(self, number, random):
        """A connection; some addresses are seen again and again."""
        wraps, port = divmod(number, len(PORTS))
        flow = (CLIENTS + (wraps << 16) + random.randrange(
            random.choice((512, 1 << 16))), PORTS[port],
            TARGETS + random.randrange(300))
        if random.random() >= self.share:
            self.frames += frame(number, UDP, *flow, 0)
            self.udp.append((number, *flow))
            return
        self.frames += frame(number, TCP, *flow, SYN)
        self.frames += frame(number, TCP, *flow, ACK)
        self.open.append((number, *flow))
        if random.random() < .55:
            self._end(self.open, TCP, random)

    def _end(self, row, protocol, random):
        """The last packet of one of these."""
        place = random.randrange(len(row))
        number, *flow = row[place]
        row[place] = row[-1]
        row.pop()
        self.frames += frame(number, protocol, *flow,
                             FIN | ACK if protocol == TCP else AGAIN)

    def _ends(self, number, random):
        """Many of them end at once."""
        first = len(self.frames) // SIZE
        for row, protocol in (self.open, TCP), (self.udp, UDP):
            for _ in range(min(len(row) // 2, ENDS)):
                self._end(row, protocol, random)
        return Ends(number, first, len(self.frames) // SIZE)

    def to_port(self, port):
        """A copy of all frames, to that port."""
        frames = bytearray(self.frames)
        count = len(frames) // SIZE
        frames[DPORT::SIZE] = bytes([port >> 8]) * count
        frames[DPORT + 1::SIZE] = bytes([port & 0xff]) * count
        return frames
