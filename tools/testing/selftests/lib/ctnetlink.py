# SPDX-License-Identifier: GPL-2.0
"""The connection tracking table of a namespace, and its events, by netlink:
what conntrack(8) lists, without a process for each look."""

import socket
import struct
from typing import NamedTuple

from .genl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, attributes, error_name
from .tap import TIME_FACTOR

NETLINK_NETFILTER, SUBSYS_CTNETLINK = 12, 1
CT_NEW, CT_GET, CT_DELETE = range(3)
GROUPS = (1, 2, 3)         # of new, changed and destroyed entries
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_CREATE = 0x400
(TUPLE_ORIG, TUPLE_REPLY, STATUS, PROTOINFO, MARK, ZONE) = 1, 2, 3, 4, 8, 18
TUPLE_IP, TUPLE_PROTO, PROTOINFO_TCP, TCP_STATE = 1, 2, 1, 1
IPS_SEEN_REPLY, IPS_ASSURED, IPS_SRC_NAT, IPS_DST_NAT = 2, 4, 0x10, 0x20
TCP_STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT",
              "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2")
TCP, UDP = 6, 17


class Entry(NamedTuple):
    """An entry. Each tuple is (source, its port, destination, its port); ports
    are None where the protocol has none, as with echo and tunnels."""
    protocol: int
    original: tuple
    reply: tuple
    state: str = ""            # of TCP
    seen: str = "unreplied"    # or "replied", or "assured"
    nat: str = ""              # "src", "dst", both or nothing
    mark: int = 0
    zone: int = 0

    def about(self, port):
        """Return whether a port is among those of the entry."""
        return port in (*self.original[1::2], *self.reply[1::2])


def _tuple(data):
    parts = attributes(data)
    addresses = attributes(parts[TUPLE_IP])
    family = socket.AF_INET if 1 in addresses else socket.AF_INET6
    first = 1 if 1 in addresses else 3
    src, dst = (socket.inet_ntop(family, addresses[first + n]) for n in (0, 1))
    load = attributes(parts[TUPLE_PROTO])
    ports = [struct.unpack("!H", load[n])[0] if n in load else None
             for n in (2, 3)]
    return load[1][0], (src, ports[0], dst, ports[1])


def _entry(body):
    parts = attributes(body)
    protocol, original = _tuple(parts[TUPLE_ORIG])
    status = _number(parts.get(STATUS))
    state = ""
    if PROTOINFO in parts:
        info = attributes(attributes(parts[PROTOINFO]).get(PROTOINFO_TCP, b""))
        state = TCP_STATES[info[TCP_STATE][0]] if TCP_STATE in info else ""
    # With UDP it is a matter of time whether an entry is assured.
    seen = "assured" if status & IPS_ASSURED and protocol != UDP else \
        "replied" if status & IPS_SEEN_REPLY else "unreplied"
    nat = " ".join(name for name, bit in (("src", IPS_SRC_NAT),
                                          ("dst", IPS_DST_NAT))
                   if status & bit)
    zone, = struct.unpack("!H", parts.get(ZONE, b"\0\0"))
    return Entry(protocol, original, _tuple(parts[TUPLE_REPLY])[1], state,
                 seen, nat, _number(parts.get(MARK)), zone)


def _number(data):
    return struct.unpack("!I", data)[0] if data else 0


def _socket(namespace):
    with namespace:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                             NETLINK_NETFILTER)
    sock.bind((0, 0))
    return sock


def _messages(data):
    """The messages of a datagram: (type, flags, sequence, body)."""
    while len(data) >= 16:
        size, kind, flags, sequence, _pid = struct.unpack_from("=IHHII", data)
        yield kind, flags, sequence, data[16:size]
        data = data[size + (-size % 4):]


class Table:
    """The entries of a namespace."""

    def __init__(self, namespace):
        self.ns = namespace
        self.socket = _socket(namespace)
        self.socket.settimeout(20 * TIME_FACTOR)
        self.sequence = 0

    def close(self):
        """Let go of the namespace."""
        self.socket.close()

    def _request(self, command, flags):
        """The bodies of all answers."""
        self.sequence += 1
        self.socket.send(struct.pack(
            "=IHHIIBBH", 20, SUBSYS_CTNETLINK << 8 | command,
            NLM_F_REQUEST | flags, self.sequence, 0, socket.AF_UNSPEC, 0, 0))
        found = []
        while True:
            for kind, _flags, sequence, body in _messages(
                    self.socket.recv(1 << 16)):
                if sequence != self.sequence:
                    continue
                if kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", body)[0]
                    if error:
                        raise AssertionError(f"ctnetlink {command}: "
                                             f"{error_name(error)}")
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    return found
                found.append(body)

    def entries(self, port=None):
        """All entries, or those that have this port in a tuple, sorted."""
        return sorted((entry for entry in (
            _entry(body[4:]) for body in self._request(CT_GET, NLM_F_DUMP))
                       if port is None or entry.about(port)), key=repr)

    def flush(self):
        """Remove all entries."""
        self._request(CT_DELETE, NLM_F_ACK)

    def count(self):
        """The number of entries, unconfirmed ones too, as users read it."""
        with self.ns, open("/proc/sys/net/netfilter/nf_conntrack_count",
                           encoding="ascii") as file:
            return int(file.read())


class Events:
    """What happens to the entries of a namespace, while this lasts."""

    def __init__(self, namespace):
        self.socket = _socket(namespace)
        for group in GROUPS:
            self.socket.setsockopt(270, 1, group)
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.socket.close()

    def seen(self, port):
        """What has happened since the last look to entries with this port:
        ("new", "changed" or "destroyed", entry) one by one."""
        found = []
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return found
            for kind, flags, _sequence, body in _messages(data):
                name = "destroyed" if kind & 0xff == CT_DELETE else \
                    "new" if flags & NLM_F_CREATE else "changed"
                entry = _entry(body[4:])
                if entry.about(port):
                    found.append((name, entry))
