#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
# clock: instructions
"""The end of connections that nf_conntrack tracks: their entries end with
them, so that the client's next packet can go to another server. And the other
way round: entries that somebody removes while their connections go on."""

from lib.ctnetlink import TCP, UDP, Entry, Events
from lib.family import FAMILIES, IPV4, end
from lib.packet import ACK, FIN, PSH, SYN, udp
from lib.tap import equal, eventually, main, test_each
from lib.tracking import KIND, RPORT, Talk, TrackingLab, chain, table

VPORT = 80
PROTOCOLS = TCP, UDP


def two(lab, ip, protocol, **settings):
    """A service whose new connections go to the first server, until that is
    taken away; the second one has no weight."""
    lab.begin(**settings)
    lab.ipvs.rules(f"-A {which(ip, protocol)} -s wrr",
                   f"-a {which(ip, protocol)} -r {first(ip)} -m -w 1",
                   f"-a {which(ip, protocol)} -r {end(ip.rip2, RPORT)} -m "
                   "-w 0")


def which(ip, protocol):
    """The service as ipvsadm takes it."""
    return f"{KIND[protocol]} {end(ip.vip, VPORT)}"


def first(ip):
    """The first server, in the same way."""
    return end(ip.rip, RPORT)


def only_second(lab, ip, protocol, remove=True):
    """New connections go to the second server from now on."""
    lab.ipvs.rules(
        f"-d {which(ip, protocol)} -r {first(ip)}" if remove else
        f"-e {which(ip, protocol)} -r {first(ip)} -m -w 0",
        f"-e {which(ip, protocol)} -r {end(ip.rip2, RPORT)} -m -w 1")


def moved(lab, talk):
    """The same client's connection with the second server."""
    return Talk(lab, talk.ip, talk.vport, talk.protocol, cport=talk.cport,
                server=lab.servers[1], rip=talk.ip.rip2)


def opened(lab, ip, protocol):
    """A connection with the first server, with its entry."""
    talk = Talk(lab, ip, VPORT, protocol)
    talk.open()
    talk.tracked(seen="assured" if protocol == TCP else "replied")
    return talk


def ends(lab, talk):
    """The connection's time is over, soon after one more packet."""
    with lab.short():
        lab.exchange(lab.client, talk.request())
        lab.gone(talk)
    talk.untracked()


@test_each(FAMILIES, "a connection whose time is over takes its entry along: "
           "nf_conntrack would keep it far longer")
def time_over(lab, ip):
    for protocol in PROTOCOLS:
        lab.begin()
        lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind=KIND[protocol])
        with Events(lab.director) as watch:
            talk = opened(lab, ip, protocol)
            ends(lab, talk)
            equal([what for what, _ in watch.seen(talk.cport)
                   if what != "changed"], ["new", "destroyed"], "events")


@test_each(FAMILIES, "so it does with direct routing and in a tunnel")
def time_over_without_nat(lab, ip):
    for method in "-g", "-i":
        for protocol in PROTOCOLS:
            lab.begin()
            lab.serve(ip, VPORT, (ip.rip, VPORT, method), kind=KIND[protocol])
            talk = Talk(lab, ip, VPORT, protocol)
            # Of two segments of the client, IPVS takes it as established.
            for flags in SYN, ACK:
                lab.exchange(lab.client, talk.request(flags))
            equal(len(talk.entries()), 1, "entries")
            ends(lab, talk)


@test_each(FAMILIES, "so does one of a service by firewall mark, persistent "
           "or not")
def by_mark(lab, ip):
    for options in "", "-p 300":
        lab.begin(rules=table("marks", chain(
            "prerouting", "mangle",
            f"{ip.table} daddr {ip.vip} th dport 7000-7999 meta mark set 4")))
        lab.ipvs.rules(f"-A -f {ip.mark(4)} -s rr {options}",
                       f"-a -f {ip.mark(4)} -r {end(ip.rip, 0)} -m")
        for protocol in PROTOCOLS:
            talk = Talk(lab, ip, 7001, protocol, rport=7001)
            talk.open()
            talk.tracked(seen="assured" if protocol == TCP else "replied")
            ends(lab, talk)


@test_each(FAMILIES, "a one-packet connection leaves its entry behind")
def one_packet(lab, ip):
    lab.begin()
    lab.ipvs.rules(f"-A -u {end(ip.vip, VPORT)} -s rr -o",
                   f"-a -u {end(ip.vip, VPORT)} -r {first(ip)} -m")
    talk = Talk(lab, ip, VPORT, UDP)
    talk.ask()
    equal(talk.connection(), None)
    talk.tracked(seen="unreplied",
                 reply=(ip.vip, VPORT, ip.cip, talk.cport))


@test_each(FAMILIES, "expire_nodest_conn: the first packet for a server that "
           "is gone is dropped, and ends connection and entry; the next one "
           "goes to another server")
