#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""ignore_tunneled: whether the request in a tunnel that ends at the director
is one for IPVS, or for the local stack.

The director takes packets out of tunnels as the receiver of compressed ones
(IPComp, for which a plain IP tunnel carries what does not get shorter). Tunnel
devices are of no use here: they make the kernel forget that IPVS has seen a
packet before."""

import socket
import subprocess
from socket import AF_INET, AF_INET6

from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6, Lab
from lib.packet import (IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_SCTP, Icmp, Icmp6,
                        Packet, Packet6, Raw, is_ipv6, udp)
from lib.sctp import INIT, chunk, sctp
from lib.tap import Skip, equal, main, test
from lib.vs import Settings

VPORT = 81
WORDS = b"to this director"
# Client, virtual address, server, the director's end of the tunnel.
FAMILIES = [(CIP, VIP, RIP, "10.0.1.1"), (CIP6, VIP6, RIP6, "fd00:1::1")]


class TunnelLab(Lab):
    """The director takes packets out of tunnels."""

    def __enter__(self):
        if subprocess.run(["modprobe", "-q", "-a", "ipcomp", "ipcomp6"],
                          check=False).returncode:
            raise Skip("the kernel's configuration leaves IPComp out")
        return super().__enter__()

    def __init__(self):
        super().__init__(ipv6=True)
        self.settings = None

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        for client, vip, _server, end in FAMILIES:
            self.director.ip(
                f"xfrm state add src {client} dst {end} proto comp spi 256 "
                "mode tunnel comp deflate",
                f"xfrm policy add src {client} dst {vip} dir in "
                f"tmpl src {client} dst {end} proto comp mode tunnel "
                "level use")
        for kind in "-u", "--sctp-service":
            self.ipvs.service(f"{VIP}:{VPORT}", f"{RIP}:{VPORT} -m", kind=kind)
            self.ipvs.service(f"[{VIP6}]:{VPORT}", f"[{RIP6}]:{VPORT} -m",
                              kind=kind)


def tunnelled(packet, end):
    """A packet in a tunnel from where it comes from."""
    if is_ipv6(end):
        return Packet6(packet.src, end, Raw(bytes(packet), IPPROTO_IPV6))
    return Packet(packet.src, end, Raw(bytes(packet), IPPROTO_IPIP))


def requests(lab, client, vip):
    """A request of each protocol."""
    return (udp(client, lab.port(), vip, VPORT, WORDS),
            sctp(client, lab.port(), vip, VPORT, chunk(INIT, WORDS)))


def taker(lab, request):
    """A socket of the director that gets such requests. SCTP's is raw, since
    the module for others may be absent."""
    protocol = request.l4.protocol
    with lab.director:
        sock = socket.socket(
            AF_INET6 if is_ipv6(request.dst) else AF_INET,
            socket.SOCK_RAW if protocol == IPPROTO_SCTP else socket.SOCK_DGRAM,
            protocol)
    sock.bind((request.dst, VPORT))
    sock.setblocking(False)
    return sock


@test("0: the request in a tunnel is balanced")
def balanced(lab):
    for client, vip, server, end in FAMILIES:
        for request in requests(lab, client, vip):
            lab.expect(lab.client, tunnelled(request, end),
                       {lab.server: request.but(dst=server, ttl=63)})


@test("1: it is the local stack's; a request that is in no tunnel is "
      "balanced")
def ignored(lab):
    with lab.settings.but(ignore_tunneled=1):
        for client, vip, server, end in FAMILIES:
            for request in requests(lab, client, vip):
                with taker(lab, request) as sock:
                    lab.expect(lab.client, tunnelled(request, end), {})
                    equal(sock.recv(100)[-len(WORDS):], WORDS)
                equal([found for found in lab.ipvs.connections()
                       if found.cport == request.l4.sport], [])
                lab.expect(lab.client, request,
                           {lab.server: request.but(dst=server, ttl=63)})


@test("1: echo is answered all the same")
def echo(lab):
    with lab.settings.but(ignore_tunneled=1):
        lab.expect(lab.client, Packet(CIP, VIP, Icmp(8, 0, 7, b"echo")), {
            lab.client: Packet(VIP, CIP, Icmp(0, 0, 7, b"echo"), id=None)})
        lab.expect(lab.client, Packet6(CIP6, VIP6, Icmp6(128, 0, 7, b"echo")),
                   {lab.client: Packet6(VIP6, CIP6, Icmp6(129, 0, 7, b"echo"),
                                        label=0)})


if __name__ == "__main__":
    main(TunnelLab)
