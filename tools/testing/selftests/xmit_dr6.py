#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""Direct routing for IPv6: the packet goes to the real server's link address as
it is, one hop poorer."""

from lib.lab import CIP6, RIP6, RIP6_2, VIP6, Lab
from lib.packet import (ACK, IPPROTO_DSTOPTS, SYN, icmp6_error, options_header,
                        tcp, udp)
from lib.tap import equal, main, test

VPORT = 80
FAR = "2001:db8:77::9"      # a real server that is not on any link


class DirectLab(Lab):
    """TCP and UDP services whose real servers are neighbours; the lab
    compares the link addresses of every frame that arrives."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            self.ipvs.service(f"[{VIP6}]:{VPORT}", f"[{RIP6}]:{VPORT} -g",
                              kind=kind)
        self.ipvs.service(f"[{VIP6}]:81", f"[{RIP6_2}]:81 -g")
        self.director.ip(f"route add {FAR} via {RIP6_2}")
        self.ipvs.service(f"[{VIP6}]:82", f"[{FAR}]:82 -g")

    def route_mtu(self, mtu):
        """The path MTU to the first real server's network."""
        self.director.ip(
            f"route replace {self.server.net6}:/64 dev {self.server.name} "
            f"proto kernel metric 256 mtu {mtu}")


def passed(request):
    """What the real server gets."""
    return request.but(ttl=request.ttl - 1)


@test("TCP and UDP arrive with the virtual address in them and nothing "
      "changed but the hop limit, wrong checksums included")
def unchanged(lab):
    for make in udp, tcp:
        for more in ({}, {"check": 0}, {"check": 0x1234},
                     {"extensions": (options_header(IPPROTO_DSTOPTS),)}):
            request = make(CIP6, lab.port(), VIP6, VPORT, tos=0xb9,
                           payload=bytes(range(256)), **more)
            lab.expect(lab.client, request, {lab.server: passed(request)})


@test("the frame goes to the link address of the server that was chosen, or of "
      "the gateway to it")
def link_address(lab):
    for port in 81, 82:
        request = tcp(CIP6, lab.port(), VIP6, port)
        lab.expect(lab.client, request, {lab.servers[1]: passed(request)})


@test("replies do not pass the director, and the connection goes on")
def one_way(lab):
    cport = lab.port()
    for flags in SYN, ACK, ACK:
        request = tcp(CIP6, cport, VIP6, VPORT, flags)
        lab.expect(lab.client, request, {lab.server: passed(request)})


@test("hop limit 1 brings time-exceeded from the virtual address")
def hop_limit(lab):
    request = udp(CIP6, lab.port(), VIP6, VPORT, ttl=1)
    lab.expect(lab.client, request,
               {lab.client: icmp6_error(VIP6, CIP6, 3, 0, request)})


@test("longer than the MTU: packet-too-big")
def mtu(lab):
    lab.route_mtu(1300)
    cport = lab.port()
    fits = udp(CIP6, cport, VIP6, VPORT, bytes(1252))
    lab.expect(lab.client, fits, {lab.server: passed(fits)})
    request = udp(CIP6, cport, VIP6, VPORT, bytes(1253))
    lab.expect(lab.client, request, {lab.client: icmp6_error(
        VIP6, CIP6, 2, 0, passed(request), rest=1300)})
    lab.route_mtu(1500)


@test("a server that can't be reached: the client is told, and it works again "
      "when it can")
def unreachable(lab):
    cport = lab.port()
    request = udp(CIP6, cport, VIP6, VPORT)
    lab.expect(lab.client, request, {lab.server: passed(request)})
    lab.director.ip(
        f"route del {lab.server.net6}:/64 dev {lab.server.name}")
    seen = lab.exchange(lab.client, request)
    equal(seen[lab.server], [], "packets at the server")
    equal([frame.ip[40] for frame in seen[lab.client]], [1],
          "kind of the errors at the client")
    lab.route_mtu(1500)
    lab.expect(lab.client, request, {lab.server: passed(request)})


if __name__ == "__main__":
    main(lambda: DirectLab(servers=2, ipv6=True))
