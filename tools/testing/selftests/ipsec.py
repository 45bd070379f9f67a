#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""IPsec: what goes to a server meets the output policies of the director, by
each method, as what is forwarded does. The C module passes them over, and
sends in clear what a policy says is to be encrypted."""

import socket
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

from lib.encap import GRE, GUE_CSUM, GUE_PORT, IPIP
from lib.family import end
from lib.ipsec import (ESP, IP_XFRM_POLICY, KEY, SOMEWHERE, SOMEWHERE6,
                       IpsecLab, block_to, hears, protocol)
from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6
from lib.packet import (IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_SCTP, icmp6_error,
                        icmp_error, ip_fields, is_ipv6, udp)
from lib.sockets import bound
from lib.tap import Skip, equal, eventually, main, module_under_test, test

DIRECTOR, DIRECTOR6 = "10.0.2.1", "fd00:2::1"
PAYLOAD = b"nobody else should read this"
TUNNELS = {91: IPIP, 92: GUE_CSUM, 93: GRE}
NAT, DIRECT, BYPASS = 81, 82, 6001
RPORT = 8081
# Services of addresses that nobody but the director has.
FRONT, FRONT6 = "198.51.100.7", "2001:db8::7"
INWARD = {95: "-m", 96: "-g", 97: "-i"}
ENCRYPTS = module_under_test() == "rust"
FAMILIES = ((CIP, VIP, RIP, DIRECTOR, SOMEWHERE),
            (CIP6, VIP6, RIP6, DIRECTOR6, SOMEWHERE6))


class Way(NamedTuple):
    """A way to the server: by which method; where the client sends to; from
    where to where, and as what, the packet leaves the director; the ends of
    the director's wire to the server."""
    name: str
    client: str
    virtual: str
    vport: int
    flow: tuple
    ends: tuple
    inside: int = None

    @property
    def selector(self):
        """The packet that leaves, as a policy selects it."""
        src, dst, number = self.flow
        return f"src {src} dst {dst} proto {number}"

    def ends_of(self, mode):
        """Those of a security association."""
        return self.ends if mode == "tunnel" else self.flow[:2]

    def request(self, lab, **more):
        """A new one."""
        return udp(self.client, lab.port(), self.virtual, self.vport,
                   PAYLOAD, **more)

    @contextmanager
    def ear(self, lab):
        """What gets the packets at the server."""
        _src, dst, number = self.flow
        if self.inside is not None and number != "udp":
            with lab.raw(dst, number) as sock:
                yield sock
            return
        port = {NAT: RPORT}.get(self.vport, self.vport) \
            if self.inside is None else GUE_PORT
        with bound(lab.server.ns, dst, port) as sock:
            yield sock

    def arrived(self, sock, request):
        """The request must come to the server as it is, or in its tunnel."""
        data, _sender = hears(sock, f"{self.name}: the request")
        if self.inside is None:
            equal(data, PAYLOAD, self.name)
        else:
            inner = bytes(request.but(ttl=request.ttl - 1))
            assert data.endswith(inner), f"{self.name}: {data.hex()}"


def tunnelled(name, client, virtual, vport, source, server):
    """The way of a tunnel."""
    tunnel = TUNNELS[vport % 100]
    inner = IPPROTO_IPV6 if is_ipv6(client) else IPPROTO_IPIP
    number = {GUE_CSUM: "udp", GRE: 47}.get(tunnel, inner)
    return Way(name, client, virtual, vport, (source, server, number),
               (source, server), inner)


def ways():
    """All of them."""
    for client, vip, server, director, somewhere in FAMILIES:
        ends = director, server
        family = "IPv6" if is_ipv6(vip) else "IPv4"
        yield Way(f"NAT, {family}", client, vip, NAT,
                  (client, server, "udp"), ends)
        yield Way(f"direct routing, {family}", client, vip, DIRECT,
                  (client, vip, "udp"), ends)
        yield Way(f"bypass, {family}", client, somewhere, BYPASS,
                  (client, somewhere, "udp"), ends)
        for vport, tunnel in TUNNELS.items():
            yield tunnelled(f"{tunnel.options}, {family} in IPv4", client, vip,
                            vport, DIRECTOR, RIP)
            yield tunnelled(f"{tunnel.options}, {family} in IPv6", client, vip,
                            vport + 100, DIRECTOR6, RIP6)


