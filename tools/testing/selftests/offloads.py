#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""Packets that leave work to a device: checksums to complete, and segments to
cut from packets longer than the MTU.

They come to the director as such. Where the device that they leave by does
the work, they must leave in one piece, with what the device needs to know;
where it doesn't, what comes over the wire must be right in every byte.
"""

from contextlib import contextmanager

from lib.encap import (GRE, GRE_CSUM, GUE, GUE_CSUM, GUE_REMCSUM, IPIP,
                       between, number, remote_checksum)
from lib.family import IPV4, IPV6, end
from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6
from lib.offload import (CHECK_AT, HEADER, PACKET_VNET_HDR, About, OffloadLab,
                         Wanted, Work, about, ip_length, pending, together)
from lib.packet import (ACK, IPPROTO_UDP, PSH, SYN, Packet, Packet6, Raw,
                        icmp6_error, icmp_error, is_ipv6, pseudo_sum, tcp, udp)
from lib.tap import equal, main, module_under_test, test
from lib.wire import SOL_PACKET, drain, received, tap

NAT, DIRECT, RPORT = 81, 82, 8080
# port of the service: how its packets are tunnelled; those of servers of the
# other family have a port that is greater by ten
TUNNELS = {90: IPIP, 91: GUE, 92: GUE_CSUM, 93: GUE_REMCSUM, 94: GRE,
           95: GRE_CSUM}
SOURCE, SOURCE6 = "10.0.2.1", "fd00:2::1"
FAMILIES = (CIP, VIP, RIP), (CIP6, VIP6, RIP6)
PAYLOAD = bytes(n * 7 + (n >> 8) & 255 for n in range(20000))
# Bytes of payload, and of each segment: none to cut; an odd rest; so much more
# than a page that it comes in pieces.
SIZES = (7, 0), (1401, 700), (20000, 1240)


def gro(namespace, device, on):
    """Whether a device puts segments together that come in."""
    state = "on" if on else "off"
    namespace.run("ethtool", "-K", device, "gro", state,
                  "rx-udp-gro-forwarding", state)


class Services(OffloadLab):
    """A TCP and a UDP service of each family for each way to forward."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            for _client, virtual, server in FAMILIES:
                self.ipvs.service(end(virtual, NAT),
                                  f"{end(server, RPORT)} -m", kind=kind)
                self.ipvs.service(end(virtual, DIRECT),
                                  f"{end(server, DIRECT)} -g", kind=kind)
                for port, tunnel in TUNNELS.items():
                    for at, remote in (port, RIP), (port + 10, RIP6):
                        self.ipvs.service(
                            end(virtual, at), f"{end(remote, at)} -i "
                            f"{tunnel.options}", kind=kind)

    @contextmanager
    def narrow(self, mtu):
        """While this lasts, the path MTU to the real servers' networks."""
        self.route_mtu(mtu)
        try:
            yield
        finally:
            self.route_mtu(1500)

    def route_mtu(self, mtu):
        """The path MTU to the real servers' networks."""
        for ip in IPV4, IPV6:
            ip.route_mtu(self.server, mtu)

    @contextmanager
    def gro(self, host):
        """While this lasts, segments are cut before they are on the wire from
        a host, and the director puts them together again."""
        host.device(False)
        gro(self.director, host.name, True)
        try:
            yield
        finally:
            gro(self.director, host.name, False)
            host.device(True)

    def either(self, host):
        """With the director's device doing all work, then none."""
        try:
            for works in True, False:
                self.works(host, works)
                yield works
        finally:
            self.works(host, True)

    def opened(self, make, client, virtual, port):
        """The client port of a new connection."""
        cport = self.port()
        if make is tcp:
            self.exchange(self.client, tcp(client, cport, virtual, port, SYN))
        return cport

    def requests(self, client, virtual, port, sizes=SIZES, flags=ACK | PSH,
                 **more):
        """Requests of one connection of either protocol; the flags are for
        TCP, and DF for IPv4."""
        if is_ipv6(client):
            more.pop("df", None)
        for make in udp, tcp:
            cport = self.opened(make, client, virtual, port)
            own = more | ({"flags": flags} if make is tcp else {})
            for length, size in sizes:
                yield Work(make(client, cport, virtual, port,
                                payload=PAYLOAD[:length], **own), size)


def wanted(work, works):
    """How a packet must come, if the device it leaves by works or not."""
    if works:
        return [Wanted(work.pending(), work.about())]
    return [Wanted(packet) for packet in work.done()]


def translated(request, server):
    """What the real server gets of a request by NAT."""
    return request.but(dst=server, dport=RPORT, ttl=request.packet.ttl - 1)


