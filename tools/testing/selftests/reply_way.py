#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 240
"""The way of a translated answer: the one that its new source address has,
whatever that depends on. The kernel itself says which (ip route get)."""

import json
import socket

from lib.lab import CIP, CIP6, RIP, RIP2, RIP6, RIP6_2, VIP, VIP6, Lab
from lib.packet import icmp6_error, icmp_error, is_ipv6, udp
from lib.tap import equal, main, test
from lib.vs import Settings

VPORT = 81
CLIENTS = 32
# Where clients are that are not on the director's wire, and the gateways that
# lead there: the client, and the second server.
FAR = {VIP: ("10.7.0.", "10.7.0.0/24", (CIP, RIP2)),
       VIP6: ("fd00:7::", "fd00:7::/64", (CIP6, RIP6_2))}
RULES = {VIP: "", VIP6: "-6 "}


class WaysLab(Lab):
    """A NAT service in each family, and clients behind gateways."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)
        self.settings = None

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        for vip, rip in (VIP, RIP), (VIP6, RIP6):
            end = "[{}]:{}".format if is_ipv6(vip) else "{}:{}".format
            self.ipvs.service(end(vip, VPORT), f"{end(rip, VPORT)} -m",
                              kind="-u")

    def far(self, vip, number):
        """The address of a client."""
        return f"{FAR[vip][0]}{number + 1}"

    def route(self, vip, *ways):
        """Lead to the clients."""
        _prefix, net, _gateways = FAR[vip]
        self.director.ip(f"route replace {net} {' '.join(ways)}")

    def said(self, vip, client):
        """The host that the kernel's route from the virtual address leads to."""
        found = json.loads(self.director.run(
            "ip", "-j", "route", "get", client, "from", vip))
        return found[0]["dev"]

    def went(self, vip, client, make):
        """The hosts that an answer comes to."""
        # A hash of an IPv6 packet has its flow label in it, too.
        more = {"label": 0} if is_ipv6(vip) else {}
        request = udp(client, self.port(), vip, VPORT, **more)
        rip = RIP6 if is_ipv6(vip) else RIP
        frames = self.exchange(self.client, request)
        equal([frame.ip for frame in frames[self.server]],
              [bytes(request.but(dst=rip, ttl=63))], "the request")
        answer = make(request.but(dst=rip, ttl=63))
        frames = self.exchange(self.server, answer)
        return [host.name for host in self.hosts for frame in frames[host]]


def reply(request):
    """The server's answer."""
    return request.back(ttl=64)


def error(request):
    """The server's error about a request."""
    make = icmp6_error if is_ipv6(request.src) else icmp_error
    return make(request.dst, request.src, *((1, 4) if is_ipv6(request.src)
                                            else (3, 3)), request)


def follow(lab, vip, make=reply):
    """Each client's answer goes where its route from the virtual address
    leads; those ways."""
    ways = set()
    for number in range(CLIENTS):
        client = lab.far(vip, number)
        way = lab.said(vip, client)
        equal(lab.went(vip, client, make), [way], f"{client} from {vip}")
        ways.add(way)
    return ways


BOTH = {"client", "server2"}


@test("by the destination alone: on the client's wire")
def plain(lab):
    for vip in FAR:
        lab.route(vip, f"via {FAR[vip][2][0]}")
        for make in reply, error:
            equal(follow(lab, vip, make), {"client"})


@test("by a hash of both addresses, where there are several paths")
def paths(lab):
    for vip in FAR:
        lab.route(vip, *(f"nexthop via {gateway}" for gateway in FAR[vip][2]))
        for make in reply, error:
            equal(follow(lab, vip, make), BOTH)
        lab.route(vip, f"via {FAR[vip][2][0]}")


@test("IPv4: by turns, where there are several default routes")
def default_routes(lab):
    _prefix, net, gateways = FAR[VIP]
    lab.director.ip(f"route del {net}", *(f"route append default via {gateway}"
                                          for gateway in gateways))
    equal({way for _ in range(4)
           for way in lab.went(VIP, lab.far(VIP, 0), reply)}, BOTH)
    lab.director.ip("route del default", "route del default")
    lab.route(VIP, f"via {gateways[0]}")


@test("IPv4: a route that a reply is to record has the virtual address")
def recorded(lab):
    request = udp(CIP, lab.port(), VIP, VPORT)
    lab.expect(lab.client, request,
               {lab.server: request.but(dst=RIP, ttl=63)})
    answer = request.but(dst=RIP).back(ttl=64)
    record = bytes((7, 7, 4)), bytes((7, 7, 8))
    lab.expect(lab.server, answer.but(options=record[0] + bytes(5)),
               {lab.client: answer.but(
                   src=VIP, ttl=63,
                   options=record[1] + socket.inet_aton(VIP) + bytes(1))})


@test("IPv6: by the device that leads to the client, where two have its "
      "network")
def two_networks(lab):
    _prefix, net, (near, _other) = FAR[VIP6]
    lab.director.ip(f"route del {net}", "addr add fd00:7::fe/64 dev client nodad",
                    "addr add fd00:7::ff/64 dev server1 nodad")
    client = lab.far(VIP6, 0)
    lab.director.ip(f"neigh add {client} lladdr {lab.client.mac} dev client "
                    "nud permanent")
    equal(lab.went(VIP6, client, reply), [lab.said(VIP6, client)])
    lab.director.ip("addr del fd00:7::fe/64 dev client",
                    "addr del fd00:7::ff/64 dev server1")
    lab.route(VIP6, f"via {near}")


@test("IPv6: by the source address, where a route asks for it")
def source_route(lab):
    _prefix, net, (near, other) = FAR[VIP6]
    # Where routes of a destination have sources, one without is not found.
    routes = f"{net} from {VIP6} via {other}", f"{net} from {RIP6} via {near}"
    lab.director.ip(*(f"route add {route}" for route in routes))
    equal(follow(lab, VIP6), {"server2"})
    lab.director.ip(*(f"route del {route}" for route in routes))
    equal(follow(lab, VIP6), {"client"})


@test("by rules; without snat_reroute, they see the server's address")
def rules(lab):
    for vip, rip in (VIP, RIP), (VIP6, RIP6):
        other = FAR[vip][2][1]
        lab.director.ip(f"route add {FAR[vip][1]} via {other} table 100")
        for source, ways in ((vip, ("server2", "client")),
                             (rip, ("client", "server2"))):
            rule = f"from {source} lookup 100"
            lab.director.run("ip", *f"{RULES[vip]}rule add {rule}".split())
            for reroute, way in zip((1, 0), ways):
                with lab.settings.but(snat_reroute=reroute):
                    equal(lab.went(vip, lab.far(vip, 0), reply), [way],
                          f"{rule}, snat_reroute {reroute}")
            lab.director.run("ip", *f"{RULES[vip]}rule del {rule}".split())
        lab.director.ip(f"route del {FAR[vip][1]} via {other} table 100")


if __name__ == "__main__":
    main(WaysLab)
