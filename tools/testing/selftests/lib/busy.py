# SPDX-License-Identifier: GPL-2.0
"""The laboratory at work: a service of every method for both protocols, and
traffic that keeps both CPUs in it."""

from . import genl
from .flood import flood
from .lab import CIP, RIP, RIP2, VIP, Lab
from .packet import ACK, icmp_error, tcp, udp
from .rules import Rules
from .tap import equal

TCP, UDP = 6, 17
METHODS = {81: genl.MASQ, 82: genl.TUNNEL, 83: genl.DROUTE}
PORTS = range(1000, 1200)


class BusyLab(Lab):
    """Two servers, and one TCP and one UDP service for each method."""

    def __init__(self):
        super().__init__(servers=2)

    def configure(self):
        """Set the services up, on a module that was just loaded."""
        with Rules(self.director) as rules:
            for vport, method in METHODS.items():
                for protocol in TCP, UDP:
                    rules.add(protocol, VIP, vport, RIP, RIP2, method=method)

    def build(self):
        super().build()
        self.configure()

    def traffic(self, ports=PORTS):
        """Requests of both protocols from one side and answers from the
        other: as many processes as needed to keep both CPUs in it."""
        requests = [[make(CIP, cport, VIP, vport) for cport in ports
                     for vport in METHODS] for make in (udp, tcp)]
        more = [packet.but(flags=ACK) for packet in requests[1]]
        answers = [make(server, 81, CIP, cport) for cport in ports
                   for make, server in ((udp, RIP), (tcp, RIP))]
        errors = [icmp_error(RIP, CIP, 3, 1, udp(CIP, cport, RIP, 81))
                  for cport in ports]
        return flood((self.client, requests[0]),
                     (self.client, requests[1] + more),
                     (self.server, answers + errors))

    def works(self):
        """New connections of every kind reach a server."""
        for vport in METHODS:
            for make in udp, tcp:
                seen = self.exchange(self.client, make(
                    CIP, self.port(), VIP, vport))
                equal(sum(len(seen[server]) for server in self.servers), 1,
                      f"servers reached by way of port {vport}")
