# SPDX-License-Identifier: GPL-2.0
"""Socket options of IPVS by hand, so that lengths and pointers can be as wrong
as they like."""

import ctypes
import socket
import struct
from contextlib import nullcontext
from typing import NamedTuple

from .genl import error_name

BASE = 64 + 1024 + 64
(ADD, EDIT, DEL, FLUSH, ADDDEST, DELDEST, EDITDEST, TIMEOUT, STARTDAEMON,
 STOPDAEMON, ZERO) = (BASE + n for n in (2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 15))
(GET_VERSION, GET_INFO, GET_SERVICES, GET_SERVICE, GET_DESTS, GET_TIMEOUT,
 GET_DAEMON) = (BASE + n for n in (0, 1, 2, 3, 4, 6, 7))
SETS = {ADD: 44, EDIT: 44, DEL: 44, FLUSH: 0, ADDDEST: 68, DELDEST: 68,
        EDITDEST: 68, TIMEOUT: 12, STARTDAEMON: 24, STOPDAEMON: 24, ZERO: 44}
GETS = {GET_VERSION: 64, GET_INFO: 12, GET_SERVICES: 8, GET_SERVICE: 104,
        GET_DESTS: 24, GET_TIMEOUT: 12, GET_DAEMON: 48}
TCP, UDP, SCTP = 6, 17, 132
IP = socket.IPPROTO_IP


def service(port=0, protocol=TCP, ip="0.0.0.0", mark=0, scheduler=b"rr",
            flags=0, timeout=0, netmask=b"\xff" * 4):
    """struct ip_vs_service_user; the first 16 bytes tell which service."""
    return struct.pack("=H2x4s", protocol, socket.inet_aton(ip)) + struct.pack(
        "!H2x", port) + struct.pack("=I16sII4s", mark, scheduler, flags,
                                    timeout, netmask)


def server(ip, port, flags=0, weight=1, upper=0, lower=0):
    """struct ip_vs_dest_user."""
    return socket.inet_aton(ip) + struct.pack("!H2x", port) + struct.pack(
        "=IiII", flags, weight, upper, lower)


def stats(conns=0, inpkts=0, outpkts=0, inbytes=0, outbytes=0):
    """struct ip_vs_stats_user without rates."""
    return struct.pack("=III4xQQ5I4x", conns, inpkts, outpkts, inbytes,
                       outbytes, 0, 0, 0, 0, 0)


def service_entry(argument, servers=0, counted=stats()):
    """struct ip_vs_service_entry of what was added by that argument."""
    flags, = struct.unpack_from("=I", argument, 32)
    return argument[:32] + struct.pack("=I", flags | 2) + argument[36:] + \
        struct.pack("=I", servers) + counted


def server_entry(argument, flags, conns=(0, 0, 0), counted=stats()):
    """struct ip_vs_dest_entry of what was added by that argument."""
    return argument[:8] + struct.pack("=I", flags) + argument[12:] + \
        struct.pack("=III4x", *conns) + counted


def without_rates(entry):
    """An entry with the rates set to nothing: they depend on the time."""
    return entry[:-24] + bytes(24)


class Answer(NamedTuple):
    """The result of getsockopt()."""
    error: str
    data: bytes
    length: int


class Sockopts:
    """A socket of one namespace."""

    def __init__(self, namespace=nullcontext(), family=socket.AF_INET):
        with namespace:
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.libc = ctypes.CDLL(None, use_errno=True)

    def close(self):
        self.socket.close()

    def set(self, option, data=b"", length=None, pointer=None):
        """The errno's name, or nothing. `length` and `pointer` lie."""
        where = ctypes.create_string_buffer(data, max(len(data), 1)) \
            if pointer is None else ctypes.c_void_p(pointer)
        if not self.libc.setsockopt(
                self.socket.fileno(), IP, option, where,
                len(data) if length is None else length):
            return ""
        return error_name(ctypes.get_errno())

    def get(self, option, data=b"", room=0, length=None, pointer=None):
        """The answer in a buffer that begins with `data` and has `room`
        bytes; what is not written stays 0xa5."""
        size = max(room, len(data))
        buffer = ctypes.create_string_buffer(data.ljust(size, b"\xa5"),
                                             max(size, 1))
        told = ctypes.c_int(size if length is None else length)
        where = buffer if pointer is None else ctypes.c_void_p(pointer)
        failed = self.libc.getsockopt(self.socket.fileno(), IP, option, where,
                                      ctypes.byref(told))
        return Answer(error_name(ctypes.get_errno()) if failed else "",
                      buffer.raw[:size], told.value)

    def services(self, count):
        """The entries of GET_SERVICES with room for so many, sorted."""
        answer = self.get(GET_SERVICES, struct.pack("=I4x", count),
                          8 + 104 * count)
        if answer.error:
            raise AssertionError(f"GET_SERVICES: {answer}")
        return sorted(answer.data[at:at + 104]
                      for at in range(8, len(answer.data), 104))

    def servers(self, which, count):
        """The entries of GET_DESTS with room for so many."""
        answer = self.get(GET_DESTS, which[:16] + struct.pack("=I4x", count),
                          24 + 96 * count)
        if answer.error:
            raise AssertionError(f"GET_DESTS: {answer}")
        return [answer.data[at:at + 96]
                for at in range(24, len(answer.data), 96)]
