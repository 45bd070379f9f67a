#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 240
"""A node of a Docker swarm as libnetwork sets it up, with traffic: the balancer
of the ingress network with a published port, that of an overlay network, the
older way with a balancer in the sandbox of each task, and direct routing.

    client --- host --- ingress sandbox --+-- task1 --+-- balancer, direct
                                          +-- task2 --+-- front
                                          +-- task3 --+-- elder

Compared: which task answers, from which address it sees its client, the tuples
of conntrack entries, connections and counters of ipvsadm.
"""

import re
from contextlib import ExitStack

from lib import module
from lib.ipvs import shown
from lib.stacks import ROUTER, SETTINGS, Stacks, Talk, entries, entry
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

INGRESS, OVERLAY, BRIDGE = "10.0.0", "10.0.1", "172.18.0"
PUBLISHED, TARGET = 8080, 8000
TASKS = "task1", "task2", "task3"
# Marks are numbers that libnetwork gives to the networks' services.
INGRESS_MARK, OVERLAY_MARK, ELDER_MARK, DIRECT_MARK = 256, 257, 258, 259
HOST, CLIENT = "192.0.2.1", "192.0.2.2"
INGRESS_VIP, OVERLAY_VIP = f"{INGRESS}.5", f"{OVERLAY}.5"
ELDER_VIP, DIRECT_VIP = f"{OVERLAY}.6", f"{OVERLAY}.7"
BALANCER, ELDER, FRONT = f"{OVERLAY}.2", f"{OVERLAY}.30", f"{OVERLAY}.20"
INGRESS_BALANCER, DIRECT = f"{INGRESS}.2", f"{OVERLAY}.3"
# The settings of a sandbox with a balancer, but for `conntrack`.
TWEAKS = {"conn_reuse_mode": 0, "expire_nodest_conn": 1,
          "expire_quiescent_template": 1}


def iptables(namespace, *lines):
    """Apply arguments of iptables, those of a table at once."""
    tables = {}
    for line in lines:
        table, rule = re.fullmatch(r"(?:-t (\w+) )?(.*)", line).groups()
        tables.setdefault(table or "filter", []).append(rule)
    namespace.run("iptables-legacy-restore", "--noflush", stdin="".join(
        "\n".join([f"*{table}", *rules, "COMMIT", ""])
        for table, rules in tables.items()))


def number(name):
    """The last byte of a task's addresses."""
    return 10 + int(name[-1])


def masquerade(subnet, address):
    """The rule by which replies come back to a balancer."""
    return (f"-t nat -A POSTROUTING -m ipvs --ipvs -d {subnet}.0/24 -j SNAT "
            f"--to-source {address}")


