#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""FTP through a NAT service, with the clients and servers that people use:
lftp, curl and Python's ftplib, vsftpd and pyftpdlib, in both modes, with and
without nf_conntrack_ftp, and with a firewall that looks at states.

    client --- director --+-- vsftpd
                          +-- pyftpdlib

Compared: files after they went there and back, connections of the director and
whom clients are connected with.
"""

import filecmp
import ftplib
import os
import shutil
import subprocess
from contextlib import closing, contextmanager
from typing import NamedTuple

from lib.chance import number
from lib.ctnetlink import Table
from lib.ftp import load as load_ftp
from lib.module import run
from lib.stacks import PATIENCE, ROUTER, Stacks
from lib.tap import equal, eventually, main, test_each

FTP, DATA = 21, 20
MB = number("MB", 100)
SMALL, BIG = 1 << 20, MB << 20
FILES = "/tmp/ftp"
VSFTPD = """\
listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_umask=022
anon_root={root}
secure_chroot_dir={empty}
connect_from_port_20=YES
xferlog_enable=NO
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
"""


class Family(NamedTuple):
    """The addresses of a family. The rest of a server's is its number."""
    name: str
    ipv6: bool
    client: str
    director: str
    net: str
    virtual: str
    bits: int

    def __str__(self):
        return self.name

    def server(self, name):
        """A server's address."""
        return f"{self.net.format(SERVERS[name])}2"

    def vip(self, name):
        """The virtual address of the service that has this server only."""
        return f"{self.virtual}{SERVERS[name]}"

    @property
    def everywhere(self):
        """The network that all addresses are in."""
        return "::/0" if self.ipv6 else "0.0.0.0/0"

    @property
    def both(self):
        """The one that has both servers."""
        return f"{self.virtual}9"

    def end(self, address, port=FTP):
        """An address and a port as ipvsadm takes them."""
        return f"[{address}]:{port}" if self.ipv6 else f"{address}:{port}"


SERVERS = {"vsftpd": 1, "pyftpdlib": 2}
FAMILIES = (
    Family("IPv4", False, "10.0.9.2", "10.0.9.1", "10.0.{}.", "198.51.100.",
           24),
    Family("IPv6", True, "fd00:9::2", "fd00:9::1", "fd00:{}::", "2001:db8::",
           64))


