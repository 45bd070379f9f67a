#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""schedule_icmp: an ICMP error about an answer of no connection, from the
client's side, makes one, as a request would. Compared is every byte that the
real server gets, for IPv4 and IPv6, and the connection."""

from lib.lab import (CIP, CIP6, RIP, RIP6, RIP2, RIP6_2, VIP, VIP6, Lab)
from lib.packet import (IPPROTO_IPIP, IPPROTO_IPV6, Packet, Packet6, Raw,
                        icmp6_error, icmp_error, is_ipv6, tcp, udp)
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

NAT, TUNNEL, DIRECT, EMPTY = 81, 82, 83, 84
SOURCE_HASH, DEST_HASH, COUNTED = 85, 86, 87
FTP_DATA = 20
RPORT = 8080
METHODS = {NAT: "-m", TUNNEL: "-i", DIRECT: "-g"}
# Client, virtual address, first server, somewhere beyond each wire.
FAMILIES = [(CIP, VIP, RIP, "192.0.2.77", "203.0.113.9"),
            (CIP6, VIP6, RIP6, "2001:db8:5::77", "2001:db8:6::9")]
MAKERS = {"-u": udp, "-t": tcp}


class ErrorLab(Lab):
    """A TCP and a UDP service of each family for each way to forward."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)
        self.settings = None

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        self.settings["schedule_icmp"] = 1
        for _client, vip, server, router, beyond in FAMILIES:
            self.director.ip(f"route add {router} dev client",
                             f"route add {beyond} via {server}")
            for kind in MAKERS:
                for vport, method in METHODS.items():
                    rport = RPORT if vport == NAT else vport
                    self.service(kind, vip, vport, "rr",
                                 f"{bracketed(server)}:{rport} {method}")
                self.service(kind, vip, EMPTY, "rr")

    def service(self, kind, vip, vport, scheduler, *servers):
        """A service of either family."""
        self.ipvs.service(f"{bracketed(vip)}:{vport}", *servers, kind=kind,
                          scheduler=scheduler)

    def connection_of(self, packet):
        """The connection from a client's packet, or None."""
        for found in self.ipvs.connections():
            if (found.caddr, found.cport) == (packet.src, packet.l4.sport):
                return found
        return None


def bracketed(address):
    """As in front of a port."""
    return f"[{address}]" if is_ipv6(address) else address


def cases():
    """Each kind of service in each family."""
    for family in FAMILIES:
        for make in MAKERS.values():
            yield (make, *family)


def about(src, dst, quoted, **more):
    """Port unreachable, about a packet."""
    if is_ipv6(src):
        return icmp6_error(src, dst, 1, 4, quoted, **more)
    return icmp_error(src, dst, 3, 3, quoted, **({"tos": 0, "id": 0x55} |
                                                 more))


def as_server_sent(reply, server):
    """A reply before it was translated."""
    return reply.sealed().but(src=server, sport=RPORT)


@test("0: an error about an answer of no connection makes none and reaches "
      "nobody")
def not_wanted(lab):
    with lab.settings.but(schedule_icmp=0):
        for make, client, vip, _server, router, _beyond in cases():
            for vport in METHODS:
                request = make(client, lab.port(), vip, vport)
                lab.expect(lab.client, about(router, vip, request.back()), {})
                equal(lab.connection_of(request), None)


@test("NAT: the error reaches a server, who finds its own address and port "
      "quoted, and the client's next packet goes there too")
def nat(lab):
    for make, client, vip, server, router, _beyond in cases():
        request = make(client, lab.port(), vip, NAT)
        reply = request.back()
        lab.expect(lab.client, about(router, vip, reply), {lab.server: about(
            router, server, as_server_sent(reply, server), ttl=63)})
        found = lab.connection_of(request)
        equal((found.vaddr, found.vport, found.daddr, found.dport),
              (vip, NAT, server, RPORT))
        equal(found.state, "NONE" if make is tcp else "UDP")
        lab.expect(lab.client, request, {lab.server: request.but(
            dst=server, dport=RPORT, ttl=63)})


@test("direct routing: the error goes to a server as it is")
def direct(lab):
    for make, client, vip, server, router, _beyond in cases():
        request = make(client, lab.port(), vip, DIRECT)
        sent = about(router, vip, request.back())
        lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})
        equal(lab.connection_of(request).daddr, server)


@test("tunnel: the error goes to a server through the tunnel")
def tunnel(lab):
    for make, client, vip, server, router, _beyond in cases():
        request = make(client, lab.port(), vip, TUNNEL)
        sent = about(router, vip, request.back())
        inner = bytes(sent.but(ttl=63))
        outer = Packet6("fd00:2::1", server, Raw(inner, IPPROTO_IPV6),
                        ttl=63, label=0) if is_ipv6(vip) else \
            Packet("10.0.2.1", server, Raw(inner, IPPROTO_IPIP), ttl=63,
                   id=None)
        lab.expect(lab.client, sent, {lab.server: outer})


