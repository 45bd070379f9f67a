#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""What a backup makes of the datagrams that it gets: connections, which are
listed, counted, used by packets and ended; and nothing, if they are wrong."""

from lib.family import FAMILIES, IPV4, IPV6, end
from lib.ipvs import complete, shown
from lib.lab import RIP2
from lib.packet import ACK, tcp, udp
from lib.sync import (ASSURED, BACKUP, DROUTE, INACTIVE, MASTER, NO_CPORT,
                      NOOUTPUT, ONE_PACKET, OUT_SEQ, PARAM, PE_DATA, PE_NAME,
                      SCTP, TCP, TEMPLATE, TUNNEL, Conn, datagram, datagram0,
                      seq_data)
from lib.synclab import DEV, FENCE, SyncLab
from lib.tap import TIME_FACTOR, equal, eventually, main, test, test_each
from lib.vs import Settings

CIP, VIP, RIP = IPV4.cip, IPV4.vip, IPV4.rip
ES = TCP["ESTABLISHED"]


class BackupLab(SyncLab):
    """A lab of which each test has its own services and connections."""

    def fresh(self, *rules, syncid=0):
        """Only these services, no connections, and a new backup."""
        self.daemons.stop()
        super().fresh(*rules)
        self.vport = 100 + self.port() % 20000
        self.daemons.start(BACKUP, DEV, syncid)

    vport = 0

    def conn(self, ip=IPV4, **fields):
        """An established connection of this test."""
        return Conn(**{"caddr": ip.cip, "cport": 5000, "vaddr": ip.vip,
                       "vport": self.vport, "daddr": ip.rip, "dport": 8080,
                       "state": ES, "timeout": 900} | fields)

    def feed(self, *loads, make=datagram, syncid=0):
        """Send datagrams, or connections in one each, until the backup has
        read them."""
        for load in loads:
            self.inject(make(load, syncid=syncid)
                        if isinstance(load, Conn) else load)
        cport = self.port()
        self.inject(datagram(Conn(17, CIP, cport, VIP, FENCE, RIP, FENCE,
                                  timeout=20 * TIME_FACTOR), syncid=syncid))
        eventually(lambda: f" {cport:04X} " in
                   self.director.proc("ip_vs_conn_sync"), "a later datagram")

    def lines(self):
        """The lines of ip_vs_conn_sync about this test's service."""
        lines = complete(lambda: self.director.proc(
            "ip_vs_conn_sync").splitlines()[1:], lambda part: part[:7])
        return sorted(line for line in lines
                      if line.split()[4] == f"{self.vport:04X}")

    def table(self):
        """{(protocol, client port): (client, server and its port, state,
        origin)}."""
        return {(part[0], int(part[2], 16)): (
            shown(part[1]), shown(part[5]), int(part[6], 16), part[7], part[8])
            for part in map(str.split, self.lines())}

    def expires(self, cport=5000):
        """When a connection ends."""
        return next(int(line.split()[9]) for line in self.lines()
                    if int(line.split()[2], 16) == cport)

    def counted(self, ip=IPV4, port=8080):
        """ActiveConn and InActConn of the first server."""
        return next(numbers for (_, server), numbers in
                    self.ipvs.counters().items()
                    if server == f"{ip.rip}:{port}")

    def service(self, ip=IPV4, method="-m", kind="-t", more=""):
        """Rules of a service with the server that connections have."""
        which = f"{kind} {end(ip.vip, self.vport)}"
        return (f"-A {which} -s rr {more}",
                f"-a {which} -r {end(ip.rip, 8080)} {method}")


def within(number, limit):
    """A time that was set to `limit` just now."""
    equal(limit - 20 * TIME_FACTOR <= number <= limit, True,
          f"{number} of {limit} s")


@test_each(FAMILIES, "a connection is listed as it was sent, of servers that "
           "nobody knows")
def listed(lab, ip):
    lab.fresh()
    lab.feed(lab.conn(ip), lab.conn(ip, cport=5001, protocol=17, state=0),
             lab.conn(ip, cport=5002, protocol=132,
                      state=SCTP["ESTABLISHED"]),
             lab.conn(ip, cport=0, flags=TEMPLATE, state=ASSURED))
    vport = f"{lab.vport:04X}"
    cip, vip, rip = (ip.listed(each) for each in (ip.cip, ip.vip, ip.rip))
    seen = lab.lines()
    for line in seen:
        within(int(line[-7:]), 900)
    equal([line[:-7] for line in seen], sorted(
        f"{name:<3} {cip} {cport:04X} {vip} {vport} {rip} 1F90 "
        f"{state:<11} SYNC   " for name, cport, state in (
            ("TCP", 5000, "ESTABLISHED"), ("UDP", 5001, "UDP"),
            ("SCTP", 5002, "ESTABLISHED"), ("TCP", 0, "ASSURED"))))


