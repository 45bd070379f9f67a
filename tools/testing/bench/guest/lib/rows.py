# SPDX-License-Identifier: GPL-2.0
"""The rows of the table that are about packets: what each of them sends."""

from typing import NamedTuple

from . import director
from .frames import DATA, INIT, SCTP, TCP, UDP, Frames
from .module import SERVICES
from .sender import Sender

PROTOCOLS = {"-t": TCP, "-u": UDP, "--sctp-service": SCTP}
NAMES = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}


class Row(NamedTuple):
    """A row: the packets that it sends, and the most that they may cost of
    what they cost with the reference."""
    title: str
    service: str
    reply: bool = False
    new: bool = False
    limit: float = 1.0

    @property
    def protocol(self):
        """Its protocol number."""
        return PROTOCOLS[SERVICES[self.service].kind]

    @property
    def lasting(self):
        """Whether a connection that begins so stays: not if an INIT alone is
        all that comes of it."""
        return not self.new or self.protocol != SCTP

    @property
    def plain(self):
        """Name of the same traffic without IPVS."""
        return NAMES[self.protocol] + (" reply" if self.reply else "") + (
            "" if self.lasting else " INIT")

    def sender(self, family, virtual=True, same=False):
        """A sender of its packets, or of such that IPVS has no part in."""
        service = SERVICES[self.service]
        server = family.server.format(1)
        end = family.vip if virtual and not self.reply else server
        return Sender(director.GENERATOR,
                      Frames(family, self.protocol, (end, service.port),
                             director.mac(), reply=self.reply, same=same,
                             chunk=DATA if self.lasting else INIT))


PACKETS = {
    "dr": Row("DR", "dr"),
    "nat": Row("NAT, request", "nat"),
    "reply": Row("NAT, reply", "nat", reply=True),
    "tunnel": Row("tunnel", "tunnel"),
    "gue": Row("tunnel, GUE", "gue"),
    "gre": Row("tunnel, GRE", "gre"),
    "udp": Row("new UDP connection", "dr", new=True),
    "udp nat": Row("new UDP connection, NAT", "nat", new=True),
    "tcp": Row("new TCP connection", "tcp", new=True),
}
ESTABLISHED, NEW = 0.6, 0.7
ASSOCIATIONS = {
    "sctp": Row("SCTP, DR", "sctp", limit=ESTABLISHED),
    "sctp nat": Row("SCTP, NAT, request", "sctp nat", limit=ESTABLISHED),
    "sctp reply": Row("SCTP, NAT, reply", "sctp nat", reply=True,
                      limit=ESTABLISHED),
    "sctp new": Row("new association", "sctp", new=True, limit=NEW),
    "sctp new nat": Row("new association, NAT", "sctp nat", new=True,
                        limit=NEW),
}
ROWS = PACKETS | ASSOCIATIONS
# What a master adds to them. A SYN alone is not told.
ADDED = 0.6
SYNCED = {key: ROWS[key]._replace(limit=ADDED if ROWS[key].new else 1.0)
          for key in ("dr", "nat", "udp", "udp nat")}


def of_part(part):
    """Those of a part of the benchmark."""
    return {"sctp": ASSOCIATIONS, "sync": SYNCED}.get(part, PACKETS)


def services(rows):
    """The services that these rows need."""
    return dict.fromkeys(row.service for row in rows.values())


def filling(rows):
    """By service, the row that fills the table with connections of it: one
    whose packets then go to them."""
    return {row.service: row for row in rows.values()
            if not row.new and not row.reply}