class Services(IpsecLab):
    """A service of each family by each way."""

    def build(self):
        super().build()
        # Transparent caching: what is to go somewhere is marked, and
        # delivered locally; there are no servers for it.
        self.director.sysctl("ipv4/vs/cache_bypass", 1)
        for kind, option in ("ip", ()), ("ip6", ("-6",)):
            self.director.run("nft", "-f", "-", stdin=f"""
                table {kind} cache {{ chain in {{
                    type filter hook prerouting priority mangle
                    iifname client th dport {BYPASS} meta mark set 9
                }}
                }}""")
            for what in ("rule add fwmark 9 lookup 100",
                         "route add local default dev lo table 100"):
                self.director.run("ip", *option, *what.split())
            self.ipvs.rules(" ".join(["-A -f 9", *option, "-s rr"]))
        for _client, vip, server, _end in peers():
            self.director.ip(
                f"addr add {vip}/{128 if is_ipv6(vip) else 32} dev lo")
            for port, method in INWARD.items():
                self.ipvs.service(end(vip, port),
                                  f"{end(server, port)} {method}", kind="-u")
        for _client, vip, server, *_more in FAMILIES:
            self.ipvs.service(end(vip, NAT), f"{end(server, RPORT)} -m",
                              kind="-u")
            self.ipvs.service(end(vip, DIRECT), f"{end(server, DIRECT)} -g",
                              kind="-u")
            for vport, tunnel in TUNNELS.items():
                for port, remote in (vport, RIP), (vport + 100, RIP6):
                    self.ipvs.service(end(vip, port), f"{end(remote, port)} "
                                      f"-i {tunnel.options}", kind="-u")


def is_clear(packet):
    """Whether the client's words can be read."""
    return PAYLOAD in packet


def check_wire(packets, encrypted, what):
    """All that left the director is encrypted, or none of it."""
    for packet in packets:
        equal((protocol(packet) == ESP, is_clear(packet)),
              (encrypted, not encrypted),
              f"{what}: whether it is ESP, and can be read")


@test("without policies nothing is encrypted, and it arrives")
def without_policies(lab):
    for way in ways():
        request = way.request(lab)
        with way.ear(lab) as sock:
            check_wire(lab.leaves(request), False, way.name)
            way.arrived(sock, request)


def flows(mode):
    """All that leaves the director, as policies select it, and the ends of
    the security association for each."""
    return {way.selector: way.ends_of(mode) for way in ways()}


@test("a policy for what leaves the director is followed, by each method and "
      "of each family: ESP, and no clear text; the C module sends that")
def each_way(lab):
    lab.forget()
    for mode in "transport", "tunnel":
        lab.protect(flows(mode), mode)
        for way in ways():
            what = f"{way.name}, {mode} mode"
            request = way.request(lab)
            with way.ear(lab) as sock:
                check_wire(lab.leaves(request, what), ENCRYPTS, what)
                if ENCRYPTS:
                    way.arrived(sock, request)
        lab.forget()


@test("a policy for what does not leave the director changes nothing: the "
      "virtual address by NAT and tunnel, the server's by direct routing")
def other_policies(lab):
    lab.forget()
    for keeps in False, True:
        lab.protect({
            f"src {client} dst {server if keeps else vip}":
            (DIRECTOR6, RIP6) if is_ipv6(vip) else (DIRECTOR, RIP)
            for client, vip, server, *_ in FAMILIES}, "tunnel")
        for way in ways():
            if (way.vport in (DIRECT, BYPASS)) != keeps:
                continue
            request = way.request(lab)
            with way.ear(lab) as sock:
                check_wire(lab.leaves(request), False, way.name)
                way.arrived(sock, request)
        lab.forget()


@test("a policy that blocks, or one without a security association, stops "
      "the packet: nothing comes out; the C module sends it in clear")
def blocked(lab):
    lab.forget()
    for template in "action block", "tmpl proto esp mode transport":
        lab.director.ip(*(f"xfrm policy add {selector} dir out {template}"
                          for selector in flows("transport")))
        for way in ways():
            stopped(lab, way, template)
        lab.forget()
    for way in ways():
        request = way.request(lab)
        with way.ear(lab) as sock:
            check_wire(lab.leaves(request), False, way.name)
            way.arrived(sock, request)


def stopped(lab, way, why):
    """Nothing of a request must leave; nor of another one on its connection."""
    request = way.request(lab)
    for _ in range(2):
        lab.left()
        lab.exchange(lab.client, request)
        equal(any(map(is_clear, lab.left())), not ENCRYPTS,
              f"{way.name}, {why}: whether it left in clear")


@test("IPsec leaves less of the MTU: the client is told how much, of the "
      "packet that it sent; what fits leaves as one packet", ["rust"])
