#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""Routes to real servers that are not there, go away, come back and change.

The transmitters cache a server's route. What the cache may never do is show:
a packet goes where the routing table says now, whatever it said before.
"""

from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.packet import IPPROTO_IPIP, Packet, Raw, icmp_error, udp
from lib.tap import main, test

NAT, TUNNEL, DIRECT = 81, 82, 83
FAR = "192.0.2.9"       # the real server, in a network beyond server1
NETWORK = "192.0.2.0/24"
ROUTE = f"{NETWORK} via {RIP} src 10.0.2.1"


class RouteLab(Lab):
    """One UDP service for each way to forward, all to the same server."""

    def build(self):
        super().build()
        self.director.ip(f"route add {ROUTE}")
        for vport, method in ((NAT, "-m"), (TUNNEL, "-i"), (DIRECT, "-g")):
            self.ipvs.service(f"{VIP}:{vport}", f"{FAR}:{vport} {method}",
                              kind="-u")


def arrives(request, source="10.0.2.1"):
    """What a real server gets of a request to one of the services."""
    request = request.but(ttl=63)
    if request.l4.dport == NAT:
        return request.but(dst=FAR)
    if request.l4.dport == TUNNEL:
        return Packet(source, FAR, Raw(bytes(request), IPPROTO_IPIP), ttl=63,
                      df=request.df, id=0 if request.df else None)
    return request


def unreachable(request):
    """What the client gets instead: the request is quoted as it came."""
    return icmp_error(VIP, CIP, 3, 1, request)


def everywhere(lab, wanted, payload=b"payload", **more):
    """Send to each service; wanted(request) is what is to be seen."""
    for vport in NAT, TUNNEL, DIRECT:
        request = udp(CIP, 30000 + vport, VIP, vport, payload, **more)
        lab.expect(lab.client, request, wanted(request))


def served(lab):
    """A connection of each kind works."""
    everywhere(lab, lambda request: {lab.server: arrives(request)})


@test("no route to the server: the client gets host-unreachable and the "
      "server nothing; when the route comes back, so does the service")
def route_gone(lab):
    served(lab)
    lab.director.ip(f"route del {NETWORK}")
    everywhere(lab, lambda request: {lab.client: unreachable(request)})
    lab.director.ip(f"route add {ROUTE}")
    served(lab)


@test("unreachable, prohibit and blackhole routes all bring host-unreachable")
def refusing_routes(lab):
    for kind in "unreachable", "prohibit", "blackhole":
        lab.director.ip(f"route add {kind} {FAR}")
        everywhere(lab, lambda request: {lab.client: unreachable(request)})
        lab.director.ip(f"route del {kind} {FAR}")
    served(lab)


@test("the device goes down and comes up again: host-unreachable, then "
      "service")
def device_down(lab):
    served(lab)
    with lab.cut(lab.server):
        everywhere(lab, lambda request: {lab.client: unreachable(request)})
    lab.director.ip(f"route add {ROUTE}")
    served(lab)


@test("the route moves to another neighbour: the next packet follows, "
      "connections that exist included; the tunnel's source too")
def route_moves(lab):
    served(lab)
    other = lab.servers[1]
    lab.director.ip(f"route add {FAR} via {RIP2}")
    everywhere(lab, lambda request: {other: arrives(request, "10.0.3.1")})
    lab.director.ip(f"route del {FAR}")
    served(lab)


@test("the MTU of the route changes: the next packet is measured with the "
      "new one")
def mtu_changes(lab):
    payload = bytes(1172)
    everywhere(lab, lambda request: {lab.server: arrives(request)},
               payload=payload, df=True)
    lab.director.ip(f"route replace {ROUTE} mtu 1199")
    for vport, mtu in ((NAT, 1199), (TUNNEL, 1179), (DIRECT, 1199)):
        request = udp(CIP, 30000 + vport, VIP, vport, payload, df=True)
        lab.expect(lab.client, request, {lab.client: icmp_error(
            VIP, CIP, 3, 4, request.but(ttl=63), rest=mtu)})
    lab.director.ip(f"route replace {ROUTE}")
    everywhere(lab, lambda request: {lab.server: arrives(request)},
               payload=payload, df=True)


@test("the neighbour's link address changes: the next frame has the new one")
def neighbour_changes(lab):
    served(lab)
    old = lab.server.mac
    lab.server.mac = "02:00:00:00:02:99"
    lab.director.ip(f"neigh replace {RIP} lladdr {lab.server.mac} "
                    "dev server1 nud permanent")
    lab.server.ns.ip(f"link set eth0 address {lab.server.mac}")
    served(lab)
    lab.server.mac = old
    lab.director.ip(f"neigh replace {RIP} lladdr {old} dev server1 "
                    "nud permanent")
    lab.server.ns.ip(f"link set eth0 address {old}")


@test("the device of the cached route is removed while connections use it")
def device_removed(lab):
    served(lab)
    lab.director.ip("link del server1")
    lab.up.remove(lab.server)
    everywhere(lab, lambda request: {lab.client: unreachable(request)})


if __name__ == "__main__":
    main(lambda: RouteLab(servers=2))
