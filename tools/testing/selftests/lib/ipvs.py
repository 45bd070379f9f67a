# SPDX-License-Identifier: GPL-2.0
"""ipvsadm, and the files under /proc/net that IPVS fills."""

import time
from socket import AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import NamedTuple

from .tap import module_under_test

# The C module moves the connections of a table that it has resized for some
# milliseconds; a listing meanwhile lacks some of them.
READINGS = 5
BETWEEN_READINGS = 0.01


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


def complete(read, connection):
    """The lines that `read` returns. Of the C module, once two readings in a
    row had the same connections: it leaves out some while its table is
    resized, and where one ends during the reading. `connection` says whose
    a split line is."""
    def connections(lines):
        return sorted(connection(line.split()) for line in lines)

    lines = read()
    if module_under_test() == "c":
        for _ in range(READINGS):
            time.sleep(BETWEEN_READINGS)
            lines, before = read(), lines
            if connections(lines) == connections(before):
                break
    return lines


def connection_lines(namespace):
    """The lines of /proc/net/ip_vs_conn but the first."""
    return complete(lambda: namespace.proc("ip_vs_conn").splitlines()[1:],
                    lambda part: part[:7])


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

    def listed_connections(self):
        """The lines of ipvsadm -Lnc but the first two."""
        return complete(lambda: self.admin("-Lnc").splitlines()[2:],
                        lambda part: part[:1] + part[3:])

    def connections(self):
        """The connection table."""
        found = []
        for line in connection_lines(self.ns):
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
