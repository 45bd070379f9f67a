# SPDX-License-Identifier: GPL-2.0
"""The synchronisation protocol, byte for byte, and requests about daemons.

Every field of a datagram can be given, absurd values too; what is not given is
what a correct sender would put there.
"""

import os
import re
import struct
from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6, inet_aton, inet_ntop
from typing import NamedTuple

from . import genl
from .packet import is_ipv6, pack_address
from .tap import eventually

GROUP, GROUP6, PORT = "224.0.0.81", "ff02::81", 8848
MASTER, BACKUP = 1, 2

# Flags of connections.
MASQ, LOCALNODE, TUNNEL, DROUTE, BYPASS = range(5)
SYNC, HASHED, NOOUTPUT, INACTIVE, OUT_SEQ, IN_SEQ, NO_CPORT, TEMPLATE, \
    ONE_PACKET = (1 << bit for bit in range(5, 14))
NFCT = 1 << 16

# Options of a connection; with PARAM, one may be skipped by who does not know
# it.
SEQ_DATA, PE_DATA, PE_NAME, PARAM = 1, 2, 3, 1 << 6

# States.
TCP = {name: number for number, name in enumerate(
    ("NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT",
     "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"))}
SCTP = {name: number for number, name in enumerate(
    ("NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE",
     "C-ECHOED", "ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT",
     "REJECTED", "CLOSED"))}
ASSURED = 1

(STATE, MCAST_IFN, SYNC_ID, SYNC_MAXLEN, MCAST_GROUP, MCAST_GROUP6, MCAST_PORT,
 MCAST_TTL) = range(1, 9)

HEAD = struct.Struct("!BBHBbH")         # 0, id, size, count, version, spare
HEAD0 = struct.Struct("!BBH")           # count, id, size
FIXED = struct.Struct("!BBHIHHHHII")    # of a connection, before addresses
CONN0 = struct.Struct("!BBHHH4s4s4sHH")
SEQ = struct.Struct("!6I")


@dataclass(frozen=True)
class Conn:                     # pylint: disable=too-many-instance-attributes
    """A connection in a datagram. Options are pairs: a type and its bytes."""
    protocol: int = 6
    caddr: str = "0.0.0.0"
    cport: int = 0
    vaddr: str = "0.0.0.0"
    vport: int = 0
    daddr: str = "0.0.0.0"
    dport: int = 0
    flags: int = 0
    state: int = 0
    fwmark: int = 0
    timeout: int = 0
    options: tuple = ()
    # Where they lie, or are odd.
    type: int = None
    version: int = 0
    size: int = None
    extra: bytes = b""

    def but(self, **changes):
        """A copy with other fields."""
        return replace(self, **changes)

    def build(self):
        """The bytes of version 1."""
        kind = is_ipv6(self.caddr) if self.type is None else self.type
        rest = b"".join(map(pack_address, (self.caddr, self.vaddr,
                                           self.daddr)))
        for number, data in self.options:
            rest += bytes((number, len(data))) + data
        rest += self.extra
        size = FIXED.size + len(rest) if self.size is None else self.size
        return FIXED.pack(kind, self.protocol, self.version << 12 | size,
                          self.flags, self.state, self.cport, self.vport,
                          self.dport, self.fwmark, self.timeout) + rest

    def build0(self):
        """The bytes of version 0, with sequence numbers in the order of this
        machine."""
        seq = [data for number, data in self.options if number == SEQ_DATA]
        rest = struct.pack("=6I", *SEQ.unpack(seq[0])) if seq else b""
        return CONN0.pack(self.type or 0, self.protocol, self.cport,
                          self.vport, self.dport, inet_aton(self.caddr),
                          inet_aton(self.vaddr), inet_aton(self.daddr),
                          self.flags, self.state) + rest + self.extra


def seq_data(to_server=(0, 0, 0), to_client=(0, 0, 0)):
    """The option with sequence numbers: first, delta and previous delta."""
    return SEQ_DATA, SEQ.pack(*to_server, *to_client)


def datagram(*conns, syncid=0, count=None, size=None, reserved=0, version=1,
             spare=0, tail=b""):
    """A datagram of version 1."""
    body = b""
    for conn in conns:
        body += bytes(-len(body) % 4) + conn.build()
    body += tail
    return HEAD.pack(reserved, syncid,
                     HEAD.size + len(body) if size is None else size,
                     len(conns) if count is None else count, version,
                     spare) + body


def datagram0(*conns, syncid=0, count=None, size=None, tail=b""):
    """A datagram of version 0."""
    body = b"".join(conn.build0() for conn in conns) + tail
    return HEAD0.pack(len(conns) if count is None else count, syncid,
                      HEAD0.size + len(body) if size is None else size) + body


class Datagram(NamedTuple):
    """What was read of one."""
    version: int
    syncid: int
    conns: tuple


def _address(data):
    return inet_ntop(AF_INET6 if len(data) == 16 else AF_INET, data)


