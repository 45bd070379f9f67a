#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 240
"""Services as administrators see them: what ipvsadm takes, keeps, shows and
counts, and the files under /proc/net."""

import os
import re
import time

from lib.ipvs import connection_lines
from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.module import SCHEDULERS
from lib.packet import ACK, RST, SYN, icmp_error, tcp, udp
from lib.tap import equal, eventually, main, module_under_test, test

RULES = [
    "-A -f 7 -s wrr",
    f"-A -t {VIP}:80 -s rr",
    f"-A -t {VIP}:81 -s wlc",
    f"-A -u {VIP}:80 -s lc",
    f"-a -f 7 -r {RIP}:0 -g -w 2",
    f"-a -f 7 -r {RIP2}:0 -i -w 65535 --tun-type ipip",
    f"-a -t {VIP}:80 -r {RIP2}:8080 -m -w 1",
    f"-a -t {VIP}:80 -r {RIP}:8080 -m -w 1",
    f"-a -t {VIP}:81 -r {RIP}:81 -i -w 0 --tun-type ipip",
    f"-a -u {VIP}:80 -r {RIP}:80 -g -w 3",
]


class ServiceLab(Lab):
    """Each test starts with no service."""

    def fresh(self, *rules):
        """Only these services."""
        self.ipvs.admin("-C")
        self.ipvs.rules(*rules)

    def counted(self, wanted):
        """Exact statistics. The C module's are up to two seconds old; ours
        are those of now."""
        if module_under_test() == "rust":
            equal(self.ipvs.statistics(), wanted, "statistics")
            return
        eventually(lambda: self.ipvs.statistics() == wanted,
                   f"{wanted}, but {self.ipvs.statistics()}", 6)


@test("what ipvsadm saves, it restores, and saves again")
def save_and_restore(lab):
    lab.fresh(*RULES)
    saved = lab.ipvs.saved()
    equal(saved, sorted(RULES))
    lab.fresh(*lab.ipvs.admin("-Sn").splitlines())
    equal(lab.ipvs.saved(), saved)


@test("the list shows services and servers, with thresholds if asked")
def listing(lab):
    lab.fresh(*RULES)
    lab.ipvs.rules(f"-e -t {VIP}:80 -r {RIP}:8080 -m -w 1 -x 100 -y 50")
    text = lab.ipvs.admin("-Ln")
    assert re.match(r"IP Virtual Server version 1\.2\.1 \(size=\d+\)\n"
                    r"Prot LocalAddress:Port Scheduler Flags\n", text), text
    for block in (
            "TCP  198.51.100.1:80 rr\n"
            "  -> 10.0.2.2:8080                Masq    1      0          0"
            "         \n"
            "  -> 10.0.3.2:8080                Masq    1      0          0"
            "         \n",
            "TCP  198.51.100.1:81 wlc\n"
            "  -> 10.0.2.2:81                  Tunnel  0      0          0"
            "         \n",
            "UDP  198.51.100.1:80 lc\n"
            "  -> 10.0.2.2:80                  Route   3      0          0"
            "         \n",
            "FWM  7 wrr\n"
            "  -> 10.0.2.2:0                   Route   2      0          0"
            "         \n"
            "  -> 10.0.3.2:0                   Tunnel  65535  0          0"
            "         \n"):
        assert block in text, f"no\n{block}in\n{text}"
    thresholds = lab.ipvs.admin("-Ln", "--thresholds", "-t", f"{VIP}:80")
    assert re.search(r"10\.0\.2\.2:8080 +100 +50 +0 +0 *\n", thresholds), \
        thresholds
    one = lab.ipvs.admin("-Ln", "-f", "7").splitlines()[2:]
    equal(one[0], "FWM  7 wrr", "the list of one service")
    equal(len(one), 3, "its lines")


@test("/proc/net/ip_vs has the same, in hexadecimal, and the server that was "
      "added last is the first")
