# SPDX-License-Identifier: GPL-2.0
"""FTP through IPVS, scripted: the module ip_vs_ftp, and the packets of a control
connection and of its data connections, with every sequence number."""

import os
from contextlib import contextmanager

from .family import FAMILIES, end
from .lab import Lab
from .module import RUST_KO, depends, run
from .packet import ACK, PSH, SYN, is_ipv6, tcp
from .tap import Skip, equal, module_under_test

PORTS = (21, 2121)
FTP_KO = os.path.join(os.path.dirname(RUST_KO), "modules/ip_vs_ftp.ko")


def load(*parameters):
    """Load ip_vs_ftp after ip_vs."""
    if module_under_test() == "c":
        run("modprobe", "ip_vs_ftp", *parameters)
        return
    if not os.path.exists(FTP_KO):
        raise Skip(f"no {FTP_KO}")
    needed = [name for name in depends(FTP_KO) if name != "ip_vs"]
    run("modprobe", "-a", *needed)
    run("insmod", FTP_KO, *parameters)


def path():
    """The file of ip_vs_ftp."""
    if module_under_test() == "rust":
        return FTP_KO
    return run("modinfo", "-n", "ip_vs_ftp").strip()


def comma(address, port):
    """An address and a port as PORT and the reply to PASV have them."""
    return f"{address.replace('.', ',')},{port >> 8},{port & 255}"


def eprt(address, port, mark="|"):
    """The argument of EPRT."""
    kind = 2 if is_ipv6(address) else 1
    return f"{mark}{kind}{mark}{address}{mark}{port}{mark}"


def entering(ip, port):
    """A server's reply that it waits at its port, and what the client must get
    of it."""
    if is_ipv6(ip.vip):
        text = f"229 Extended Passive Mode (|||{port}|)\r\n"
        return text, text
    text = "227 Entering Passive Mode (%s).\r\n"
    return text % comma(ip.rip, port), text % comma(ip.vip, port)


class Flow:
    """A TCP connection between the client and a server, of which both ends and
    the director's changes are known."""

    def __init__(self, lab, ip, *, cport=None, vport=21, rport=21, rip=None,
                 server=None):
        self.lab, self.ip = lab, ip
        self.cport = cport or lab.port()
        self.vport, self.rport = vport, rport
        self.rip = rip or ip.rip
        self.server = server or lab.server
        # The next byte of each end, in its own numbers.
        self.client_next, self.server_next = 1000, 5000
        # What the client has seen more of than the server has sent.
        self.shift = 0

    def request(self, flags, payload=b"", **more):
        """A packet of the client, and what it becomes."""
        fields = {"seq": self.client_next,
                  "ack": self.server_next + self.shift if flags & ACK else 0}
        sent = tcp(self.ip.cip, self.cport, self.ip.vip, self.vport, flags,
                   payload=payload, **fields | more)
        there = sent.but(dst=self.rip, dport=self.rport, ttl=sent.ttl - 1)
        if flags & ACK:
            there = there.but(ack=sent.l4.ack - self.shift)
        return sent, there

    def answer(self, flags, payload=b"", **more):
        """A packet of the server, and what it becomes."""
        fields = {"seq": self.server_next, "ack": self.client_next}
        sent = tcp(self.rip, self.rport, self.ip.cip, self.cport, flags,
                   payload=payload, **fields | more)
        there = sent.but(src=self.ip.vip, sport=self.vport, ttl=sent.ttl - 1,
                         seq=(sent.l4.seq + self.shift) & 0xffffffff)
        return sent, there

    def from_client(self, flags, payload=b"", **more):
        """The client sends, and the server gets it."""
        sent, there = self.request(flags, payload, **more)
        self.lab.expect(self.lab.client, sent, {self.server: there})
        self.client_next += len(payload) + bool(flags & SYN)

    def from_server(self, flags, payload=b"", shown=None, **more):
        """The server sends, and the client gets it, as `shown` if given."""
        sent, there = self.answer(flags, payload, **more)
        if shown is not None:
            there = there.but(payload=shown)
            self.shift += len(shown) - len(payload)
        self.lab.expect(self.server, sent, {self.lab.client: there})
        self.server_next += len(payload) + bool(flags & SYN)

    def open(self):
        """Connect."""
        self.from_client(SYN)
        self.from_server(SYN | ACK)
        self.from_client(ACK)
        return self

    def command(self, text):
        """The client says something."""
        self.from_client(PSH | ACK, text.encode("latin-1"))

    def reply(self, text, shown=None):
        """The server says something, which the client gets as `shown`."""
        shown = text if shown is None else shown
        self.from_server(PSH | ACK, text.encode(), shown.encode())
        self.from_client(ACK)

    def both_ways(self):
        """Data passes in both directions."""
        self.from_client(PSH | ACK, b"up")
        self.from_server(PSH | ACK, b"down")

    def passive(self, port):
        """Ask for a port of the server's, and be told one."""
        self.command("EPSV\r\n" if is_ipv6(self.ip.vip) else "PASV\r\n")
        self.reply(*entering(self.ip, port))

    def active(self, port):
        """Tell the server a port of the client's."""
        self.command(f"EPRT {eprt(self.ip.cip, port)}\r\n"
                     if is_ipv6(self.ip.vip) else
                     f"PORT {comma(self.ip.cip, port)}\r\n")