def _conn(data, at):
    kind, protocol, size, flags, state, cport, vport, dport, fwmark, \
        timeout = FIXED.unpack_from(data, at)
    width = 16 if kind & 1 else 4
    begin, end = at + FIXED.size, at + (size & 0xfff)
    caddr, vaddr, daddr = (
        _address(data[begin + width * n:begin + width * (n + 1)])
        for n in range(3))
    begin, options = begin + 3 * width, []
    while begin < end:
        number, length = data[begin:begin + 2]
        options.append((number, data[begin + 2:begin + 2 + length]))
        begin += 2 + length
    return Conn(protocol, caddr, cport, vaddr, vport, daddr, dport, flags,
                state, fwmark, timeout, tuple(options)), end


def _conn0(data, at):
    _, protocol, cport, vport, dport, caddr, vaddr, daddr, flags, \
        state = CONN0.unpack_from(data, at)
    at, options = at + CONN0.size, ()
    if flags & (OUT_SEQ | IN_SEQ):
        options = (SEQ_DATA, SEQ.pack(*struct.unpack_from("=6I", data, at))),
        at += SEQ.size
    return Conn(protocol, _address(caddr), cport, _address(vaddr), vport,
                _address(daddr), dport, flags, state, options=options), at


def parse(data):
    """Read a datagram of either version; each byte of it is what it must be,
    given the fields."""
    conns = []
    if data[0]:
        count, syncid, _ = HEAD0.unpack_from(data)
        version, at, one = 0, HEAD0.size, _conn0
    else:
        _, syncid, _, count, version, _ = HEAD.unpack_from(data)
        at, one = HEAD.size, _conn
    for _ in range(count):
        if version:
            at += -at % 4
        conn, at = one(data, at)
        conns.append(conn)
    again = (datagram if version else datagram0)(*conns, syncid=syncid)
    if again != data:
        raise AssertionError(f"bytes\n  got  {data.hex()}\n"
                             f"  want {again.hex()}")
    return Datagram(version, syncid, tuple(conns))


class Daemon(NamedTuple):
    """A daemon as GET_DAEMON shows it, and as it is asked for."""
    state: int = None
    device: str = None
    syncid: int = None
    maxlen: int = None
    group: str = None
    port: int = None
    ttl: int = None

    def attribute(self):
        """The nested attribute, with what is not None."""
        rows = []
        for number, value, make in (
                (STATE, self.state, genl.u32),
                (MCAST_IFN, self.device, genl.string),
                (SYNC_ID, self.syncid, genl.u32),
                (SYNC_MAXLEN, self.maxlen, genl.u16),
                (MCAST_PORT, self.port, genl.u16),
                (MCAST_TTL, self.ttl, genl.u8)):
            if value is not None:
                rows.append(make(number, value))
        if self.group is not None:
            rows.append(genl.attr(
                MCAST_GROUP6 if is_ipv6(self.group) else MCAST_GROUP,
                pack_address(self.group)))
        return genl.nest(genl.CMD_DAEMON, *rows)

    @classmethod
    def read(cls, message):
        """From a message of a dump."""
        found = genl.attributes(genl.attributes(message)[genl.CMD_DAEMON])

        def number(kind, size="=I"):
            return struct.unpack(size, found[kind])[0]
        group = found.get(MCAST_GROUP, found.get(MCAST_GROUP6))
        return cls(number(STATE), found[MCAST_IFN].rstrip(b"\0").decode(),
                   number(SYNC_ID), number(SYNC_MAXLEN, "=H"),
                   _address(group), number(MCAST_PORT, "=H"),
                   number(MCAST_TTL, "=B"))


class Daemons:
    """The daemons of a namespace, by generic netlink."""

    def __init__(self, namespace):
        self.link = genl.Genl(namespace)

    def close(self):
        """Let go of the socket; daemons go on."""
        self.link.close()

    def new(self, *row, **fields):
        """Start one; the errno's name, or nothing."""
        return self.link.request(genl.NEW_DAEMON,
                                 Daemon(*row, **fields).attribute()).error

    def delete(self, state):
        """Stop one; the errno's name, or nothing."""
        return self.link.request(genl.DEL_DAEMON,
                                 Daemon(state).attribute()).error

    def start(self, *row, **fields):
        """Start one that must start."""
        error = self.new(*row, **fields)
        if error:
            raise AssertionError(f"NEW_DAEMON {row} {fields}: {error}")
        await_threads()

    def stop(self):
        """Stop all that run."""
        for daemon in self.get():
            error = self.delete(daemon.state)
            if error:
                raise AssertionError(f"DEL_DAEMON {daemon.state}: {error}")

    def get(self):
        """All that run."""
        return [Daemon.read(message)
                for message in self.link.dump(genl.GET_DAEMON).messages]


def _threads():
    """Pairs of a daemon's thread's name and state."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii",
                      errors="replace") as file:
                match = re.match(r"\d+ \((ipvs-[mb]):\d+:(\d+)\) (\w)",
                                 file.read())
        except OSError:
            continue
        if match:
            yield f"{match[1]} {match[2]}", match[3]


def threads():
    """Names of the threads of all daemons of the machine, sorted, with the
    number of the namespace left out."""
    return sorted(name for name, _state in _threads())


def await_threads():
    """Until all threads wait for something to do. Who stops one of the C
    module before it has begun is told EINTR, or by netlink nothing at all."""
    eventually(lambda: all(state in "SI" for _name, state in _threads()),
               "threads that wait")
