# SPDX-License-Identifier: GPL-2.0
"""The rows of the table that are about packets: what each of them sends."""

from typing import NamedTuple

from . import director
from .frames import TCP, UDP, Frames
from .module import SERVICES
from .sender import Sender


class Row(NamedTuple):
    """A row: the packets that it sends."""
    title: str
    service: str
    reply: bool = False
    new: bool = False

    @property
    def protocol(self):
        """Its protocol number."""
        return TCP if SERVICES[self.service].kind == "-t" else UDP

    @property
    def plain(self):
        """Name of the same traffic without IPVS."""
        return (f"{'TCP' if self.protocol == TCP else 'UDP'}"
                f"{' reply' if self.reply else ''}")

    def sender(self, family, virtual=True, same=False):
        """A sender of its packets, or of such that IPVS has no part in."""
        service = SERVICES[self.service]
        server = family.server.format(1)
        end = family.vip if virtual and not self.reply else server
        return Sender(director.GENERATOR,
                      Frames(family, self.protocol, (end, service.port),
                             director.mac(), reply=self.reply, same=same))


ROWS = {
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