def outer(inner, tunnel, ends, load, count):
    """The packet around one, the given one of those cut from it."""
    load = Raw(load, tunnel.protocol or number(inner))
    if is_ipv6(ends[0]):
        return Packet6(*ends, load, ttl=inner.ttl, tos=inner.tos, label=0)
    df = getattr(inner, "df", False)
    return Packet(*ends, load, ttl=inner.ttl, tos=inner.tos, df=df,
                  id=count if df else None)


def tunnelled(work, tunnel, ends, works, got):
    """How a request must come in its tunnel. What came behind the outer IP
    header says the UDP source port."""
    if tunnel.remote and work.partial:
        return left_to_receiver(work, tunnel, ends, works, got)
    if works:
        return [left_to_device(work, tunnel, ends, got[0])]
    return [Wanted(outer(part, tunnel, ends,
                         between(tunnel, part, ends, came), count))
            for count, (part, came) in enumerate(zip(work.done(), got))]


def left_to_receiver(work, tunnel, ends, works, got):
    """It is told how to complete the checksum inside. No device cuts segments
    for that."""
    found = []
    start = ip_length(work.packet)
    options = remote_checksum(start, start +
                              CHECK_AT[work.packet.l4.protocol])
    for count, (part, came) in enumerate(zip(work.done(), got)):
        part = pending(part)
        check = left = None
        if works:
            check, left = outer_checksum(tunnel, ends, len(options) +
                                         len(bytes(part)))
        load = between(tunnel, part, ends, came, options, check=check)
        found.append(Wanted(outer(part, tunnel, ends, load, count), left))
    return found


def left_to_device(work, tunnel, ends, came):
    """One packet; what is inside has to be completed, or the outer checksum if
    there is nothing to do inside."""
    inner = work.packet
    check = left = None
    if tunnel.checked and (work.size or not work.partial):
        check, left = outer_checksum(tunnel, ends, len(bytes(inner)))
    load = between(tunnel, inner, ends, came, inside=bytes(work.pending()),
                   check=check)
    if work.size and check == 0 and module_under_test() == "c":
        # It leaves there what was in the buffer: Documentation/abi.rst.
        load = load[:4] + came[4:8] + load[8:]
    if work.partial:
        left = work.about().behind(ip_header(ends) + tunnel.length)
    return Wanted(outer(inner, tunnel, ends, load, 0), left)


def outer_checksum(tunnel, ends, length):
    """The outer checksum before a device completes it, and how it does, with
    so many bytes behind the headers of the tunnel."""
    if tunnel.protocol == IPPROTO_UDP:
        return (pseudo_sum(*ends, IPPROTO_UDP, tunnel.length + length),
                About(ip_header(ends), CHECK_AT[IPPROTO_UDP]))
    return 0, About(ip_header(ends), 4)


def ip_header(ends):
    """Bytes of the outer IP header."""
    return 40 if is_ipv6(ends[0]) else 20


def tunnels():
    """Client, virtual address, port, tunnel, and both of its ends."""
    for client, virtual, _server in FAMILIES:
        for port, tunnel in TUNNELS.items():
            yield client, virtual, port, tunnel, (SOURCE, RIP)
            yield client, virtual, port + 10, tunnel, (SOURCE6, RIP6)


def ways():
    """Client, virtual address, port, server, and what a tunnel needs."""
    for client, virtual, server in FAMILIES:
        yield client, virtual, NAT, server, None, None
        yield client, virtual, DIRECT, server, None, None
    for client, virtual, port, tunnel, ends in tunnels():
        yield client, virtual, port, ends[1], tunnel, ends


def arrival(work, way, works, frames):
    """How a request must arrive that came to the director like this."""
    _client, _virtual, port, server, tunnel, ends = way
    if port == NAT:
        return wanted(translated(work, server), works)
    passed = work.but(ttl=work.packet.ttl - 1)
    if not tunnel:
        return wanted(passed, works)
    got = [frame.ip[ip_header(ends):] for frame in frames]
    return tunnelled(passed, tunnel, ends, works,
                     got + [b""] * (len(work.done()) - len(got)))


def arrives(lab, sent, way, works, came=None):
    """Send a request; it must arrive as it should, if it came to the director
    as it was sent, or like this."""
    seen = lab.exchange(lab.client, sent)
    want = []
    for work in came or [sent]:
        want += arrival(work, way, works, seen[lab.server][len(want):])
    lab.compare(seen, {lab.server: want})


def all_arrive(lab, condition, sizes=SIZES, **more):
    """Requests by each way that meets the condition, which gets port and
    tunnel, must arrive."""
    for works in lab.either(lab.server):
        for way in ways():
            if not condition(way[2], way[4]):
                continue
            for request in lab.requests(*way[:3], sizes, **more):
                arrives(lab, request, way, works)