@test("a connection of this director is LOCAL")
def local(lab):
    lab.fresh()
    lab.ipvs.rules(*lab.service())
    cport = lab.play("i:syn", vport=lab.vport)
    equal(lab.table(), {("TCP", cport): (CIP, RIP, 8080, "SYN_RECV",
                                         "LOCAL")})


@test("version 0: the timeout is that of the state; of a template, 3 minutes")
def version0(lab):
    lab.fresh()
    lab.inject(datagram0(
        lab.conn(), lab.conn(cport=5001, state=TCP["TIME_WAIT"],
                             flags=INACTIVE),
        lab.conn(cport=5002, protocol=17, state=0),
        lab.conn(cport=0, flags=TEMPLATE, state=0)))
    lab.feed()
    equal({key: row[3:] for key, row in lab.table().items()}, {
        ("TCP", 5000): ("ESTABLISHED", "SYNC"),
        ("TCP", 5001): ("TIME_WAIT", "SYNC"), ("UDP", 5002): ("UDP", "SYNC"),
        ("TCP", 0): ("NONE", "SYNC")})
    for cport, limit in (5000, 900), (5001, 120), (5002, 300), (0, 180):
        within(lab.expires(cport), limit)


@test("a timeout of 0 is that of the state; huge ones are a very long time")
def timeouts(lab):
    lab.fresh()
    lab.feed(lab.conn(timeout=0), lab.conn(cport=5001, timeout=100000),
             lab.conn(cport=0, flags=TEMPLATE, state=0, timeout=0))
    for cport, limit in (5000, 900), (5001, 100000), (0, 180):
        within(lab.expires(cport), limit)


@test("later datagrams set state and timeout anew; the method stays")
def updated(lab):
    lab.fresh()
    lab.feed(lab.conn(), lab.conn(state=TCP["FIN_WAIT"], flags=INACTIVE |
                                  TUNNEL, timeout=77))
    equal(lab.table(), {("TCP", 5000): (CIP, RIP, 8080, "FIN_WAIT", "SYNC")})
    within(lab.expires(), 77)
    request = tcp(CIP, 5000, VIP, lab.vport, ACK)
    lab.expect(lab.client, request, {lab.server: request.but(
        dst=RIP, dport=8080, ttl=63)})


@test("a connection to another server replaces the old one, unless it is "
      "inactive")
def replaced(lab):
    lab.fresh()
    lab.feed(lab.conn(), lab.conn(daddr=RIP2, state=TCP["CLOSE"],
                                  flags=INACTIVE))
    equal(lab.table(), {("TCP", 5000): (CIP, RIP, 8080, "ESTABLISHED",
                                        "SYNC")})
    lab.feed(lab.conn(daddr=RIP2))
    eventually(lambda: [row.split()[5] for row in lab.lines()] ==
               ["0A000302"], "the new one alone")


@test_each(FAMILIES, "servers that are known count the connections")
def bound(lab, ip):
    lab.fresh()
    lab.ipvs.rules(*lab.service(ip))
    lab.feed(lab.conn(ip), lab.conn(ip, cport=5001, flags=INACTIVE,
                                    state=TCP["TIME_WAIT"]),
             lab.conn(ip, cport=5002))
    equal(lab.counted(ip), (2, 1))
    lab.feed(lab.conn(ip, flags=INACTIVE, state=TCP["CLOSE_WAIT"]))
    equal(lab.counted(ip), (1, 2), "one closes")
    lab.feed(lab.conn(ip), lab.conn(ip))
    equal(lab.counted(ip), (2, 1), "one opens, said twice")
    lab.feed(lab.conn(ip, cport=0, flags=TEMPLATE, state=0))
    equal(lab.counted(ip), (2, 1), "a template")
    lab.feed(*(lab.conn(ip, cport=cport, timeout=1)
               for cport in (5000, 5001, 5002)))
    eventually(lambda: lab.counted(ip) == (0, 0), "their end")
    equal(list(lab.table()), [("TCP", 0)])


