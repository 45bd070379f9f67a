#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 400
"""Many tracked connections, a table that is full, and the module and
namespaces going while nf_conntrack has entries of connections. No entry is
left, and none is lost."""

from contextlib import contextmanager

from lib import memory, module
from lib.chance import number
from lib.ctnetlink import TCP, UDP, Table
from lib.family import FAMILIES, IPV4
from lib.flood import flood
from lib.ipvs import Ipvs
from lib.netns import Netns
from lib.packet import ACK, SYN, tcp, udp
from lib.rules import Rules
from lib.sockets import bound
from lib.tap import TIME_FACTOR, equal, eventually, main, test, test_each
from lib.tracking import KIND, RPORT, Talk, TrackingLab, chain, counting, table
from lib.vs import Settings

VPORT = 80
UNLOADS = number("UNLOADS", 4, c=1)
NAMESPACES = number("NAMESPACES", 20, c=5)
MAX = "/proc/sys/net/netfilter/nf_conntrack_max"


@contextmanager
def limit(entries):
    """While this lasts, each namespace may have so many entries."""
    with open(MAX, "r+", encoding="ascii") as file:
        before = file.read()
        file.seek(0)
        file.write(str(entries))
    try:
        yield
    finally:
        with open(MAX, "w", encoding="ascii") as file:
            file.write(before)


@test_each(FAMILIES, "a thousand connections have a thousand entries; when "
           "all have ended, there is none, flushed meanwhile or not")
def thousand(lab, ip):
    lab.begin()
    lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind="-u")
    objects = memory.in_use("nf_conntrack")
    for flushed in False, True:
        cports = [lab.port() for _ in range(1000)]
        requests = [udp(ip.cip, cport, ip.vip, VPORT) for cport in cports]
        lab.burst(requests)
        equal(len(lab.table.entries(VPORT)), 1000, "entries")
        if flushed:
            lab.table.flush()
            equal(lab.table.count(), 0, "entries after the flush")
            # They come back, from the servers' side and the clients'.
            for at in range(0, 500, 100):
                lab.exchange(lab.server, *(
                    udp(ip.rip, RPORT, ip.cip, cport)
                    for cport in cports[at:at + 100]))
        with lab.short():
            lab.burst(requests)
            lab.ended(*cports, seconds=60)
        equal(lab.table.count(), 0, "entries at the end")
    eventually(lambda: memory.in_use("nf_conntrack") <= objects + 2,
               "the end of entries' memory", 20)


@test_each(FAMILIES, "a full table: new connections get nowhere, and IPVS has "
           "none of them; the others go on; with room, new ones are made")
def full(lab, ip):
    for protocol in TCP, UDP:
        lab.begin()
        lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind=KIND[protocol])
        lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"),
                  kind=KIND[TCP + UDP - protocol])
        # Entries of established connections are not given up for others.
        old = [Talk(lab, ip, VPORT) for _ in range(3)]
        for talk in old:
            talk.open()
        new = Talk(lab, ip, VPORT, protocol)
        with limit(lab.table.count()):
            lab.expect(lab.client, new.request(SYN), {})
            equal(new.connection(), None)
            new.untracked()
            for talk in old:
                talk.ask(payload=b"goes on")
                talk.answer(payload=b"goes on")
                talk.tracked()
        new.seq["client"] = 1000
        new.open()
        new.tracked(seen="assured" if protocol == TCP else "replied")


@test("a full table does not concern what is untracked")
def full_untracked(lab):
    lab.begin()
    lab.nft(table("untracked", chain("prerouting", "raw",
                                     "meta l4proto udp notrack")))
    lab.serve(IPV4, VPORT, (IPV4.rip, RPORT, "-m"), kind="-u")
    old = udp(IPV4.cip, lab.port(), IPV4.rip, 5000)
    lab.exchange(lab.client, tcp(IPV4.cip, lab.port(), IPV4.rip, 5000, ACK))
    with limit(1):
        lab.expect(lab.client, old, {lab.server: old.but(ttl=63)})
        talk = Talk(lab, IPV4, VPORT, UDP)
        talk.open()
        talk.untracked()
        equal(talk.connection().state, "UDP")


