# SPDX-License-Identifier: GPL-2.0
"""What can be done to a module. An operation is a value: it is made from
chance or by hand, done on either module, printed, and left out."""

from typing import NamedTuple

# Where: two namespaces of the machine, and one of a user namespace.
FIRST, SECOND, OWNED = PLACES = 0, 1, 2
# Who: root of the machine; a user of it; root of the user namespace, who is
# in OWNED only.
ROOT, NOBODY, OWNER = "root", "nobody", "owner"


class Request(NamedTuple):
    """A netlink request to the family."""
    where: int
    who: str
    command: int
    flags: int
    body: bytes
    version: int = 1


class Set(NamedTuple):
    """setsockopt(2); `length` lies if it is not None."""
    where: int
    who: str
    option: int
    data: bytes
    length: int | None = None


class Get(NamedTuple):
    """getsockopt(2) into a buffer of `room` bytes that begins with `data`;
    `length` lies if it is not None."""
    where: int
    who: str
    option: int
    data: bytes
    room: int
    length: int | None = None


class Write(NamedTuple):
    """A write to a file of net.ipv4.vs, after which it is read."""
    where: int
    who: str
    name: str
    text: str


class Read(NamedTuple):
    """A file of /proc/net."""
    where: int
    who: str
    name: str


class Look(NamedTuple):
    """All that all interfaces tell of a namespace."""
    where: int
    who: str = ROOT