def mtu(lab):
    lab.forget()
    lab.protect(flows("tunnel"), "tunnel")
    for way in ways():
        if way.vport == BYPASS:
            continue        # Its error would be from an address of others.
        ipv6 = is_ipv6(way.client)
        header = 48 if ipv6 else 28
        more = {} if ipv6 else {"df": True}
        # As long as the way without IPsec takes, so that only IPsec minds.
        between = {IPIP: 0, GUE_CSUM: 12, GRE: 4}.get(
            TUNNELS.get(way.vport % 100), 0)
        if way.inside is not None:
            between += 40 if is_ipv6(way.ends[0]) else 20
        request = way.request(lab, **more).but(
            payload=bytes(1500 - between - header))
        lab.left()
        seen = lab.exchange(lab.client, request)
        equal(lab.left(), [], f"{way.name}: what left")
        frames = seen[lab.client]
        equal(len(frames), 1, f"{way.name}: errors")
        told = ip_fields(frames[0].ip)["rest"]
        make, kind = (icmp6_error, (2, 0)) if ipv6 else (icmp_error, (3, 4))
        lab.compare({lab.client: frames}, {lab.client: make(
            way.virtual, way.client, *kind,
            request.but(ttl=request.ttl - 1), rest=told)})
        fits = request.but(payload=bytes(told - header))
        packets = lab.leaves(fits)
        equal([protocol(packet) for packet in packets], [ESP], way.name)


@test("ICMP errors to a server are followed by policies, too, as they leave; "
      "the C module sends them in clear")
def errors(lab):
    lab.forget()
    found = [way for way in ways() if way.vport != BYPASS]
    requests = [way.request(lab) for way in found]
    for way, request in zip(found, requests):
        with way.ear(lab) as sock:
            lab.leaves(request)
            way.arrived(sock, request)
    for way, request in zip(found, requests):
        ipv6 = is_ipv6(way.client)
        flow = way if way.inside is not None else way._replace(
            flow=(*way.flow[:2], "ipv6-icmp" if ipv6 else "icmp"))
        lab.protect({flow.selector: flow.ends_of("transport")}, "transport")
        answer = udp(way.virtual, way.vport, way.client, request.l4.sport,
                     PAYLOAD)
        make, kind = (icmp6_error, (1, 0)) if ipv6 else (icmp_error, (3, 1))
        error = make(way.client, way.virtual, *kind, answer)
        check_wire(lab.leaves(error, way.name), ENCRYPTS, way.name)
        lab.forget()


@test("a client on the director itself is protected by policies, too, by each "
      "method; the C module sends in clear")
def local_clients(lab):
    lab.forget()
    for way in ways():
        if way.vport == BYPASS:
            continue
        source = DIRECTOR6 if is_ipv6(way.client) else DIRECTOR
        if way.inside is None:
            way = way._replace(flow=(source, *way.flow[1:]))
        lab.protect({way.selector: way.ends_of("transport")}, "transport")
        with bound(lab.director, source, 0) as client, way.ear(lab) as sock:
            lab.left()
            client.sendto(PAYLOAD, (way.virtual, way.vport))
            check_wire(eventually(lab.left, way.name), ENCRYPTS, way.name)
            if ENCRYPTS:
                data, _sender = hears(sock, f"{way.name}: the request")
                assert data.endswith(PAYLOAD), f"{way.name}: {data.hex()}"
        lab.forget()


@test("so is its SCTP association, the checksums of which a device could have "
      "completed; the C module sends in clear")
def local_association(lab):
    lab.forget()
    if subprocess.run(["modprobe", "-q", "sctp"], check=False).returncode:
        raise Skip("the kernel's configuration leaves SCTP out")
    offload = "ethtool", "-K", lab.server.name, "tx-checksum-sctp"
    lab.director.run(*offload, "on")
    for vip, rip, source in (VIP, RIP, DIRECTOR), (VIP6, RIP6, DIRECTOR6):
        lab.ipvs.service(end(vip, RPORT), f"{end(rip, RPORT)} -m",
                         kind="--sctp-service")
        lab.protect({f"src {source} dst {rip} proto sctp": (source, rip)},
                    "transport")
        with association(lab.server.ns, rip) as listener, \
                association(lab.director, source, 0) as client:
            listener.listen()
            lab.left()
            if not ENCRYPTS:
                # The server takes nothing that is not encrypted.
                client.setblocking(False)
                client.connect_ex((vip, RPORT))
                packets = eventually(lab.left, "an INIT on the wire")
            else:
                client.connect((vip, RPORT))
                client.sendall(PAYLOAD)
                accepted, _peer = listener.accept()
                with accepted:
                    equal(accepted.recv(100), PAYLOAD, vip)
                packets = lab.left()
            equal({protocol(packet) for packet in packets} &
                  {ESP, IPPROTO_SCTP},
                  {ESP if ENCRYPTS else IPPROTO_SCTP}, vip)
        lab.forget()
    lab.director.run(*offload, "off")


