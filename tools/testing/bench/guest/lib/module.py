# SPDX-License-Identifier: GPL-2.0
"""One IPVS module in the kernel, the C one or ours, with services."""

import os
from typing import NamedTuple

from .director import SYNC, read, run

LOAD = "/ipvs/tools/testing/vm/load-module"
TIMEOUT = 86400     # of UDP; the clock of a run gets to some minutes


class Service(NamedTuple):
    """A virtual service."""
    kind: str
    port: int
    method: str
    servers: int


SERVICES = {
    "dr": Service("-u", 1001, "-g", 4),
    "nat": Service("-u", 1002, "-m", 1),
    "tunnel": Service("-u", 1003, "-i", 1),
    "gue": Service("-u", 1004, "-i --tun-type gue --tun-port 6080 "
                   "--tun-nocsum", 1),
    "gre": Service("-u", 1005, "-i --tun-type gre --tun-nocsum", 1),
    "tcp": Service("-t", 1001, "-g", 4),
    "sctp": Service("--sctp-service", 1001, "-g", 4),
    "sctp nat": Service("--sctp-service", 1002, "-m", 1),
}


def load(name, family, services, parameters=(), tracked=False):
    """Load the module, c or rust, and set these services of a family up. The
    parameters are those of the C module."""
    if name == "c":
        run("modprobe", "ip_vs", *parameters)
    os.environ["MODULE"] = name
    run(LOAD)
    if tracked:
        run("sysctl", "-q", "net.ipv4.vs.conntrack=1")
    # An association begins with any packet, so that those of known ones are
    # established at once.
    run("sysctl", "-q", "net.ipv4.vs.sloppy_sctp=1")
    rules = []
    for key in services:
        kind, port, method, servers = SERVICES[key]
        virtual = family.end(family.vip, port)
        rules.append(f"-A {kind} {virtual} -s rr")
        for i in range(1, servers + 1):
            server = family.end(family.server.format(i), port)
            rules.append(f"-a {kind} {virtual} -r {server} {method}")
    run("ipvsadm", "--restore", stdin="\n".join(rules))
    run("ipvsadm", "--set", "0", "0", str(TIMEOUT))


def synchronise():
    """Start a master that tells each connection with its first packet."""
    run("sysctl", "-q", "net.ipv4.vs.sync_threshold=1 50")
    run("ipvsadm", "--start-daemon", "master", "--mcast-interface", SYNC)


def unsynchronise():
    """Stop it."""
    run("ipvsadm", "--stop-daemon", "master")


def unload():
    """Unload all IPVS modules, users before what they use."""
    run("ipvsadm", "-C")
    names = [line.split()[0] for line in read("/proc/modules").splitlines()]
    ours = [n for n in names if n == "ip_vs" or n.startswith("ip_vs_")]
    run("rmmod", *sorted(ours, key="ip_vs".__eq__))


def connections():
    """How many connections there are, by the servers' own counts."""
    lines = [line.split() for line in run("ipvsadm", "-Ln").splitlines()]
    return sum(int(line[4]) + int(line[5]) for line in lines
               if line[0] == "->" and line[4].isdigit())


def packets():
    """Packets counted as incoming and outgoing, some seconds ago."""
    counts = read("/proc/net/ip_vs_stats").splitlines()[2].split()
    return int(counts[1], 16), int(counts[2], 16)
