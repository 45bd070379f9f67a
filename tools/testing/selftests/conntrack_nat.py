#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""Full NAT: IPVS changes the destination, MASQUERADE or SNAT in POSTROUTING
the source, so that servers answer to the director whatever their routes are.

It requires the setting `conntrack`: nf_nat changes what is tracked only. The
client sees the virtual address, the server the director's.
"""

from lib.ctnetlink import TCP, UDP
from lib.family import FAMILIES, IPV4
from lib.packet import ACK, FIN, SYN, tcp, udp
from lib.tap import equal, main, test_each
from lib.tracking import (KIND, RPORT, Talk, TrackingLab, chain, table)

VPORT = 80
PROTOCOLS = TCP, UDP
# What nf_nat has done.
DONE = {"nat": "src"}


def nat_rules(*rules):
    """Rules of nf_nat in POSTROUTING."""
    return table("nat", chain("postrouting", "srcnat", *rules, kind="nat"))


def masquerade(lab, ip, protocol, on=1, rule=None):
    """A service, and the rule that hides its clients from the server."""
    lab.begin(on=on, rules=nat_rules(
        rule or f"{ip.table} daddr {ip.rip} masquerade"))
    lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"), kind=KIND[protocol])


def hidden(lab, ip, protocol, **more):
    """A connection whose server sees the director as its client."""
    cport = lab.port()
    return Talk(lab, ip, VPORT, protocol, cport=cport,
                seen_as=(ip.source, cport), **more)


@test_each(FAMILIES, "MASQUERADE: the server sees the director's address, the "
           "client the virtual one, in a whole connection")
def masqueraded(lab, ip):
    for protocol in PROTOCOLS:
        masquerade(lab, ip, protocol)
        talk = hidden(lab, ip, protocol)
        talk.open()
        talk.ask(payload=b"question")
        talk.answer(payload=bytes(range(256)))
        talk.tracked(seen="assured" if protocol == TCP else "replied", **DONE)
        if protocol == TCP:
            talk.ask(FIN | ACK)
            talk.answer(FIN | ACK)
            talk.ask(ACK)
            talk.tracked(state="TIME_WAIT", **DONE)


@test_each(FAMILIES, "SNAT to an address and range of ports")
def snat(lab, ip):
    source = f"[{ip.source}]" if ip.table == "ip6" else ip.source
    for protocol in PROTOCOLS:
        masquerade(lab, ip, protocol, rule=(
            f"{ip.table} daddr {ip.rip} meta l4proto {{ tcp, udp }} "
            f"snat {ip.table} to {source}:4000-4000"))
        talk = Talk(lab, ip, VPORT, protocol, seen_as=(ip.source, 4000))
        talk.open()
        talk.ask(payload=b"question")
        talk.answer(payload=b"answer")
        talk.tracked(seen="assured" if protocol == TCP else "replied", **DONE)
        # The only port is taken: another client is refused in silence.
        other = Talk(lab, ip, VPORT, protocol)
        lab.expect(lab.client, other.request(SYN), {})
        other.untracked()


@test_each(FAMILIES, "MASQUERADE by iptables, for what the entry's original "
           "destination tells")
def by_iptables(lab, ip):
    command = "iptables" if ip is IPV4 else "ip6tables"
    lab.begin()
    lab.serve(ip, VPORT, (ip.rip, RPORT, "-m"))
    lab.director.run(f"{command}-restore", "-n", stdin=(
        f"*nat\n-A POSTROUTING -m conntrack --ctorigdst {ip.vip} "
        f"--ctorigdstport {VPORT} -j MASQUERADE\nCOMMIT\n"))
    talk = hidden(lab, ip, TCP)
    talk.open()
    talk.ask(payload=b"question")
    talk.answer(payload=b"answer")
    talk.tracked(**DONE)
    passing = tcp(ip.cip, lab.port(), ip.rip, RPORT, SYN)
    lab.expect(lab.client, passing, {lab.server: passing.but(ttl=63)})


@test_each(FAMILIES, "a client on the server's own wire, one-armed: answered "
           "by way of the director")
def one_armed(lab, ip):
    for protocol in PROTOCOLS:
        masquerade(lab, ip, protocol)
        talk = hidden(lab, ip, protocol)
        neighbour = ip.inside
        lab.director.run("ip", "neigh", "replace", neighbour, "lladdr",
                         lab.server.mac, "dev", lab.server.name, "nud",
                         "permanent")
        request = talk.request(SYN).but(src=neighbour)
        lab.expect(lab.server, request,
                   {lab.server: talk.at_server(request)})
        reply = talk.reply(SYN | ACK)
        lab.expect(lab.server, reply,
                   {lab.server: talk.at_client(reply).but(dst=neighbour)})
        talk.tracked(state="SYN_RECV", seen="replied",
                     original=(neighbour, talk.cport, ip.vip, VPORT), **DONE)


@test_each(FAMILIES, "off: what IPVS sends is untracked, so MASQUERADE does "
           "not see it")
def off(lab, ip):
    for protocol in PROTOCOLS:
        masquerade(lab, ip, protocol, on=0)
        talk = Talk(lab, ip, VPORT, protocol)
        talk.open()
        talk.untracked()


@test_each(FAMILIES, "errors: the server's about a request reaches the client "
           "with the virtual address, the client's about an answer the server "
           "with the director's, in what they quote too")
def errors(lab, ip):
    for protocol in PROTOCOLS:
        masquerade(lab, ip, protocol)
        talk = hidden(lab, ip, protocol)
        talk.open()
        # Of what is quoted, IPVS changes addresses and ports, nf_nat the
        # checksum, too.
        request = talk.request(payload=b"question")
        sent = ip.error(ip.rip, ip.source, ip.port_unreachable,
                        talk.at_server(request).sealed())
        seen = lab.exchange(lab.server, sent)
        equal([len(seen[lab.client]), len(seen[lab.server])], [1, 0])
        lab.compare(seen, {lab.client: ip.error(
            ip.vip, ip.cip, ip.port_unreachable,
            talk.at_server(request).but(src=ip.cip).sealed().but(
                dst=ip.vip, dport=VPORT), **passed(ip))})
        reply = talk.reply(payload=b"answer")
        sent = ip.error(ip.cip, ip.vip, ip.port_unreachable,
                        talk.at_client(reply).sealed())
        lab.expect(lab.client, sent, {lab.server: ip.error(
            ip.source, ip.rip, ip.port_unreachable,
            talk.at_client(reply).but(dst=ip.source).sealed().but(
                src=ip.rip, sport=RPORT), **passed(ip))})


def passed(ip):
    """Fields of an error that has been forwarded."""
    return {"ttl": 63} | ({"id": 0} if ip is IPV4 else {})


@test_each(FAMILIES, "two clients with the same port have sources of their "
           "own, and each gets its answers")
def same_port(lab, ip):
    masquerade(lab, ip, UDP)
    cport = lab.port()
    talk = Talk(lab, ip, VPORT, UDP, cport=cport, seen_as=(ip.source, cport))
    talk.open()
    second = {IPV4: "10.0.1.99"}.get(ip, "fd00:1::99")
    lab.director.run("ip", "neigh", "replace", second, "lladdr",
                     lab.client.mac, "dev", lab.client.name, "nud",
                     "permanent")
    request = udp(second, cport, ip.vip, VPORT)
    frames = lab.exchange(lab.client, request)[lab.server]
    equal(len(frames), 1, "packets at the server")
    other = int.from_bytes(frames[0].ip[ip.header:ip.header + 2], "big")
    assert other != cport, other
    lab.expect(lab.server, udp(ip.rip, RPORT, ip.source, other, b"two"),
               {lab.client: udp(ip.vip, VPORT, second, cport, b"two", ttl=63)})
    talk.answer()


@test_each(FAMILIES, "a thousand connections by MASQUERADE, and a thousand "
           "answers")
def many(lab, ip):
    masquerade(lab, ip, UDP)
    cports = [lab.port() for _ in range(1000)]
    for at in range(0, len(cports), 100):
        some = cports[at:at + 100]
        lab.expect(lab.client, [udp(ip.cip, cport, ip.vip, VPORT)
                                for cport in some],
                   {lab.server: [udp(ip.source, cport, ip.rip, RPORT, ttl=63)
                                 for cport in some]})
        lab.expect(lab.server, [udp(ip.rip, RPORT, ip.source, cport)
                                for cport in some],
                   {lab.client: [udp(ip.vip, VPORT, ip.cip, cport, ttl=63)
                                 for cport in some]})
    equal(len(lab.table.entries(VPORT)), 1000)


if __name__ == "__main__":
    main(TrackingLab)