def proc_services(lab):
    lab.fresh(*(rule for rule in RULES if ":80 " in rule and "-t" in rule))
    head, *lines = lab.director.proc("ip_vs").splitlines(keepends=True)
    assert re.fullmatch(
        r"IP Virtual Server version 1\.2\.1 \(size=\d+\)\n", head), head
    equal("".join(lines),
          "Prot LocalAddress:Port Scheduler Flags\n"
          "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
          "TCP  C6336401:0050 rr  \n"
          "  -> 0A000202:1F90      Masq    1      0          0         \n"
          "  -> 0A000302:1F90      Masq    1      0          0         \n")
    lab.fresh("-A -f 48879 -s wlc", f"-a -f 48879 -r {RIP}:0 -g -w 1")
    equal("".join(lab.director.proc("ip_vs").splitlines(True)[3:]),
          "FWM  0000BEEF wlc \n"
          "  -> 0A000202:0000      Route   1      0          0         \n")
    lab.fresh()
    equal(len(lab.director.proc("ip_vs").splitlines()), 3, "empty table")


@test("/proc/net/ip_vs_conn has a connection in a line, in hexadecimal")
def proc_connections(lab):
    lab.fresh(f"-A -t {VIP}:85 -s rr", f"-a -t {VIP}:85 -r {RIP}:8085 -m")
    lab.exchange(lab.client, tcp(CIP, 0xabcd, VIP, 85))
    head = lab.director.proc("ip_vs_conn").splitlines()[0]
    equal(head, "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State"
                "       Expires PEName PEData")
    mine = [line for line in connection_lines(lab.director)
            if " ABCD " in line]
    equal(len(mine), 1, "lines of the connection")
    assert re.fullmatch(r"TCP 0A000102 ABCD C6336401 0055 0A000202 1F95 "
                        r"SYN_RECV    +(5\d|60)", mine[0]), mine[0]


@test("services on several ports, and of both protocols on one port, are "
      "strangers to each other")
def independent(lab):
    lab.fresh(f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RIP}:1 -m",
              f"-A -u {VIP}:80 -s rr", f"-a -u {VIP}:80 -r {RIP2}:2 -m",
              f"-A -t {VIP}:81 -s rr", f"-a -t {VIP}:81 -r {RIP2}:3 -m")
    cport = lab.port()
    for make, vport, server, address, rport in (
            (tcp, 80, 0, RIP, 1), (udp, 80, 1, RIP2, 2),
            (tcp, 81, 1, RIP2, 3)):
        request = make(CIP, cport, VIP, vport)
        lab.expect(lab.client, request, {lab.servers[server]: request.but(
            dst=address, dport=rport, ttl=63)})
    refused = udp(CIP, cport, VIP, 81)
    lab.expect(lab.client, refused,
               {lab.client: icmp_error(VIP, CIP, 3, 3, refused)})


def mark(lab, ports, value):
    """Mark what the client sends to these ports."""
    lab.director.run("nft", "-f", "-", stdin=f"""
        table ip marks {{ chain in {{
            type filter hook prerouting priority mangle
            iifname client th dport {ports} meta mark set {value}
        }}
        }}""")


@test("a fwmark service takes whatever is marked: any port, any protocol, "
      "and leaves the ports alone where the server has none")
def fwmark(lab):
    lab.fresh("-A -f 5 -s rr", f"-a -f 5 -r {RIP}:0 -m")
    mark(lab, "7000-7009", 5)
    for make in tcp, udp:
        for vport in 7000, 7009:
            request = make(CIP, lab.port(), VIP, vport)
            lab.expect(lab.client, request,
                       {lab.server: request.but(dst=RIP, ttl=63)})
            reply = request.back(src=RIP)
            lab.expect(lab.server, reply,
                       {lab.client: reply.but(src=VIP, ttl=63)})
    lab.ipvs.rules(f"-d -f 5 -r {RIP}:0", f"-a -f 5 -r {RIP}:443 -m")
    request = tcp(CIP, lab.port(), VIP, 7001)
    lab.expect(lab.client, request,
               {lab.server: request.but(dst=RIP, dport=443, ttl=63)})
    outside = udp(CIP, lab.port(), VIP, 6999)
    lab.expect(lab.client, outside,
               {lab.client: icmp_error(VIP, CIP, 3, 3, outside)})


@test("a marked packet prefers its mark's service to that of its address; one "
      "with a mark that no service has goes by its address")
