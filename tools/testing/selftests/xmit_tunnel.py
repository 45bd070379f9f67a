#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""The tunnel transmitter: IP in IP, every field of the outer header, and the
packet inside, which loses a hop and nothing else."""

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import IPPROTO_IPIP, Packet, Raw, icmp_error, tcp, udp
from lib.tap import Skip, equal, main, test
from lib.wire import Frame

VPORT = 80
SOURCE = "10.0.2.1"     # what the route to the real server says


class TunnelLab(Lab):
    """One TCP and one UDP service, one real server behind a tunnel."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            self.ipvs.service(f"{VIP}:{VPORT}", f"{RIP}:{VPORT} -i", kind=kind)

    def route_mtu(self, mtu):
        """The path MTU to the real servers' network."""
        self.director.ip(
            f"route replace {self.server.net}.0/24 dev {self.server.name} "
            f"src {SOURCE} mtu {mtu}")


def inner(request):
    """The packet in the tunnel."""
    return request.but(ttl=request.ttl - 1)


def tunnelled(request, **outer):
    """The packet around it. With DF nothing is ever reassembled from it, and
    its ID is 0, as Linux has it; otherwise it may be any."""
    request = inner(request)
    return Packet(SOURCE, RIP, Raw(bytes(request), IPPROTO_IPIP),
                  ttl=request.ttl, tos=request.tos, df=request.df,
                  id=0 if request.df else None).but(**outer)


@test("a request arrives whole inside an IPIP packet from the route's source "
      "to the real server")
def request_in_tunnel(lab):
    for make in udp, tcp:
        for df in (False, True):
            request = make(CIP, lab.port(), VIP, VPORT, df=df, ttl=33)
            lab.expect(lab.client, request, {lab.server: tunnelled(request)})


@test("TOS and ECN are copied outward; congestion that was met outside is "
      "not told to the tunnel (RFC 3168, full functionality)")
def outer_tos(lab):
    cport = lab.port()
    for tos, outside in ((0x00, 0x00), (0xb8, 0xb8), (0x10, 0x10),
                         (0x01, 0x01), (0x02, 0x02), (0x03, 0x02),
                         (0xbb, 0xba)):
        request = udp(CIP, cport, VIP, VPORT, tos=tos)
        lab.expect(lab.client, request,
                   {lab.server: tunnelled(request, tos=outside)})


@test("a hop is counted once: the outer TTL is the inner one after it, and "
      "TTL 1 brings time-exceeded")
def ttl(lab):
    cport = lab.port()
    for hops in (2, 64, 255):
        request = udp(CIP, cport, VIP, VPORT, ttl=hops)
        lab.expect(lab.client, request,
                   {lab.server: tunnelled(request, ttl=hops - 1)})
    request = udp(CIP, cport, VIP, VPORT, ttl=1)
    lab.expect(lab.client, request,
               {lab.client: icmp_error(VIP, CIP, 11, 0, request)})


@test("options of the inner header stay inside; the outer header has none")
def inner_options(lab):
    request = udp(CIP, lab.port(), VIP, VPORT,
                  options=b"\x88\x04\x12\x34\x01\x01\x01\x00")
    lab.expect(lab.client, request, {lab.server: tunnelled(request)})


@test("checksums inside are not touched, wrong ones and missing ones either")
def inner_checksums(lab):
    for check in 0, 0x1234:
        request = udp(CIP, lab.port(), VIP, VPORT, check=check)
        lab.expect(lab.client, request, {lab.server: tunnelled(request)})


@test("with DF the tunnel takes 20 bytes less than the route: what fits "
      "passes, the next brings fragmentation-needed with that MTU")
def mtu_with_df(lab):
    cport = lab.port()
    for mtu in (1500, 1300):
        lab.route_mtu(mtu)
        fits = udp(CIP, cport, VIP, VPORT, bytes(mtu - 48), df=True)
        lab.expect(lab.client, fits, {lab.server: tunnelled(fits)})
        request = fits.but(payload=bytes(mtu - 47))
        lab.expect(lab.client, request, {lab.client: icmp_error(
            VIP, CIP, 3, 4, inner(request), rest=mtu - 20)})
    lab.route_mtu(1500)


def cut_outside(lab, request, *sent):
    """Send the request, or what it was cut to; what comes must be the outer
    packet, in two pieces of one ID that fill the wire's MTU."""
    seen = lab.exchange(lab.client, *sent or [request])[lab.server]
    ident = int.from_bytes(seen[0].ip[4:6], "big") if seen else 0
    wanted = tunnelled(request, id=ident, df=False).fragments(1480)
    equal(seen, [Frame(lab.server.mac, lab.server.router_mac, bytes(piece))
                 for piece in wanted], "outer fragments")


@test("without DF the outer packet is sent in fragments")
def mtu_without_df(lab):
    cut_outside(lab, udp(CIP, lab.port(), VIP, VPORT, bytes(1472)))


@test("fragments of a request are put together before they go into the tunnel")
def fragments(lab):
    payload = bytes(n * 7 & 255 for n in range(2000))
    request = udp(CIP, lab.port(), VIP, VPORT, payload)
    cut_outside(lab, request, *request.fragments(1480))


@test("a path of less than 68 bytes inside the tunnel is no path: dropped "
      "without a word; 68 is one")
def tiny_path(lab):
    cport = lab.port()
    lab.route_mtu(87)
    request = udp(CIP, cport, VIP, VPORT, bytes(10))
    lab.expect(lab.client, request, {})
    lab.route_mtu(88)
    lab.expect(lab.client, request, {lab.server: tunnelled(request)})
    lab.route_mtu(1500)


@test("pmtu_disc=0: DF is not copied and nothing is refused for its length")
def no_pmtu_discovery(lab):
    if not lab.director.has_sysctl("ipv4/vs/pmtu_disc"):
        raise Skip("no sysctl net.ipv4.vs.pmtu_disc")
    lab.director.sysctl("ipv4/vs/pmtu_disc", 0)
    cport = lab.port()
    request = udp(CIP, cport, VIP, VPORT, df=True)
    lab.expect(lab.client, request,
               {lab.server: tunnelled(request, df=False, id=None)})
    cut_outside(lab, udp(CIP, cport, VIP, VPORT, bytes(1472), df=True))
    lab.director.sysctl("ipv4/vs/pmtu_disc", 1)


if __name__ == "__main__":
    main(TunnelLab)
