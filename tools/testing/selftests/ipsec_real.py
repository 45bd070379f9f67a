#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 400
"""Real IPsec through a director: security associations made by hand, and those
that two strongSwans agree on by IKE.

    client --- director --+-- server1
       |                  +-- server2
       +--- server1, server2, for the answers of direct routing and tunnels

IKE is a service of UDP port 500, and ESP follows it to its server. If the
client notices NAT between, both take UDP port 4500 from then on, which has to
reach the same server: a persistent service by firewall mark.

Compared: what is said there and back inside of it, which goes by no other way,
since the server's policies want it encrypted.
"""

import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

from lib.chance import number
from lib.sockets import bound
from lib.stacks import PATIENCE, ROUTER, SETTINGS, Stacks, Talk
from lib.tap import Skip, equal, eventually, main, test_each

ISAKMP, NAT_T, ECHO = 500, 4500, 7777
MARK = 4
KEY = "0x" + bytes(range(20)).hex()
FILES = "/tmp/ipsec"
KB = number("KB", 512)
SIZE = KB << 10
CHUNK = 16 << 10
NAT, DIRECT, TUNNEL = "-m", "-g", "-i"


class Family(NamedTuple):
    """The addresses of a family. The rest of a server's is its number; the
    inner ones are those that are reached through IPsec tunnels."""
    name: str
    ipv6: bool
    client: str
    director: str
    net: str
    back: str
    virtual: str
    inner: str
    bits: int

    def __str__(self):
        return self.name

    @property
    def option(self):
        """For ip(8) and ping(8)."""
        return "-6" if self.ipv6 else "-4"

    @property
    def alone(self):
        """The length of an address."""
        return 128 if self.ipv6 else 32

    def server(self, number):
        """A server's address."""
        return f"{self.net.format(number)}2"

    def inside(self, number):
        """An address inside of tunnels: of the client, 1, or a server, 2."""
        return f"{self.inner}{number}"

    def end(self, address, port):
        """An address and a port as ipvsadm takes them."""
        return f"[{address}]:{port}" if self.ipv6 else f"{address}:{port}"


FAMILIES = (
    Family("IPv4", False, "10.0.9.2", "10.0.9.1", "10.0.{}.", "10.1.{}.",
           "198.51.100.1", "192.168.77.", 24),
    Family("IPv6", True, "fd00:9::2", "fd00:9::1", "fd00:{}::", "fd01:{}::",
           "2001:db8::1", "fd77::", 64))


