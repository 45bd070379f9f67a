#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 180
"""A service on FTP's port with a server by NAT has nf_conntrack track the
packets of its family in the namespace, without any rule that asks for it: the
application needs that. Shown by packets that are forwarded beside IPVS."""

from lib import genl, memory, sockopt
from lib.ctnetlink import Table
from lib.family import FAMILIES, IPV4, IPV6, end
from lib.netns import Netns
from lib.packet import udp
from lib.rules import Rules, server, service
from lib.tap import equal, eventually, main, test, test_each
from lib.tracking import TrackingLab, chain, table

FTP = 21


def tracking(lab):
    """The families whose packets are tracked."""
    found = []
    for ip in FAMILIES:
        passing = udp(ip.cip, lab.port(), ip.rip, 5000)
        lab.expect(lab.client, passing, {lab.server: passing.but(ttl=63)})
        if lab.table.entries(passing.l4.sport):
            found.append(ip.name)
    return " ".join(found)


@test_each(FAMILIES, "it begins with the first server by NAT, and ends with "
           "the service")
def begins_and_ends(lab, ip):
    for kind in "-t", "-u":
        lab.begin(counted=False)
        equal(tracking(lab), "", "before")
        which = f"{kind} {end(ip.vip, FTP)}"
        lab.ipvs.rules(f"-A {which} -s rr")
        equal(tracking(lab), "", "without servers")
        lab.ipvs.rules(f"-a {which} -r {end(ip.rip, FTP)} -g")
        equal(tracking(lab), "", "direct routing")
        lab.ipvs.rules(f"-a {which} -r {end(ip.rip2, FTP)} -m")
        equal(tracking(lab), ip.name, "NAT")
        lab.ipvs.rules(f"-d {which} -r {end(ip.rip2, FTP)}")
        equal(tracking(lab), ip.name, "after the server")
        lab.ipvs.rules(f"-D {which}")
        equal(tracking(lab), "", "after the service")


@test_each(FAMILIES, "an edit of a server to NAT begins it, an edit back does "
           "not end it, and another one does not count twice")
def edits(lab, ip):
    lab.begin(counted=False)
    which, server = f"-t {end(ip.vip, FTP)}", end(ip.rip, FTP)
    lab.ipvs.rules(f"-A {which} -s rr", f"-a {which} -r {server} -g")
    equal(tracking(lab), "", "direct routing")
    for method in "-m", "-i", "-m", "-g", "-m", "-g":
        lab.ipvs.rules(f"-e {which} -r {server} {method}")
        equal(tracking(lab), ip.name, method)
    lab.ipvs.rules(f"-E {which} -s wlc")
    equal(tracking(lab), ip.name, "after an edit of the service")
    lab.ipvs.rules(f"-D {which}")
    equal(tracking(lab), "", "after the service")


@test("each service holds it by itself, for its family; to clear all ends it")
def several(lab):
    lab.begin(counted=False)

    def which(ip, kind):
        return f"{kind} {end(ip.vip, FTP)}"
    for ip, kind, want in ((IPV4, "-t", "IPv4"), (IPV4, "-u", "IPv4"),
                           (IPV6, "-t", "IPv4 IPv6"),
                           (IPV6, "-u", "IPv4 IPv6")):
        lab.ipvs.rules(f"-A {which(ip, kind)} -s rr",
                       f"-a {which(ip, kind)} -r {end(ip.rip, FTP)} -m")
        equal(tracking(lab), want)
    lab.ipvs.rules(f"-D {which(IPV4, '-t')}")
    equal(tracking(lab), "IPv4 IPv6")
    lab.ipvs.rules(f"-D {which(IPV4, '-u')}")
    equal(tracking(lab), "IPv6")
    lab.ipvs.rules(f"-A {which(IPV4, '-u')} -s rr",
                   f"-a {which(IPV4, '-u')} -r {end(IPV4.rip, FTP)} -m")
    equal(tracking(lab), "IPv4 IPv6")
    lab.ipvs.admin("-C")
    equal(tracking(lab), "", "after all")


@test("other ports do not begin it, nor does a server's port, nor a service "
      "by firewall mark")
def others(lab):
    lab.begin(counted=False)
    for ip in FAMILIES:
        lab.ipvs.rules(f"-A -t {end(ip.vip, 80)} -s rr",
                       f"-a -t {end(ip.vip, 80)} -r {end(ip.rip, FTP)} -m",
                       f"-A -t {end(ip.vip, 0)} -s rr -p 300",
                       f"-a -t {end(ip.vip, 0)} -r {end(ip.rip, 0)} -m",
                       f"-A -f {ip.mark(21)} -s rr",
                       f"-a -f {ip.mark(21)} -r {end(ip.rip, FTP)} -m")
    equal(tracking(lab), "")


@test("a service by firewall mark with that port, which socket options can "
      "give it, does")
def marked(lab):
    lab.begin(counted=False)
    link = sockopt.Sockopts(lab.director)
    which = sockopt.service(FTP, mark=21)
    equal(link.set(sockopt.ADD, which), "", "errno")
    equal(link.set(sockopt.ADDDEST, which + sockopt.server(IPV4.rip, FTP)),
          "", "errno")
    link.close()
    equal(tracking(lab), "IPv4")
    lab.ipvs.admin("-C")
    equal(tracking(lab), "", "after all")


@test("a server that is refused does not begin it")
def refused(lab):
    lab.begin(counted=False)
    lab.ipvs.rules(f"-A -t {IPV4.vip}:{FTP} -s rr",
                   f"-a -t {IPV4.vip}:{FTP} -r {IPV4.rip}:{FTP} -g")
    netlink = genl.Genl(lab.director)
    which = service(6, IPV4.vip, FTP)
    for row, error in (
            (server(IPV4.rip, FTP, upper=1, lower=2), "ERANGE"),
            (server(IPV4.rip, FTP, weight=-1), "ERANGE"),
            (server(IPV4.rip, FTP), "EEXIST")):
        equal(netlink.request(genl.NEW_DEST, which, row).error, error)
    netlink.close()
    equal(tracking(lab), "")


@test("with rules that ask for it too, it lasts as long as either")
def with_rules(lab):
    lab.begin(counted=False)
    lab.ipvs.rules(f"-A -t {IPV4.vip}:{FTP} -s rr",
                   f"-a -t {IPV4.vip}:{FTP} -r {IPV4.rip}:{FTP} -m")
    lab.nft(table("asks", chain("input", 0, "ct state new"), family="ip"))
    equal(tracking(lab), "IPv4")
    lab.ipvs.admin("-C")
    equal(tracking(lab), "IPv4")
    lab.nft("flush ruleset")
    equal(tracking(lab), "")


@test("a namespace that ends with such services is gone, and other "
      "namespaces have nothing of it")
def namespace_ends(lab):
    lab.begin(counted=False)
    before = max(memory.namespaces() for _ in range(3))
    for _ in range(3):
        mortal = Netns("ipvs-mortal")
        mortal.ip("link set lo up")
        with Rules(mortal) as rules:
            for ip in FAMILIES:
                rules.add(6, ip.vip, FTP)
                rules.add_server(6, ip.vip, FTP, ip.rip)
        entries = Table(mortal)
        with mortal:
            mortal.run("ping", "-c", "1", "127.0.0.1")
        equal([entry.protocol for entry in entries.entries()], [1])
        entries.close()
        mortal.delete()
        equal(tracking(lab), "")
    eventually(lambda: memory.namespaces() <= before, "the end of namespaces",
               30)


if __name__ == "__main__":
    main(TrackingLab)
