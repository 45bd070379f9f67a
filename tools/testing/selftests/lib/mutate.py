# SPDX-License-Identifier: GPL-2.0
"""Netlink requests to IPVS by chance: sound ones, and what can be done to
them. A request is a command and a row of attributes; an attribute is a list
[type, content, length], whose content is bytes or a row, and whose length
lies if it is not None."""

import socket
import struct

from . import genl, module

AF_INET, AF_INET6 = 2, 10
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 0x20, 0x7f, 0x80, 0xff, 0x100, 0x1fff,
           0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
           0xfffffffe, 0xffffffff)
SERVICE_COMMANDS = (genl.NEW_SERVICE,) * 3 + (
    genl.SET_SERVICE, genl.SET_SERVICE, genl.DEL_SERVICE, genl.GET_SERVICE,
    genl.ZERO)
DEST_COMMANDS = (genl.NEW_DEST,) * 3 + (genl.SET_DEST, genl.SET_DEST,
                                        genl.DEL_DEST)
SCHEDULERS = tuple(name.encode() + b"\0" for name in module.SCHEDULERS) + (
    b"none\0", b"none\0x")
ADDRESSES = ("198.51.100.1",)
SERVERS = ("10.0.2.2", "10.0.3.2", "10.0.4.2", "127.0.0.1")
PORTS = (80, 81)


def u(size, value):
    """A number in the machine's byte order."""
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def be(value):
    return struct.pack("!H", value & 0xffff)


def address(ip):
    return socket.inet_aton(ip).ljust(16, b"\0")