@test("a server that comes later gets its connections with the next datagram "
      "about each")
def bound_later(lab):
    lab.fresh()
    port = lab.vport
    lab.feed(*(lab.conn(cport=cport, dport=port, flags=TUNNEL)
               for cport in (5000, 5001)))
    lab.ipvs.rules(*lab.service(method="-g"))
    equal(lab.counted(port=port), (0, 0))
    lab.feed(lab.conn(dport=port))
    equal(lab.counted(port=port), (1, 0))
    # From then on it is forwarded as the server wants it. What tunnel it would
    # be without the server, nobody knows.
    request = tcp(CIP, 5000, VIP, port, ACK)
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    lab.expect(lab.client, tcp(CIP, 5001, VIP, port, ACK), {})


@test("a server by firewall mark is found by the mark that was sent")
def marked(lab):
    lab.fresh()
    lab.ipvs.rules("-A -f 77 -s rr", f"-a -f 77 -r {RIP}:8080 -m")
    lab.feed(lab.conn(fwmark=77), lab.conn(cport=5001, fwmark=78),
             lab.conn(cport=5002))
    equal(lab.counted(), (1, 0))


@test_each(FAMILIES, "a client's connection goes on: by NAT both ways, "
           "whether its service is known or not")
def goes_on(lab, ip):
    for known in False, True:
        lab.fresh()
        if known:
            lab.ipvs.rules(*lab.service(ip))
        lab.feed(lab.conn(ip))
        request = tcp(ip.cip, 5000, ip.vip, lab.vport, ACK, payload=b"more")
        there = request.but(dst=ip.rip, dport=8080, ttl=63)
        lab.expect(lab.client, request, {lab.server: there})
        lab.expect(lab.server, there.back(ttl=64), {lab.client: request.back(
            ttl=63)})
        lab.play("i:fin", (ip.cip, ip.vip, ip.rip), 5000, lab.vport)
        equal(lab.table()["TCP", 5000][3:], ("CLOSE_WAIT", "SYNC"))
        if known:
            equal(lab.counted(ip), (0, 1))


@test("a client's connection goes on by direct routing, and by UDP")
def goes_on_otherwise(lab):
    lab.fresh()
    lab.feed(lab.conn(flags=DROUTE | NOOUTPUT),
             lab.conn(protocol=17, state=0))
    request = tcp(CIP, 5000, VIP, lab.vport, ACK)
    lab.expect(lab.client, request, {lab.server: request.but(ttl=63)})
    request = udp(CIP, 5000, VIP, lab.vport)
    lab.expect(lab.client, request, {lab.server: request.but(
        dst=RIP, dport=8080, ttl=63)})


@test("a connection without client port gets that of the first packet")
def no_client_port(lab):
    lab.fresh()
    lab.feed(lab.conn(cport=0, flags=NO_CPORT))
    request = tcp(CIP, 6000, VIP, lab.vport)
    lab.expect(lab.client, request, {lab.server: request.but(
        dst=RIP, dport=8080, ttl=63)})
    equal(list(lab.table()), [("TCP", 6000)])


@test("new connections follow a template")
def follow(lab):
    lab.fresh()
    which = f"-t {VIP}:{lab.vport}"
    lab.ipvs.rules(f"-A {which} -s rr -p 300",
                   *(f"-a {which} -r {rip}:8080 -m" for rip in (RIP, RIP2)))
    for last, rip in (20, RIP2), (21, RIP), (22, RIP2):
        lab.feed(lab.conn(caddr=f"10.0.1.{last}", cport=0, flags=TEMPLATE,
                          state=0, daddr=rip))
        for cport in 7000, 7001:
            request = tcp(f"10.0.1.{last}", cport, VIP, lab.vport)
            lab.expect(lab.client, request, {
                lab.servers[rip == RIP2]: request.but(dst=rip, dport=8080,
                                                      ttl=63)})


@test("templates of a persistence engine are listed with what they have")
def engine(lab):
    lab.fresh()
    if lab.ipvs.admin("-A", "-u", f"{VIP}:{lab.vport}", "-p", "300", "--pe",
                      "sip"):
        raise AssertionError("no engine")
    lab.feed(lab.conn(protocol=17, cport=0, flags=TEMPLATE, state=0,
                      options=((PE_DATA, b"77@x"), (PE_NAME, b"sip"))))
    text = [line.split()[9:] for line in
            lab.director.proc("ip_vs_conn").splitlines()
            if f" {lab.vport:04X} " in line]
    equal(text, [["sip", "77@x"]])


