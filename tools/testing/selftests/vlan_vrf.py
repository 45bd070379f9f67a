#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""Every wire of the laboratory is a VLAN, and the client's is in a VRF: what
works by plain devices works by these, for IPv4 and IPv6, by each method."""

from lib.encap import number
from lib.family import FAMILIES, IPV4, IPV6, end
from lib.lab import Lab
from lib.packet import ACK, SYN, Raw, tcp, udp
from lib.tap import equal, main, test
from lib.wire import Host, tap

VLAN, TABLE = 7, 100
NAT, TUNNEL, DIRECT = 81, 82, 83


class Tagged(Host):
    """A host whose frames are in a VLAN: it sees no others. The director's
    VLAN device has the host's name and what belongs to the wire."""

    def plug(self, mtu=1500, ipv6=False):
        name, self.name = self.name, f"{self.name}-wire"
        super().plug(mtu, ipv6)
        self.socket.close()
        wire, self.name = self.name, name
        self.director.ip(
            f"addr flush dev {wire}",
            f"neigh flush dev {wire} nud permanent",
            f"link add link {wire} name {name} type vlan id {VLAN}",
            f"link set {name} up",
            f"addr add {self.router}/24 dev {name}",
            f"neigh add {self.ip} lladdr {self.mac} dev {name} nud permanent",
            f"addr add {self.router6}/64 dev {name} nodad",
            f"neigh add {self.ip6} lladdr {self.mac} dev {name} "
            "nud permanent")
        self.ns.ip(f"link add link eth0 name eth0.{VLAN} type vlan id {VLAN}",
                   f"link set eth0.{VLAN} up")
        self.socket = tap(self.ns, f"eth0.{VLAN}")


class DeviceLab(Lab):
    """UDP and TCP services of both families by each method."""

    host_kind = Tagged

    def build(self):
        super().build()
        # Its routes are in a table of their own; each side knows the other.
        self.director.ip(
            f"link add clients type vrf table {TABLE}", "link set clients up",
            "link set client master clients",
            f"addr replace {self.client.router6}/64 dev client nodad",
            f"neigh replace {IPV4.cip} lladdr {self.client.mac} dev client "
            "nud permanent",
            f"neigh replace {IPV6.cip} lladdr {self.client.mac} dev client "
            "nud permanent",
            "route add 10.0.1.0/24 dev client",
            "route add fd00:1::/64 dev client")
        for host in self.servers:
            self.director.ip(
                f"route add {host.net}.0/24 dev {host.name} table {TABLE}",
                f"route add {host.net6}:/64 dev {host.name} table {TABLE}")
        for ip in FAMILIES:
            for kind in "-t", "-u":
                for vport, method in (NAT, "m"), (TUNNEL, "i"), (DIRECT, "g"):
                    self.ipvs.service(
                        end(ip.vip, vport),
                        *(f"{end(server, vport)} -{method}"
                          for server in (ip.rip, ip.rip2)), kind=kind)


def cases(lab):
    """Each family, with a TCP and a UDP packet to `vport` of a new client."""
    for ip in FAMILIES:
        for make in tcp, udp:
            yield ip, (lambda vport, make=make, ip=ip:
                       make(ip.cip, lab.port(), ip.vip, vport))


def chosen(lab, request, ip):
    """The host that a request went to, what it got, and its address."""
    seen = lab.exchange(lab.client, request)
    [(host, frame)] = [(host, frame) for host in lab.servers
                       for frame in seen[host]]
    equal((frame.dst, frame.src), (host.mac, host.router_mac), "link")
    return host, frame.ip, (ip.rip, ip.rip2)[lab.servers.index(host)]


@test("NAT: requests and answers")
def nat(lab):
    for ip, request_to in cases(lab):
        request = request_to(NAT)
        host, got, server = chosen(lab, request, ip)
        at_server = request.but(dst=server, ttl=request.ttl - 1)
        equal(got, bytes(at_server), "request")
        answer = at_server.back(ttl=64)
        lab.expect(host, answer, {lab.client: answer.but(
            src=request.dst, ttl=63)})


@test("direct routing: requests")
def direct(lab):
    for ip, request_to in cases(lab):
        request = request_to(DIRECT)
        _host, got, _server = chosen(lab, request, ip)
        equal(got, bytes(request.but(ttl=request.ttl - 1)), "request")


@test("tunnel: requests, from the address that the route says")
def tunnel(lab):
    for ip, request_to in cases(lab):
        request = request_to(TUNNEL)
        host, got, server = chosen(lab, request, ip)
        inner = bytes(request.but(ttl=request.ttl - 1))
        source = host.router if ip is IPV4 else host.router6
        outer = ip.packet(source, server, Raw(inner, number(request)),
                          ttl=request.ttl - 1, **ip.made)
        assert outer.matches(got), f"{got.hex()}\n{bytes(outer).hex()}"


@test("an error about a translated request comes back to the client")
def errors(lab):
    for ip, request_to in cases(lab):
        request = request_to(NAT)
        host, _got, server = chosen(lab, request, ip)
        quoted = request.but(dst=server, ttl=request.ttl - 1)
        error = ip.error(server, request.src, ip.port_unreachable,
                         quoted.sealed())
        told = ip.error(request.dst, request.src, ip.port_unreachable,
                        quoted.sealed().but(dst=request.dst)).but(ttl=63)
        lab.expect(host, error, {lab.client: told})


@test("no more time to live, and no server: the client is told, in its VRF")
def told(lab):
    for ip in FAMILIES:
        request = udp(ip.cip, lab.port(), ip.vip, DIRECT, ttl=1)
        lab.expect(lab.client, request, {lab.client: ip.error(
            ip.vip, ip.cip, ip.time_exceeded, request)})


@test("a connection goes on when the client's device leaves its VRF, and when "
      "it comes back")
def leaves(lab):
    request = tcp(IPV4.cip, lab.port(), IPV4.vip, NAT, SYN)
    host, _got, server = chosen(lab, request, IPV4)
    more = request.but(flags=ACK, payload=b"more")
    wanted = {host: more.but(dst=server, ttl=63)}
    lab.expect(lab.client, more, wanted)
    lab.director.ip("link set client nomaster")
    lab.director.ip(f"neigh replace {IPV4.cip} lladdr {lab.client.mac} "
                    "dev client nud permanent")
    lab.expect(lab.client, more, wanted)
    lab.director.ip("link set client master clients")
    lab.director.ip(f"neigh replace {IPV4.cip} lladdr {lab.client.mac} "
                    "dev client nud permanent")
    lab.expect(lab.client, more, wanted)


if __name__ == "__main__":
    main(lambda: DeviceLab(servers=2, ipv6=True))