class Swarm(Stacks):
    """The picture above."""

    def __init__(self):
        super().__init__()
        self.client = self.host = self.ingress = self.balancer = None
        self.front = self.elder = self.direct = self.overlay = None
        self.tasks = {}

    def build(self):
        module.run("modprobe", "nf_conntrack_netlink")
        module.load_match()
        self.client = self.namespace("client")
        self.host = self.namespace("host", ROUTER)
        self.wire(self.host, "eth0", self.client, "eth0")
        self.overlay = self.namespace("overlay")
        self.overlay.ip(*(f"link add {name} type bridge mcast_snooping 0"
                          for name in ("ingress", "app")),
                        "link set ingress up", "link set app up")
        self.host.ip(f"addr add {HOST}/24 dev eth0",
                     "link add docker_gwbridge type bridge mcast_snooping 0",
                     "link set docker_gwbridge up",
                     f"addr add {BRIDGE}.1/16 dev docker_gwbridge")
        self.client.ip(f"addr add {CLIENT}/24 dev eth0")
        for name in TASKS:
            task = self.tasks[name] = self.namespace(name)
            self.plug(task, name, "ingress", "eth0",
                      f"{INGRESS}.{number(name)}")
            self.plug(task, name, "app", "eth1", f"{OVERLAY}.{number(name)}")
            self.servers.listen(task, name, TARGET)
        self.front = self.namespace("front")
        self.plug(self.front, "front", "app", "eth0", FRONT)
        self.publish()
        self.balance()
        self.await_carriers()

    def plug(self, namespace, name, network, device, address):
        """Connect a sandbox to an overlay network."""
        port = f"{name}-{network}"
        self.wire(self.overlay, port, namespace, device)
        self.overlay.ip(f"link set {port} master {network}")
        namespace.ip(f"addr add {address}/24 dev {device}")

    def sandbox(self, name, network, address, vip, device="eth0"):
        """A sandbox with a balancer, and its virtual address."""
        sandbox = self.namespace(name, SETTINGS | {"ipv4/ip_forward": 1})
        self.plug(sandbox, name, network, "eth0", address)
        sandbox.ip(f"addr add {vip}/32 dev {device}")
        return sandbox

    @staticmethod
    def service(sandbox, mark, servers, method="-m"):
        """A service by mark, and then what is to be set for balancers."""
        sandbox.ipvs.rules(f"-A -f {mark} -s rr",
                           *(f"-a -f {mark} -r {server}:0 {method} -w 1"
                             for server in servers))
        for name, value in TWEAKS.items():
            sandbox.sysctl(f"ipv4/vs/{name}", value)

    def publish(self):
        """The ingress network, and a port published on the host."""
        self.ingress = self.sandbox("ingress", "ingress", INGRESS_BALANCER,
                                    INGRESS_VIP)
        self.wire(self.host, "ingress", self.ingress, "eth1")
        self.host.ip("link set ingress master docker_gwbridge")
        self.ingress.ip(f"addr add {BRIDGE}.2/16 dev eth1",
                        f"route add default via {BRIDGE}.1")
        iptables(
            self.host, ":FORWARD DROP [0:0]",
            "-N DOCKER-FORWARD", "-A FORWARD -j DOCKER-FORWARD",
            "-t nat -N DOCKER-INGRESS", "-N DOCKER-INGRESS",
            "-t nat -A DOCKER-INGRESS -j RETURN",
            "-A DOCKER-INGRESS -j RETURN",
            *(f"-t nat -I {chain} -m addrtype --dst-type LOCAL "
              "-j DOCKER-INGRESS" for chain in ("OUTPUT", "PREROUTING")),
            "-I DOCKER-FORWARD -j DOCKER-INGRESS",
            "-t nat -I POSTROUTING -m addrtype --src-type LOCAL "
            "-o docker_gwbridge -j MASQUERADE",
            f"-t nat -A POSTROUTING -s {BRIDGE}.0/16 ! -o docker_gwbridge "
            "-j MASQUERADE",
            f"-t nat -I DOCKER-INGRESS -p tcp --dport {PUBLISHED} -j DNAT "
            f"--to-destination {BRIDGE}.2:{PUBLISHED}",
            f"-I DOCKER-INGRESS -p tcp --sport {PUBLISHED} -m conntrack "
            "--ctstate ESTABLISHED,RELATED -j ACCEPT",
            f"-I DOCKER-INGRESS -p tcp --dport {PUBLISHED} -j ACCEPT")
        self.host.sysctl("ipv4/conf/docker_gwbridge/route_localnet", 1)
        # Holds the port, and is never asked.
        self.servers.listen(self.host, "proxy", PUBLISHED, "tcp")
        self.ingress.sysctl("ipv4/vs/conntrack", 1)
        iptables(
            self.ingress, f"-t mangle -A PREROUTING -p tcp --dport {PUBLISHED}"
            f" -j MARK --set-mark {INGRESS_MARK}",
            masquerade(INGRESS, INGRESS_BALANCER),
            f"-t mangle -A INPUT -d {INGRESS_VIP}/32 -j MARK "
            f"--set-mark {INGRESS_MARK}")
        self.service(self.ingress, INGRESS_MARK,
                     [f"{INGRESS}.{number(name)}" for name in TASKS])
        for name, task in self.tasks.items():
            address = f"{INGRESS}.{number(name)}"
            iptables(
                task, f"-t nat -A PREROUTING -d {address} -p tcp "
                f"--dport {PUBLISHED} -j REDIRECT --to-port {TARGET}",
                f"-I INPUT -d {address} -p tcp --dport {TARGET} -m conntrack "
                "--ctstate NEW,ESTABLISHED -j ACCEPT",
                f"-I OUTPUT -s {address} -p tcp --sport {TARGET} -m conntrack "
                "--ctstate ESTABLISHED -j ACCEPT",
                *(f"-A {chain} {match} {address} -p {kind} -j DROP"
                  for kind in ("udp", "tcp")
                  for chain, match in (("INPUT", "-d"), ("OUTPUT", "-s"))))

    def balance(self):
        """An overlay network: its sandbox; the sandbox of a task that balances
        by itself; a sandbox with direct routing."""
        servers = [f"{OVERLAY}.{number(name)}" for name in TASKS]
        self.balancer = self.sandbox("balancer", "app", BALANCER, OVERLAY_VIP)
        self.elder = self.sandbox("elder", "app", ELDER, ELDER_VIP, "lo")
        self.direct = self.sandbox("direct", "app", DIRECT, DIRECT_VIP)
        for sandbox, hook, mark, vip, own in (
                (self.balancer, "INPUT", OVERLAY_MARK, OVERLAY_VIP, BALANCER),
                (self.elder, "OUTPUT", ELDER_MARK, ELDER_VIP, ELDER)):
            sandbox.sysctl("ipv4/vs/conntrack", 1)
            iptables(sandbox, masquerade(OVERLAY, own),
                     f"-t mangle -A {hook} -d {vip}/32 -j MARK "
                     f"--set-mark {mark}")
            self.service(sandbox, mark, servers)
        iptables(self.elder, "-t nat -A OUTPUT -p icmp --icmp-type "
                 f"echo-request -d {ELDER_VIP} -j DNAT --to 127.0.0.1")
        # With direct routing there is no SNAT, and tasks have the address.
        iptables(self.direct, f"-t mangle -A INPUT -d {DIRECT_VIP}/32 -j MARK "
                 f"--set-mark {DIRECT_MARK}")
        self.service(self.direct, DIRECT_MARK, servers, "-g")
        for task in self.tasks.values():
            task.sysctl("ipv4/conf/all/arp_ignore", 1)
            task.sysctl("ipv4/conf/all/arp_announce", 2)
            task.ip(f"addr add {DIRECT_VIP}/32 dev lo")