@test("a connection that can't be is passed over; the one after it is not")
def passed_over(lab):
    lab.fresh()
    one, good = lab.conn(), 6000
    for wrong in (
            one.but(protocol=47), one.but(protocol=0), one.but(state=11),
            one.but(state=0xffff), one.but(protocol=17, state=1),
            one.but(protocol=132, state=14),
            one.but(flags=TEMPLATE, state=2), one.but(flags=ONE_PACKET),
            one.but(flags=TEMPLATE | NO_CPORT),
            one.but(options=((4, b"x"),)), one.but(options=((0x80, b"x"),)),
            one.but(options=((PE_DATA, b"x"),)),
            one.but(options=((PE_DATA, b"x"), (PE_NAME, b"nope")))):
        for make in datagram, datagram0:
            if make is datagram or not wrong.options:
                lab.feed(make(wrong, one.but(cport=good)))
                good += 1
                equal(sorted(lab.table()), [
                    ("TCP", cport) for cport in range(6000, good)],
                    f"{make.__name__} {wrong}")


@test("what is wrong in itself ends a datagram; what was before it stays")
def ended(lab):
    lab.fresh()
    one, good = lab.conn(), 6000
    seq = seq_data()
    for wrong in (
            one.but(type=2), one.but(type=1), one.but(version=1),
            one.but(version=15), one.but(size=35), one.but(size=0),
            one.but(size=4095), one.but(extra=b"\1"),
            one.but(extra=b"\1\0"), one.but(extra=b"\1\x18\0"),
            one.but(options=((1, bytes(23)),)),
            one.but(options=((1, bytes(25)),)), one.but(options=(seq, seq)),
            one.but(options=((PE_NAME, b"x" * 17),)),
            one.but(options=((PE_NAME, b"sip"), (PE_NAME, b"sip"))),
            one.but(options=((PE_DATA, b"x"), (PE_DATA, b"x")))):
        lab.feed(datagram(one.but(cport=good), wrong, one.but(cport=5002)))
        good += 1
        equal(sorted(lab.table()),
              [("TCP", cport) for cport in range(6000, good)], f"{wrong}")
    # More than there is room for.
    for count in 2, 255:
        lab.feed(datagram(one.but(cport=good), count=count))
        good += 1
        equal(len(lab.table()), good - 6000, f"{count} connections")


@test("a datagram that is not whole, or no datagram, changes nothing")
def nothing(lab):
    lab.fresh()
    one = lab.conn(flags=OUT_SEQ, options=(seq_data(),))
    for make in datagram, datagram0:
        whole = make(one)
        for length in range(len(whole)):
            cut = whole[:length]
            lab.inject(cut)
            if length >= 4:
                lab.inject(cut[:2] + length.to_bytes(2, "big") + cut[4:])
            if length % 16 == 0:
                # No more than the socket has room for.
                lab.feed()
        lab.inject(whole + b"\0")
        for size in 0, len(whole) - 1, len(whole) + 1, 0xffff:
            lab.inject(make(one, size=size))
        lab.feed()
        equal(lab.table(), {}, make.__name__)
    for changes in {"reserved": 0, "count": 0}, {"version": 0}, \
            {"version": 2}, {"version": -1}, {"spare": 1}, {"spare": 0x100}:
        lab.feed(datagram(one, **changes))
        equal(lab.table(), {}, f"{changes}")


@test("what is after the last connection, and options that may be ignored, "
      "are ignored")
def ignored(lab):
    lab.fresh()
    lab.feed(datagram(lab.conn(), tail=b"what others add"),
             datagram(lab.conn(cport=5001, options=((4 | PARAM, b"x"),)),
                      lab.conn(cport=5002, options=(
                          (0x3f | PARAM, bytes(255)), (5 | PARAM, b"y")))),
             datagram0(lab.conn(cport=5003), tail=b"x"))
    equal(sorted(lab.table()), [("TCP", cport) for cport in
                                (5000, 5001, 5002, 5003)])