def data(control, port, cport=None):
    """The data connection that the client opens to a port of the server's."""
    return Flow(control.lab, control.ip, cport=cport, vport=port, rport=port,
                rip=control.rip, server=control.server)


def called_back(control, port):
    """The data connection that the server opens to the client's port."""
    flow = Flow(control.lab, control.ip, cport=port, vport=control.vport - 1,
                rport=control.rport - 1, rip=control.rip,
                server=control.server)
    flow.from_server(SYN, ack=0)
    flow.from_client(SYN | ACK)
    flow.from_server(ACK)
    return flow


def listed(lab, caddr=None):
    """The connections as (client port, virtual port, server, its port,
    state), sorted."""
    return sorted((found.cport, found.vport, found.daddr, found.dport,
                   found.state) for found in lab.ipvs.connections()
                  if caddr in (None, found.caddr))


def apps(namespace):
    """The lines of /proc/net/ip_vs_app as (protocol, port, uses, name)."""
    lines = namespace.proc("ip_vs_app").splitlines()
    equal(lines[0], "prot port    usecnt name")
    return [(part[0], int(part[1]), int(part[2]), part[3])
            for part in (line.split() for line in lines[1:])]


@contextmanager
def helped(lab, ip, wanted=True):
    """While this lasts, conntrack's own helper looks at control connections,
    and packets of related connections to and from ports of data connections
    are counted; gives a function that returns how many there were. Nothing
    of it, if it is not `wanted`."""
    if not wanted:
        yield None
        return
    run("modprobe", "nf_conntrack_ftp")
    lab.director.run("nft", "-f", "-", stdin=f"""
table {ip.table} helped {{
    ct helper of_ftp {{ type "ftp" protocol tcp; }}
    counter related {{}}
    chain prerouting {{
        type filter hook prerouting priority -150;
        tcp dport 21 ct helper set "of_ftp"
        ct state related tcp flags syn counter name "related"
    }}
}}
""")

    def related():
        text = lab.director.run("nft", "list", "counter", ip.table, "helped",
                                "related")
        return int(text.split("packets")[1].split()[0])
    try:
        yield related
    finally:
        lab.director.run("nft", "delete", "table", ip.table, "helped")


class FtpLab(Lab):
    """FTP services of both families with two servers by NAT."""

    def __init__(self):
        super().__init__(servers=2, ipv6=True)

    def build(self):
        super().build()
        load("ports=" + ",".join(map(str, PORTS)))
        for ip in FAMILIES:
            self.ipvs.service(end(ip.vip, 21), f"{end(ip.rip, 21)} -m")

    def control(self, ip, **more):
        """A control connection that has been set up."""
        return Flow(self, ip, **more).open()

    def only_of(self, ip):
        """The connections of a family."""
        return listed(self, ip.cip)


def forget(lab):
    """The services as they were at first."""
    lab.ipvs.admin("--clear")
    for ip in FAMILIES:
        lab.ipvs.service(end(ip.vip, 21), f"{end(ip.rip, 21)} -m")
