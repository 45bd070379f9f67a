#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
"""Every network namespace has an IPVS of its own: services, connections,
timeouts, statistics, hooks. Nothing of it outlives the namespace."""

import os
import socket
from contextlib import nullcontext

from lib import genl, memory
from lib.genl import Genl
from lib.ipvs import Ipvs
from lib.lab import CIP, DIRECTOR, RIP, VIP, Lab
from lib.netns import Netns
from lib.packet import udp
from lib.rules import Rules
from lib.tap import TIME_FACTOR, equal, eventually, main, test
from lib.wire import Host

UDP = 17


class Twin:
    """A second director with the same virtual address, and its own client
    and server on wires of their own."""

    def __init__(self):
        self.ns = Netns("ipvs-twin")
        for path, value in DIRECTOR.items():
            self.ns.sysctl(path, value)
        self.ns.ip("link set lo up", f"addr add {VIP}/32 dev lo")
        self.ends = [Netns(f"ipvs-twin-{name}") for name in ("in", "out")]
        self.client, self.server = [
            Host(f"twin{number}", number, end, self.ns)
            for number, end in enumerate(self.ends, 1)]
        for host in self.client, self.server:
            host.plug()
        self.ipvs = Ipvs(self.ns)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for host in self.client, self.server:
            host.unplug()
        for namespace in [self.ns, *self.ends]:
            namespace.delete()


def served(client, server, request, wanted):
    """Send by one namespace; what its server sees before a marker."""
    marker = udp(CIP, 9, RIP, 9, b"marker of the twin")
    client.send(request)
    client.send(marker)
    equal([frame.ip for frame in server.until(b"marker of the twin")],
          [bytes(packet) for packet in wanted], "packets at the server")


@test("the same virtual service in two namespaces: each has its own server, "
      "connections and counters")
def same_service(lab):
    with Twin() as twin:
        lab.ipvs.service(f"{VIP}:81", f"{RIP}:8081 -m", kind="-u")
        twin.ipvs.service(f"{VIP}:81", f"{RIP}:9081 -m", kind="-u",
                          scheduler="wlc")
        cport = lab.port()
        request = udp(CIP, cport, VIP, 81)
        lab.expect(lab.client, request, {lab.server: request.but(
            dst=RIP, dport=8081, ttl=63)})
        equal(twin.ipvs.connections(), [], "connections of the twin")
        served(twin.client, twin.server, request, [request.but(
            dst=RIP, dport=9081, ttl=63)])
        equal([ipvs.connection(cport, "UDP").dport
               for ipvs in (lab.ipvs, twin.ipvs)], [8081, 9081])
        equal([list(ipvs.counters().values())
               for ipvs in (lab.ipvs, twin.ipvs)], [[(0, 1)], [(0, 1)]])
        twin.ipvs.admin("-C")
        equal(twin.ipvs.saved(), [])
        equal(len(lab.ipvs.saved()), 2, "rules that are left")
    lab.ipvs.admin("-C")


@test("timeouts are a namespace's own")
def timeouts(lab):
    with Twin() as twin:
        twin.ipvs.admin("--set", "11", "12", "13")
        assert "11 12 13" in twin.ipvs.admin("-l", "--timeout")
        assert "900 120 300" in lab.ipvs.admin("-l", "--timeout")


@test("a service of one namespace is none of another, nor of the first one")
def nobody_elses(lab):
    lab.ipvs.service(f"{VIP}:82", f"{RIP}:82 -g", kind="-u")
    with Twin() as twin:
        equal(twin.ipvs.saved(), [])
        equal(len(twin.ns.proc("ip_vs").splitlines()), 3)
        request = udp(CIP, lab.port(), VIP, 82)
        served(twin.client, twin.server, request, [])
        equal(twin.ipvs.connections(), [])
        with open("/proc/net/ip_vs", encoding="ascii") as file:
            equal(len(file.readlines()), 3, "services of the first namespace")
    lab.ipvs.admin("-C")


@test("root of a user namespace may not touch services, his own namespace's "
      "either (generic netlink asks for the capability of the first one)")
def user_namespace(_lab):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
            netlink = Genl(nullcontext())
            answers = [netlink.request(genl.GET_INFO).error,
                       netlink.request(genl.FLUSH).error]
            os.write(writer, " ".join(answers).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    equal(os.read(reader, 100), b"EPERM EPERM")
    os.close(reader)


def connection_in(namespace):
    """A service of the namespace for itself, with a connection and an
    answer, all on the loopback device."""
    namespace.ip("link set lo up", f"addr add {VIP}/32 dev lo")
    with Rules(namespace) as rules:
        rules.add(UDP, VIP, 81)
        rules.add_server(UDP, VIP, 81, "127.0.0.1", rport=8081)
    with namespace:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 8081))
    client.sendto(b"question", (VIP, 81))
    server.settimeout(10 * TIME_FACTOR)
    client.settimeout(10 * TIME_FACTOR)
    question, sender = server.recvfrom(100)
    server.sendto(b"answer", sender)
    equal((question, client.recvfrom(100)),
          (b"question", (b"answer", (VIP, 81))))
    server.close()
    client.close()


@test("namespaces that die with services and connections leave no memory "
      "behind")
def no_leak(_lab):
    each = 24

    def generation():
        before = max(memory.namespaces() for _ in range(3))
        for _ in range(each):
            namespace = Netns("ipvs-mortal")
            connection_in(namespace)
            namespace.delete()
        # Two may be on their way out at once.
        eventually(lambda: memory.namespaces() <= before + 1,
                   "the end of namespaces", 30)
        return memory.usage()
    snapshots = [generation() for _ in range(5)]
    # The first one fills what the kernel keeps for later.
    equal(memory.leaks(snapshots[1:], each), [], "what leaks")


if __name__ == "__main__":
    main(Lab)