class Farm(Stacks):
    """The picture above."""

    def __init__(self):
        super().__init__()
        self.client = self.director = None
        self.hosts, self.processes = {}, []

    def build(self):
        load_ftp()
        run("modprobe", "nf_conntrack_netlink")
        self.director = self.namespace("director", ROUTER)
        self.client = self.namespace("client")
        self.wire(self.director, "client", self.client, "eth0")
        for ip in FAMILIES:
            nodad = " nodad" if ip.ipv6 else ""
            self.client.ip(f"addr add {ip.client}/{ip.bits} dev eth0{nodad}",
                           f"route add {ip.everywhere} via {ip.director}")
            self.director.ip(
                f"addr add {ip.director}/{ip.bits} dev client{nodad}",
                *(f"addr add {address} dev lo" for address in
                  (ip.both, *map(ip.vip, SERVERS))))
        os.makedirs(f"{FILES}/empty")
        for name, number in SERVERS.items():
            self.server(name, number)
        self.await_carriers()
        for ip in FAMILIES:
            for name in SERVERS:
                self.director.ipvs.service(
                    ip.end(ip.vip(name)), f"{ip.end(ip.server(name))} -m")
                self.await_server(name, ip)

    def server(self, name, number):
        """A server, and its files: there is one to be fetched in `pub`, and
        room for one to be stored."""
        host = self.hosts[name] = self.namespace(name)
        self.wire(self.director, name, host, "eth0")
        for ip in FAMILIES:
            nodad = " nodad" if ip.ipv6 else ""
            router = f"{ip.net.format(number)}1"
            self.director.ip(f"addr add {router}/{ip.bits} dev {name}{nodad}")
            host.ip(f"addr add {ip.server(name)}/{ip.bits} dev eth0{nodad}",
                    f"route add {ip.everywhere} via {router}")
        os.makedirs(f"{FILES}/{name}/pub")
        shutil.chown(f"{FILES}/{name}/pub", "ftp")
        for file, size in ("small", SMALL), ("big", BIG):
            if not os.path.exists(f"{FILES}/{file}"):
                with open(f"{FILES}/{file}", "wb") as out:
                    for _part in range(size >> 20):
                        out.write(os.urandom(1 << 20))
            os.link(f"{FILES}/{file}", f"{FILES}/{name}/pub/{file}")
        if name == "vsftpd":
            config = f"{FILES}/vsftpd.conf"
            with open(config, "w", encoding="ascii") as out:
                out.write(VSFTPD.format(root=f"{FILES}/{name}",
                                        empty=f"{FILES}/empty"))
            command = "vsftpd", config
        else:
            command = ("python3", "-W", "ignore", "-m", "pyftpdlib", "-i",
                       "::", "-p", f"{FTP}", "-w", "-d", f"{FILES}/{name}")
        self.processes.append(host.start(
            *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def await_server(self, name, ip):
        """Wait until a server greets."""
        def greets():
            with self.client, ftplib.FTP() as ftp:
                try:
                    return ftp.connect(ip.vip(name), FTP, PATIENCE)
                except OSError:
                    return False
        eventually(greets, f"{name} greets", PATIENCE)

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []
        shutil.rmtree(FILES, ignore_errors=True)
        super().__exit__(*error)

    def stored(self, name):
        """Where a server has what it gets."""
        return f"{FILES}/{name}/pub/stored"

    def command(self, *words):
        """Run a client."""
        self.client.run("timeout", f"{PATIENCE * 2}", *words)

    def data_connections(self, ip, vip):
        """Data connections of a virtual address so far: the ports of both
        ends, and the server's end."""
        return {(each.cport, each.vport, each.daddr, each.dport)
                for each in self.director.ipvs.connections()
                if each.vaddr == vip and each.vport != FTP}


def lftp(farm, ip, vip, active, file):
    """Fetch and store a file by lftp."""
    passive = "no" if active else "yes"
    farm.command(
        "lftp", "-c", f"set ftp:passive-mode {passive}; set ftp:ssl-allow no; "
        f"set net:timeout {PATIENCE}; set net:max-retries 1; "
        f"open ftp://{'[' * ip.ipv6}{vip}{']' * ip.ipv6}; "
        f"get pub/{file} -o {FILES}/fetched; put {FILES}/{file} -o pub/stored")


def curl(farm, ip, vip, active, file):
    """Do so by curl, which uses the extended commands with IPv4, too."""
    url = f"ftp://{'[' * ip.ipv6}{vip}{']' * ip.ipv6}/pub"
    options = ("-sS", *(("-P", "-") if active else ()))
    farm.command("curl", *options, "-o", f"{FILES}/fetched", f"{url}/{file}",
                 "--next", *options, "-T", f"{FILES}/{file}", f"{url}/stored")


class Client(ftplib.FTP):
    """ftplib's client. It believes what address the server says, and keeps in
    mind whom data connections are with."""

    trust_server_pasv_ipv4_address = True

    def __init__(self, vip, active):
        super().__init__(timeout=PATIENCE)
        self.peers = []
        self.set_pasv(not active)
        self.connect(vip, FTP)
        self.login()

    def ntransfercmd(self, cmd, rest=None):
        conn, size = super().ntransfercmd(cmd, rest)
        self.peers.append(conn.getpeername()[:2])
        return conn, size


def python(farm, _ip, vip, active, file):
    """Do so by ftplib, which has the VIP at the other end."""
    with farm.client, Client(vip, active) as ftp:
        with open(f"{FILES}/fetched", "wb") as out:
            ftp.retrbinary(f"RETR pub/{file}", out.write, 1 << 16)
        with open(f"{FILES}/{file}", "rb") as source:
            ftp.storbinary("STOR pub/stored", source, 1 << 16)
        return ftp.peers


CLIENTS = {"lftp": lftp, "curl": curl, "ftplib": python}


def transfer(farm, ip, client, name, active, file="small", vip=None):
    """Fetch a file and store it: there and here are the same bytes, and the
    director had data connections for both. Returns them, and what the client
    returns."""
    vip = vip or ip.vip(name)
    made = f"{FILES}/fetched", farm.stored(name)
    for path in made:
        if os.path.exists(path):
            os.unlink(path)
    before = farm.data_connections(ip, vip)
    said = CLIENTS[client](farm, ip, vip, active, file)
    for path in made:
        eventually(lambda path=path: os.path.getsize(path) ==
                   os.path.getsize(f"{FILES}/{file}"), f"all of {path}")
        equal(filecmp.cmp(path, f"{FILES}/{file}", shallow=False), True, path)
    return farm.data_connections(ip, vip) - before, said


class Case(NamedTuple):
    """A client that uses a server."""
    ip: Family
    client: str
    server: str

    def __str__(self):
        return f"{self.ip}, {self.client} and {self.server}"


CASES = [Case(ip, client, server) for ip in FAMILIES for client in CLIENTS
         for server in SERVERS]


def both_modes(farm, case, vip=None):
    """Transfer in both modes. Data connections have the server's port in
    passive mode, and port 20 in active mode. With ftplib they are those with
    the virtual address, unless the server has not used port 20."""
    ip, client, server = case
    for active in False, True:
        made, peers = transfer(farm, ip, client, server, active, vip=vip)
        assert len(made) >= 2, made
        for _cport, vport, daddr, dport in made:
            equal(daddr, ip.server(server), "server")
            equal(vport, dport, "port")
            equal(vport == DATA, active, f"whether {vport} is {DATA}")
        if peers and active and server == "vsftpd":
            equal(peers, [(vip or ip.vip(server), DATA)] * 2, "peers")
        elif peers and active:
            equal({peer[0] for peer in peers}, {ip.server(server)}, "peers")
        elif peers:
            equal(set(peers), {(vip or ip.vip(server), vport) for
                               _cport, vport, _daddr, _dport in made}, "peers")


@test_each(CASES, "what is fetched and stored is the same, in both modes")
def small(farm, case):
    both_modes(farm, case)


# Actively from vsftpd, passively from pyftpdlib.
@test_each((Case(FAMILIES[0], "lftp", "pyftpdlib"),
            Case(FAMILIES[1], "curl", "vsftpd")),
           f"{MB} MB are the same there and back")
def big(farm, case):
    transfer(farm, *case, active=case.server == "vsftpd", file="big")


@contextmanager
def firewall(farm, *more):
    """The director lets nothing through but FTP's control connections, what
    belongs to a connection that it knows, and what is related to one."""
    tools = "iptables", "ip6tables"
    chains = "INPUT", "FORWARD"
    for tool in tools:
        for chain in chains:
            for rule in (("-m", "conntrack", "--ctstate",
                          "ESTABLISHED,RELATED", "-j", "ACCEPT"),
                         ("-p", "tcp", "--dport", f"{FTP}", "-j", "ACCEPT"),
                         ("-p", "tcp", "-j", "DROP")):
                farm.director.run(tool, "-A", chain, *rule)
        for rule in more:
            farm.director.run(tool, *rule)
    try:
        yield
    finally:
        for tool in tools:
            farm.director.run(tool, "-F")
            farm.director.run(tool, "-t", "raw", "-F")


# Without it, the kernel expects no connections of either mode, C's included.
@test_each(FAMILIES, "with nf_conntrack_ftp, a firewall that looks at states "
           "lets data connections of both modes through")
def helper(farm, ip):
    run("modprobe", "-a", "nf_conntrack_ftp", "nf_nat_ftp")
    with firewall(farm, ("-t", "raw", "-A", "PREROUTING", "-p", "tcp",
                         "--dport", f"{FTP}", "-j", "CT", "--helper", "ftp")):
        for server in SERVERS:
            both_modes(farm, Case(ip, "ftplib", server))


@test_each(FAMILIES, "a client of a service that is persistent at both ports "
           "stays with its server")
def persistent(farm, ip):
    admin = farm.director.ipvs
    # The server's end has no room for a connection from the same port by
    # another VIP while there is an entry of the first.
    with closing(Table(farm.director)) as table:
        table.flush()
    for port in FTP, DATA:
        end = ip.end(ip.both, port)
        admin.rules(f"-A -t {end} -s rr -p 360",
                    *(f"-a -t {end} -r {ip.end(ip.server(name), port)} -m"
                      for name in SERVERS))
    servers = set()
    for client in CLIENTS:
        with farm.client, Client(ip.both, False) as ftp:
            servers.add("vsftpd" if "vsFTPd" in ftp.welcome else "pyftpdlib")
        equal(len(servers), 1, "servers of one client")
        both_modes(farm, Case(ip, client, *servers), ip.both)
    # FTP's templates are for all ports.
    templates = {each.daddr for each in admin.connections()
                 if each.cport == 0 and each.vaddr == ip.both and
                 each.caddr == ip.client and each.vport == 0}
    equal(templates, {ip.server(*servers)}, "servers of templates")


main(Farm)
