# SPDX-License-Identifier: GPL-2.0
"""Services and servers by netlink: quicker than a process for each rule, and
with every attribute in the test's hands."""

import struct

from . import genl
from .genl import address, attr, be16, nest, string, u16, u32

AF_INET, AF_INET6 = 2, 10
EXPECTED = {"", "EEXIST", "ENOENT", "ESRCH"}


def _row(parts, without, instead):
    """The attributes that are left, with others in the place of some."""
    for kind in without:
        del parts[kind]
    for other in instead:
        parts[struct.unpack_from("=HH", other)[1] & 0x3fff] = other
    return parts.values()


def service(protocol, ip, port, family=None, scheduler="wlc", without=(),
            instead=()):
    """A complete SERVICE attribute, of the address's family if no other one
    is given."""
    netmask = 0xffffffff
    if family is None:
        family = AF_INET
        if isinstance(ip, str) and ":" in ip:
            family, netmask = AF_INET6, 128
    parts = {
        genl.SVC_AF: u16(genl.SVC_AF, family),
        genl.SVC_PROTOCOL: u16(genl.SVC_PROTOCOL, protocol),
        genl.SVC_ADDR: address(genl.SVC_ADDR, ip),
        genl.SVC_PORT: be16(genl.SVC_PORT, port),
        genl.SVC_SCHED_NAME: string(genl.SVC_SCHED_NAME, scheduler),
        genl.SVC_FLAGS: attr(genl.SVC_FLAGS, bytes(4) + b"\xff" * 4),
        genl.SVC_TIMEOUT: u32(genl.SVC_TIMEOUT, 0),
        genl.SVC_NETMASK: u32(genl.SVC_NETMASK, netmask),
    }
    return nest(genl.CMD_SERVICE, *_row(parts, without, instead))


def server(ip, port, method=genl.MASQ, weight=1, upper=0, lower=0, without=(),
           instead=()):
    """A complete DEST attribute."""
    parts = {
        genl.DEST_ADDR: address(genl.DEST_ADDR, ip),
        genl.DEST_PORT: be16(genl.DEST_PORT, port),
        genl.DEST_FWD_METHOD: u32(genl.DEST_FWD_METHOD, method),
        genl.DEST_WEIGHT: u32(genl.DEST_WEIGHT, weight),
        genl.DEST_U_THRESH: u32(genl.DEST_U_THRESH, upper),
        genl.DEST_L_THRESH: u32(genl.DEST_L_THRESH, lower),
    }
    return nest(genl.CMD_DEST, *_row(parts, without, instead))


class Rules:
    """Rules of one namespace; what must succeed raises when it doesn't.

    With `lax`, a rule may be there already or not any more.
    """

    def __init__(self, namespace, lax=False):
        self.netlink = genl.Genl(namespace)
        self.allowed = EXPECTED if lax else {""}

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.netlink.close()

    def _do(self, command, *row):
        reply = self.netlink.request(command, *row)
        if reply.error not in self.allowed:
            raise AssertionError(f"netlink command {command}: {reply}")

    def add(self, protocol, ip, port, *servers, method=genl.MASQ, **more):
        """A service with servers that have its own port."""
        self._do(genl.NEW_SERVICE, service(protocol, ip, port, **more))
        for address_ in servers:
            self.add_server(protocol, ip, port, address_, method=method)

    def change(self, protocol, ip, port, **more):
        self._do(genl.SET_SERVICE, service(protocol, ip, port, **more))

    def remove(self, protocol, ip, port):
        self._do(genl.DEL_SERVICE, service(protocol, ip, port))

    def add_server(self, protocol, ip, port, address_, rport=None, **more):
        self._do(genl.NEW_DEST, service(protocol, ip, port),
                 server(address_, port if rport is None else rport, **more))

    def change_server(self, protocol, ip, port, address_, **more):
        self._do(genl.SET_DEST, service(protocol, ip, port),
                 server(address_, port, **more))

    def remove_server(self, protocol, ip, port, address_):
        self._do(genl.DEL_DEST, service(protocol, ip, port),
                 server(address_, port))

    def flush(self):
        self._do(genl.FLUSH)