def server_removed(lab, ip):
    for protocol in PROTOCOLS:
        two(lab, ip, protocol)
        talk = opened(lab, ip, protocol)
        only_second(lab, ip, protocol)
        again = moved(lab, talk)
        lab.expect(lab.client, again.request(SYN), {})
        talk.tracked(seen="assured" if protocol == TCP else "replied")
        with lab.settings.but(expire_nodest_conn=1):
            lab.expect(lab.client, again.request(SYN), {})
            lab.gone(talk)
            talk.untracked()
            again.open()
            again.tracked(seen="assured" if protocol == TCP else "replied")


@test_each(FAMILIES, "expire_nodest_conn set before a server or its service "
           "is removed: its connections and their entries end at once")
def removed_at_once(lab, ip):
    for protocol in PROTOCOLS:
        for service in False, True:
            two(lab, ip, protocol)
            # Without any service, IPVS would not look at packets.
            lab.serve(ip, 99, (ip.rip, RPORT, "-m"))
            talks = [opened(lab, ip, protocol) for _ in range(3)]
            with lab.settings.but(expire_nodest_conn=1):
                lab.ipvs.rules(f"-D {which(ip, protocol)}" if service else
                               f"-d {which(ip, protocol)} -r {first(ip)}")
                for talk in talks:
                    lab.gone(talk)
                    talk.untracked()


@test_each(FAMILIES, "the same without an entry: the first packet goes to the "
           "other server, whose entry outlives the old connection")
def server_removed_entry_too(lab, ip):
    for protocol in PROTOCOLS:
        two(lab, ip, protocol)
        talk = opened(lab, ip, protocol)
        only_second(lab, ip, protocol)
        lab.table.flush()
        again = moved(lab, talk)
        with lab.settings.but(expire_nodest_conn=1):
            again.open()
        lab.only(again)
        again.tracked(seen="assured" if protocol == TCP else "replied")


@test_each(FAMILIES, "expire_nodest_conn, a server without weight: a SYN of "
           "the same client port is dropped and ends connection and entry; "
           "the next one is balanced")
def no_weight(lab, ip):
    two(lab, ip, TCP)
    talk = opened(lab, ip, TCP)
    only_second(lab, ip, TCP, remove=False)
    with lab.settings.but(expire_nodest_conn=1):
        talk.ask(payload=b"goes on")
        again = moved(lab, talk)
        lab.expect(lab.client, again.request(SYN), {})
        lab.gone(talk)
        talk.untracked()
        again.seq["client"] = 1000
        again.open()
        again.tracked()


@test_each(FAMILIES, "a service that is removed: its connections and entries "
           "stay, and end with the next packet if expire_nodest_conn is set")
def service_removed(lab, ip):
    for protocol in PROTOCOLS:
        two(lab, ip, protocol)
        talk = opened(lab, ip, protocol)
        seen = "assured" if protocol == TCP else "replied"
        # Without any service, IPVS would not look at packets.
        lab.serve(ip, 99, (ip.rip, RPORT, "-m"))
        lab.ipvs.rules(f"-D {which(ip, protocol)}")
        talk.tracked(seen=seen)
        lab.expect(lab.client, talk.request(payload=b"more"), {})
        talk.tracked(seen=seen)
        with lab.settings.but(expire_nodest_conn=1):
            lab.expect(lab.client, talk.request(payload=b"more"), {})
            lab.gone(talk)
            talk.untracked()


def closed(lab, talk):
    """Have IPVS take the connection for closed, but not nf_conntrack: a
    segment without flags is nothing to it."""
    lab.exchange(lab.client, talk.request(PSH))
    equal(talk.connection().state, "CLOSE")
    talk.tracked()


@test_each(FAMILIES, "conn_reuse_mode: where nf_conntrack knows of no end, "
           "the first SYN is dropped and ends connection and entry; the next "
           "one is balanced")
def reuse_confirmed(lab, ip):
    two(lab, ip, TCP)
    talk = opened(lab, ip, TCP)
    closed(lab, talk)
    only_second(lab, ip, TCP, remove=False)
    again = moved(lab, talk)
    lab.expect(lab.client, again.request(SYN), {})
    lab.gone(talk)
    talk.untracked()
    again.seq["client"] = 1000
    again.open()
    again.tracked()


@test_each(FAMILIES, "conn_reuse_mode: where nf_conntrack has seen the end or "
           "has no entry, the first SYN is balanced, and its entry outlives "
           "the old connection")
def reuse_unconfirmed(lab, ip):
    for flushed in False, True:
        two(lab, ip, TCP)
        talk = opened(lab, ip, TCP)
        if flushed:
            closed(lab, talk)
            lab.table.flush()
        else:
            for step in ((talk.ask, FIN | ACK), (talk.answer, FIN | ACK),
                         (talk.ask, ACK)):
                step[0](step[1])
            talk.tracked(state="TIME_WAIT")
        only_second(lab, ip, TCP, remove=False)
        again = moved(lab, talk)
        again.seq["client"] = 900000
        again.open()
        lab.only(again)
        again.tracked()