def fwmark_first(lab):
    lab.fresh("-A -f 5 -s rr", f"-a -f 5 -r {RIP}:0 -g",
              *(f"{rule}:{vport} {rest}" for vport in (7002, 7003)
                for rule, rest in ((f"-A -u {VIP}", "-s rr"),
                                   (f"-a -u {VIP}", f"-r {RIP2}:1 -g"))))
    request = udp(CIP, lab.port(), VIP, 7002)
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    lab.director.run("nft", "delete", "table", "ip", "marks")
    mark(lab, "7003", 99)
    request = udp(CIP, lab.port(), VIP, 7003)
    lab.expect(lab.client, request, {lab.servers[1]: request.but(ttl=63)})
    lab.director.run("nft", "delete", "table", "ip", "marks")


@test("the scheduler of a service changes; its connections stay where they "
      "are and new ones are balanced the new way")
def edit(lab):
    lab.fresh(f"-A -t {VIP}:90 -s rr", f"-a -t {VIP}:90 -r {RIP}:90 -g -w 1",
              f"-a -t {VIP}:90 -r {RIP2}:90 -g -w 0")
    request = tcp(CIP, lab.port(), VIP, 90)
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    lab.ipvs.rules(f"-e -t {VIP}:90 -r {RIP2}:90 -g -w 5")
    for scheduler in SCHEDULERS:
        lab.ipvs.admin("-E", "-t", f"{VIP}:90", "-s", scheduler)
        assert f"-A -t {VIP}:90 -s {scheduler}" in lab.ipvs.saved()
        more = request.but(flags=ACK)
        lab.expect(lab.client, more, {lab.server: more.but(ttl=63)})
        seen = lab.exchange(lab.client, tcp(CIP, lab.port(), VIP, 90))
        equal(sum(map(len, seen.values())), 1, f"frames with {scheduler}")


@test("a server's method and weight change: connections keep the method that "
      "they were made with")
def edit_server(lab):
    lab.fresh(f"-A -t {VIP}:90 -s rr", f"-a -t {VIP}:90 -r {RIP}:90 -g -w 1")
    old = tcp(CIP, lab.port(), VIP, 90)
    lab.expect(lab.client, old, {lab.server: old.but(ttl=63)})
    lab.ipvs.rules(f"-e -t {VIP}:90 -r {RIP}:90 -m -w 2")
    # In this order: the C module keeps one route for a server, and one that
    # NAT has asked for does not name the server as the neighbour.
    more = old.but(flags=ACK)
    lab.expect(lab.client, more, {lab.server: more.but(ttl=63)})
    new = tcp(CIP, lab.port(), VIP, 90)
    lab.expect(lab.client, new, {lab.server: new.but(dst=RIP, ttl=63)})


@test("a service that is removed cuts its connections off in silence, and "
      "gives them back when it returns with their server")
def remove(lab):
    rules = f"-A -t {VIP}:91 -s rr", f"-a -t {VIP}:91 -r {RIP}:91 -g -w 1"
    lab.fresh(f"-A -t {VIP}:92 -s rr", *rules)
    request = tcp(CIP, lab.port(), VIP, 91)
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    lab.ipvs.admin("-D", "-t", f"{VIP}:91")
    more = request.but(flags=ACK)
    lab.expect(lab.client, more, {})
    lab.ipvs.rules(*rules)
    lab.expect(lab.client, more, {lab.server: more.but(ttl=63)})
    equal(lab.ipvs.counters()["C6336401:005B", f"{RIP}:91"], (1, 0))


@test("after the last service, packets are the local stack's again")
def last_service(lab):
    lab.fresh(f"-A -t {VIP}:93 -s rr", f"-a -t {VIP}:93 -r {RIP}:93 -g")
    request = tcp(CIP, lab.port(), VIP, 93, SYN, seq=7)
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    lab.ipvs.admin("-C")
    lab.expect(lab.client, request, {lab.client: request.back(
        flags=RST | ACK, seq=0, ack=8, window=0, id=0, df=True)})


@test("packets and bytes are counted exactly, in both directions, for server, "
      "service and total")
