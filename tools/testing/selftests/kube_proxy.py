#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""A node with kube-proxy in its IPVS mode: its start, and traffic of clients
outside, of pods and of the node itself to services, with the sets, chains,
rules, settings and services that it makes (kube/).

Compared: which pod answers, from which address the pod sees the client, the
tuples of the node's conntrack entries, and the counters of ipvsadm.
"""

import errno
import socket
from contextlib import ExitStack

from kube.cluster import (AFFINITY, COUNTED, DNS, FAMILIES, LONELY, NAMES,
                          NODE_PORT, OTHER_NAMES, OTHERS, PODS, PORT, PUBLIC,
                          STICKY, SYSCTLS, WEB, Cluster, Service)
from lib import module
from lib.ipvs import Ipvs
from lib.netns import Netns
from lib.stacks import Talk, entries
from lib.tap import equal, eventually, main, test, test_each
from lib.vs import Settings


def check(cluster, talk, ip, to, target, source=None):
    """A conversation with a service at this end: its entry goes from the
    client there, and the pod's reply to whom the pod sees, which is `source`
    or, if none is given, an address of the node."""
    source = source or ip.masqueraded(talk.server)
    equal(talk.seen[0], source, f"client as {talk.server} sees it")
    found = cluster.entry(talk)
    equal((found.original, found.reply),
          ((*talk.own, *to), (ip.pod(talk.server), target, *talk.seen)),
          "tuples")
    talk.say(b"x" * (1000 if talk.udp else 3000))
    equal("ESTABLISHED" in found.text or talk.udp, True, found.text)


def each_pod(cluster, origin, ip, service, at=None, source=None):
    """As many conversations as there are pods: each answers once. `source`
    is the client as pods see it, or None if it is masqueraded."""
    to = at or (service.address(ip), service.port)
    with ExitStack() as stack:
        talks = [stack.enter_context(Talk(origin, *to, udp=service.udp))
                 for _pod in service.pods]
        equal(sorted(talk.server for talk in talks), sorted(service.pods),
              "pods")
        for talk in talks:
            check(cluster, talk, ip, to, service.target, source)


def listed(cluster, ip, service):
    """Weight, ActiveConn and InActConn of each pod, as `ipvsadm -Ln` has
    them."""
    kind = "-u" if service.udp else "-t"
    end = ip.end(service.address(ip), service.port)
    ends = {ip.end(ip.pod(pod), service.target): pod for pod in PODS}
    found = {}
    for line in cluster.node.ipvs.admin("-Ln", kind, end).splitlines():
        part = line.split()
        if part[0] == "->" and part[1] in ends:
            found[ends[part[1]]] = tuple(map(int, part[3:]))
    return found


def change(cluster, command, ip, service, pod, *options):
    """Add, edit or remove a pod of a service."""
    cluster.node.ipvs.admin(
        command, "-u" if service.udp else "-t",
        ip.end(service.address(ip), service.port), "-r",
        ip.end(ip.pod(pod), service.target), *options)


def dropped(cluster, ip, chain):
    """How many packets a chain has dropped."""
    lines = cluster.node.run(ip.tool, "-nvxL", chain).splitlines()
    return sum(int(line.split()[0]) for line in lines if " DROP " in line)


def refused(cluster, ip, origin, end, chain):
    """A connection from there is not made, as this chain drops its packets."""
    with origin:
        sock = socket.socket(socket.AF_INET6 if ip.ipv6 else socket.AF_INET)
    with sock:
        sock.setblocking(False)
        sock.connect_ex(end)
        eventually(lambda: dropped(cluster, ip, chain),
                   f"packets dropped in {chain}")
        equal(sock.connect_ex(end), errno.EALREADY)


@test("it finds out that IPVS works, by a service that it adds, lists and "
      "removes; nf_conntrack is loaded; it can set what it has to set")
def start(_cluster):
    with open("/proc/modules", encoding="ascii") as lines:
        modules = {line.split()[0] for line in lines}
    assert {"ip_vs", "nf_conntrack"} <= modules, modules
    namespace = Netns("ipvs-start")
    try:
        ipvs, service = Ipvs(namespace), "-A -t 198.51.100.0:20000 -s rr"
        ipvs.rules(service)
        equal(ipvs.saved(), [service])
        ipvs.admin("-D", "-t", "198.51.100.0:20000")
        equal(ipvs.saved(), [])
        settings = Settings(namespace)
        equal(settings["conntrack"], 0, "conntrack")
        for path, value in SYSCTLS.items():
            namespace.sysctl(path, value)
        equal([settings[path.rsplit("/", maxsplit=1)[1]] for path in SYSCTLS
               if path.startswith("ipv4/vs")], [1, 1, 1])
    finally:
        namespace.delete()


@test_each(FAMILIES, "a client outside reaches each pod by the cluster IP; "
           "pods see the node")
def outside(cluster, ip):
    each_pod(cluster, cluster.client, ip, WEB)
    each_pod(cluster, cluster.client, ip, NAMES)
    with cluster.talk(cluster.client, ip, NAMES) as talk:
        talk.say(b"in fragments" * 250)


@test_each(FAMILIES, "a pod reaches each other pod by the cluster IP; they "
           "see the pod")
def from_pod(cluster, ip):
    for service in OTHERS, OTHER_NAMES:
        each_pod(cluster, cluster.hosts["pod1"], ip, service,
                 source=ip.pod("pod1"))


@test_each(FAMILIES, "a pod reaches itself by the cluster IP, and sees the "
           "node")
def hairpin(cluster, ip):
    each_pod(cluster, cluster.hosts["pod1"], ip, LONELY)


@test_each(FAMILIES, "the node reaches each pod by the cluster IP; pods see "
           "an address of the node that is no service's")
def from_node(cluster, ip):
    each_pod(cluster, cluster.node, ip, WEB)
    each_pod(cluster, cluster.node, ip, NAMES)


@test_each(FAMILIES, "a client, a pod and the node reach each pod by the node "
           "port; pods see the node")
def node_port(cluster, ip):
    for origin in cluster.client, cluster.hosts["pod1"], cluster.node:
        for address in ip.node, ip.gateway:
            each_pod(cluster, origin, ip, WEB, (address, NODE_PORT))


@test_each(FAMILIES, "with session affinity, a client stays with its pod for "
           "three hours, and moves when the pod goes")
def affinity(cluster, ip):
    node = cluster.node
    assert f"persistent {AFFINITY}" in node.ipvs.admin("-Ln"), "ipvsadm -Ln"
    servers = {}
    for origin in cluster.client, cluster.hosts["pod2"]:
        talks = [cluster.talk(origin, ip, STICKY) for _time in range(4)]
        names = {talk.server for talk in talks}
        equal(len(names), 1, "pods of a client")
        for talk in talks:
            talk.close()
        servers[origin] = names.pop()
    left = {each.caddr: each.expires for each in node.ipvs.connections()
            if each.cport == 0 and each.vaddr == STICKY.address(ip)}
    equal(set(left), {ip.client, ip.pod("pod2")}, "templates")
    for seconds in left.values():
        assert AFFINITY - 600 < seconds <= AFFINITY, left
    gone = servers[cluster.client]
    change(cluster, "-e", ip, STICKY, gone, "-m", "-w", "0")
    with cluster.talk(cluster.client, ip, STICKY) as talk:
        assert talk.server != gone, f"{gone} has weight 0"
    change(cluster, "-e", ip, STICKY, gone, "-m", "-w", "1")


@test_each(FAMILIES, "a pod that is going keeps its connections and gets no "
           "new ones, until it has none; then it can come back")
def graceful(cluster, ip):
    with cluster.talk(cluster.client, ip, WEB) as talk:
        pod = talk.server
        change(cluster, "-e", ip, WEB, pod, "-m", "-w", "0")
        others = [cluster.talk(cluster.client, ip, WEB) for _time in range(4)]
        equal({other.server for other in others}, set(PODS) - {pod}, "pods")
        talk.say(b"still here")
        eventually(lambda: listed(cluster, ip, WEB)[pod][:2] == (0, 1),
                   "weight 0 and one active connection")
        cluster.sync_rules()
        talk.say(b"and after another run")
        for other in others:
            other.close()
    eventually(lambda: listed(cluster, ip, WEB)[pod][1] == 0, "ActiveConn 0")
    change(cluster, "-d", ip, WEB, pod)
    equal(set(listed(cluster, ip, WEB)), set(PODS) - {pod}, "pods")
    change(cluster, "-a", ip, WEB, pod, "-m", "-w", "1")
    each_pod(cluster, cluster.client, ip, WEB)


@test_each(FAMILIES, "a client of UDP whose pod is removed gets another one, "
           "by the same socket")
def removed(cluster, ip):
    with cluster.talk(cluster.client, ip, NAMES) as talk:
        pod = talk.server
        change(cluster, "-d", ip, NAMES, pod)
        cluster.node.run(
            "conntrack", "-D", "-f", ip.option, "-p", "udp", "--orig-dst",
            NAMES.address(ip), "--reply-src", ip.pod(pod), check=False)
        eventually(lambda: talk.say(patience=1) not in (None, pod),
                   "another pod answers")
        check(cluster, talk, ip, (NAMES.address(ip), NAMES.port), DNS)
    change(cluster, "-a", ip, NAMES, pod, "-m", "-w", "1")


@test_each(FAMILIES, "a port of a cluster IP that is none of the service's is "
           "closed, though one of the node's own")
def filtered(cluster, ip):
    with Talk(cluster.client, ip.node, PORT) as talk:
        equal(talk.server, "node")
    try:
        Talk(cluster.client, WEB.address(ip), PORT).close()
    except ConnectionRefusedError:
        return
    raise AssertionError("connected")


@test_each(FAMILIES, "ipvsadm counts connections, packets and bytes of each "
           "pod")
def counters(cluster, ip):
    header = 48 if ip.ipv6 else 28
    name = f"UDP {ip.end(COUNTED.address(ip), COUNTED.port)}"
    want = {}
    for _pod in PODS:
        with cluster.talk(cluster.client, ip, COUNTED) as talk:
            talk.say()
            told = f"{talk.server} {talk.seen[0]} {talk.seen[1]}\n"
            end = ip.end(ip.pod(talk.server), DNS)
            want[f"{name} {end}"] = (1, 2, 2, 2 * (header + 4),
                                     2 * (header + len(told) + 4))
    want[name] = tuple(map(sum, zip(*want.values())))

    def counted():
        shown = cluster.node.ipvs.statistics()
        return {each: shown[each] for each in want}
    # C's are up to two seconds old.
    eventually(lambda: counted()[name] == want[name], "all are counted")
    equal(counted(), want)


@test("a load balancer's address is for clients in its source range, not for "
      "pods and not for the node")
def balancer(cluster):
    module.load_match()
    with cluster.also(PUBLIC):
        for ip in FAMILIES:
            end = f"{ip.virtual}{PUBLIC.balancer}", PUBLIC.port
            each_pod(cluster, cluster.client, ip, PUBLIC, end)
            refused(cluster, ip, cluster.hosts["pod1"], end,
                    "KUBE-SOURCE-RANGES-FIREWALL")
            refused(cluster, ip, cluster.node, end, "KUBE-IPVS-OUT-FILTER")


@test("of a thousand services, the first, one in the middle and the last one "
      "of each family answer; all go as they came")
def many(cluster):
    before = cluster.node.ipvs.saved()
    services = [Service(256 + number, 80, pods=(PODS[number % 3],))
                for number in range(500)]
    with cluster.also(*services):
        equal(len(cluster.node.ipvs.saved()), len(before) + 2000, "lines")
        for ip in FAMILIES:
            for number in 0, 250, 499:
                each_pod(cluster, cluster.client, ip, services[number])
    equal(cluster.node.ipvs.saved(), before)


@test("no entry of the node is without a reply")
def tracked(cluster):
    equal([each.text for each in entries(cluster.node)
           if "UNREPLIED" in each.text], [])


main(Cluster)
