#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""Direct routing: the packet goes to the real server's link address as it
is, with one hop less."""

from lib.family import FAMILIES, IPV4, IPV6, end
from lib.genl import DROUTE
from lib.lab import Lab
from lib.packet import ACK, SYN, tcp, udp
from lib.rules import Rules
from lib.tap import main, test, test_each

VPORT, UDP = 80, 17
# Real servers that are not on any link.
FAR = {IPV4: "192.0.2.9", IPV6: "2001:db8:77::9"}


class DirectLab(Lab):
    """TCP and UDP services of each family whose real servers are neighbours;
    the lab compares the link addresses of every frame that arrives."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)

    def build(self):
        super().build()
        for ip in FAMILIES:
            for kind in "-t", "-u":
                self.ipvs.service(end(ip.vip, VPORT),
                                  f"{end(ip.rip, VPORT)} -g", kind=kind)
            self.ipvs.service(end(ip.vip, 81), f"{end(ip.rip2, 81)} -g")
            self.route_to_far(ip)
            self.ipvs.service(end(ip.vip, 82), f"{end(FAR[ip], 82)} -g")

    def route_to_far(self, ip):
        """Make the second server the gateway to the one on no link."""
        self.director.ip(f"route add {FAR[ip]} via {ip.rip2}")


def passed(request):
    """Return the request as the real server receives it."""
    return request.but(ttl=request.ttl - 1)


@test_each(FAMILIES, "TCP and UDP arrive with the virtual address in them and "
           "nothing changed but the TTL, with its checksum, or hop limit")
def unchanged(lab, ip):
    for make in udp, tcp:
        for fields in {}, ip.whole:
            request = make(ip.cip, lab.port(), ip.vip, VPORT, tos=0xb9,
                           payload=bytes(range(256)), **fields)
            lab.expect(lab.client, request, {lab.server: passed(request)})


@test_each(FAMILIES, "the frame goes to the link address of the server that "
           "was chosen")
def link_address(lab, ip):
    request = tcp(ip.cip, lab.port(), ip.vip, 81)
    lab.expect(lab.client, request, {lab.servers[1]: passed(request)})


@test_each(FAMILIES, "a server beyond a gateway: the frame goes to the "
           "gateway, the packet still to the virtual address")
def beyond_gateway(lab, ip):
    request = tcp(ip.cip, lab.port(), ip.vip, 82)
    lab.expect(lab.client, request, {lab.servers[1]: passed(request)})


@test_each(FAMILIES, "the port of the server does not matter: the packet "
           "keeps its own")
def port_of_server(lab, ip):
    with Rules(lab.director) as rules:      # ipvsadm would not send the port
        rules.add(UDP, ip.vip, 83)
        rules.add_server(UDP, ip.vip, 83, ip.rip, rport=8080, method=DROUTE)
    request = udp(ip.cip, lab.port(), ip.vip, 83)
    lab.expect(lab.client, request, {lab.server: passed(request)})


@test_each(FAMILIES, "transport checksums are not looked at: wrong and "
           "missing ones arrive as they were sent")
def checksums(lab, ip):
    for check in 0, 0x1234:
        for make in udp, tcp:
            request = make(ip.cip, lab.port(), ip.vip, VPORT, check=check)
            lab.expect(lab.client, request, {lab.server: passed(request)})


@test_each(FAMILIES, "IP options, or extension headers, are kept")
def options(lab, ip):
    for make in udp, tcp:
        request = make(ip.cip, lab.port(), ip.vip, VPORT, **ip.options)
        lab.expect(lab.client, request, {lab.server: passed(request)})


@test_each(FAMILIES, "replies do not pass the director, and the connection "
           "goes on")
def one_way(lab, ip):
    cport = lab.port()
    for flags in SYN, ACK, ACK:
        request = tcp(ip.cip, cport, ip.vip, VPORT, flags)
        lab.expect(lab.client, request, {lab.server: passed(request)})


@test_each(FAMILIES, "TTL (hop limit) 1 brings time-exceeded from the virtual "
           "address")
def ttl(lab, ip):
    request = udp(ip.cip, lab.port(), ip.vip, VPORT, ttl=1)
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, ip.time_exceeded, request)})


@test_each(FAMILIES, "longer than the MTU (IPv4: with DF): an error with that "
           "MTU")
def too_big(lab, ip):
    with ip.narrow(lab.server, 1300):
        cport, longest = lab.port(), 1300 - ip.header - 8
        fits = udp(ip.cip, cport, ip.vip, VPORT, bytes(longest), **ip.whole)
        lab.expect(lab.client, fits, {lab.server: passed(fits)})
        request = fits.but(payload=bytes(longest + 1))
        lab.expect(lab.client, request, {lab.client: ip.error(
            ip.vip, ip.cip, ip.too_big, passed(request), 1300)})


@test("IPv4: longer than the MTU without DF: fragments")
def mtu_without_df(lab):
    with IPV4.narrow(lab.server, 1300):
        request = udp(IPV4.cip, lab.port(), IPV4.vip, VPORT, bytes(1273),
                      id=4711)
        lab.expect(lab.client, request,
                   {lab.server: passed(request).fragments(1280)})


@test_each(FAMILIES, "fragments of a request all go to the same server")
def fragments(lab, ip):
    request = udp(ip.cip, lab.port(), ip.vip, VPORT, bytes(range(200)))
    seen = lab.exchange(lab.client, *request.fragments(80, 160))
    lab.compare(seen, {lab.server: ip.cut(
        passed(request), seen[lab.server], 80, 160)})


@test_each(FAMILIES, "a server that can't be reached: the client is told, and "
           "it works again when it can")
def unreachable(lab, ip):
    request = tcp(ip.cip, lab.port(), ip.vip, 82)
    lab.expect(lab.client, request, {lab.servers[1]: passed(request)})
    lab.director.ip(f"route del {FAR[ip]}")
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, ip.unreachable, request)})
    lab.route_to_far(ip)
    lab.expect(lab.client, request, {lab.servers[1]: passed(request)})


if __name__ == "__main__":
    main(DirectLab)