def statistics(lab):
    lab.fresh(f"-A -u {VIP}:94 -s rr", f"-a -u {VIP}:94 -r {RIP}:940 -m",
              f"-A -t {VIP}:94 -s rr", f"-a -t {VIP}:94 -r {RIP}:94 -g")
    before = cpu_totals(lab)
    conns = inbytes = outbytes = 0
    for size in (0, 1, 1000):
        request = udp(CIP, lab.port(), VIP, 94, bytes(size))
        lab.exchange(lab.client, request, request)
        reply = request.but(dst=RIP, dport=940).back(payload=bytes(size * 2))
        lab.exchange(lab.server, *reply.fragments(*([800] if size > 800
                                                    else [])))
        conns += 1
        inbytes += 2 * (28 + size)
        outbytes += 28 + 2 * size
    segment = tcp(CIP, lab.port(), VIP, 94)
    lab.exchange(lab.client, segment, segment.but(flags=ACK, payload=b"x"))
    error = icmp_error(RIP, CIP, 3, 1, udp(CIP, request.l4.sport, RIP, 940))
    lab.exchange(lab.server, error)
    by_udp = conns, 6, 4, inbytes, outbytes + 56 + 7
    by_tcp = 1, 2, 0, 81, 0
    lab.counted({f"TCP {VIP}:94": by_tcp, f"TCP {VIP}:94 {RIP}:94": by_tcp,
                 f"UDP {VIP}:94": by_udp, f"UDP {VIP}:94 {RIP}:940": by_udp})
    total = [sum(column) for column in zip(before, by_udp, by_tcp)]
    equal(cpu_totals(lab), total, "totals of the CPUs")
    lines = ["   Total Incoming Outgoing         Incoming         Outgoing",
             "   Conns  Packets  Packets            Bytes            Bytes",
             "%8X %8X %8X %16X %16X" % tuple(total), "",
             " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s"]
    eventually(lambda: lab.director.proc("ip_vs_stats").splitlines()[:5] ==
               lines, f"{lines}")
    *_, rates_ = lab.director.proc("ip_vs_stats").splitlines()
    assert re.fullmatch(r"([ 0-9A-F]{8} ){3}[ 0-9A-F]{16} [ 0-9A-F]{16}",
                        rates_), rates_


def cpu_totals(lab):
    """What all CPUs have counted since the module was loaded."""
    lines = lab.director.proc("ip_vs_stats_percpu").splitlines()[2:]
    rows = [line.split() for line in lines if re.match(" *[0-9A-F]+ ", line)]
    return [sum(int(number, 16) for number in column)
            for column in list(zip(*rows[:os.cpu_count()]))[1:]]


@test("/proc/net/ip_vs_stats_percpu has a line for each CPU, which add up to "
      "the last")
def statistics_percpu(lab):
    lines = lab.director.proc("ip_vs_stats_percpu").splitlines()
    equal(lines[:2], ["       Total Incoming Outgoing         Incoming"
                      "         Outgoing",
                      "CPU    Conns  Packets  Packets            Bytes"
                      "            Bytes"])
    rows = [line.split() for line in lines[2:lines.index("")]]
    equal([row[0] for row in rows],
          [f"{cpu:X}" for cpu in range(os.cpu_count())] + ["~"], "CPUs")
    for line in lines[2:2 + len(rows)]:
        assert re.fullmatch(r"[ 0-9A-F]{2}[0-9A-F~]( [ 0-9A-F]{8}){3}"
                            r"( [ 0-9A-F]{16}){2}", line), line
    equal(lines[3 + len(rows)],
          "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s")
    assert re.fullmatch(r"   ( +[0-9A-F]+){5}", lines[4 + len(rows)])
    equal(len(lines), 5 + len(rows), "lines")