@test("flags that a peer has no say in are not taken from it")
def flags(lab):
    lab.fresh()
    lab.ipvs.rules(*lab.service())
    # Bits of this kernel alone, and a method that the server does not have.
    lab.feed(lab.conn(flags=0xffff0000 | 0x60 | TUNNEL),
             lab.conn(cport=5001, flags=0x8000 | 0x4000))
    equal(lab.counted(), (2, 0))
    for cport in 5000, 5001:
        request = tcp(CIP, cport, VIP, lab.vport, ACK)
        lab.expect(lab.client, request, {lab.server: request.but(
            dst=RIP, dport=8080, ttl=63)})


@test("datagrams with another sync id are not for this backup; one with id 0 "
      "takes all, one whose id is no byte none")
def sync_id(lab):
    for here, there, taken in ((7, 7, True), (7, 8, False), (7, 0, False),
                               (0, 0, True), (0, 9, True), (255, 255, True),
                               (263, 7, False)):
        lab.fresh(syncid=here)
        lab.inject(datagram(lab.conn(), syncid=there))
        lab.inject(datagram0(lab.conn(cport=5001), syncid=there))
        if here < 256:
            lab.feed(syncid=here)
        else:
            lab.settle()
        equal(len(lab.table()), 2 * taken, f"{here} {there}")


@test("another group, another port, another device: not for this backup; any "
      "sender will do")
def elsewhere(lab):
    lab.fresh()
    lab.inject(datagram(lab.conn()), group="224.0.0.82")
    lab.inject(datagram(lab.conn()), port=8849)
    lab.client.send(udp("10.0.1.2", 40000, "224.0.0.81", 8848,
                        datagram(lab.conn())))
    lab.feed()
    equal(lab.table(), {})
    lab.inject(datagram(lab.conn()), src="10.0.99.77")
    lab.inject(datagram(lab.conn(cport=5001)), src="192.0.2.1")
    lab.feed()
    equal(len(lab.table()), 2)


@test("by IPv6")
def by_ipv6(lab):
    lab.fresh()
    lab.daemons.stop()
    lab.daemons.start(BACKUP, DEV, 7, group="ff05::7", port=900)
    for ip in IPV4, IPV6:
        lab.inject(datagram(lab.conn(ip, cport=5004 + ip.header), syncid=7),
                   "ff05::7", 900, "fd00:99::2")
    eventually(lambda: len(lab.table()) == 2, "both")


@test("each port has a thread of its own")
def several(lab):
    lab.settings["sync_ports"] = 4
    lab.fresh()
    for number in range(4):
        lab.inject(datagram(lab.conn(cport=5000 + number)), port=8848 + number)
    eventually(lambda: len(lab.table()) == 4, "four connections")
    lab.daemons.stop()
    lab.settings["sync_ports"] = 1


@test("backup_only: while a backup runs, and only then, nothing is balanced")
def backup_only(lab):
    lab.fresh()
    lab.ipvs.rules(*lab.service())
    request = tcp(CIP, 5000, VIP, lab.vport, ACK)
    there = request.but(dst=RIP, dport=8080, ttl=63)
    with Settings(lab.director).but(backup_only=1):
        lab.feed(lab.conn())
        equal(lab.exchange(lab.client, request)[lab.server], [])
        lab.daemons.start(MASTER, DEV, 7)
        equal(lab.exchange(lab.client, request)[lab.server], [],
              "both daemons")
        lab.daemons.stop()
        lab.expect(lab.client, request, {lab.server: there})


@test("a connection of a server that was removed ends, and is not counted "
      "for one that comes back")
def removed(lab):
    lab.fresh()
    rules = lab.service()
    lab.ipvs.rules(*rules)
    lab.feed(lab.conn(), lab.conn(cport=5001, timeout=2))
    lab.ipvs.rules(rules[1].replace("-a", "-d").replace(" -m", ""))
    equal(lab.exchange(lab.client, tcp(CIP, 5000, VIP, lab.vport, ACK))[
        lab.server], [], "removed")
    lab.ipvs.rules(rules[1])
    eventually(lambda: ("TCP", 5001) not in lab.table(), "its end")
    request = tcp(CIP, 5000, VIP, lab.vport, ACK)
    lab.expect(lab.client, request, {lab.server: request.but(
        dst=RIP, dport=8080, ttl=63)})
    equal(lab.counted(), (1, 0))


if __name__ == "__main__":
    main(lambda: BackupLab(servers=2, ipv6=True))
