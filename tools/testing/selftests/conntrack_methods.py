#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""Entries of nf_conntrack for connections that are not translated (direct
routing, tunnel, bypass, one-packet scheduling), that stay on the director, or
begin there or at a server: what is altered, and in which state packets are."""

from lib import genl
from lib.ctnetlink import UDP, Entry
from lib.family import FAMILIES, IPV4, end
from lib.packet import IPPROTO_IPIP, IPPROTO_IPV6, udp
from lib.rules import Rules
from lib.sockets import heard
from lib.tap import equal, main, test_each
from lib.tracking import TrackingLab, chain, forwarded, passed, table


def plain(ip, cport, vport):
    """An entry that nothing altered."""
    return Entry(UDP, (ip.cip, cport, ip.vip, vport),
                 (ip.vip, vport, ip.cip, cport))


@test_each(FAMILIES, "on: a client on the director has an entry, which NAT "
           "alters and direct routing does not")
def local_client(lab, ip):
    lab.begin()
    for vport, method in (91, "-m"), (92, "-g"):
        lab.serve(ip, vport, (ip.rip, vport, method), kind="-u")
        with lab.listener(ip.own, 4000 + vport) as sock:
            sock.sendto(b"question", (ip.vip, vport))
            request = udp(ip.own, 4000 + vport, ip.vip, vport, b"question",
                          **ip.said)
            lab.compare(lab.settle(), {lab.server: request.but(
                ttl=63, **{"dst": ip.rip} if method == "-m" else {})})
            want = Entry(UDP, (ip.own, 4000 + vport, ip.vip, vport),
                         (ip.vip, vport, ip.own, 4000 + vport))
            if method == "-m":
                want = want._replace(
                    reply=(ip.rip, vport, ip.own, 4000 + vport))
            equal(lab.table.entries(vport), [want])
            if method == "-m":
                lab.expect(lab.server, udp(ip.rip, vport, ip.own,
                                           4000 + vport, b"answer"), {})
                equal(heard(sock)[:2], (b"answer", (ip.vip, vport)))
                equal(lab.table.entries(vport),
                      [want._replace(seen="replied")])


@test_each(FAMILIES, "on: direct routing leaves the entry as it is, "
           "confirmed and without reply")
def direct(lab, ip):
    lab.begin()
    lab.serve(ip, 82, (ip.rip, 82, "-g"), kind="-u")
    request = udp(ip.cip, lab.port(), ip.vip, 82)
    lab.states()
    for _ in range(2):
        lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
        equal(lab.states(), passed("new new new new"))
        equal(lab.table.entries(request.l4.sport),
              [plain(ip, request.l4.sport, 82)])


@test_each(FAMILIES, "off: direct routing makes the packet untracked")
def direct_off(lab, ip):
    lab.begin(on=0)
    lab.serve(ip, 82, (ip.rip, 82, "-g"), kind="-u")
    request = udp(ip.cip, lab.port(), ip.vip, 82)
    lab.states()
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    equal(lab.states(), passed("new new untracked untracked"))
    equal(lab.table.count(), 0)


@test_each(FAMILIES, "a tunnel's packets are tracked by themselves; on: the "
           "entry of what is inside is confirmed, and left as it is")
def tunnel(lab, ip):
    outer = Entry(IPPROTO_IPIP if ip is IPV4 else IPPROTO_IPV6,
                  (ip.source, None, ip.rip, None),
                  (ip.rip, None, ip.source, None))
    for on_ in 0, 1:
        lab.begin(on=on_)
        lab.serve(ip, 83, (ip.rip, 83, "-i"), kind="-u")
        request = udp(ip.cip, lab.port(), ip.vip, 83)
        lab.states()
        lab.expect(lab.client, request, {lab.server: ip.encapsulated(
            request.but(ttl=63))})
        equal(lab.states(), passed("new new new new"), f"conntrack={on_}")
        equal([entry for entry in lab.table.entries()
               if entry.protocol != UDP], [outer], "around")
        equal(lab.table.entries(request.l4.sport),
              [plain(ip, request.l4.sport, 83)] * on_, "inside")


@test_each(FAMILIES, "on: a server that is the director: NAT alters the "
           "entry, other methods do not")
def local(lab, ip):
    lab.begin()
    with Rules(lab.director) as rules:
        for vport, method in ((84, genl.MASQ), (85, genl.DROUTE),
                              (86, genl.TUNNEL), (87, genl.LOCALNODE)):
            rules.add(UDP, ip.vip, vport, ip.own, method=method)
            request = udp(ip.cip, lab.port(), ip.vip, vport)
            cport = request.l4.sport
            with lab.listener(ip.own if method == genl.MASQ else ip.vip,
                              vport):
                lab.states()
                lab.expect(lab.client, request, {})
            equal(lab.states(), sorted(["1 input new", "1 prerouting new"]),
                  f"method {method}")
            want = plain(ip, cport, vport)
            if method == genl.MASQ:
                want = want._replace(reply=(ip.own, vport, ip.cip, cport))
            equal(lab.table.entries(cport), [want], f"method {method}")


@test_each(FAMILIES, "on: what bypasses the servers keeps its entry")
def bypass(lab, ip):
    lab.begin(rules=table("marks", chain(
        "prerouting", "mangle",
        f"{ip.table} daddr {ip.beyond} meta mark set 9")))
    for command in (f"route add {ip.beyond} via {ip.rip}",
                    "rule add fwmark 9 iif client lookup 90",
                    f"route add local {ip.beyond} dev lo table 90"):
        lab.director.run("ip", ip.option, *command.split())
    lab.ipvs.service(ip.mark(9), kind="-f")
    request = udp(ip.cip, lab.port(), ip.beyond, 88)
    cport = request.l4.sport
    with lab.settings.but(cache_bypass=1):
        lab.states()
        for _ in range(2):
            lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    equal(lab.states(), sorted(f"2 {hook} new" for hook in (
        "prerouting", "input", "output", "postrouting")))
    equal(lab.table.entries(cport), [Entry(
        UDP, (ip.cip, cport, ip.beyond, 88), (ip.beyond, 88, ip.cip, cport))])


@test_each(FAMILIES, "on: one-packet scheduling leaves the entry as it is, "
           "with no reply to come from the server")
def one_packet(lab, ip):
    lab.begin()
    lab.ipvs.rules(f"-A -u {end(ip.vip, 89)} -s rr -o",
                   f"-a -u {end(ip.vip, 89)} -r {end(ip.rip, 89)} -m")
    request = udp(ip.cip, lab.port(), ip.vip, 89)
    for _ in range(2):
        lab.expect(lab.client, request,
                   {lab.server: request.but(dst=ip.rip, ttl=63)})
        equal(lab.table.entries(request.l4.sport),
              [plain(ip, request.l4.sport, 89)])


@test_each(FAMILIES, "on: a connection that a server starts has an entry "
           "whose replies go to the virtual address, and ends with it")
def started_by_server(lab, ip):
    lab.begin()
    lab.ipvs.rules(f"-A -u {end(ip.vip, 5060)} -s rr -p 300 --pe sip",
                   f"-a -u {end(ip.vip, 5060)} -r {end(ip.rip, 5070)} -m")
    cport = lab.port()
    invite = (b"INVITE sip:b@example.com SIP/2.0\r\nCall-ID: 1@a\r\n"
              b"CSeq: 1 INVITE\r\n\r\n")
    started = udp(ip.rip, 5070, ip.cip, cport, invite)
    told = started.but(src=ip.vip, sport=5060, ttl=63)
    lab.states()
    lab.expect(lab.server, started, {lab.client: told})
    equal(lab.states(), forwarded("new new new"), "of the server")
    entry = Entry(UDP, (ip.rip, 5070, ip.cip, cport),
                  (ip.cip, cport, ip.vip, 5060))
    equal(lab.table.entries(cport), [entry])
    answer = told.back(payload=b"SIP/2.0 200 OK\r\nCall-ID: 1@a\r\n\r\n",
                       ttl=64)
    lab.expect(lab.client, answer,
               {lab.server: answer.but(dst=ip.rip, dport=5070, ttl=63)})
    equal(lab.states(), passed("established established established "
                               "established"), "of the client")
    equal(lab.table.entries(cport), [entry._replace(seen="replied")])
    with lab.short():
        lab.exchange(lab.client, answer)
        lab.ended(cport)
    equal(lab.table.entries(cport), [])


if __name__ == "__main__":
    main(TrackingLab)
