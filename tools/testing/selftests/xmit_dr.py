#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""Direct routing: the packet goes to the real server's link address as it
is, one hop poorer."""

from lib.genl import DROUTE
from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.packet import ACK, SYN, icmp_error, tcp, udp
from lib.rules import Rules
from lib.tap import main, test

VPORT, UDP = 80, 17
FAR = "192.0.2.9"       # a real server that is not on any link


class DirectLab(Lab):
    """TCP and UDP services whose real servers are neighbours; the lab
    compares the link addresses of every frame that arrives."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            self.ipvs.service(f"{VIP}:{VPORT}", f"{RIP}:{VPORT} -g", kind=kind)
        self.ipvs.service(f"{VIP}:81", f"{RIP2}:81 -g")
        self.director.ip(f"route add {FAR} via {RIP2}")
        self.ipvs.service(f"{VIP}:82", f"{FAR}:82 -g")

    def route_mtu(self, mtu):
        """The path MTU to the first real server's network."""
        self.director.ip(
            f"route replace {self.server.net}.0/24 dev {self.server.name} "
            f"src {self.server.router} mtu {mtu}")


def passed(request):
    """What the real server gets."""
    return request.but(ttl=request.ttl - 1)


@test("TCP and UDP arrive with the virtual address in them and nothing "
      "changed but the TTL and the header's checksum")
def unchanged(lab):
    for make in udp, tcp:
        for df in (False, True):
            request = make(CIP, lab.port(), VIP, VPORT, df=df, tos=0xb9,
                           payload=bytes(range(256)))
            lab.expect(lab.client, request, {lab.server: passed(request)})


@test("the frame goes to the link address of the server that was chosen")
def link_address(lab):
    request = tcp(CIP, lab.port(), VIP, 81)
    lab.expect(lab.client, request, {lab.servers[1]: passed(request)})


@test("a server beyond a gateway: the frame goes to the gateway, the packet "
      "still to the virtual address")
def beyond_gateway(lab):
    request = tcp(CIP, lab.port(), VIP, 82)
    lab.expect(lab.client, request, {lab.servers[1]: passed(request)})


@test("the port of the server does not matter: the packet keeps its own")
def port_of_server(lab):
    with Rules(lab.director) as rules:      # ipvsadm would not send the port
        rules.add(UDP, VIP, 83)
        rules.add_server(UDP, VIP, 83, RIP, rport=8080, method=DROUTE)
    request = udp(CIP, lab.port(), VIP, 83)
    lab.expect(lab.client, request, {lab.server: passed(request)})


@test("transport checksums are not looked at: wrong and missing ones arrive "
      "as they were sent")
def checksums(lab):
    for check in 0, 0x1234:
        for make in udp, tcp:
            request = make(CIP, lab.port(), VIP, VPORT, check=check)
            lab.expect(lab.client, request, {lab.server: passed(request)})


@test("options of the IP header are kept")
def ip_options(lab):
    request = tcp(CIP, lab.port(), VIP, VPORT,
                  options=b"\x88\x04\x12\x34\x01\x01\x01\x00")
    lab.expect(lab.client, request, {lab.server: passed(request)})


@test("replies do not pass the director, and the connection goes on")
def one_way(lab):
    cport = lab.port()
    for flags in SYN, ACK, ACK:
        request = tcp(CIP, cport, VIP, VPORT, flags)
        lab.expect(lab.client, request, {lab.server: passed(request)})


@test("TTL 1 brings time-exceeded from the virtual address")
def ttl(lab):
    request = udp(CIP, lab.port(), VIP, VPORT, ttl=1)
    lab.expect(lab.client, request,
               {lab.client: icmp_error(VIP, CIP, 11, 0, request)})


@test("longer than the MTU: fragmentation-needed with DF, fragments without")
def mtu(lab):
    lab.route_mtu(1300)
    cport = lab.port()
    fits = udp(CIP, cport, VIP, VPORT, bytes(1272), df=True)
    lab.expect(lab.client, fits, {lab.server: passed(fits)})
    request = udp(CIP, cport, VIP, VPORT, bytes(1273), df=True)
    lab.expect(lab.client, request, {lab.client: icmp_error(
        VIP, CIP, 3, 4, passed(request), rest=1300)})
    request = request.but(df=False, id=4711)
    lab.expect(lab.client, request,
               {lab.server: passed(request).fragments(1280)})
    lab.route_mtu(1500)


@test("fragments of a request all go to the same server")
def fragments(lab):
    request = udp(CIP, lab.port(), VIP, VPORT, bytes(range(200)))
    seen = lab.exchange(lab.client, *request.fragments(80, 160))
    lab.compare(seen, {lab.server: passed(request).fragments(80, 160)})


if __name__ == "__main__":
    main(lambda: DirectLab(servers=2))
