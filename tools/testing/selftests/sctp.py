#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 240
"""SCTP on its way: every method, translation with the right CRC32c whoever has
to compute it, ICMP errors, persistence, firewall marks, and real sockets.

Compared is every byte. The CRC covers the ports, and no addresses.
"""

import socket
from contextlib import contextmanager

from lib.family import FAMILIES, IPV4, end
from lib.lab import RIP, Lab
from lib.packet import IPPROTO_SCTP, crc32c
from lib.sctp import (ABORT, DATA, ESTABLISHED, INIT, INIT_ACK, chunk, play,
                      sctp)
from lib.tap import equal, main, test, test_each
from lib.vs import Settings

NAT, SAME, TUNNEL, DIRECT, NOBODY, RPORT = 81, 82, 83, 84, 85, 8080
KIND = "--sctp-service"
WRONG = 0x5a5a5a5a


class SctpLab(Lab):
    """A service of each family for each way to forward."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        for ip in FAMILIES:
            self.director.ip(f"route add {ip.router} via {ip.cip}")
            for vport, rport, method in (
                    (NAT, RPORT, "-m"), (SAME, SAME, "-m"),
                    (TUNNEL, TUNNEL, "-i"), (DIRECT, DIRECT, "-g")):
                self.ipvs.service(end(ip.vip, vport),
                                  f"{end(ip.rip, rport)} {method}", kind=KIND)
            self.ipvs.service(end(ip.vip, NOBODY), kind=KIND)

    def opened(self, ip, vport, rport=None):
        """The client port of an established association."""
        cport = self.port()
        play(self, ((ip.cip, ip.vip, vport), (ip.rip, rport or vport)), cport,
             ESTABLISHED if vport in (NAT, SAME) else
             "i:init i:cookie_echo")
        return cport

    def served(self, *packets):
        """Which server each packet gets to, counted from 1; 0 for none."""
        found = []
        for packet in packets:
            seen = self.exchange(self.client, packet)
            found.append(next((number for number, server in
                               enumerate(self.servers, 1) if seen[server]), 0))
        return found


def data(size):
    """A DATA chunk."""
    return chunk(DATA, bytes(n * 7 & 255 for n in range(size)))


def passed(packet, **changes):
    """A packet that has lost a hop."""
    return packet.but(ttl=packet.ttl - 1, **changes)


@test_each(FAMILIES, "NAT: addresses and ports are translated both ways, and "
           "the CRC is right, whatever the size")
def nat(lab, ip):
    for vport, rport in (NAT, RPORT), (SAME, SAME):
        cport = lab.opened(ip, vport, rport)
        for size in 12, 13, 14, 15, 600, 1400:
            request = sctp(ip.cip, cport, ip.vip, vport, data(size))
            lab.expect(lab.client, request, {lab.server: passed(
                request, dst=ip.rip, dport=rport)})
            answer = request.back(src=ip.rip, sport=rport)
            lab.expect(lab.server, answer, {lab.client: passed(
                answer, src=ip.vip, sport=vport)})


@test_each(FAMILIES, "direct routing and tunnels leave a packet as it is, even "
           "with a wrong CRC")
def as_it_is(lab, ip):
    for check in None, WRONG:
        cport = lab.opened(ip, DIRECT)
        request = sctp(ip.cip, cport, ip.vip, DIRECT, data(40), check=check)
        lab.expect(lab.client, request, {lab.server: passed(request)})
        cport = lab.opened(ip, TUNNEL)
        request = sctp(ip.cip, cport, ip.vip, TUNNEL, data(40), check=check)
        lab.expect(lab.client, request, {lab.server: ip.encapsulated(
            passed(request))})


@test_each(FAMILIES, "NAT: a wrong CRC stays wrong while the port stays")
def damaged(lab, ip):
    cport = lab.opened(ip, SAME)
    request = sctp(ip.cip, cport, ip.vip, SAME, data(40), check=WRONG)
    lab.expect(lab.client, request, {lab.server: passed(request, dst=ip.rip)})
    answer = request.back(src=ip.rip)
    lab.expect(lab.server, answer, {lab.client: passed(answer, src=ip.vip)})


@test_each(FAMILIES, "ICMP errors go both ways, with what they quote "
           "translated but for its CRC")
def icmp(lab, ip):
    cport = lab.opened(ip, NAT, RPORT)
    kind = ip.port_unreachable
    request = sctp(ip.cip, cport, ip.vip, NAT, data(40))
    quoted = request.sealed()
    error = ip.router_error(ip.inside, ip.cip, kind,
                            quoted.but(dst=ip.rip, dport=RPORT))
    lab.expect(lab.server, error, {lab.client: passed(
        ip.router_error(ip.vip, ip.cip, kind, quoted))})
    quoted = request.back().sealed()
    error = ip.router_error(ip.router, ip.vip, kind, quoted)
    lab.expect(lab.client, error, {lab.server: passed(
        ip.router_error(ip.router, ip.rip, kind,
                        quoted.but(src=ip.rip, sport=RPORT)))})


@test_each(FAMILIES, "without a server the client is told that the port is "
           "unreachable")
def nobody(lab, ip):
    request = sctp(ip.cip, lab.port(), ip.vip, NOBODY)
    lab.expect(lab.client, request, {lab.client: ip.error(
        ip.vip, ip.cip, ip.port_unreachable, request)})


@test_each(FAMILIES, "nat_icmp_send: a server that belongs to no association "
           "is told, unless it says ABORT")
def lost(lab, ip):
    said = sctp(ip.rip, RPORT, ip.cip, lab.port(), chunk(INIT_ACK))
    aborted = said.but(payload=chunk(ABORT))
    with lab.settings.but(nat_icmp_send=1):
        lab.expect(lab.server, said, {lab.server: ip.error(
            ip.source, ip.rip, ip.port_unreachable, passed(said))})
        lab.expect(lab.server, aborted, {lab.client: passed(aborted)})
    lab.expect(lab.server, said, {lab.client: passed(said)})


@test("a persistent service sends a client's associations to one server, for "
      "all ports if its port is 0; the template is one of SCTP")
def persistent(lab):
    for vport in 90, 0:
        lab.ipvs.rules(f"-A {KIND} {IPV4.vip}:{vport} -s rr -p 300",
                       *(f"-a {KIND} {IPV4.vip}:{vport} -r {rip}:{vport} -g"
                         for rip in (RIP, IPV4.rip2)))
    for vports in (90,) * 4, (7001, 7002, 7003):
        at = lab.served(*(sctp(IPV4.cip, lab.port(), IPV4.vip, vport)
                          for vport in vports))
        equal(at, at[:1] * len(vports), "servers")
        assert at[0], "nobody is served"
    templates = {each.vport: (each.protocol, each.state)
                 for each in lab.ipvs.connections() if each.cport == 0}
    equal(templates, {90: ("SCTP", "NONE"), 0: ("SCTP", "NONE")})
    cport = lab.port()
    play(lab, ((IPV4.cip, IPV4.vip, 90), (RIP, 90)), cport,
         "i:init i:cookie_echo")
    equal({each.vport: each.state for each in lab.ipvs.connections()
           if each.cport == 0}, {90: "ASSURED", 0: "NONE"})
    for vport in 90, 0:
        lab.ipvs.rules(f"-D {KIND} {IPV4.vip}:{vport}")


@test("a service by firewall mark takes SCTP packets to any port")
def fwmark(lab):
    lab.director.run("nft", "-f", "-", stdin="""
        table ip marks { chain in {
            type filter hook prerouting priority mangle
            sctp dport 7000-7009 meta mark set 77
        }
        }""")
    try:
        lab.ipvs.rules("-A -f 77 -s rr", f"-a -f 77 -r {RIP} -m")
        for vport in 7000, 7009:
            request = sctp(IPV4.cip, lab.port(), IPV4.vip, vport)
            lab.expect(lab.client, request,
                       {lab.server: passed(request, dst=RIP)})
    finally:
        lab.director.run("nft", "delete", "table", "ip", "marks")
        lab.ipvs.rules("-D -f 77")


@test("a packet in fragments is put together and translated")
def fragments(lab):
    request = sctp(IPV4.cip, lab.port(), IPV4.vip, NAT, chunk(INIT, bytes(1200)))
    seen = lab.exchange(lab.client, *request.fragments(800))
    whole = passed(request, dst=RIP, dport=RPORT)
    lab.compare(seen, {lab.server: whole.fragments(800)})


@contextmanager
def asking(lab, ip, vport):
    """A socket of the director that asks for an association."""
    with lab.director:
        sock = socket.socket(
            socket.AF_INET if ip is IPV4 else socket.AF_INET6,
            socket.SOCK_STREAM, IPPROTO_SCTP)
    with sock:
        sock.setblocking(False)
        sock.bind((ip.own, 0))
        for host in lab.up:
            host.drain()
        try:
            sock.connect((ip.vip, vport))
        except BlockingIOError:
            pass
        yield sock.getsockname()[1]


@test_each(FAMILIES, "a checksum that this host left to the device is right "
           "when the port changes, and when the device can't compute it")
def left_to_device(lab, ip):
    for vport, rport in (NAT, RPORT), (SAME, SAME):
        for works in False, True:
            lab.director.run("ethtool", "-K", lab.server.name,
                             "tx-checksum-sctp", "on" if works else "off")
            try:
                with asking(lab, ip, vport) as cport:
                    seen = lab.settle()[lab.server]
            finally:
                lab.director.run("ethtool", "-K", lab.server.name,
                                 "tx-checksum-sctp", "off")
            got = [frame.ip[ip.header:] for frame in seen]
            got = [said for said in got if said[:4] ==
                   cport.to_bytes(2, "big") + rport.to_bytes(2, "big")]
            assert got, f"no INIT for port {vport}"
            right = got[0][8:12] == crc32c(got[0][:8] + bytes(4) +
                                           got[0][12:])
            # Else it is the device of the other end that takes it as right.
            equal(right, not works or vport != rport,
                  f"checksum to {vport}, device works: {works}")


if __name__ == "__main__":
    main(SctpLab)