@test("NAT, requests")
def nat_requests(lab):
    all_arrive(lab, lambda port, _tunnel: port == NAT)


@test("NAT, replies")
def nat_replies(lab, came=lambda work: [work], flags=ACK | PSH):
    for works in lab.either(lab.client):
        for client, virtual, server in FAMILIES:
            for request in lab.requests(client, virtual, NAT, flags=flags):
                lab.exchange(lab.client, request.packet.but(payload=b""))
                answer = Work(request.packet.back(ttl=64), request.size)
                lab.expect(lab.server, answer.but(src=server, sport=RPORT),
                           {lab.client: [
                               want for work in came(answer.but(ttl=63))
                               for want in wanted(work, works)]})


@test("direct routing")
def direct(lab):
    all_arrive(lab, lambda port, _tunnel: port == DIRECT)


def tunnel_test(wanted_tunnel):
    """A promise for each way to tunnel."""
    options = wanted_tunnel.options.replace("--tun-", "")

    @test(f"tunnels of each family in each: {options}")
    def one_tunnel(lab):
        all_arrive(lab, lambda _port, tunnel: tunnel is wanted_tunnel)


for each in TUNNELS.values():
    tunnel_test(each)


@test("tunnels of packets with DF: the outer IPv4 header has it too, and IDs "
      "from 0 on")
def dont_fragment(lab):
    for works in lab.either(lab.server):
        for way in ways():
            if is_ipv6(way[0]) or not way[4]:
                continue
            for request in lab.requests(*way[:3], ((2500, 1000),), df=True):
                arrives(lab, request, way, works)


@test("a capture keeps what came, and the packet is sent as without it")
def captured(lab):
    sock = tap(lab.director, lab.client.name)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    for works in lab.either(lab.server):
        for way in ways():
            for request in lab.requests(*way[:3], ((7, 0), (4500, 1000))):
                drain(sock)
                arrives(lab, request, way, works)
                frame = received(sock, HEADER.size)
                equal((frame.ip.hex(), about(frame.about)),
                      (bytes(request.pending()).hex(), request.about()),
                      "captured")
    sock.close()


@test("packets that GRO has put together, and those without work left")
def gro_requests(lab):
    with lab.gro(lab.client):
        for works in lab.either(lab.server):
            for way in ways():
                for request in lab.requests(*way[:3], ((7, 0), (4500, 1000)),
                                            flags=ACK):
                    arrives(lab, request, way, works, together(request))


@test("the same, from servers")
def gro_replies(lab):
    with lab.gro(lab.server):
        nat_replies(lab, together, ACK)


def left_by(tunnel, ends, mtu):
    """Bytes that a packet with a checksum to complete may have."""
    if not tunnel:
        return mtu
    options = len(remote_checksum(0, 0)) if tunnel.remote else 0
    return mtu - tunnel.length - options - ip_header(ends)


@test("segments are held against the route's MTU: those that just fit are "
      "sent, for those that don't the sender is told what does")
def segments_mtu(lab):
    with lab.narrow(1400):
        for way in ways():
            client, virtual, port, _server, tunnel, ends = way
            left = left_by(tunnel, ends, 1400)
            for request in lab.requests(client, virtual, port, ((5000, 0),),
                                        df=True):
                head = len(bytes(request.packet)) - 5000
                arrives(lab, Work(request.packet, left - head), way, True)
                longer = Work(request.packet, left - head + 1)
                lab.expect(lab.client, longer, {lab.client: [
                    Wanted(too_long(longer, client, virtual, left))]})


def too_long(work, client, virtual, mtu):
    """What the sender of a packet is told."""
    quoted = work.but(ttl=work.packet.ttl - 1).pending()
    if is_ipv6(client):
        return icmp6_error(virtual, client, 2, 0, quoted, rest=mtu)
    return icmp_error(virtual, client, 3, 4, quoted, rest=mtu)


@test("without DF, segments of IPv4 that are too long are cut, then "
      "fragmented")
def fragmented(lab):
    with lab.narrow(1300):
        for way in ways():
            if is_ipv6(way[0]) or is_ipv6(way[3]):
                continue
            for request in lab.requests(*way[:3], ((4200, 1400),)):
                seen = lab.exchange(lab.client, request)
                whole = arrival(request, way, False, seen[lab.server][::2])
                lab.compare(seen, {lab.server: [
                    Wanted(piece) for want in whole
                    for piece in want.packet.fragments(1280)]})


if __name__ == "__main__":
    main(lambda: Services(ipv6=True))
