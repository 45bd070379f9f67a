# SPDX-License-Identifier: GPL-2.0
"""sendmmsg(2): many frames of one size by one call."""

import ctypes
import os

BATCH = 1024            # what one call takes


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


class Batch:
    """The frames of `data`, a bytearray with up to 1,024 of them."""

    def __init__(self, data, size):
        self.data = data
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        base = ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))
        count = len(data) // size
        self.iovecs = (Iovec * count)()
        self.messages = (Message * count)()
        for i in range(count):
            self.iovecs[i] = Iovec(base + i * size, size)
            self.messages[i].header.iov = ctypes.pointer(self.iovecs[i])
            self.messages[i].header.iovlen = 1

    def send(self, fd, count):
        """Send the first ones; how many were sent."""
        return self.sendmmsg(fd, self.messages, count, 0)

    @staticmethod
    def check(sent, count):
        """Raise an error unless all were."""
        if sent != count:
            code = ctypes.get_errno()
            raise OSError(code, f"sent {sent} of {count} frames: "
                          f"{os.strerror(code)}")
