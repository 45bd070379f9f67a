#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 400
"""SCTP services with the programs that people have: those of lksctp-tools
(sctp_test, and withsctp, which has programs of TCP speak SCTP), iperf3, and
Python's sockets, through NAT, direct routing and a tunnel.

    client --- director --- server
       +-------------------- server, for the answers of the last two

Compared: bytes after they went there and back, connections of the director and
their server.
"""

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from typing import NamedTuple

from lib.chance import number
from lib.ctnetlink import Entry, Table
from lib.stacks import PATIENCE, ROUTER, SETTINGS, Stacks
from lib.tap import Skip, equal, eventually, main, test_each
from lib.tracking import chain, table
from lib.vs import Settings

NAT, DIRECT, TUNNEL = "-m", "-g", "-i"
PORT, IPERF, COPY, TOOL = 7000, 5201, 7002, 7001
MB = number("MB", 1)
SIZE, CHUNK = MB << 20, 16 << 10
FILES = "/tmp/sctp"


class Way(NamedTuple):
    """The addresses of a family, and a method."""
    name: str
    ipv6: bool
    method: str
    client: str
    director: str
    near: str
    router: str
    back: str
    beyond: str
    virtual: str
    bits: int

    def __str__(self):
        method = {NAT: "NAT", DIRECT: "direct routing", TUNNEL: "tunnel"}
        return f"{self.name}, {method[self.method]}"

    @property
    def own(self):
        """The address that the server serves at."""
        return self.near if self.method == NAT else self.virtual

    @property
    def option(self):
        """For ip(8) and iperf3."""
        return "-6" if self.ipv6 else "-4"

    def end(self, address, port):
        """An address and a port as ipvsadm and URLs have them."""
        return f"[{address}]:{port}" if self.ipv6 else f"{address}:{port}"


WAYS = [Way(*family[:2], method, *family[2:]) for family in (
    ("IPv4", False, "10.0.9.2", "10.0.9.1", "10.0.1.2", "10.0.1.1",
     "10.1.1.2", "10.1.1.1", "198.51.100.1", 24),
    ("IPv6", True, "fd00:9::2", "fd00:9::1", "fd00:1::2", "fd00:1::1",
     "fd01:1::2", "fd01:1::1", "2001:db8::1", 64))
        for method in (NAT, DIRECT, TUNNEL)]


