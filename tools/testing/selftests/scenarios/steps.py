# SPDX-License-Identifier: GPL-2.0
"""What a scenario is made of. A step is a value: it is drawn by chance or
written by hand, done on either module, printed, and left out.

Every step begins with a pause, in seconds. Nothing in a step depends on what a
module has done: an answer is that of whichever server got the request, and is
not sent if none did.
"""

from typing import NamedTuple

TCP, UDP, SCTP = "tcp", "udp", "sctp"
NAT, TUNNEL, DIRECT = 0, 2, 3       # as netlink has them
ONE_PACKET = 4                      # flags of a service
SCHED1, SCHED2 = 8, 16


class Flow(NamedTuple):
    """What belongs together on the client's side."""
    protocol: str
    client: str
    cport: int
    address: str
    port: int


class Service(NamedTuple):
    """A service by its address and port, or by a firewall mark."""
    protocol: str
    address: str
    port: int
    mark: int = 0


class Client(NamedTuple):
    """The client sends: flags of TCP, a chunk of SCTP, or the content of a
    datagram."""
    pause: float
    flow: Flow
    what: str


class Answer(NamedTuple):
    """The server that got the last packet of a flow answers it."""
    pause: float
    flow: Flow
    what: str


class Starts(NamedTuple):
    """A server sends first: `flow` is what the client would answer to."""
    pause: float
    server: int
    sport: int
    flow: Flow
    what: str


class Error(NamedTuple):
    """An ICMP error about the last packet of a flow, by the server that got
    it or by the client. `kind` is the number in KINDS."""
    pause: float
    flow: Flow
    by: str
    kind: int


class Add(NamedTuple):
    """A service comes, or if `edit` changes."""
    pause: float
    service: Service
    scheduler: str = "rr"
    flags: int = 0
    persistent: int = 0         # seconds; 0: it is not
    mask: int = 0               # bits of the client's network; 0: all
    engine: str = ""
    edit: bool = False


class Remove(NamedTuple):
    """A service goes."""
    pause: float
    service: Service


class AddServer(NamedTuple):
    """A server comes, or if `edit` changes."""
    pause: float
    service: Service
    address: str
    port: int
    method: int = NAT
    weight: int = 1
    upper: int = 0
    lower: int = 0
    edit: bool = False


class RemoveServer(NamedTuple):
    """A server goes."""
    pause: float
    service: Service
    address: str
    port: int


class Timeouts(NamedTuple):
    """ipvsadm --set"""
    pause: float
    tcp: int
    fin: int
    udp: int


class Setting(NamedTuple):
    """A file of net.ipv4.vs."""
    pause: float
    name: str
    value: int


class Zero(NamedTuple):
    """The counters of a service and its servers start again."""
    pause: float
    service: Service


class Look(NamedTuple):
    """Nothing but the time that passes."""
    pause: float