@test("the module is unloaded: entries stay; loaded again, connections that "
      "begin anew have theirs")
def unloaded(lab):
    lab.begin()
    lab.serve(IPV4, VPORT, (IPV4.rip, RPORT, "-m"))
    talk = Talk(lab, IPV4, VPORT)
    talk.open()
    lab.ipvs.admin("-C")
    module.unload()
    talk.tracked()
    module.load()
    lab.begin()
    lab.serve(IPV4, VPORT, (IPV4.rip, RPORT, "-m"))
    talk = Talk(lab, IPV4, VPORT)
    talk.open()
    talk.tracked()


def configure(lab):
    """Services of both families, tracked, with MASQUERADE for one family."""
    lab.settings["conntrack"] = 1
    for ip in FAMILIES:
        for kind in KIND.values():
            lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind=kind)
            lab.serve(ip, VPORT + 1, (ip.rip, RPORT, "-g"), kind=kind)


def traffic(lab):
    """Requests and answers of both families and protocols."""
    cports = range(1000, 1100)
    requests = [make(ip.cip, cport, ip.vip, vport)
                for cport in cports for ip in FAMILIES for make in (udp, tcp)
                for vport in (VPORT, VPORT + 1)]
    answers = [make(ip.rip, RPORT, ip.cip, cport)
               for cport in cports for ip in FAMILIES for make in (udp, tcp)]
    return flood((lab.client, requests), (lab.server, answers))


@test("the module is unloaded and loaded again under traffic with entries, "
      "again and again, while entries are flushed")
def unloaded_under_traffic(lab):
    lab.begin()
    configure(lab)
    with traffic(lab):
        for _ in range(UNLOADS):
            eventually(lambda: len(lab.ipvs.connections()) > 100 and
                       lab.table.count() > 100, "connections and entries")
            lab.table.flush()
            lab.ipvs.admin("-C")
            module.unload()
            module.load()
            configure(lab)
    lab.begin()
    lab.serve(IPV4, VPORT, (IPV4.rip, RPORT, "-m"))
    talk = Talk(lab, IPV4, VPORT)
    talk.open()
    talk.tracked()


def local(namespace, ip):
    """A connection of a client in the namespace with a server there."""
    rules = Rules(namespace)
    rules.add(UDP, ip.vip, VPORT)
    rules.add_server(UDP, ip.vip, VPORT, ip.own, rport=RPORT)
    rules.netlink.close()
    with bound(namespace, ip.own, RPORT) as server, \
            bound(namespace, ip.cip, 3000) as client:
        for sock in server, client:
            sock.settimeout(10 * TIME_FACTOR)
        client.sendto(b"question", (ip.vip, VPORT))
        question, sender = server.recvfrom(100)
        server.sendto(b"answer", sender)
        equal((question, client.recvfrom(100)[0]), (b"question", b"answer"))


@test("namespaces that end with tracked connections are gone, with all "
      "entries")
def namespaces_end(lab):
    lab.begin()
    before = max(memory.namespaces() for _ in range(3))
    objects = memory.in_use("nf_conntrack")
    for _ in range(NAMESPACES):
        mortal = Netns("ipvs-mortal")
        mortal.ip("link set lo up", *(
            f"addr add {address} dev lo" for ip in FAMILIES
            for address in (ip.vip, ip.own, ip.cip)))
        mortal.run("nft", "-f", "-", stdin=counting())
        Settings(mortal)["conntrack"] = 1
        for ip in FAMILIES:
            local(mortal, ip)
        entries = Table(mortal)
        equal([(entry.original[2], entry.reply[:2], entry.seen)
               for entry in entries.entries(VPORT)],
              sorted((ip.vip, (ip.own, RPORT), "replied")
                     for ip in FAMILIES))
        entries.close()
        equal(len(Ipvs(mortal).connections()), 2)
        mortal.delete()
    eventually(lambda: memory.namespaces() <= before + 1,
               "the end of namespaces", 30)
    eventually(lambda: memory.in_use("nf_conntrack") <= objects + 2,
               "the end of entries' memory", 20)


if __name__ == "__main__":
    main(TrackingLab)
