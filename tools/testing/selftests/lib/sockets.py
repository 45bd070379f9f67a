# SPDX-License-Identifier: GPL-2.0
"""Sockets of a namespace, which tell what the local stack gets and says."""

import socket
import struct
from contextlib import contextmanager

from .genl import error_name
from .packet import is_ipv6

IP_RECVTTL, IP_TTL, SO_MARK = 12, 2, 36
IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 51, 52


@contextmanager
def bound(namespace, address, port, mark=0):
    """A UDP socket of a namespace; what it sends has that mark."""
    ipv6 = is_ipv6(address)
    with namespace:
        sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET,
                             socket.SOCK_DGRAM)
    if ipv6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    sock.bind((address, port))
    sock.setblocking(False)
    try:
        yield sock
    finally:
        sock.close()


def heard(sock):
    """(payload, sender, TTL or hop limit) of the datagram that is waiting, or
    None."""
    try:
        payload, control, _flags, sender = sock.recvmsg(2048, 256)
    except BlockingIOError:
        return None
    hops = [struct.unpack("=i", data)[0] for level, kind, data in control
            if (level, kind) in ((socket.IPPROTO_IP, IP_TTL),
                                 (socket.IPPROTO_IPV6, IPV6_HOPLIMIT))]
    return payload, sender[:2], *hops


def said_to_client(namespace, kind, src, dst):
    """What a client in a namespace, at the address `src`, is told at once when
    it connects to `dst` and, by UDP, sends something: an errno's name, or
    nothing. A connection that is not refused is being made (EINPROGRESS)."""
    family = socket.AF_INET6 if is_ipv6(src) else socket.AF_INET
    with namespace:
        sock = socket.socket(family, kind)
    with sock:
        sock.setblocking(False)
        sock.bind((src, 0))
        try:
            sock.connect(dst)
            if kind == socket.SOCK_DGRAM:
                sock.send(b"from nowhere")
        except OSError as error:
            return error_name(error.errno)
    return ""