@test("one that passes through makes a connection too, and is two hops "
      "poorer")
def forwarded(lab):
    for make, client, vip, server, router, beyond in cases():
        reply = make(client, lab.port(), vip, NAT).back()
        lab.expect(lab.client, about(router, beyond, reply), {
            lab.server: about(router, server, as_server_sent(reply, server),
                              ttl=62)})


@test("it counts as a connection and as a packet")
def counted(lab):
    for kind, make in MAKERS.items():
        name = f"{'UDP' if kind == '-u' else 'TCP'} {VIP}:{COUNTED}"
        lab.service(kind, VIP, COUNTED, "rr", f"{RIP}:{COUNTED} -m")
        sent = about("192.0.2.77", VIP,
                     make(CIP, lab.port(), VIP, COUNTED).back())
        lab.exchange(lab.client, sent)
        # The C module shows them when its rates take a step.
        eventually(lambda: lab.ipvs.statistics()[name] ==
                   (1, 1, 0, len(bytes(sent)), 0), f"{name} in statistics")


@test("no service, no server: the one passes, the other is dropped, and no "
      "error about the error")
def nobody(lab):
    for make, client, vip, _server, router, beyond in cases():
        reply = make(client, lab.port(), vip, EMPTY).back()
        lab.expect(lab.client, about(router, vip, reply), {})
        lab.expect(lab.client, about(router, beyond, reply), {})
        other = about(router, beyond, reply.but(sport=99))
        lab.expect(lab.client, other, {lab.server: other.but(ttl=63)})


@test("a quoted packet that ends before its ports: dropped; one of another "
      "protocol, or a later fragment, passes")
def cut_off(lab):
    for make, client, vip, _server, router, beyond in cases():
        reply = make(client, lab.port(), vip, NAT).back()
        head = 40 if is_ipv6(vip) else 20
        for size in range(head, head + 4):
            lab.expect(lab.client,
                       about(router, beyond, bytes(reply)[:size]), {})
        strange = [reply.but(protocol=250), bytes(reply)[:head - 1]]
        if not is_ipv6(vip):
            strange.append(reply.but(frag=5))
        for quoted in strange:
            sent = about(router, beyond, quoted)
            lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})
        equal(lab.connection_of(reply.back()), None)


@test("a wrong checksum: NAT drops the error, but has made a connection")
def wrong_checksum(lab):
    for make, client, vip, server, router, _beyond in cases():
        request = make(client, lab.port(), vip, NAT)
        lab.expect(lab.client,
                   about(router, vip, request.back(), check=0x1234), {})
        equal(lab.connection_of(request).daddr, server)


@test("nothing is made of an error about what went to an FTP data port")
def ftp_data(lab):
    for make, client, vip, _server, router, beyond in cases():
        reply = make(client, FTP_DATA, vip, NAT).back()
        sent = about(router, beyond, reply)
        lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


def servers_of(lab, packet):
    """The names of the servers that see something of a packet."""
    seen = lab.exchange(lab.client, packet)
    return [host.name for host in lab.servers if seen[host]]


@test("sh: the error goes where the client's requests go; dh: where the "
      "client's address leads, since it is what the quoted packet was sent to")
def by_hash(lab):
    for (_client, vip, _server, router, _beyond), (base, servers) in zip(
            FAMILIES, (("192.0.2.{}", (RIP, RIP2)),
                       ("2001:db8:7::{}", (RIP6, RIP6_2)))):
        lab.service("-u", vip, SOURCE_HASH, "sh", *(
            f"{bracketed(server)}:{SOURCE_HASH} -g" for server in servers))
        lab.service("-u", vip, DEST_HASH, "dh", *(
            f"{bracketed(server)}:{DEST_HASH} -g" for server in servers))
        by_source, by_target = set(), set()
        for number in range(1, 17):
            client = base.format(number)
            request = udp(client, lab.port(), vip, SOURCE_HASH)
            where = servers_of(lab, about(router, vip, request.back()))
            equal(servers_of(lab, request.but(sport=lab.port())), where,
                  client)
            by_source.update(where)
            request = udp(client, lab.port(), vip, DEST_HASH)
            by_target.update(
                servers_of(lab, about(router, vip, request.back())))
        equal(by_source, {"server1", "server2"})
        equal(by_target, {"server1", "server2"})


if __name__ == "__main__":
    main(ErrorLab)