class Gateways(Stacks):
    """The picture above."""

    def __init__(self):
        super().__init__()
        self.client = self.director = None
        self.hosts, self.charons = [], []

    def __enter__(self):
        if subprocess.run(["modprobe", "-q", "-a", "esp4", "esp6", "xfrm_user",
                           "ipip", "ip6_tunnel"], check=False).returncode:
            raise Skip("the kernel's configuration leaves ESP out")
        return super().__enter__()

    def build(self):
        self.director = self.namespace("director", ROUTER)
        self.director.sysctl("ipv4/vs/expire_nodest_conn", 1)
        self.client = self.namespace("client")
        self.wire(self.director, "client", self.client, "eth0")
        for ip in FAMILIES:
            nodad = " nodad" if ip.ipv6 else ""
            self.client.ip(
                f"addr add {ip.client}/{ip.bits} dev eth0{nodad}",
                f"addr add {ip.inside(1)}/{ip.alone} dev lo",
                f"route add default via {ip.director}")
            self.director.ip(
                f"addr add {ip.director}/{ip.bits} dev client{nodad}",
                f"addr add {ip.virtual}/{ip.alone} dev lo")
        for number in 1, 2:
            self.host(number)
        self.await_carriers()
        for host in self.hosts:
            host.ip("link set tunl0 up", "link set ip6tnl0 up")

    def host(self, number):
        """A server. It has the virtual address, and takes packets out of the
        director's tunnels."""
        host = self.namespace(f"server{number}", SETTINGS)
        self.hosts.append(host)
        self.wire(self.director, host.name[5:], host, "eth0")
        self.wire(self.client, host.name[5:], host, "eth1")
        for ip in FAMILIES:
            nodad = " nodad" if ip.ipv6 else ""
            near, back = ip.net.format(number), ip.back.format(number)
            self.director.ip(
                f"addr add {near}1/{ip.bits} dev {host.name[5:]}{nodad}")
            self.client.ip(
                f"addr add {back}1/{ip.bits} dev {host.name[5:]}{nodad}")
            host.ip(f"addr add {near}2/{ip.bits} dev eth0{nodad}",
                    f"addr add {back}2/{ip.bits} dev eth1{nodad}",
                    f"addr add {ip.virtual}/{ip.alone} dev lo",
                    f"addr add {ip.inside(2)}/{ip.alone} dev lo",
                    f"route add default via {near}1")
        self.servers.listen(host, host.name, ECHO, "tcp")

    def answers(self, ip, method):
        """The servers' route to the client: by the director for NAT, else
        past it."""
        for number, host in enumerate(self.hosts, 1):
            net = ip.net if method == NAT else ip.back
            host.ip(f"route replace default via "
                    f"{net.format(number)}1")

    def __exit__(self, *error):
        self.silence()
        shutil.rmtree(FILES, ignore_errors=True)
        super().__exit__(*error)

    def silence(self):
        """No strongSwan, and nothing that it has agreed on."""
        for process in self.charons:
            process.terminate()
            process.wait()
        self.charons = []
        for namespace in self.namespaces:
            namespace.ip("xfrm policy flush", "xfrm state flush")

    @contextmanager
    def service(self, ip, method, *numbers):
        """The service of port 500 with these servers while this lasts."""
        at = ip.end(ip.virtual, ISAKMP)
        self.answers(ip, method)
        self.director.ipvs.service(
            at, *(f"{ip.end(ip.server(number), ISAKMP)} {method}"
                  for number in numbers), kind="-u")
        try:
            yield
        finally:
            self.silence()
            self.clear()

    def clear(self):
        """No services, and no connections."""
        self.director.ipvs.admin("-C")
        eventually(lambda: not self.director.ipvs.connections(),
                   "the end of connections", PATIENCE)

    def counted(self):
        """Bytes of clients that the only service has got."""
        return [numbers[3] for name, numbers in
                self.director.ipvs.statistics().items() if " -> " not in name
                and name.count(" ") == 1][0]

    def await_counted(self, size):
        """The C module adds up what it counts from time to time."""
        eventually(lambda: self.counted() >= size,
                   f"{size} bytes that ESP has to the service")

    def charon(self, namespace, local, remote, names, inside):
        """Start a strongSwan: its address and that of its peer, their names,
        and the addresses that they connect."""
        place = f"{FILES}/{namespace.name}"
        os.makedirs(place, exist_ok=True)
        with open(f"{place}/strongswan.conf", "w", encoding="ascii") as out:
            out.write(STRONGSWAN.format(place=place))
        with open(f"{place}/swanctl.conf", "w", encoding="ascii") as out:
            out.write(SWANCTL.format(
                local=local, remote=remote, mine=names[0], other=names[1],
                local_ts=inside[0], remote_ts=inside[1]))
        if os.path.exists(f"{place}/vici"):
            os.remove(f"{place}/vici")
        with open(f"{place}/output", "wb") as out:
            self.charons.append(namespace.start(
                "/usr/sbin/charon-systemd", stdout=out, stderr=out,
                env=os.environ | {
                    "STRONGSWAN_CONF": f"{place}/strongswan.conf"}))
        eventually(lambda: os.path.exists(f"{place}/vici"),
                   f"strongSwan of {namespace.name}", PATIENCE)
        self.swanctl(namespace, "--load-all", "--noprompt", "--file",
                     f"{place}/swanctl.conf")

    @staticmethod
    def swanctl(namespace, *words):
        """Tell a strongSwan something."""
        place = f"{FILES}/{namespace.name}"
        try:
            return namespace.run("timeout", f"{PATIENCE * 2}", "swanctl",
                                 *words, "--uri", f"unix://{place}/vici")
        except AssertionError as error:
            with open(f"{place}/log", encoding="ascii",
                      errors="replace") as log:
                raise AssertionError(f"{error}\n{log.read()[-3000:]}") \
                    from error


