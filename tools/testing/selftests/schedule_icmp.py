#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""schedule_icmp: an ICMP error about an answer of no connection, from the
client's side, makes one, as a request would. Compared is every byte that the
real server gets, for IPv4 and IPv6, and the connection."""

from lib.family import FAMILIES, IPV4, IPV6, end
from lib.lab import Lab
from lib.packet import tcp, udp
from lib.sctp import sctp
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

NAT, TUNNEL, DIRECT, EMPTY = 81, 82, 83, 84
SOURCE_HASH, DEST_HASH, COUNTED = 85, 86, 87
FTP_DATA = 20
RPORT = 8080
METHODS = {NAT: "-m", TUNNEL: "-i", DIRECT: "-g"}
# Addresses of many clients.
CLIENTS = {IPV4: "192.0.2.{}", IPV6: "2001:db8:7::{}"}
MAKERS = {"-u": udp, "-t": tcp, "--sctp-service": sctp}


class ErrorLab(Lab):
    """A service of each protocol and family for each way to forward."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)
        self.settings = None

    def build(self):
        super().build()
        self.settings = Settings(self.director)
        self.settings["schedule_icmp"] = 1
        for ip in FAMILIES:
            self.director.ip(f"route add {ip.router} dev client",
                             f"route add {ip.beyond} via {ip.rip}")
            for kind in MAKERS:
                for vport, method in METHODS.items():
                    rport = RPORT if vport == NAT else vport
                    self.service(kind, ip, vport, "rr",
                                 f"{end(ip.rip, rport)} {method}")
                self.service(kind, ip, EMPTY, "rr")

    def service(self, kind, ip, vport, scheduler, *servers):
        """A service of either family."""
        self.ipvs.service(end(ip.vip, vport), *servers, kind=kind,
                          scheduler=scheduler)

    def connection_of(self, packet):
        """The connection from a client's packet, or None."""
        for found in self.ipvs.connections():
            if (found.caddr, found.cport) == (packet.src, packet.l4.sport):
                return found
        return None


def cases():
    """Each kind of service in each family."""
    for ip in FAMILIES:
        for make in MAKERS.values():
            yield make, ip


def about(ip, dst, quoted, **more):
    """What a router beyond the client's wire says about a packet: port
    unreachable."""
    return ip.router_error(ip.router, dst, ip.port_unreachable, quoted, **more)


def as_server_sent(ip, reply):
    """A reply before it was translated."""
    return reply.sealed().but(src=ip.rip, sport=RPORT)


@test("0: an error about an answer of no connection makes none and reaches "
      "nobody")
def not_wanted(lab):
    with lab.settings.but(schedule_icmp=0):
        for make, ip in cases():
            for vport in METHODS:
                request = make(ip.cip, lab.port(), ip.vip, vport)
                lab.expect(lab.client, about(ip, ip.vip, request.back()), {})
                equal(lab.connection_of(request), None)


@test("NAT: the error reaches a server, who finds its own address and port "
      "quoted, and the client's next packet goes there too")
def nat(lab):
    for make, ip in cases():
        request = make(ip.cip, lab.port(), ip.vip, NAT)
        reply = request.back()
        lab.expect(lab.client, about(ip, ip.vip, reply), {lab.server: about(
            ip, ip.rip, as_server_sent(ip, reply), ttl=63)})
        found = lab.connection_of(request)
        equal((found.vaddr, found.vport, found.daddr, found.dport),
              (ip.vip, NAT, ip.rip, RPORT))
        equal(found.state, "UDP" if make is udp else "NONE")
        lab.expect(lab.client, request, {lab.server: request.but(
            dst=ip.rip, dport=RPORT, ttl=63)})


@test("direct routing: the error goes to a server as it is")
def direct(lab):
    for make, ip in cases():
        request = make(ip.cip, lab.port(), ip.vip, DIRECT)
        sent = about(ip, ip.vip, request.back())
        lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})
        equal(lab.connection_of(request).daddr, ip.rip)


@test("tunnel: the error goes to a server through the tunnel")
def tunnel(lab):
    for make, ip in cases():
        request = make(ip.cip, lab.port(), ip.vip, TUNNEL)
        sent = about(ip, ip.vip, request.back())
        lab.expect(lab.client, sent,
                   {lab.server: ip.encapsulated(sent.but(ttl=63))})


