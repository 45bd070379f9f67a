#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""The setting `conntrack`: whether nf_conntrack knows the connections of IPVS,
and as what; NAT, which alters their entries. Other methods are in
conntrack_methods.py, the ends of connections in conntrack_ends.py, the source
addresses that others change beside IPVS in conntrack_nat.py.
"""

from lib import sockopt
from lib.ctnetlink import TCP, UDP, Events
from lib.family import FAMILIES, IPV4
from lib.netns import Netns
from lib.packet import ACK, FIN, SYN
from lib.tap import equal, main, test, test_each
from lib.tracking import (KIND, RPORT, Talk, TrackingLab, chain, forwarded,
                          passed, table)
from lib.vs import Settings

VPORT = 80
NFCT = 0x10000


def nat(lab, ip, protocol=TCP, vport=VPORT):
    """A service with one server by NAT."""
    lab.serve(ip, vport, (ip.rip, RPORT, "-m"), kind=KIND[protocol])


@test_each(FAMILIES, "off: packets of both directions are untracked from IPVS "
           "on, and nf_conntrack has no entry of them")
def off(lab, ip):
    lab.begin(on=0)
    for protocol in TCP, UDP:
        nat(lab, ip, protocol)
        talk = Talk(lab, ip, VPORT, protocol)
        lab.states()
        talk.ask(SYN)
        equal(lab.states(), passed("new new untracked untracked"), "request")
        talk.answer(SYN | ACK)
        # Nothing is known of it: UDP begins something new so, TCP does not.
        states = "new untracked untracked" if protocol == UDP else \
            "invalid invalid invalid"
        equal(lab.states(), forwarded(states), "reply")
        talk.untracked()
    equal(lab.table.count(), 0)


@test_each(FAMILIES, "on: NAT has the entry's reply come from the server; it "
           "is confirmed, and what follows belongs to it")
def on(lab, ip):
    lab.begin()
    for protocol in TCP, UDP:
        nat(lab, ip, protocol)
        talk = Talk(lab, ip, VPORT, protocol)
        lab.states()
        talk.ask(SYN)
        equal(lab.states(), passed("new new new new"), "request")
        talk.tracked(state="SYN_SENT", seen="unreplied")
        talk.answer(SYN | ACK)
        equal(lab.states(), forwarded("established established established"),
              "reply")
        talk.tracked(state="SYN_RECV", seen="replied")
        talk.ask(ACK)
        equal(lab.states(), passed(
            "established established established established"), "the next")
        talk.tracked(state="ESTABLISHED",
                     seen="assured" if protocol == TCP else "replied")


@test_each(FAMILIES, "on: the entry's TCP state follows the connection's, and "
           "events tell of it in order")
def events(lab, ip):
    lab.begin()
    nat(lab, ip)
    talk = Talk(lab, ip, VPORT)
    with Events(lab.director) as watch:
        talk.open()
        talk.ask(payload=b"GET /\r\n\r\n")
        talk.answer(payload=b"200\r\n")
        talk.ask(FIN | ACK)
        talk.tracked(state="FIN_WAIT")
        talk.answer(FIN | ACK)
        talk.tracked(state="LAST_ACK")
        talk.ask(ACK)
        talk.tracked(state="TIME_WAIT")
        lab.table.flush()
        seen = watch.seen(talk.cport)
    equal({(entry.original, entry.reply) for _, entry in seen},
          {(talk.entry().original, talk.entry().reply)}, "tuples")
    equal([(what, entry.state, entry.seen) for what, entry in seen], [
        ("new", "SYN_SENT", "unreplied"), ("changed", "SYN_RECV", "replied"),
        ("changed", "ESTABLISHED", "assured"),
        ("changed", "FIN_WAIT", "assured"), ("changed", "LAST_ACK", "assured"),
        ("changed", "TIME_WAIT", "assured"),
        ("destroyed", "TIME_WAIT", "assured")], "events")


@test("what conntrack(8) lists and deletes")
def tool(lab):
    lab.begin()
    nat(lab, IPV4)
    talk = Talk(lab, IPV4, VPORT)
    talk.open()
    tuples = (f"src={talk.ip.cip} dst={talk.ip.vip} sport={talk.cport} "
              f"dport={VPORT} src={talk.ip.rip} dst={talk.ip.cip} "
              f"sport={RPORT} dport={talk.cport} [ASSURED]")
    listed = lab.director.run("conntrack", "-L", "-o", "extended").split("\n")
    equal([line.split()[0:3] for line in listed if tuples in line],
          [["ipv4", "2", "tcp"]], listed)
    for option in ("-p tcp --orig-dst 198.51.100.1 --orig-port-dst 80",
                   "-p tcp --reply-src 10.0.2.2 --reply-port-src 8080"):
        assert tuples in lab.director.run("conntrack", "-L", *option.split())
    assert tuples in lab.director.run(
        "conntrack", "-D", "-p", "tcp", "--orig-port-src", str(talk.cport))
    talk.untracked()


def rule_state(lab, command):
    """Packets by rule of a table of iptables: those rules that have a comment,
    by that, which saw any."""
    found = {}
    for line in lab.director.run(f"{command}-save", "-c", "-t",
                                 "mangle").splitlines():
        words = line.split()
        if "--comment" in words:
            packets = int(words[0].strip("[").split(":")[0])
            if packets:
                found[words[words.index("--comment") + 1]] = packets
    return found


@test_each(FAMILIES, "on: -m conntrack of iptables sees state, direction and "
           "original destination of both directions where they leave")
def iptables(lab, ip):
    lab.begin()
    nat(lab, ip)
    command = "iptables" if ip is IPV4 else "ip6tables"
    matches = {
        "new": "--ctstate NEW",
        "established": "--ctstate ESTABLISHED",
        "untracked": "--ctstate UNTRACKED",
        "dnat": "--ctstate DNAT",
        "client": f"--ctorigsrc {ip.cip} --ctorigdst {ip.vip} "
                  f"--ctorigdstport {VPORT} --ctproto tcp",
        "server": f"--ctreplsrc {ip.rip} --ctrepldst {ip.cip} "
                  f"--ctreplsrcport {RPORT}",
        "other": f"! --ctorigdst {ip.vip}",
        "forth": f"--ctorigdst {ip.vip} --ctdir ORIGINAL",
        "back": f"--ctorigdst {ip.vip} --ctdir REPLY",
        "assured": "--ctstatus ASSURED",
        "confirmed": "--ctstatus CONFIRMED",
    }
    lines = "\n".join(f"-A POSTROUTING -p tcp -m conntrack {match} "
                      f"-m comment --comment {name}"
                      for name, match in matches.items())
    lab.director.run(f"{command}-restore", "-n",
                     stdin=f"*mangle\n{lines}\nCOMMIT\n")
    talk = Talk(lab, ip, VPORT)
    talk.ask(SYN)
    equal(rule_state(lab, command),
          {"new": 1, "client": 1, "server": 1, "forth": 1})
    talk.answer(SYN | ACK)
    talk.ask(ACK)
    talk.answer(payload=b"data")
    equal(rule_state(lab, command),
          {"new": 1, "established": 3, "client": 4, "server": 4, "forth": 2,
           "back": 2, "assured": 2, "confirmed": 3})


@test_each(FAMILIES, "on: marks are saved with the entry and restored to "
           "packets of both directions")
def marks(lab, ip):
    lab.begin(rules=table(
        "marks",
        chain("prerouting", "mangle", "tcp flags & (syn | ack) == syn "
              "meta mark set 7 ct mark set meta mark",
              "meta mark set ct mark"),
        chain("postrouting", "mangle",
              f"{ip.table} daddr {ip.rip} meta mark 7 "
              f"ct original {ip.table} daddr {ip.vip} "
              f"ct original proto-dst {VPORT} counter",
              f"{ip.table} daddr {ip.cip} meta mark 7 ct direction reply "
              "counter")))
    nat(lab, ip)
    talk = Talk(lab, ip, VPORT)
    talk.open()
    talk.answer(payload=b"data")
    talk.tracked(mark=7)
    rules = lab.director.run("nft", "list", "table", "inet", "marks")
    equal([line.count("counter packets 2 ") for line in rules.splitlines()
           if "counter" in line], [1, 1], rules)


@test_each(FAMILIES, "on: a zone is that of the rule; the end of the "
           "connection leaves an entry that is not in the default zone")
def zones(lab, ip):
    command = "iptables" if ip is IPV4 else "ip6tables"
    for by_nft in True, False:
        lab.begin(rules=table("zones", chain(
            "prerouting", "raw",
            "meta l4proto udp ct zone set 5")) if by_nft else "")
        if not by_nft:
            lab.director.run(f"{command}-restore", "-n", stdin="*raw\n"
                             "-A PREROUTING -p udp -j CT --zone 5\nCOMMIT\n")
        nat(lab, ip, UDP)
        talk = Talk(lab, ip, VPORT, UDP)
        talk.open()
        talk.tracked(seen="replied", zone=5)
        with lab.short():
            talk.ask()
            lab.gone(talk)
        talk.tracked(seen="replied", zone=5)


@test_each(FAMILIES, "on: an ICMP error of either side is related to the "
           "connection, and changes nothing about the entry")
def icmp(lab, ip):
    lab.begin()
    nat(lab, ip, UDP)
    talk = Talk(lab, ip, VPORT, UDP)
    talk.open()
    lab.states()
    request = talk.request()
    sent = ip.error(ip.rip, ip.cip, ip.port_unreachable,
                    talk.at_server(request).sealed())
    seen = lab.exchange(lab.server, sent)
    equal([len(seen[lab.client]), len(seen[lab.server])], [1, 0])
    equal(lab.states(), forwarded("related related related"), "of the server")
    sent = ip.error(ip.cip, ip.vip, ip.port_unreachable,
                    talk.at_client(talk.reply()).sealed())
    seen = lab.exchange(lab.client, sent)
    equal([len(seen[lab.client]), len(seen[lab.server])], [0, 1])
    equal(lab.states(), passed("related related related related"),
          "of the client")
    talk.tracked(seen="replied")


@test_each(FAMILIES, "switching it in the middle of traffic is for "
           "connections to come: others stay as they were made")
def switched(lab, ip):
    lab.begin(on=0)
    nat(lab, ip)
    before = Talk(lab, ip, VPORT)
    before.open()
    lab.settings["conntrack"] = 1
    between = Talk(lab, ip, VPORT)
    between.open()
    before.ask(payload=b"more")
    before.answer(payload=b"more")
    before.untracked()
    lab.settings["conntrack"] = 0
    after = Talk(lab, ip, VPORT)
    after.open()
    between.ask(payload=b"more")
    between.answer(payload=b"more")
    between.tracked()
    after.untracked()
    before.untracked()


@test("each namespace has its own setting")
def of_a_namespace(lab):
    other = Netns("ipvs-other")
    lab.begin()
    equal((Settings(other)["conntrack"], Settings()["conntrack"]), (0, 0))
    Settings(other)["conntrack"] = 3
    equal((Settings()["conntrack"], lab.settings["conntrack"]), (0, 1))
    other.delete()
    nat(lab, IPV4)
    talk = Talk(lab, IPV4, VPORT)
    talk.open()
    talk.tracked()


@test_each(FAMILIES, "on: fragments of both directions are one packet to "
           "nf_conntrack, and leave in such fragments")
def fragments(lab, ip):
    lab.begin()
    nat(lab, ip, UDP)
    talk = Talk(lab, ip, VPORT, UDP)
    payload = bytes(n * 5 & 255 for n in range(2000))
    for order in (0, 1, 2), (2, 0, 1):
        request = talk.request(payload=payload)
        pieces = request.fragments(800, 1600)
        lab.states()
        seen = lab.exchange(lab.client, *(pieces[n] for n in order))
        lab.compare(seen, {lab.server: ip.cut(
            talk.at_server(request), seen[lab.server], 800, 1600)})
        state = "new" if order[0] == 0 else "established"
        equal(lab.states(), passed(" ".join([state] * 4)), "request")
        reply = talk.reply(payload=payload)
        seen = lab.exchange(lab.server, *reply.fragments(1000))
        lab.compare(seen, {lab.client: ip.cut(
            talk.at_client(reply), seen[lab.client], 1000)})
        equal(lab.states(), forwarded("established established established"),
              "reply")
    talk.tracked(seen="replied")


@test("IP_VS_CONN_F_NFCT of a server, by socket option: its connections are "
      "tracked with the setting off; shown, and taken back by netlink")
def by_socket_option(lab):
    lab.begin(on=0)
    lab.ipvs.rules(f"-A -t {IPV4.vip}:90 -s rr")
    which = sockopt.service(90, ip=IPV4.vip)
    link = sockopt.Sockopts(lab.director)
    equal(link.set(sockopt.ADDDEST, which + sockopt.server(
        IPV4.rip, RPORT, flags=NFCT)), "", "errno")
    equal([int.from_bytes(row[8:12], "little")
           for row in link.servers(which, 1)], [NFCT | 0x100], "flags")
    tracked = Talk(lab, IPV4, 90)
    tracked.open()
    tracked.tracked()
    # What netlink sets has no such flag.
    lab.ipvs.rules(f"-e -t {IPV4.vip}:90 -r {IPV4.rip}:{RPORT} -m -w 1")
    equal([int.from_bytes(row[8:12], "little")
           for row in link.servers(which, 1)], [0x100], "flags")
    untracked = Talk(lab, IPV4, 90)
    untracked.open()
    untracked.untracked()
    tracked.ask(payload=b"more")
    tracked.tracked()
    # An edit sets it again.
    equal(link.set(sockopt.EDITDEST, which + sockopt.server(
        IPV4.rip, RPORT, flags=NFCT)), "", "errno")
    again = Talk(lab, IPV4, 90)
    again.open()
    again.tracked()
    link.close()


@test_each(FAMILIES, "on: without anybody who asks for tracking nothing is "
           "tracked; from then on, connections are, whoever speaks first")
def later(lab, ip):
    lab.begin(counted=False)
    nat(lab, ip)
    first, second = Talk(lab, ip, VPORT), Talk(lab, ip, VPORT)
    for talk in first, second:
        talk.open()
        talk.untracked()
    lab.nft(table("asks", chain("input", 0, "ct state new")))
    first.ask(payload=b"more")
    first.tracked(seen="unreplied")
    first.answer(payload=b"more")
    first.tracked(seen="replied")
    first.ask(payload=b"more")
    first.tracked()
    second.answer(payload=b"more")
    turned = {"original": (ip.rip, RPORT, ip.cip, second.cport),
              "reply": (ip.cip, second.cport, ip.vip, VPORT)}
    second.tracked(seen="unreplied", **turned)
    second.ask(payload=b"more")
    second.tracked(seen="replied", **turned)
    lab.nft("flush ruleset")


if __name__ == "__main__":
    main(TrackingLab)
