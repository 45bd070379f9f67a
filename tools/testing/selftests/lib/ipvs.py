# SPDX-License-Identifier: GPL-2.0
"""ipvsadm, and the files under /proc/net that IPVS fills."""

from socket import AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import NamedTuple


class Connection(NamedTuple):
    """A line of /proc/net/ip_vs_conn."""
    protocol: str
    caddr: str
    cport: int
    vaddr: str
    vport: int
    daddr: str
    dport: int
    state: str
    expires: int


def shown(address):
    """An address as users write it, from the way that the files have it."""
    if ":" in address:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, address.strip("[]")))
    return inet_ntoa(bytes.fromhex(address))


class Ipvs:
    """IPVS in one namespace, through the tool that everybody uses."""

    def __init__(self, namespace):
        self.ns = namespace

    def admin(self, *arguments, check=True):
        """ipvsadm with these arguments; its output."""
        return self.ns.run("ipvsadm", *arguments, check=check)

    def rules(self, *lines):
        """Rules in the form of ipvsadm --save."""
        said = self.ns.run("ipvsadm", "--restore", stdin="\n".join(lines))
        if said.strip():
            raise AssertionError(said)

    def service(self, address, *servers, scheduler="rr", kind="-t"):
        """A service; each server is what follows `-r`, as one string."""
        self.rules(f"-A {kind} {address} -s {scheduler}",
                   *(f"-a {kind} {address} -r {server}" for server in servers))

    def saved(self):
        """The rules as ipvsadm --save -n writes them, sorted."""
        return sorted(self.admin("-Sn").splitlines())

    def connections(self):
        """The connection table."""
        found = []
        for line in self.ns.proc("ip_vs_conn").splitlines()[1:]:
            part = line.split()
            found.append(Connection(
                part[0], shown(part[1]), int(part[2], 16),
                shown(part[3]), int(part[4], 16),
                shown(part[5]), int(part[6], 16),
                part[7], int(part[8])))
        return found

    def connection(self, cport, protocol="TCP"):
        """The connection from a client port, or None."""
        for found in self.connections():
            if found.cport == cport and found.protocol == protocol:
                return found
        return None

    def counters(self):
        """ActiveConn and InActConn of each server: {(service, server): …}."""
        found, service = {}, None
        for line in self.ns.proc("ip_vs").splitlines()[3:]:
            part = line.split()
            if part[0] != "->":
                service = part[1]
                continue
            address, port = part[1].rsplit(":", 1)
            server = f"{shown(address)}:{int(port, 16)}"
            found[service, server] = int(part[4]), int(part[5])
        return found

    def statistics(self):
        """Exact counters of every service and server:
        {name: (conns, inpkts, outpkts, inbytes, outbytes)}."""
        found, service = {}, ""
        for line in self.admin("-Ln", "--stats", "--exact").splitlines()[3:]:
            kind, name, *numbers = line.split()
            if kind == "->":
                name = f"{service} {name}"
            else:
                service = name = f"{kind} {name}"
            found[name] = tuple(int(number) for number in numbers)
        return found