@test("one that passes through makes a connection too, and is two hops "
      "poorer")
def forwarded(lab):
    for make, ip in cases():
        reply = make(ip.cip, lab.port(), ip.vip, NAT).back()
        lab.expect(lab.client, about(ip, ip.beyond, reply), {
            lab.server: about(ip, ip.rip, as_server_sent(ip, reply),
                              ttl=62)})


@test("it counts as a connection and as a packet")
def counted(lab):
    for kind, make in MAKERS.items():
        name = f"{make.__name__.upper()} {IPV4.vip}:{COUNTED}"
        lab.service(kind, IPV4, COUNTED, "rr", f"{IPV4.rip}:{COUNTED} -m")
        sent = about(IPV4, IPV4.vip, make(IPV4.cip, lab.port(), IPV4.vip,
                                          COUNTED).back())
        lab.exchange(lab.client, sent)
        # The C module shows them when its rates take a step.
        eventually(lambda: lab.ipvs.statistics()[name] ==
                   (1, 1, 0, len(bytes(sent)), 0), f"{name} in statistics")


@test("no service, no server: the one passes, the other is dropped, and no "
      "error about the error")
def nobody(lab):
    for make, ip in cases():
        reply = make(ip.cip, lab.port(), ip.vip, EMPTY).back()
        lab.expect(lab.client, about(ip, ip.vip, reply), {})
        lab.expect(lab.client, about(ip, ip.beyond, reply), {})
        other = about(ip, ip.beyond, reply.but(sport=99))
        lab.expect(lab.client, other, {lab.server: other.but(ttl=63)})


@test("a quoted packet that ends before its ports: dropped; one of another "
      "protocol, or a later fragment, passes")
def cut_off(lab):
    for make, ip in cases():
        reply = make(ip.cip, lab.port(), ip.vip, NAT).back()
        for size in range(ip.header, ip.header + 4):
            lab.expect(lab.client,
                       about(ip, ip.beyond, bytes(reply)[:size]), {})
        strange = [reply.but(protocol=250), bytes(reply)[:ip.header - 1]]
        if ip is IPV4:
            strange.append(reply.but(frag=5))
        for quoted in strange:
            sent = about(ip, ip.beyond, quoted)
            lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})
        equal(lab.connection_of(reply.back()), None)


@test("a wrong checksum: NAT drops the error, but has made a connection")
def wrong_checksum(lab):
    for make, ip in cases():
        request = make(ip.cip, lab.port(), ip.vip, NAT)
        lab.expect(lab.client,
                   about(ip, ip.vip, request.back(), check=0x1234), {})
        equal(lab.connection_of(request).daddr, ip.rip)


@test("nothing is made of an error about what went to an FTP data port")
def ftp_data(lab):
    for make, ip in cases():
        reply = make(ip.cip, FTP_DATA, ip.vip, NAT).back()
        sent = about(ip, ip.beyond, reply)
        lab.expect(lab.client, sent, {lab.server: sent.but(ttl=63)})


def servers_of(lab, packet):
    """The names of the servers that see something of a packet."""
    seen = lab.exchange(lab.client, packet)
    return [host.name for host in lab.servers if seen[host]]


@test("sh: the error goes where the client's requests go; dh: where the "
      "client's address leads, since it is what the quoted packet was sent to")
def by_hash(lab):
    for ip in FAMILIES:
        for port, scheduler in (SOURCE_HASH, "sh"), (DEST_HASH, "dh"):
            lab.service("-u", ip, port, scheduler, *(
                f"{end(server, port)} -g" for server in (ip.rip, ip.rip2)))
        by_source, by_target = set(), set()
        for number in range(1, 17):
            client = CLIENTS[ip].format(number)
            request = udp(client, lab.port(), ip.vip, SOURCE_HASH)
            where = servers_of(lab, about(ip, ip.vip, request.back()))
            equal(servers_of(lab, request.but(sport=lab.port())), where,
                  client)
            by_source.update(where)
            request = udp(client, lab.port(), ip.vip, DEST_HASH)
            by_target.update(
                servers_of(lab, about(ip, ip.vip, request.back())))
        equal(by_source, {"server1", "server2"})
        equal(by_target, {"server1", "server2"})


if __name__ == "__main__":
    main(ErrorLab)
