#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# timeout: 180
"""Packets that no correct sender makes: what arrives of them, and that
nothing else comes of them.

Compared: the bytes that reach the servers and the client, and the connection
table. The named cases have the C module's result as their expectation; the
generated ones (seeded) have to leave the director as able as before.
"""

import random

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import (ACK, RST, SYN, Packet, Raw, icmp_error, tcp, udp)
from lib.tap import equal, main, test

NAT, DIRECT, TUNNEL = 80, 81, 82
SEED, GENERATED = 20261123, 2000


class Hostile(Lab):
    """A service of every method, for both protocols."""

    def build(self):
        super().build()
        for kind in "-t", "-u":
            for vport, method in (NAT, "-m"), (DIRECT, "-g"), (TUNNEL, "-i"):
                self.ipvs.service(f"{VIP}:{vport}", f"{RIP}:{vport} {method}",
                                  kind=kind)

    def ignored(self, *packets):
        """None of it gets anywhere or makes a connection."""
        before = len(self.ipvs.connections())
        self.expect(self.client, list(packets), {})
        equal(len(self.ipvs.connections()), before, "connections")

    def works(self):
        """A new connection by each method still reaches the server."""
        for vport in NAT, DIRECT, TUNNEL:
            for make in udp, tcp:
                seen = self.exchange(self.client, make(
                    CIP, self.port(), VIP, vport))
                equal(len(seen[self.server]), 1, f"packets by port {vport}")


@test("a wrong version, header length, total length or header checksum goes "
      "nowhere")
def wrong_header(lab):
    good = udp(CIP, lab.port(), VIP, NAT)
    size = len(bytes(good))
    lab.ignored(good.but(version=6), good.but(version=0), good.but(ihl=4),
                good.but(ihl=0), good.but(ihl=15), good.but(total=size + 1),
                good.but(total=19), good.but(total=0),
                good.but(header_check=0x1234))
    lab.works()


@test("a transport header that is cut off is dropped at every length")
def cut_transport(lab):
    for vport in NAT, DIRECT, TUNNEL:
        for make, whole in (udp, 8), (tcp, 20):
            cport = lab.port()
            body = make(CIP, cport, VIP, vport).l4.build(CIP, VIP)
            protocol = make(CIP, cport, VIP, vport).l4.protocol
            lab.ignored(*(Packet(CIP, VIP, Raw(body[:size], protocol))
                          for size in range(whole)))
    lab.works()


@test("only a SYN without RST makes a TCP connection")
def flags(lab):
    for vport in NAT, DIRECT, TUNNEL:
        before = len(lab.ipvs.connections())
        for other in 0, ACK, RST, SYN | RST, ACK | RST, 1, 1 | ACK, 0x3c:
            lab.exchange(lab.client, tcp(CIP, lab.port(), VIP, vport, other))
        equal(len(lab.ipvs.connections()), before, "connections")
    lab.works()


@test("a packet from the port of FTP data makes no connection")
def ftp_data(lab):
    before = len(lab.ipvs.connections())
    lab.exchange(lab.client, udp(CIP, 20, VIP, NAT), tcp(CIP, 20, VIP, NAT))
    equal(len(lab.ipvs.connections()), before, "connections")


@test("ICMP that is cut off at any length makes nothing and breaks nothing")
def cut_icmp(lab):
    request = udp(CIP, lab.port(), VIP, NAT)
    lab.exchange(lab.client, request)
    before = len(lab.ipvs.connections())
    whole = bytes(icmp_error("10.0.1.9", VIP, 3, 1, request.back()))[20:]
    lab.exchange(lab.client, *(Packet("10.0.1.9", VIP, Raw(whole[:size], 1))
                               for size in range(len(whole))))
    nested = bytes(icmp_error("10.0.1.9", VIP, 3, 4, Packet(
        VIP, RIP, Raw(bytes(request), 4)), 600))[20:]
    lab.exchange(lab.client, *(Packet("10.0.1.9", VIP, Raw(nested[:size], 1))
                               for size in range(len(nested))))
    equal(len(lab.ipvs.connections()), before, "connections")
    lab.works()


@test("overlapping, tiny and endless fragments make no connection")
def fragments(lab):
    before = len(lab.ipvs.connections())
    body = bytes(64)
    lab.exchange(
        lab.client,
        *(Packet(CIP, VIP, Raw(body[:24], 17), id=1, mf=True, frag=at)
          for at in (0, 1, 2)),
        Packet(CIP, VIP, Raw(body[:8], 6), id=2, mf=True),
        Packet(CIP, VIP, Raw(body, 6), id=2, frag=0x1fff),
        Packet(CIP, VIP, Raw(body[:3], 17), id=3, frag=1))
    equal(len(lab.ipvs.connections()), before, "connections")
    lab.works()


@test(f"{GENERATED} packets with bytes changed at random leave all as it works")
def generated(lab):
    chance = random.Random(SEED)
    for _ in range(GENERATED // 100):
        batch = []
        for _ in range(100):
            make = chance.choice((udp, tcp))
            packet = make(CIP, lab.port(), VIP,
                          chance.choice((NAT, DIRECT, TUNNEL)))
            if chance.random() < 0.3:
                packet = icmp_error(
                    CIP, VIP, chance.choice((3, 4, 11, 12)),
                    chance.randrange(16), packet.back(),
                    chance.randrange(1 << 32))
            data = bytearray(bytes(packet))
            for _ in range(chance.randrange(1, 5)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            if chance.random() < 0.3:
                del data[chance.randrange(1, len(data)):]
            batch.append(bytes(data))
        lab.exchange(lab.client, *batch)
    lab.works()


main(Hostile)