class SctpFarm(Stacks):
    """The picture above."""

    def __init__(self):
        super().__init__()
        self.client = self.director = self.server = None

    def __enter__(self):
        if subprocess.run(["modprobe", "-q", "-a", "sctp", "ipip",
                           "ip6_tunnel", "nf_conntrack_netlink"], check=False).returncode:
            raise Skip("the kernel's configuration leaves SCTP out")
        os.makedirs(FILES, exist_ok=True)
        with open(f"{FILES}/file", "wb") as out:
            out.write(random.Random(5).randbytes(SIZE))
        return super().__enter__()

    def build(self):
        self.director = self.namespace("director", ROUTER)
        self.director.sysctl("ipv4/vs/expire_nodest_conn", 1)
        self.client = self.namespace("client", SETTINGS)
        self.server = self.namespace("server", SETTINGS)
        self.wire(self.director, "client", self.client, "eth0")
        self.wire(self.director, "server", self.server, "eth0")
        self.wire(self.client, "server", self.server, "eth1")
        for way in WAYS[::3]:
            nodad = " nodad" if way.ipv6 else ""
            length = f"/{way.bits}"
            alone = "/128" if way.ipv6 else "/32"
            self.client.ip(
                f"addr add {way.client}{length} dev eth0{nodad}",
                f"addr add {way.beyond}{length} dev server{nodad}",
                f"route add default via {way.director}")
            self.director.ip(
                f"addr add {way.director}{length} dev client{nodad}",
                f"addr add {way.router}{length} dev server{nodad}",
                f"addr add {way.virtual}{alone} dev lo")
            self.server.ip(
                f"addr add {way.near}{length} dev eth0{nodad}",
                f"addr add {way.back}{length} dev eth1{nodad}",
                f"addr add {way.virtual}{alone} dev lo",
                f"route add default via {way.router}")
        self.await_carriers()
        self.server.ip("link set tunl0 up", "link set ip6tnl0 up")

    def __exit__(self, *error):
        shutil.rmtree(FILES, ignore_errors=True)
        super().__exit__(*error)

    @contextmanager
    def service(self, way, port, *kinds):
        """Services of a port, of SCTP if nothing else is said."""
        route = way.router if way.method == NAT else way.beyond
        self.server.ip(f"route replace default via {route}")
        admin = self.director.ipvs
        at, to = way.end(way.virtual, port), way.end(way.near, port)
        kinds = kinds or ("--sctp-service",)
        for kind in kinds:
            admin.service(at, f"{to} {way.method}", kind=kind)
        try:
            yield
        finally:
            admin.admin("-C")
            eventually(lambda: not admin.connections(),
                       "the end of connections", PATIENCE)

    @contextmanager
    def program(self, namespace, *argv, **options):
        """A program that runs while this lasts."""
        process = namespace.start(*argv, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, **options)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(self, *words):
        """Run a client."""
        return self.client.run("timeout", f"{PATIENCE * 2}", *words)

    def listens(self, port):
        """Wait until a server's socket of SCTP listens."""
        eventually(lambda: any(
            f" {port} " in line for line in
            self.server.proc("sctp/eps").splitlines()),
            f"something to listen to port {port}", PATIENCE)

    def associations(self, way, port):
        """Connections of the service: their server's end and state."""
        return [(each.daddr, each.dport, each.state) for each in
                self.director.ipvs.connections()
                if (each.protocol, each.vaddr, each.vport) ==
                ("SCTP", way.virtual, port)]


