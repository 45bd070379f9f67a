#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""IPv6 addresses of a link: of a client, of a virtual service, of a server.
Requests go to the server whatever their scope; an answer leaves the server's link
only for a client beyond it that has a global address."""

from contextlib import closing

from lib import genl, rules
from lib.lab import CIP6, RIP6, VIP6, Lab
from lib.packet import (IPPROTO_IPV6, Packet6, Raw, icmp6_error, tcp, udp)
from lib.tap import equal, main, test

LINK_CLIENT, LINK_VIP, ROUTER = "fe80::2", "fe80::1", "fd00:2::1"
LINK_SERVER, UDP = "fe80::5", 17
NAT, TUNNEL, DIRECT = 81, 82, 83


class LinkLab(Lab):
    """Services at a global address and at one of the client's link."""

    def build(self):
        super().build()
        self.director.ip(
            f"addr add {LINK_VIP}/64 dev client nodad",
            f"neigh add {LINK_CLIENT} lladdr {self.client.mac} dev client "
            "nud permanent")
        for vip in VIP6, LINK_VIP:
            for kind in "-t", "-u":
                for vport, method in (NAT, "m"), (TUNNEL, "i"), (DIRECT, "g"):
                    self.ipvs.service(f"[{vip}]:{vport}",
                                      f"[{RIP6}]:{vport} -{method}", kind=kind)


def requests(lab, vport, client=None):
    """A request of each kind, from each address of the client or one of them,
    to each of the service's."""
    for src in [client] if client else [CIP6, LINK_CLIENT]:
        for vip in VIP6, LINK_VIP:
            for make in tcp, udp:
                yield make(src, lab.port(), vip, vport)


@test("direct routing: a request arrives with its addresses")
def direct(lab):
    for request in requests(lab, DIRECT):
        lab.expect(lab.client, request, {
            lab.server: request.but(ttl=request.ttl - 1)})


@test("tunnel: a request arrives in a packet of global addresses")
def tunnel(lab):
    for request in requests(lab, TUNNEL):
        inner = bytes(request.but(ttl=request.ttl - 1))
        lab.expect(lab.client, request, {lab.server: Packet6(
            ROUTER, RIP6, Raw(inner, IPPROTO_IPV6), ttl=63, label=0)})


@test("NAT: a request arrives; the answer to a global address comes back, from "
      "the address that was asked")
def nat(lab):
    for request in requests(lab, NAT, CIP6):
        at_server = request.but(dst=RIP6, ttl=request.ttl - 1)
        lab.expect(lab.client, request, {lab.server: at_server})
        answer = at_server.back(ttl=64)
        lab.expect(lab.server, answer, {
            lab.client: answer.but(src=request.dst, ttl=63)})


@test("NAT: an answer to an address of another link is refused, as by any "
      "router")
def beyond_scope(lab):
    for request in requests(lab, NAT, LINK_CLIENT):
        at_server = request.but(dst=RIP6, ttl=request.ttl - 1)
        lab.expect(lab.client, request, {lab.server: at_server})
        answer = at_server.back(ttl=64)
        lab.expect(lab.server, answer, {
            lab.server: icmp6_error(ROUTER, RIP6, 1, 0, answer)})


@test("a server with an address of a link is refused, also where a route says "
      "which link")
def server_of_link(lab):
    lab.director.ip(f"route add {LINK_SERVER}/128 dev server1")
    with closing(genl.Genl(lab.director)) as netlink:
        for method in genl.MASQ, genl.DROUTE, genl.TUNNEL:
            reply = netlink.request(
                genl.NEW_DEST, rules.service(UDP, VIP6, NAT),
                rules.server(LINK_SERVER, NAT, method=method))
            equal(reply.error, "EINVAL", f"method {method}")
    assert LINK_SERVER not in lab.ipvs.admin("-Ln")


if __name__ == "__main__":
    main(lambda: LinkLab(ipv6=True))