@test_each(FAMILIES, "conn_reuse_mode 0: a SYN goes to the old server, and "
           "the entry stays")
def no_reuse(lab, ip):
    two(lab, ip, TCP)
    talk = opened(lab, ip, TCP)
    closed(lab, talk)
    only_second(lab, ip, TCP, remove=False)
    with lab.settings.but(conn_reuse_mode=0):
        talk.ask(SYN)
    talk.tracked()


def removed(lab, talk, how):
    """Have somebody remove the entry of a connection, or all."""
    protocol = "tcp" if talk.protocol == TCP else "udp"
    lab.director.run("conntrack", *(
        ["-F"] if how == "-F" else
        ["-D", "-f", "ipv4" if talk.ip is IPV4 else "ipv6", "-p", protocol,
         "--orig-port-src", str(talk.cport)]))
    talk.untracked()


@test_each(FAMILIES, "an entry that is deleted, or flushed, in the middle of "
           "traffic: the client's next packet makes it again, as it was")
def deleted_client_first(lab, ip):
    for protocol in PROTOCOLS:
        lab.begin()
        lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind=KIND[protocol])
        for how in "-D", "-F":
            talk = opened(lab, ip, protocol)
            removed(lab, talk, how)
            talk.ask(payload=b"more")
            talk.tracked(seen="unreplied")
            talk.answer(payload=b"more")
            talk.tracked(seen="replied")
            talk.ask(payload=b"more")
            talk.tracked(seen="assured" if protocol == TCP else "replied")


@test_each(FAMILIES, "the same with the server's packet first: the entry is "
           "the other way round, and ends with the connection, too")
def deleted_server_first(lab, ip):
    for protocol in PROTOCOLS:
        lab.begin()
        lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind=KIND[protocol])
        for how in "-D", "-F":
            talk = opened(lab, ip, protocol)
            turned = {"original": (ip.rip, RPORT, ip.cip, talk.cport),
                      "reply": (ip.cip, talk.cport, ip.vip, VPORT)}
            removed(lab, talk, how)
            talk.answer(payload=b"more")
            talk.tracked(seen="unreplied", **turned)
            talk.ask(payload=b"more")
            talk.tracked(seen="replied", **turned)
            talk.answer(payload=b"more")
            ends(lab, talk)


@test_each(FAMILIES, "MASQUERADE and a flush: the server's next packet is "
           "nobody's, the client's makes all of it again")
def flushed_masquerade(lab, ip):
    lab.begin(rules=table("nat", chain(
        "postrouting", "srcnat", f"{ip.table} daddr {ip.rip} masquerade",
        kind="nat")))
    lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind="-u")
    cport = lab.port()
    talk = Talk(lab, ip, VPORT, UDP, cport=cport, seen_as=(ip.source, cport))
    talk.open()
    lab.table.flush()
    seen = lab.exchange(lab.server, talk.reply())
    equal(seen[lab.client], [], "packets at the client")
    lab.table.flush()
    talk.open()
    talk.tracked(seen="replied", nat="src")


@test_each(FAMILIES, "persistence: the end of a template takes no entry "
           "along, that of a port 0 neither")
def persistent(lab, ip):
    lab.begin()
    # Long enough for its connection to end before it: else it stays for a minute more.
    lab.ipvs.rules(f"-A {which(ip, UDP)} -s rr -p 10",
                   f"-a {which(ip, UDP)} -r {first(ip)} -m")
    beside = udp(ip.cip, 0, ip.rip, VPORT)
    lab.exchange(lab.client, beside)
    talk = opened(lab, ip, UDP)
    ends(lab, talk)
    eventually(lambda: not [each for each in lab.ipvs.connections()
                            if (each.cport, each.vport) == (0, VPORT)],
               "the end of the template", 30)
    equal(lab.table.entries(VPORT), [Entry(
        UDP, (ip.cip, 0, ip.rip, VPORT), (ip.rip, VPORT, ip.cip, 0))])


@test_each(FAMILIES, "a weight of 0, and removal of all services, do nothing "
           "to entries")
def cleared(lab, ip):
    lab.begin()
    lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"))
    talk = opened(lab, ip, TCP)
    lab.ipvs.rules(f"-e {which(ip, TCP)} -r {first(ip)} -m -w 0")
    talk.ask(payload=b"goes on")
    lab.ipvs.admin("-C")
    talk.tracked()
    equal(talk.connection().state, "ESTABLISHED")


if __name__ == "__main__":
    main(lambda: TrackingLab(servers=2))