def each_task(origin, address, port, udp=False):
    """Talk to each task, all at the same time."""
    with ExitStack() as stack:
        talks = [stack.enter_context(Talk(origin, address, port, udp))
                 for _task in TASKS]
        equal(sorted(talk.server for talk in talks), list(TASKS), "tasks")
        for talk in talks:
            talk.say(b"x" * (1000 if udp else 3000))
            yield talk


def connections(sandbox, vip):
    """Of each connection: its client's end, the port that was asked for, the
    server's end."""
    return {((each.caddr, each.cport), each.vport, (each.daddr, each.dport))
            for each in sandbox.ipvs.connections() if each.vaddr == vip}


def listed(sandbox):
    """Weight, ActiveConn and InActConn of each server's address."""
    rows = [line.split() for line in sandbox.proc("ip_vs").splitlines()[3:]]
    return {shown(row[1].rsplit(":", 1)[0]): tuple(map(int, row[3:]))
            for row in rows if row[0] == "->"}


def check(sandbox, talks, vip, port, own):
    """The tasks see the sandbox, whose entries and connections go from the
    client's end to the virtual address and from the task to the sandbox."""
    ends = set()
    for talk in talks:
        equal(talk.seen[0], own, f"client as {talk.server} sees it")
        task = f"{OVERLAY}.{number(talk.server)}", port
        found = entry(sandbox, talk)
        equal((found.original, found.reply),
              ((*talk.own, vip, port), (*task, *talk.seen)), "tuples")
        ends.add((talk.own, port, task))
    equal(connections(sandbox, vip) & ends, ends, "connections")


@test("each sandbox with a balancer has its own settings")
def settings(swarm):
    for sandbox, tracking in ((swarm.ingress, 1), (swarm.balancer, 1),
                              (swarm.elder, 1), (swarm.direct, 0),
                              (swarm.front, 0)):
        seen = Settings(sandbox)
        equal(seen["conntrack"], tracking, f"conntrack in {sandbox.name}")
        equal([seen[name] for name in TWEAKS],
              [1, 0, 0] if sandbox is swarm.front else list(TWEAKS.values()))


@test("a client outside reaches each task by the host's published port; the "
      "tasks see the ingress sandbox")
def published(swarm):
    for talk in each_task(swarm.client, HOST, PUBLISHED):
        equal(talk.seen[0], INGRESS_BALANCER, f"client of {talk.server}")
        found = entry(swarm.host, talk)
        equal((found.original, found.reply),
              ((*talk.own, HOST, PUBLISHED),
               (f"{BRIDGE}.2", PUBLISHED, *talk.own)), "tuples of the host")
        found = entry(swarm.ingress, talk)
        task = f"{INGRESS}.{number(talk.server)}", PUBLISHED
        equal((found.original, found.reply),
              ((*talk.own, f"{BRIDGE}.2", PUBLISHED), (*task, *talk.seen)),
              "tuples of the sandbox")


