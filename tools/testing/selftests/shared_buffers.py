#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""Packets whose bytes others hold too, and packets in pieces.

A capture on the director's device keeps a clone of each packet that comes in:
what it shows must be what came over the wire, whatever IPVS does to the
packet afterwards. And a packet that was longer than a page when it was sent
comes with all of its headers in page fragments, from where they have to be
fetched. Compared is every byte, at the capture and at the far side.
"""

import socket
import time
from contextlib import contextmanager

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import IPPROTO_IPIP, Packet, Raw, icmp_error, tcp, udp
from lib.tap import TIME_FACTOR, equal, main, test
from lib.wire import received, tap

NAT, TUNNEL, DIRECT = 81, 82, 83
RPORT = 8080
MTU = 9000
SMALL, IN_PIECES = b"payload", bytes(n * 7 & 255 for n in range(6000))
ROUTER, INSIDE = "192.0.2.77", "10.0.2.77"


class SharedLab(Lab):
    """A TCP and a UDP service for each way to forward, on long wires."""

    def build(self):
        super().build()
        self.director.ip(f"route add {ROUTER} via {CIP}")
        for kind in "-t", "-u":
            for vport, method in ((NAT, "-m"), (TUNNEL, "-i"),
                                  (DIRECT, "-g")):
                rport = RPORT if vport == NAT else vport
                self.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{rport} {method}",
                                  kind=kind)

    @contextmanager
    def captured(self, origin, *sent):
        """A capture on the director's device towards a host, which must show
        just these packets first, once it is over."""
        sock = tap(self.director, origin.name)
        try:
            yield
            for packet in sent:
                equal(received(sock).ip.hex(), bytes(packet).hex(),
                      f"captured from {origin}")
        finally:
            sock.close()

    def both(self, origin, sent, wanted):
        """Expect the packets, first with a capture and then without."""
        with self.captured(origin, sent):
            self.expect(origin, sent, wanted)
        self.expect(origin, sent, wanted)


def arrived(request):
    """What the server gets of a request."""
    passed = request.but(ttl=request.ttl - 1)
    if request.l4.dport == NAT:
        return passed.but(dst=RIP, dport=RPORT)
    if request.l4.dport == DIRECT:
        return passed
    return Packet("10.0.2.1", RIP, Raw(bytes(passed), IPPROTO_IPIP),
                  ttl=passed.ttl, id=None)


def returned(reply):
    """What the client gets of a NATed reply."""
    return reply.but(src=VIP, sport=NAT, ttl=reply.ttl - 1)


@test("requests: a capture shows them as they came, the server gets them as "
      "they should be, short or in pieces, by each method")
def requests(lab):
    for vport in NAT, TUNNEL, DIRECT:
        for make in udp, tcp:
            for payload in SMALL, IN_PIECES:
                request = make(CIP, lab.port(), VIP, vport, payload=payload)
                lab.both(lab.client, request, {lab.server: arrived(request)})


@test("replies through NAT: a capture shows the server's address, the client "
      "gets the virtual one")
def replies(lab):
    for make in udp, tcp:
        for payload in SMALL, IN_PIECES:
            request = make(CIP, lab.port(), VIP, NAT)
            lab.expect(lab.client, request, {lab.server: arrived(request)})
            reply = arrived(request).back(ttl=64, payload=payload)
            lab.both(lab.server, reply, {lab.client: returned(reply)})


@test("a missing UDP checksum is worked out over all pieces, and not in the "
      "capture")
def missing_checksum(lab):
    for payload in SMALL, IN_PIECES:
        request = udp(CIP, lab.port(), VIP, NAT, payload, check=0)
        lab.both(lab.client, request,
                 {lab.server: arrived(request).but(check=None)})


@test("ICMP errors about NATed packets: translated for whom they are for, "
      "as they came in the capture, the quoted packet short or in pieces")
def icmp(lab):
    for payload in SMALL, IN_PIECES:
        request = udp(CIP, lab.port(), VIP, NAT, payload)
        lab.expect(lab.client, request, {lab.server: arrived(request)})
        asked = request.sealed().but(dst=RIP, dport=RPORT)
        reply = request.back()
        answered = reply.sealed().but(src=RIP, sport=RPORT)
        more = {"limit": MTU, "tos": 0, "id": 1}
        lab.both(lab.server, icmp_error(INSIDE, CIP, 3, 1, asked, **more),
                 {lab.client: icmp_error(VIP, CIP, 3, 1, request,
                                         ttl=63, **more)})
        lab.both(lab.client, icmp_error(ROUTER, VIP, 3, 1, reply, **more),
                 {lab.server: icmp_error(ROUTER, RIP, 3, 1, answered,
                                         ttl=63, **more)})


@test("an ICMP error about a tunnel: the client is told about its packet, the "
      "capture shows what the router said")
def icmp_about_tunnel(lab):
    for payload in SMALL, IN_PIECES:
        request = udp(CIP, lab.port(), VIP, TUNNEL, payload, df=True)
        lab.expect(lab.client, request,
                   {lab.server: arrived(request).but(df=True, id=0)})
        inner = bytes(request.but(ttl=63))
        outer = Packet("10.0.2.1", RIP, Raw(inner, IPPROTO_IPIP), ttl=63,
                       id=0, df=True)
        sent = icmp_error(INSIDE, "10.0.2.1", 3, 1, outer, limit=MTU, tos=0,
                          id=1)
        lab.both(lab.server, sent,
                 {lab.client: icmp_error(VIP, CIP, 3, 1, inner)})


@test("fragments of a packet: a capture shows the first as it came")
def fragments(lab):
    # The others get their new headers from the kernel's own ip_fragment(),
    # which does not mind whether somebody else holds the bytes.
    for vport in NAT, TUNNEL, DIRECT:
        request = udp(CIP, lab.port(), VIP, vport, IN_PIECES)
        pieces = request.fragments(2000, 4000)
        with lab.captured(lab.client, pieces[0]):
            seen = lab.exchange(lab.client, *pieces)[lab.server]
        # What is around it is cut to the size of the largest that came.
        cuts = ((2008, 4016, 6024) if vport == TUNNEL else (2000, 4000))
        lab.compare({lab.server: seen},
                    {lab.server: arrived(request).fragments(*cuts)})


@test("a client on the director sends a segment again from what it kept: "
      "the server gets the same one twice, translated")
def sent_again(lab):
    with lab.director:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.setblocking(False)
        sock.connect_ex((VIP, NAT))
        seen = []
        deadline = time.monotonic() + 20 * TIME_FACTOR
        while len(seen) < 2 and time.monotonic() < deadline:
            seen += lab.settle()[lab.server]
            time.sleep(0.05)
    equal(len(seen) >= 2, True, "the segment came twice")
    first, second = (frame.ip for frame in seen[:2])
    # The rest is its identification, checksums and timestamp.
    equal(first[12:28].hex(), second[12:28].hex(), "addresses, ports, number")
    equal(first[16:20], socket.inet_aton(RIP), "destination")
    equal(first[22:24], RPORT.to_bytes(2, "big"), "port")


if __name__ == "__main__":
    main(lambda: SharedLab(mtu=MTU))