class Requests:
    """What `rng` makes of it."""

    def __init__(self, rng):
        self.rng = rng

    def service(self):
        """The attributes of a service."""
        rng = self.rng
        row = [[genl.SVC_AF, u(2, AF_INET), None]]
        if rng.random() < .2:
            row.append([genl.SVC_FWMARK, u(4, rng.choice((1, 2))), None])
        else:
            row += [[genl.SVC_PROTOCOL, u(2, rng.choice((6, 17))), None],
                    [genl.SVC_ADDR, address(rng.choice(ADDRESSES)), None],
                    [genl.SVC_PORT, be(rng.choice(PORTS)), None]]
        return row + [
            [genl.SVC_SCHED_NAME, rng.choice(SCHEDULERS), None],
            [genl.SVC_FLAGS, u(4, rng.choice((0, 0, 8, 0x10, 0x28, 1, 4))) +
             u(4, rng.choice((0xffffffff, 0x38, 0))), None],
            [genl.SVC_TIMEOUT, u(4, rng.choice((0, 1, 300))), None],
            [genl.SVC_NETMASK, u(4, rng.choice((0xffffffff, 0x00ffffff))),
             None]]

    def server(self):
        """The attributes of a server."""
        rng = self.rng
        row = [[genl.DEST_ADDR, address(rng.choice(SERVERS)), None],
               [genl.DEST_PORT, be(rng.choice(PORTS)), None],
               [genl.DEST_FWD_METHOD, u(4, rng.choice((0, 2, 3))), None],
               [genl.DEST_WEIGHT, u(4, rng.choice((0, 1, 3, 65535))), None],
               [genl.DEST_U_THRESH, u(4, rng.choice((0, 0, 5, 10))), None],
               [genl.DEST_L_THRESH, u(4, rng.choice((0, 0, 3))), None]]
        if rng.random() < .2:
            row.append([genl.DEST_ADDR_FAMILY, u(2, AF_INET), None])
        if rng.random() < .2:
            row += [[genl.DEST_TUN_TYPE, u(1, rng.randrange(4)), None],
                    [genl.DEST_TUN_PORT, be(rng.choice((0, 6080))), None],
                    [genl.DEST_TUN_FLAGS, u(2, rng.randrange(4)), None]]
        return row

    def daemon(self):
        """The attributes of a sync daemon; there is no such interface."""
        rng = self.rng
        return [[1, u(4, rng.choice((1, 2))), None],
                [2, rng.choice((b"nonesuch\0", b"\0", b"i" * 20)), None],
                [3, u(4, rng.choice((0, 1, 255))), None]]

    def sound(self):
        """A command, and attributes as a client would send them."""
        rng = self.rng
        service = [genl.CMD_SERVICE | genl.NLA_F_NESTED, self.service(), None]
        dice = rng.random()
        if dice < .4:
            return rng.choice(SERVICE_COMMANDS), [service]
        if dice < .75:
            return rng.choice(DEST_COMMANDS), [
                service, [genl.CMD_DEST | genl.NLA_F_NESTED, self.server(),
                          None]]
        if dice < .85:
            return genl.SET_CONFIG, [
                [kind, u(4, rng.choice((0, 1, 60, 900))), None]
                for kind in (genl.CMD_TIMEOUT_TCP, genl.CMD_TIMEOUT_TCP_FIN,
                             genl.CMD_TIMEOUT_UDP) if rng.random() < .7]
        if dice < .95:
            return rng.choice((genl.NEW_DAEMON, genl.DEL_DAEMON,
                               genl.GET_DAEMON)), [
                [genl.CMD_DAEMON | genl.NLA_F_NESTED, self.daemon(), None]]
        return rng.choice((genl.GET_CONFIG, genl.GET_INFO, genl.SET_INFO,
                           genl.GET_DEST, genl.ZERO, genl.FLUSH)), [service]

    def rows(self, row):
        """All rows of a request."""
        found = [row]
        for _kind, content, _length in row:
            if isinstance(content, list):
                found += self.rows(content)
        return found

    def mutate(self, row):
        """Do one thing to some attribute of a row or of one within."""
        rng = self.rng
        row = rng.choice(self.rows(row))
        if not row:
            row.append([rng.randrange(20), b"", None])
            return
        at = rng.randrange(len(row))
        one = row[at]
        action = rng.randrange(11)
        if action == 0:                             # missing
            del row[at]
        elif action == 1:                           # double, or moved
            row.insert(rng.randrange(len(row) + 1), list(one))
        elif action == 2:                           # unknown, or another's
            one[0] = rng.choice((0, 13, 16, 99, 0x3fff, rng.randrange(20)))
        elif action == 3:                           # flags of the type
            one[0] ^= rng.choice((0x8000, 0x4000, 0xc000))
        elif action == 4:                           # short
            data = pack(one[1])
            one[1] = data[:rng.randrange(len(data) + 1)]
        elif action == 5:                           # long
            one[1] = pack(one[1]) + rng.randbytes(rng.choice((1, 3, 4, 300)))
        elif action == 6:                           # a length that lies
            one[2] = rng.choice((0, 1, 3, 4, 5, 8, 0xffff, len(
                pack(one[1])) + 4 + rng.choice((-8, -4, -1, 1, 4, 64)))) \
                & 0xffff
        elif action == 7:                           # another value
            one[1] = rng.choice(NUMBERS).to_bytes(4, rng.choice(
                ("little", "big")))[:len(pack(one[1])) or 4]
        elif action == 8:                           # wrongly nested
            row[at] = [one[0], [list(one)], None]
        elif action == 9:                           # not nested
            one[1] = rng.randbytes(rng.randrange(40))
        else:                                       # deep
            for _ in range(rng.choice((2, 30, 300))):
                row[at] = [one[0], [row[at]], None]

    def request(self):
        """A command with the bytes of its attributes, mostly wrong."""
        rng = self.rng
        command, row = self.sound()
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            self.mutate(row)
        if rng.random() < .05:
            command = rng.choice((0, 18, 19, 127, 255, rng.randrange(256)))
        body = bytearray(pack(row))
        if rng.random() < .15 and body:
            for _ in range(rng.randrange(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < .05:
            del body[rng.randrange(len(body) + 1):]
        if rng.random() < .02:
            body += rng.randbytes(rng.choice((1, 2, 3, 4000, 30000)))
        return command, bytes(body)


def pack(content):
    """The bytes of a row, or those that there already are."""
    if isinstance(content, bytes):
        return content
    packed = b""
    for kind, inner, length in content:
        data = pack(inner)
        packed += genl.attr(kind, data, min(len(data) + 4, 0xffff)
                            if length is None else length)
    return packed
