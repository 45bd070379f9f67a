# SPDX-License-Identifier: GPL-2.0
"""Sends a batch of frames through a device, and says what that has cost.

sendmmsg(2) on a packet socket that bypasses queueing disciplines: each frame
goes through the device, and the whole stack behind it, before the next one is
built. The cost of the sender itself is the same for every frame.
"""

import ctypes
import socket
import time

from .frames import BATCH

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20


class Iovec(ctypes.Structure):
    """struct iovec"""
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    """struct msghdr"""
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint),
                ("iov", ctypes.POINTER(Iovec)), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Message(ctypes.Structure):
    """struct mmsghdr"""
    _fields_ = [("header", Header), ("sent", ctypes.c_uint)]


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
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        base = ctypes.addressof((ctypes.c_char * len(frames.data))
                                .from_buffer(frames.data))
        self.iovecs = (Iovec * BATCH)()
        self.messages = (Message * BATCH)()
        for i in range(BATCH):
            self.iovecs[i] = Iovec(base + i * frames.size, frames.size)
            self.messages[i].header.iov = ctypes.pointer(self.iovecs[i])
            self.messages[i].header.iovlen = 1

    def send(self, block, count=BATCH):
        """Send the first frames of that block; cost of all of them."""
        self.frames.select(block)
        fd = self.socket.fileno()
        start = clock()
        sent = self.sendmmsg(fd, self.messages, count, 0)
        cost = clock() - start
        if sent != count:
            raise OSError(ctypes.get_errno(), f"sent {sent} of {count} frames")
        return cost
