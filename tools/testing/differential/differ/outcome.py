# SPDX-License-Identifier: GPL-2.0
"""What an operation comes to, in one form for both modules.

Where the C module promises no order (services are in that of a hash with a
seed: dumps, GET_SERVICES, /proc/net/ip_vs), there is an order here; the order
of a service's servers is the module's own, the last one added first. Left out
is what depends on how a module's table of connections has grown: its size.
"""

import re
from typing import NamedTuple

from lib import genl, sockopt

from .rows import COMMAND, frozen, unpack, without

SIZE = re.compile(r"\(size=\d+\)")
ENTRY = 104             # bytes of struct ip_vs_service_entry


class Answer(NamedTuple):
    """To a netlink request."""
    error: str
    told: bool          # whether there is a message in the extended ack
    offset: int         # of the attribute that it names
    missing: int        # the type of the one that is missing
    parts: tuple        # (netlink's flags, command, version, attributes)


class Result(NamedTuple):
    """Of any other operation."""
    error: str
    content: object = None


def of_reply(command, reply):
    """Of a netlink request."""
    parts = []
    for head, payload in zip(reply.heads, reply.messages):
        row = unpack(payload, COMMAND)
        if command == genl.GET_INFO and isinstance(row, list):
            row = without(row, genl.INFO_CONN_TAB_SIZE)
        parts.append((*head, frozen(row)))
    if command == genl.GET_SERVICE:
        parts.sort()
    return Answer(reply.error, bool(reply.message), reply.offset,
                  reply.missing, tuple(parts))


def of_option(option, answer, count):
    """Of getsockopt(2); `count` says how many services there are."""
    data, length = answer.data, answer.length
    if answer.error:
        return Result(answer.error, (data, length))
    if option == sockopt.GET_VERSION:
        text = data[:length - 1].decode(errors="replace")
        return Result("", (SIZE.sub("", text), data[length - 1:length],
                           set(data[length:])))
    if option == sockopt.GET_INFO:
        data = data[:4] + bytes(4) + data[8:]
    elif option == sockopt.GET_SERVICE:
        data = _meaning(data[:ENTRY]) + data[ENTRY:]
    elif option == sockopt.GET_SERVICES:
        entries = sorted(data[at:at + ENTRY]
                         for at in range(8, len(data), ENTRY))
        # With less room than services, which ones there are is by chance.
        data = (data[:8], tuple(entries) if count() <= len(entries)
                else len(entries))
    return Result("", (data, length))


def _meaning(entry):
    """An entry without bytes that mean nothing: there the C module leaves
    what the caller had."""
    name = entry[16:32].partition(b"\0")[0].ljust(16, b"\0")
    return (entry[:2] + bytes(2) + entry[4:10] + bytes(2) + entry[12:16] +
            name + entry[32:60] + bytes(4) + entry[64:100] + bytes(4))


def of_file(name, text):
    """Of reading a file of /proc/net."""
    lines = text.splitlines()
    if name == "ip_vs":
        blocks = []
        for line in lines[3:]:
            if line.startswith("  ->") and blocks:
                blocks[-1].append(line)
            else:
                blocks.append([line])
        return Result("", (SIZE.sub("", lines[0]), *lines[1:3],
                           *map(tuple, sorted(blocks))))
    if name == "ip_vs_status":
        # Only what does not depend on the tables and on chance in them.
        return Result("", tuple(line for line in lines
                                if re.match(r"(Conn|Service)s:", line)))
    return Result("", tuple(lines))
