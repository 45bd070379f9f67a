# SPDX-License-Identifier: GPL-2.0
"""The differences that are allowed, each with its reason. There are no others:
what the tester leaves out besides is said in outcome.py. For users they are in
Documentation/abi.rst; whoever changes one of both lists changes the other.

Ours runs first. What it can't do yet is not done on the C module either, since
the two would have nothing in common from then on (ABSENT). The other
differences are of the outcome alone (DIFFERENT).
"""

import struct
from typing import Callable, NamedTuple

from lib import genl, sockopt

from .operations import Request, Set, Write
from .outcome import Answer
from .rows import COMMAND, unpack


class Absent(NamedTuple):
    """What ours can't do: `when(operation, our outcome)`."""
    reason: str
    when: Callable


class Different(NamedTuple):
    """What is another way: `when(operation, our outcome, C's)`."""
    reason: str
    when: Callable


def _method(op):
    """The forwarding method that a request or an option asks for."""
    if isinstance(op, Set):
        return struct.unpack_from("=I", op.data, 52)[0] & 7 if op.option in (
            sockopt.ADDDEST, sockopt.EDITDEST) and len(op.data) == 68 else 0
    return struct.unpack("=I", _of_dest(op, genl.DEST_FWD_METHOD)[:4].ljust(
        4, b"\0"))[0] & 7


def _of_dest(op, kind):
    """An attribute of the server that a request is about."""
    row = unpack(op.body, COMMAND)
    found = b""
    for outer, content, _length in row if isinstance(row, list) else ():
        if outer & 0x3fff == genl.CMD_DEST and isinstance(content, list):
            found = b"".join(inner for number, inner, _length in content
                             if number & 0x3fff == kind
                             and isinstance(inner, bytes))
    return found


ABSENT = [
    Absent("a protocol that services can't have",
           lambda op, ours: ours.error == "EPROTONOSUPPORT"),
    Absent("forwarding methods 5 to 7 mean nothing",
           lambda op, ours: isinstance(op, (Request, Set))
           and ours.error == "EINVAL" and _method(op) > 4),
    Absent("tunnel types above 2 mean nothing",
           lambda op, ours: isinstance(op, Request)
           and ours.error == "EINVAL"
           and _of_dest(op, genl.DEST_TUN_TYPE)[:1] > b"\2"),
]

DIFFERENT = [
    Different("conn_max refuses the smallest number as every negative one",
              lambda op, ours, c: isinstance(op, Write) and
              (op.name, op.text, ours.error, c.error) ==
              ("conn_max", "-2147483648", "EINVAL", "")),
]


def absent(operation, ours):
    """The reason why it is not done on the C module, or None."""
    return next((rule.reason for rule in ABSENT
                 if rule.when(operation, ours)), None)


def _explained(ours, c):
    """Ours as it would be if it explained no more than the C module."""
    if not isinstance(ours, Answer) or not isinstance(c, Answer):
        return ours
    if ours.error and not c.told:
        ours = ours._replace(told=False)
    if ours.error and not (c.offset or c.missing):
        ours = ours._replace(offset=0, missing=0)
    return ours


def difference(operation, ours, c):
    """Whether the outcomes differ: None if they don't, the reason if they
    may, and else an empty text."""
    if ours == c:
        return None
    if _explained(ours, c) == c:
        return "ours says in words why it refuses"
    return next((rule.reason for rule in DIFFERENT
                 if rule.when(operation, ours, c)), "")
