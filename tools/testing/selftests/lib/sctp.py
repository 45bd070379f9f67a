# SPDX-License-Identifier: GPL-2.0
"""SCTP packets and their chunks."""

import struct

from .packet import Sctp, packet

# Types of chunks.
(DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN,
 SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK, ECNE, CWR,
 SHUTDOWN_COMPLETE) = range(15)

# What a test writes for a chunk.
NAMES = {"data": DATA, "init": INIT, "init_ack": INIT_ACK,
         "cookie_echo": COOKIE_ECHO, "cookie_ack": COOKIE_ACK,
         "shutdown": SHUTDOWN, "shutdown_ack": SHUTDOWN_ACK,
         "shutdown_complete": SHUTDOWN_COMPLETE, "error": ERROR,
         "abort": ABORT}
TIMEOUT = {"NONE": 2, "INIT1": 4, "INIT": 61, "C-SENT": 61, "C-REPLIED": 61,
           "C-WAIT": 61, "COOKIE": 61, "C-ECHOED": 61, "ESTABLISHED": 900,
           "S-SENT": 61, "S-RECEIVED": 61, "S-ACK-SENT": 61, "REJECTED": 4,
           "CLOSED": 61}
# How an association is set up, by the client (i) and the server (o).
ESTABLISHED = "i:init o:init_ack i:cookie_echo o:cookie_ack"


def chunk(kind, content=b"", length=None, flags=0):
    """A chunk, padded to a multiple of four bytes."""
    length = 4 + len(content) if length is None else length
    data = struct.pack("!BBH", kind, flags, length) + content
    return data + bytes(-len(data) % 4)


def sctp(src, sport, dst, dport, *chunks, **more):
    """An SCTP packet: an INIT, if no chunks are given; more fields of either
    header by name."""
    load = b"".join(chunks) or chunk(INIT, bytes(16))
    return packet(src, dst, Sctp(sport, dport, load), **more)


def play(lab, ends, cport, way):
    """Send the packets of a way, of which the words are who sends and what.
    `ends` are the client's address, the virtual one and its port, and the
    server's."""
    (cip, vip, vport), (rip, rport) = ends
    for step in way.split():
        side, names = step.split(":")
        said = sctp(cip, cport, vip, vport,
                    *(chunk(NAMES[name]) for name in names.split("+")))
        if side == "i":
            lab.client.send(said)
        else:
            lab.server.send(said.back(src=rip, sport=rport))
    lab.settle()