def sctp_socket(namespace, way, address, port=0):
    """A socket of the one-to-one style."""
    with namespace:
        sock = socket.socket(
            socket.AF_INET6 if way.ipv6 else socket.AF_INET,
            socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    sock.settimeout(PATIENCE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return sock


def echo(listener):
    """Return what one client says."""
    with listener, listener.accept()[0] as peer:
        peer.settimeout(PATIENCE)
        while True:
            data = peer.recv(CHUNK)
            if not data:
                return
            peer.sendall(data)


def received(sock, size):
    """So many bytes."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"closed after {len(data)} bytes"
        data += part
    return data


@contextmanager
def connected(farm, way):
    """A client's socket whose peer says again what it hears, while this lasts;
    then the association ends, and the director sees it."""
    listener = sctp_socket(farm.server, way, way.own, PORT)
    listener.listen()
    server = threading.Thread(target=echo, args=(listener,), daemon=True)
    server.start()
    with farm.service(way, PORT):
        with sctp_socket(farm.client, way, way.client) as sock:
            sock.connect((way.virtual, PORT))
            yield sock
        server.join(PATIENCE)
        assert not server.is_alive(), "the server did not hear of the end"
        eventually(lambda: farm.associations(way, PORT)[0][2] in (
            "CLOSED", "SHUTDOWN_ACK_SENT", "SHUTDOWN_SENT",
            "SHUTDOWN_RECEIVED") and farm.associations(way, PORT)[0][2],
            "the connection closes")


def said_again(sock, number):
    """A chunk of data gets there and back."""
    data = random.Random(number).randbytes(CHUNK)
    sock.sendall(data)
    equal(hashlib.sha256(received(sock, CHUNK)).hexdigest(),
          hashlib.sha256(data).hexdigest(), f"chunk {number}")


@test_each(WAYS, f"{MB} MB are the same there and back, on one connection, "
           "which is established and then closes")
def python(farm, way):
    with connected(farm, way) as sock:
        for number in range(SIZE // CHUNK):
            said_again(sock, number)
        equal(farm.associations(way, PORT),
              [(way.near, PORT, "ESTABLISHED")])


@test_each(WAYS[::3], "conntrack on: nf_conntrack has the association, with "
           "the answers from the server, as long as the director has it")
def tracked(farm, way):
    farm.director.run("nft", "-f", "-", stdin=table("tracked", chain(
        "forward", 0, "ct state invalid counter")))
    entries = Table(farm.director)
    try:
        with Settings(farm.director).but(conntrack=1):
            with connected(farm, way) as sock:
                said_again(sock, 0)
                cport = sock.getsockname()[1]
                equal(entries.entries(cport), [Entry(
                    socket.IPPROTO_SCTP,
                    (way.client, cport, way.virtual, PORT),
                    (way.near, PORT, way.client, cport), seen="assured")])
            equal(entries.entries(cport), [])
    finally:
        entries.close()
        farm.director.run("nft", "delete", "table", "inet", "tracked")


@test_each(WAYS, "sctp_test: all of its messages arrive")
def sctp_test(farm, way):
    with farm.service(way, TOOL), farm.program(
            farm.server, "stdbuf", "-oL", "sctp_test", "-H", way.own, "-P",
            f"{TOOL}", "-l"):
        farm.listens(TOOL)
        said = farm.run("sctp_test", "-H", way.client, "-P", "7100", "-h",
                        way.virtual, "-p", f"{TOOL}", "-s", "-x", "3")
        assert "sendmsg" in said, said
        equal({each[:2] for each in farm.associations(way, TOOL)},
              {(way.near, TOOL)})


@test_each(WAYS, "withsctp: a file from one socat to another, which speak TCP "
           "otherwise")
def withsctp(farm, way):
    tcp = "TCP6" if way.ipv6 else "TCP4"
    own, client = ((f"[{way.own}]", f"[{way.client}]") if way.ipv6 else
                   (way.own, way.client))
    with farm.service(way, COPY), farm.program(
            farm.server, "withsctp", "socat", "-u", f"OPEN:{FILES}/file",
            f"{tcp}-LISTEN:{COPY},bind={own},reuseaddr"):
        farm.listens(COPY)
        farm.run("withsctp", "socat", "-u",
                 # Bound, or else the server tries the client's other address,
                 # where nobody knows it by this one.
                 f"{tcp}:{way.end(way.virtual, COPY)},bind={client}",
                 f"OPEN:{FILES}/fetched,creat,trunc")
        for name in "file", "fetched":
            equal(os.path.getsize(f"{FILES}/{name}"), SIZE, name)
        with open(f"{FILES}/file", "rb") as one, \
                open(f"{FILES}/fetched", "rb") as other:
            assert one.read() == other.read(), "other bytes"
        equal({each[:2] for each in farm.associations(way, COPY)},
              {(way.near, COPY)})


@test_each(WAYS, "iperf3 --sctp, both ways, with several streams")
def iperf3(farm, way):
    with farm.service(way, IPERF, "-t", "--sctp-service"), farm.program(
            farm.server, "iperf3", "-s", "-B", way.own, "-p", f"{IPERF}"):
        eventually(lambda: f":{IPERF} " in farm.server.run(
            "ss", "-Hltn"), "iperf3 listens", PATIENCE)
        for direction in (), ("-R",):
            said = json.loads(farm.run(
                "iperf3", "--sctp", way.option, "-J", "-B", way.client, "-c",
                way.virtual, "-p", f"{IPERF}", "-n", "2M", "-P", "2",
                *direction))
            end = said["end"]["sum_received"]["bytes"]
            # It stops once all is sent, be it received or not.
            assert end > 1 << 20, said["end"]
        assert farm.associations(way, IPERF), "no connections of SCTP"


if __name__ == "__main__":
    main(SctpFarm)