@test("the host does so by its loopback address")
def from_host(swarm):
    for talk in each_task(swarm.host, "127.0.0.1", PUBLISHED):
        equal(talk.seen[0], INGRESS_BALANCER, f"client of {talk.server}")


@test("a task reaches each other one by the virtual address of the overlay "
      "network, at any port of either protocol; they see its sandbox")
def overlay(swarm):
    for udp in False, True:
        check(swarm.balancer, each_task(swarm.front, OVERLAY_VIP, TARGET, udp),
              OVERLAY_VIP, TARGET, BALANCER)


@test("a task reaches itself by it, too")
def itself(swarm):
    for name, task in swarm.tasks.items():
        servers = [talk.server for talk in
                   each_task(task, OVERLAY_VIP, TARGET)]
        assert name in servers, servers


@test("a sandbox that balances its own task's connections does so from the "
      "virtual address on its loopback device, and tasks see its address")
def elder(swarm):
    for udp in False, True:
        check(swarm.elder, each_task(swarm.elder, ELDER_VIP, TARGET, udp),
              ELDER_VIP, TARGET, ELDER)


@test("ping is answered at the virtual addresses")
def ping(swarm):
    for origin, vip in ((swarm.front, OVERLAY_VIP), (swarm.elder, ELDER_VIP),
                        (swarm.front, DIRECT_VIP)):
        origin.run("ping", "-c", "1", "-w", "30", vip)


@test("with direct routing, tasks see who asks")
def direct(swarm):
    for udp in False, True:
        for talk in each_task(swarm.front, DIRECT_VIP, TARGET, udp):
            equal(talk.seen, talk.own, f"client of {talk.server}")
            equal(entries(swarm.direct, "-s", FRONT), [], "entries")


@test("a task that is going keeps its connections and gets no new ones; when "
      "it is gone, they are ended")
def going(swarm):
    ipvs, mark = swarm.balancer.ipvs, f"{OVERLAY_MARK}"
    with Talk(swarm.front, OVERLAY_VIP, TARGET) as talk:
        gone = f"{OVERLAY}.{number(talk.server)}"
        ipvs.admin("-e", "-f", mark, "-r", f"{gone}:0", "-m", "-w", "0")
        for _time in range(4):
            with Talk(swarm.front, OVERLAY_VIP, TARGET) as other:
                assert other.server != talk.server, f"{gone} has weight 0"
        talk.say(b"still here")
        eventually(lambda: listed(swarm.balancer)[gone][:2] == (0, 1),
                   "weight 0 and one active connection")
        ipvs.admin("-d", "-f", mark, "-r", f"{gone}:0")
        try:
            while True:
                talk.say(b"and now?")
        except ConnectionResetError:
            pass
    ipvs.admin("-a", "-f", mark, "-r", f"{gone}:0", "-m", "-w", "1")
    check(swarm.balancer, each_task(swarm.front, OVERLAY_VIP, TARGET),
          OVERLAY_VIP, TARGET, BALANCER)


@test("a thousand networks' services and rules in a sandbox: the last one's "
      "works, and all can be taken back")
def many(swarm):
    sandbox, ipvs = swarm.balancer, swarm.balancer.ipvs
    before = ipvs.saved()
    services = [(1000 + n, f"{OVERLAY}.{n % 100 + 100}", 9000 + n)
                for n in range(1000)]
    task = f"{OVERLAY}.{number(TASKS[0])}:{TARGET}"
    sandbox.ip(*(f"addr add {OVERLAY}.{n}/32 dev eth0"
                 for n in range(100, 200)))

    def marks(option):
        sandbox.run("iptables-legacy-restore", "--noflush", stdin="\n".join(
            ["*mangle", *(f"-{option} INPUT -d {vip}/32 -p tcp --dport {port} "
                          f"-j MARK --set-mark {mark}"
                          for mark, vip, port in services), "COMMIT", ""]))
    marks("A")
    ipvs.rules(*(line for mark, _vip, _port in services for line in (
        f"-A -f {mark} -s rr", f"-a -f {mark} -r {task} -m -w 1")))
    equal(len(ipvs.saved()), len(before) + 2000, "lines")
    for _mark, vip, port in services[0], services[-1]:
        with Talk(swarm.front, vip, port) as talk:
            equal((talk.server, talk.seen[0]), (TASKS[0], BALANCER))
    marks("D")
    ipvs.rules(*(f"-D -f {mark}" for mark, _vip, _port in services))
    equal(ipvs.saved(), before)


main(Swarm)