def association(namespace, address, port=RPORT):
    """A socket of SCTP."""
    with namespace:
        sock = socket.socket(
            socket.AF_INET6 if is_ipv6(address) else socket.AF_INET,
            socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    sock.settimeout(10)
    sock.bind((address, port))
    return sock


@test("the policy of a socket of the director counts for what goes to a "
      "server; the C module passes it over")
def socket_policy(lab):
    lab.forget()
    with bound(lab.director, DIRECTOR, 0) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_XFRM_POLICY, block_to(RIP))
        lab.left()
        try:
            client.sendto(PAYLOAD, (VIP, NAT))
        except PermissionError:
            pass
        lab.exchange(lab.client)
        equal(any(map(is_clear, lab.left())), not ENCRYPTS,
              "whether it left in clear")


@test("an answer is followed by the policies for what it is once it has the "
      "virtual address; by the C module only if it is routed anew")
def answers(lab):
    lab.forget()
    lab.director.ip(*(f"xfrm policy add src {vip} dst {client} proto udp "
                      "dir out tmpl proto esp reqid 1 mode transport"
                      for client, vip, *_ in FAMILIES),
                    *(f"xfrm state add src {vip} dst {client} proto esp "
                      f"spi 1{number} reqid 1 mode transport "
                      f"aead rfc4106(gcm(aes)) {KEY} 128"
                      for number, (client, vip, *_) in enumerate(FAMILIES)))
    for reroute in 1, 0:
        lab.director.sysctl("ipv4/vs/snat_reroute", reroute)
        for way in ways():
            if way.vport != NAT:
                continue
            request = way.request(lab)
            with way.ear(lab) as sock:
                lab.client.send(request)
                _data, sender = hears(sock, f"{way.name}: the request")
                lab.client.drain()
                sock.sendto(PAYLOAD, sender)
                frame = lab.client.receive()
            check_wire([frame.ip], ENCRYPTS or bool(reroute),
                       f"{way.name}, snat_reroute {reroute}")
    lab.director.sysctl("ipv4/vs/snat_reroute", 1)


def comes(lab, sock, to):
    """Have the server, for once a client, send a datagram; what the director
    got of it, and what comes to the client, for once a server."""
    lab.left()
    lab.client.drain()
    sock.sendto(PAYLOAD, to)
    frame = lab.client.receive()
    return lab.got(), frame.ip


def peers():
    """Of each family a client, which is the host of the server's else, a
    virtual address that only the director has, a server, and the director's
    end of tunnels."""
    return ((RIP, FRONT, CIP, DIRECTOR), (RIP6, FRONT6, CIP6, DIRECTOR6))


@test("ESP to a virtual address is decrypted by the director and then "
      "balanced, by each method, and the answer is encrypted")
def decrypted(lab):
    lab.forget()
    for client, vip, server, director in peers():
        for mode in "transport", "tunnel":
            ends = client, director if mode == "tunnel" else vip
            for port in INWARD:
                flow = f"src {client} dst {vip} proto udp dport {port}"
                back = f"src {vip} dst {client} proto udp sport {port}"
                lab.protect({flow: ends}, mode, lab.server.ns, lab.director)
                lab.protect({back: ends[::-1]}, mode)
                with bound(lab.server.ns, client, 0) as sock:
                    inward(lab, sock, (client, vip, server, port))
                lab.forget()


def inward(lab, sock, ends):
    """A request that is decrypted, and its answer by NAT."""
    client, vip, server, port = ends
    method = INWARD[port]
    what = f"{vip} {port} {method}"
    encrypted, came = comes(lab, sock, (vip, port))
    # The tap sees what was inside, too, after that.
    equal(protocol(encrypted[0]), ESP, what)
    assert came.endswith(PAYLOAD), f"{what}: {came.hex()}"
    fields = ip_fields(came)
    equal(fields["dst"], vip if method == "-g" else server, what)
    if method != "-i":
        equal((fields["src"], fields["dport"]), (client, port), what)
    if method == "-m":
        lab.left()
        lab.client.send(udp(server, port, client, fields["sport"], PAYLOAD))
        check_wire(eventually(lab.left, what), True, f"{what}: the answer")
        data, sender = hears(sock, f"{what}: the answer")
        equal((data, sender[:2]), (PAYLOAD, (vip, port)), what)


@test("unless port 500 of that address is a service, whose server ESP goes to "
      "as it is")
def followed(lab):
    lab.forget()
    for client, vip, server, _director in peers():
        lab.ipvs.service(end(vip, 500), f"{end(server, 500)} -g", kind="-u")
        flow = f"src {client} dst {vip} proto udp dport 95"
        lab.protect({flow: (client, vip)}, "transport", lab.server.ns,
                    lab.director)
        with bound(lab.server.ns, client, 500) as sock:
            _got, came = comes(lab, sock, (vip, 500))
            assert came.endswith(PAYLOAD), came.hex()
            encrypted, came = comes(lab, sock, (vip, 95))
            equal([protocol(packet) for packet in encrypted], [ESP], vip)
            equal(protocol(came), ESP, f"{vip}: what came to the server")
        lab.forget()


if __name__ == "__main__":
    main(Services)
