# SPDX-License-Identifier: GPL-2.0
"""Sends a batch of frames through a device, and says what that has cost.

sendmmsg(2) on a packet socket that bypasses queueing disciplines: each frame
goes through the device, and the whole stack behind it, before the next one is
built. The cost of the sender itself is the same for every frame.
"""

import socket
import time

from . import mmsg
from .frames import BATCH

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20


def clock():
    """Nanoseconds; under -icount, instructions."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Sender:
    """A packet socket on a device, and a batch of frames for it."""

    def __init__(self, device, frames):
        self.frames = frames
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((device, 0))
        self.socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self.batch = mmsg.Batch(frames.data, frames.size)

    def send(self, block, count=BATCH):
        """Send the first frames of that block; cost of all of them."""
        self.frames.select(block)
        fd = self.socket.fileno()
        start = clock()
        sent = self.batch.send(fd, count)
        cost = clock() - start
        self.batch.check(sent, count)
        return cost