@test("zeroing counts from here on, for one service or for all")
def zero(lab):
    lab.fresh(*(f"{rule} {VIP}:{vport} {rest}" for vport in (95, 96)
                for rule, rest in (("-A -u", "-s rr"),
                                   ("-a -u", f"-r {RIP}:{vport} -g"))))

    def sent(*vports):
        for vport in vports:
            lab.exchange(lab.client, udp(CIP, 9500 + vport, VIP, vport, b""))

    def wanted(one, other):
        lab.counted({key: value for vport, value in ((95, one), (96, other))
                     for key in (f"UDP {VIP}:{vport}",
                                 f"UDP {VIP}:{vport} {RIP}:{vport}")})
    sent(95, 95, 96)
    wanted((1, 2, 0, 56, 0), (1, 1, 0, 28, 0))
    lab.ipvs.admin("-Z", "-u", f"{VIP}:95")
    wanted((0, 0, 0, 0, 0), (1, 1, 0, 28, 0))
    sent(95)
    wanted((0, 1, 0, 28, 0), (1, 1, 0, 28, 0))
    lab.ipvs.admin("-Z")
    wanted((0, 0, 0, 0, 0), (0, 0, 0, 0, 0))


RATED = f"-A -u {VIP}:97 -s rr", f"-a -u {VIP}:97 -r {RIP}:97 -g"


def rate(lab):
    """The rates of a service and its server."""
    text = lab.ipvs.admin("-Ln", "--rate", "--exact", "-u", f"{VIP}:97")
    return [[int(number) for number in line.split()[-5:]]
            for line in text.splitlines()[2:]]


def busy(lab):
    """Send something; whether that is to be seen in both. Packets may come
    between the step of one and that of the other."""
    for _ in range(20):
        lab.client.send(udp(CIP, lab.port(), VIP, 97, bytes(100)))
    lab.settle()
    service, server = rate(lab)
    return all(each > 0 and abs(each - other) <= max(each, other) / 2
               for each, other in zip(service, server)
               if (each, other) != (0, 0)) and service[0] > 0


@test("rates rise with traffic and fall without")
def rates(lab):
    lab.fresh(*RATED)
    eventually(lambda: busy(lab), "rates of a service and its server")
    equal(rate(lab)[0][2::2], [0, 0], "rates of what comes back")
    before = rate(lab)[0][1]
    # Up to seven steps, if the first one met the first packets.
    eventually(lambda: rate(lab)[0][1] < before, "falling rates", 20)


# Ours takes no step for a service at rest.
@test("rates rise again after they have been at rest for long, those of a "
      "service that was removed and came back too")
def rates_at_rest(lab):
    lab.fresh(*RATED)
    for again in (lambda: None, lambda: lab.fresh(*RATED)):
        eventually(lambda: busy(lab), "rates")
        # After a step that takes what has come, none has anything to count.
        time.sleep(2.5)
        lab.ipvs.admin("-Z")
        eventually(lambda: rate(lab) == [[0] * 5] * 2, "rates of 0", 6)
        time.sleep(7)
        again()
        eventually(lambda: busy(lab), "rates after a rest")


@test("ipvsadm fails where something is twice or not there, and says so")
def refusals(lab):
    lab.fresh(f"-A -t {VIP}:98 -s rr", f"-a -t {VIP}:98 -r {RIP}:98 -g -w 1")
    saved = lab.ipvs.saved()
    for arguments, words in (
            (f"-A -t {VIP}:98", "Service already exists"),
            (f"-E -t {VIP}:99 -s rr", "No such service"),
            (f"-D -t {VIP}:99", "No such service"),
            (f"-A -t {VIP}:99 -s nonesuch",
             "Scheduler or persistence engine not found"),
            (f"-a -t {VIP}:98 -r {RIP}:98 -g", "Destination already exists"),
            (f"-a -t {VIP}:99 -r {RIP}:98 -g", "Service not defined"),
            (f"-e -t {VIP}:98 -r {RIP}:99 -m", "No such destination"),
            (f"-d -t {VIP}:98 -r {RIP}:99", "No such destination"),
            (f"-Z -t {VIP}:99", "No such service")):
        try:
            said = lab.ipvs.admin(*arguments.split())
        except AssertionError as error:
            assert words in str(error), f"{arguments}: {error}"
        else:
            raise AssertionError(f"{arguments}: accepted {said}")
        equal(lab.ipvs.saved(), saved, arguments)


if __name__ == "__main__":
    main(lambda: ServiceLab(servers=2))