STRONGSWAN = """\
charon-systemd {{
    install_routes = no
    install_virtual_ip = no
    plugins {{
        vici {{
            socket = unix://{place}/vici
        }}
    }}
    journal {{
        default = -1
    }}
    filelog {{
        log {{
            path = {place}/log
            default = 1
            flush_line = yes
        }}
    }}
}}
"""
SWANCTL = """\
connections {{
    gateway {{
        version = 2
        mobike = no
        local_addrs = {local}
        remote_addrs = {remote}
        local {{
            auth = psk
            id = {mine}
        }}
        remote {{
            auth = psk
            id = {other}
        }}
        children {{
            inside {{
                local_ts = {local_ts}
                remote_ts = {remote_ts}
                mode = tunnel
            }}
        }}
    }}
}}
secrets {{
    ike {{
        secret = "what both know"
    }}
}}
"""


def transfer(farm, to, source):
    """Ping, if it is not the director's address, and SIZE bytes there and back
    by TCP; returns whom with."""
    if to not in (ip.virtual for ip in FAMILIES):
        farm.client.run("ping", "-q", "-c", "3", "-i", "0.2", "-W",
                        f"{PATIENCE}", "-I", source, to)
    data = random.Random(17).randbytes(CHUNK)
    with Talk(farm.client, to, ECHO, source=(source, 0)) as talk:
        equal(talk.seen[0], source, "client")
        for _ in range(SIZE // CHUNK):
            talk.say(data)
        return talk.server


def protect(farm, ip, host, mode, address):
    """Security associations and policies by hand, between the client and a
    server, which has this address for its own: for all between the inner
    addresses, or for TCP."""
    if mode == "tunnel":
        inner = ip.inside(1), ip.inside(2)
        flows = [("", *inner)]
    else:
        # Not ICMP: the director's own errors, about the MTU, are not secured.
        inner = ip.client, ip.virtual
        flows = [("proto tcp", *inner)]
    ends = {farm.client: (ip.client, ip.virtual), host: (ip.client, address)}
    for namespace, (near, far) in ends.items():
        out, back = ("out", "in") if namespace is farm.client else ("in",
                                                                    "out")
        commands = []
        for (src, dst), spi in ((near, far), 0x1001), ((far, near), 0x1002):
            commands.append(
                f"xfrm state add src {src} dst {dst} proto esp spi {spi} "
                f"reqid 1 mode {mode} aead rfc4106(gcm(aes)) {KEY} 128")
        for proto, src, dst in flows:
            for one, other, way, outer in ((src, dst, out, (near, far)),
                                           (dst, src, back, (far, near))):
                template = "src {} dst {}".format(*outer) \
                    if mode == "tunnel" else ""
                commands.append(
                    f"xfrm policy add src {one} dst {other} {proto} dir {way} "
                    f"tmpl {template} proto esp reqid 1 mode {mode}")
        namespace.ip(*commands)
    return inner


def talk_on_500(farm, ip):
    """What is said on port 500 makes the connection; no one has to answer."""
    with bound(farm.client, ip.client, ISAKMP) as sock:
        sock.sendto(b"isakmp", (ip.virtual, ISAKMP))
    return eventually(farm.director.ipvs.connections, "the connection")[0]


class Case(NamedTuple):
    """What leads to the server, by which mode of IPsec."""
    ip: Family
    method: str
    mode: str

    def __str__(self):
        method = {NAT: "NAT", DIRECT: "direct routing", TUNNEL: "a tunnel"}
        return f"{self.ip}, {method[self.method]}, {self.mode} mode"


# Of what was translated, the checksums inside are wrong in transport mode.
CASES = [Case(ip, method, mode) for ip in FAMILIES
         for method in (DIRECT, TUNNEL, NAT)
         for mode in ("transport", "tunnel")
         if (method, mode) != (NAT, "transport")]


@test_each(CASES, f"associations made by hand: {KB} KB there and back by "
           "ESP to the server that port 500 was led to")
def by_hand(farm, case):
    ip, method, mode = case
    with farm.service(ip, method, 1, 2):
        found = talk_on_500(farm, ip)
        number = [ip.server(1), ip.server(2)].index(found.daddr) + 1
        host = farm.hosts[number - 1]
        address = ip.server(number) if method == NAT else ip.virtual
        source, to = protect(farm, ip, host, mode, address)
        before = farm.counted()
        equal(transfer(farm, to, source), host.name)
        farm.await_counted(before + SIZE)
        equal([(each.daddr, each.dport) for each in
               farm.director.ipvs.connections()], [(found.daddr, ISAKMP)])


def gateways(farm, ip, method):
    """A strongSwan at the client and at each server."""
    for number, host in enumerate(farm.hosts, 1):
        farm.charon(host, ip.server(number) if method == NAT else ip.virtual,
                    "%any", ("server", "client"), (ip.inside(2), ip.inside(1)))
    farm.charon(farm.client, ip.client, ip.virtual, ("client", "server"),
                (ip.inside(1), ip.inside(2)))
    farm.swanctl(farm.client, "--initiate", "--child", "inside", "--timeout",
                 f"{PATIENCE}")


@test_each([case for case in CASES
            if case.method != NAT and case.mode == "tunnel"],
           "IKE: strongSwan agrees with the server, and ESP follows")
def by_ike(farm, case):
    ip, method, _mode = case
    with farm.service(ip, method, 1, 2):
        gateways(farm, ip, method)
        found, = farm.director.ipvs.connections()
        number = [ip.server(1), ip.server(2)].index(found.daddr) + 1
        before = farm.counted()
        equal(transfer(farm, ip.inside(2), ip.inside(1)),
              farm.hosts[number - 1].name)
        farm.await_counted(before + SIZE)
        # New keys, twice: the same server still.
        for _ in range(2):
            farm.swanctl(farm.client, "--rekey", "--child", "inside")
            equal(transfer(farm, ip.inside(2), ip.inside(1)),
                  farm.hosts[number - 1].name)


@test_each(FAMILIES, "IKE through NAT: UDP port 4500 and what is inside of it "
           "go to the same server, by a persistent service of a mark")
def through_nat(farm, ip):
    admin = farm.director.ipvs
    table = "ip6" if ip.ipv6 else "ip"
    farm.director.run("nft", "-f", "-", stdin=f"""
        table {table} marks {{ chain in {{
            type filter hook prerouting priority mangle
            {table} daddr {ip.virtual} udp dport {{ {ISAKMP}, {NAT_T} }} \
                meta mark set {MARK}
        }}
        }}""")
    service = f"{MARK}{' -6' if ip.ipv6 else ''}"
    admin.rules(f"-A -f {service} -s rr -p 300",
                *(f"-a -f {service} -r {ip.end(ip.server(number), 0)} -m"
                  for number in (1, 2)))
    farm.answers(ip, NAT)
    try:
        gateways(farm, ip, NAT)
        server = transfer(farm, ip.inside(2), ip.inside(1))
        number = [host.name for host in farm.hosts].index(server) + 1
        found = {(each.vport, each.daddr) for each in admin.connections()
                 if each.cport}
        equal(found, {(ISAKMP, ip.server(number)), (NAT_T, ip.server(number))})
    finally:
        farm.silence()
        farm.clear()
        farm.director.run("nft", "delete", "table", table, "marks")


if __name__ == "__main__":
    main(Gateways)
