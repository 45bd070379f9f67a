#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""What a master sends of its connections, byte by byte, and when."""

import socket
import struct
import time

from lib import ftp
from lib.family import FAMILIES, IPV4, end
from lib.ftp import Flow
from lib.packet import ACK, FIN, Udp, packet, tcp, udp
from lib.sctp import DATA, ESTABLISHED, chunk, play, sctp
from lib.sync import (ASSURED, DROUTE, GROUP, INACTIVE, MASQ, MASTER, NFCT,
                      NOOUTPUT, PE_DATA, PE_NAME, PORT, SCTP, TCP, TEMPLATE,
                      TUNNEL, Conn, parse)
from lib.synclab import DEV, OWN, SyncLab
from lib.tap import equal, main, test, test_each

CIP, VIP, RIP = IPV4.cip, IPV4.vip, IPV4.rip
SERVICE = f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RIP}:8080 -m"
ALWAYS = "0 1"


class SentLab(SyncLab):
    """A lab of which each test has its own services and settings."""

    def fresh(self, *rules, **settings):
        self.daemons.stop()
        super().fresh(*(rules or SERVICE))
        for name, value in ({
                "sync_threshold": "3 50", "sync_refresh_period": 0,
                "sync_retries": 0, "sync_persist_mode": 0, "sync_version": 1,
                "sync_ports": 1} | settings).items():
            self.settings[name] = value

    def packets(self, count, cport):
        """More segments of an established connection; how often it was
        sent."""
        for _ in range(count):
            self.client.send(tcp(CIP, cport, VIP, 80, ACK))
        return len(self.conns(cport))

    def established(self):
        """The client port of a new connection, two packets of which have
        come."""
        cport = self.play("i:syn")
        self.server.send(tcp(RIP, 8080, CIP, cport, ACK | 2))
        self.play("i:ack", cport=cport)
        return cport


def conn(ip, cport, **fields):
    """A connection to port 80 as it is sent."""
    return Conn(**{"caddr": ip.cip, "cport": cport, "vaddr": ip.vip,
                   "vport": 80, "daddr": ip.rip, "dport": 80,
                   "state": TCP["ESTABLISHED"], "timeout": 900} | fields)


METHODS = (("-m", MASQ), ("-g", DROUTE | NOOUTPUT), ("-i", TUNNEL | NOOUTPUT))


@test_each(FAMILIES, "TCP, by each method")
def methods(lab, ip):
    for option, flags in METHODS:
        lab.fresh(f"-A -t {end(ip.vip, 80)} -s rr",
                  f"-a -t {end(ip.vip, 80)} -r {end(ip.rip, 80)} {option}",
                  sync_threshold=ALWAYS)
        lab.master()
        way = "i:syn o:syn i:ack" if option == "-m" else "i:syn i:ack"
        cport = lab.play(way, (ip.cip, ip.vip, ip.rip))
        if option == "-m":
            # A SYN of the server alone is no answer.
            lab.play("o:ack i:ack", (ip.cip, ip.vip, ip.rip), cport)
        equal(lab.conns()[-1:], [conn(ip, cport, flags=flags)], option)


@test_each(FAMILIES, "UDP")
def udp_conns(lab, ip):
    for option, flags in METHODS:
        lab.fresh(f"-A -u {end(ip.vip, 80)} -s rr",
                  f"-a -u {end(ip.vip, 80)} -r {end(ip.rip, 80)} {option}")
        lab.master()
        cport = lab.port()
        for count, wanted in ((2, 0), (1, 1), (49, 0), (1, 1)):
            for _ in range(count):
                lab.client.send(udp(ip.cip, cport, ip.vip, 80))
            equal(lab.conns(), [conn(
                ip, cport, protocol=17, flags=flags | INACTIVE, state=0,
                timeout=300)] * wanted, f"{option}: {count} more packets")


@test_each(FAMILIES, "SCTP: an association that is set up, and one that is "
           "shut down")
def sctp_conns(lab, ip):
    lab.fresh(f"-A --sctp-service {end(ip.vip, 80)} -s rr",
              f"-a --sctp-service {end(ip.vip, 80)} -r {end(ip.rip, 80)} -m",
              sync_threshold=ALWAYS)
    lab.master()
    ends, cport = ((ip.cip, ip.vip, 80), (ip.rip, 80)), lab.port()
    play(lab, ends, cport, ESTABLISHED)
    equal(lab.conns(), [], "being set up")
    lab.client.send(sctp(ip.cip, cport, ip.vip, 80, chunk(DATA, bytes(16))))
    wanted = conn(ip, cport, protocol=132, state=SCTP["ESTABLISHED"])
    equal(lab.conns(), [wanted], "set up")
    for way, state in (("i:shutdown", "S-RECEIVED"),
                       ("o:shutdown_ack i:shutdown_complete", "CLOSED")):
        play(lab, ends, cport, way)
        equal(lab.conns(), [wanted.but(
            state=SCTP[state], flags=INACTIVE, timeout=61)], way)


@test("a connection is sent with its third packet and each 50th one after; "
      "other thresholds are other packets")
def thresholds(lab):
    for numbers, steps in (
            ("3 50", ((0, 0), (1, 1), (49, 0), (1, 1), (50, 1))),
            ("0 1", ((0, 1), (1, 1), (3, 3))),
            ("0 3", ((0, 0), (1, 1), (2, 0), (1, 1))),
            ("4 5", ((0, 0), (1, 0), (1, 1), (4, 0), (1, 1))),
            ("5 0", ((0, 0), (2, 0), (1, 1), (5, 0))),
            ("0 0", ((0, 0), (5, 0)))):
        lab.fresh(sync_threshold=numbers)
        lab.master()
        cport = lab.established()
        for count, wanted in steps:
            equal(lab.packets(count, cport), wanted,
                  f"{numbers}: {count} more")


@test("a change of state is sent at once, with the client's next packet, but "
      "for that to ESTABLISHED")
def state_changes(lab):
    lab.fresh()
    lab.master()
    cport = lab.established()
    equal(lab.conns(), [], "established")
    for who, flags, wanted in (
            ("i", FIN | ACK, (TCP["CLOSE_WAIT"], 0x100, 60)),
            ("o", FIN | ACK, None),
            ("i", ACK, (TCP["TIME_WAIT"], 0x100, 120)), ("i", ACK, None),
            ("i", 4, (TCP["CLOSE"], 0x100, 10)), ("i", 4, None)):
        if who == "i":
            lab.client.send(tcp(CIP, cport, VIP, 80, flags))
        else:
            lab.server.send(tcp(RIP, 8080, CIP, cport, flags))
        lab.settle()
        equal([(found.state, found.flags, found.timeout)
               for found in lab.conns(cport)], [wanted] if wanted else [],
              f"{who} {flags:#x}")


@test("sync_refresh_period: only what makes a difference is sent, and "
      "sync_retries times again")
def refresh(lab):
    lab.fresh(sync_threshold=ALWAYS, sync_refresh_period=16)
    lab.master()
    cport = lab.established()
    equal(len(lab.conns(cport)), 1)
    equal(lab.packets(5, cport), 0, "more")
    lab.client.send(tcp(CIP, cport, VIP, 80, FIN | ACK))
    equal(len(lab.conns(cport)), 1, "a state")
    lab.settings["sync_retries"] = 1
    cport = lab.established()
    equal(len(lab.conns(cport)), 1)
    for again in 1, 0:
        equal(lab.packets(2, cport), 0, "before an eighth of the period")
        time.sleep(2.1)
        equal(lab.packets(2, cport), again, "after it")


@test("with sync_refresh_period and no period, each connection is sent once, "
      "whatever sync_threshold is")
def refresh_alone(lab):
    lab.fresh(sync_threshold="5 0", sync_refresh_period=600)
    lab.master()
    cport = lab.established()
    equal(len(lab.conns(cport)), 1)
    equal(lab.packets(10, cport), 0)


def template(ip, **fields):
    """The template of a client for port 80."""
    return conn(ip, 0, flags=TEMPLATE | INACTIVE, state=0, timeout=300,
                **fields)


@test_each(FAMILIES, "a template is sent with each packet of its connections, "
           "after the connection if that is sent")
def templates(lab, ip):
    kind = f"-t {end(ip.vip, 80)}"
    lab.fresh(f"-A {kind} -s rr -p 300",
              f"-a {kind} -r {end(ip.rip, 80)} -m")
    lab.master()
    ends = ip.cip, ip.vip, ip.rip
    cport = lab.play("i:syn", ends)
    equal(lab.conns(), [template(ip)], "SYN")
    lab.play("o:ack i:ack", ends, cport)
    equal(lab.conns(), [template(ip).but(state=ASSURED)], "second packet")
    lab.play("i:ack", ends, cport)
    equal(lab.conns(), [conn(ip, cport), template(ip).but(state=ASSURED)],
          "third packet")
    lab.settings["sync_persist_mode"] = 1
    lab.play("i:fin", ends, cport)
    equal(lab.conns(), [template(ip).but(state=ASSURED)],
          "the templates alone")


@test("the rate of templates is that of sync_refresh_period, or of "
      "sync_threshold if there is no period at all")
def template_rate(lab):
    rules = f"-A -u {VIP}:80 -s rr -p 300", f"-a -u {VIP}:80 -r {RIP}:80 -m"
    for last, (settings, wanted) in enumerate((
            ({"sync_refresh_period": 600}, 1),
            ({"sync_threshold": "2 0"}, 1),
            ({"sync_threshold": "0 0"}, 0)), 30):
        lab.fresh(*rules, **settings)
        lab.master()
        cport = lab.port()
        for _ in range(6):
            lab.client.send(udp(f"10.0.1.{last}", cport, VIP, 80))
        equal(len([one for one in lab.conns() if one.flags & TEMPLATE]),
              wanted, f"{settings}")


@test("services by firewall mark: the mark, and templates of it")
def marks(lab):
    lab.director.run("nft", "-f", "-", stdin="""
        table inet marks {
            chain in {
                type filter hook prerouting priority mangle
                th dport 80 meta mark set 258
            }
        }
        """)
    for ip, family in zip(FAMILIES, ("", " -6")):
        lab.fresh(f"-A -f 258{family} -s rr -p 300",
                  f"-a -f 258{family} -r {end(ip.rip, 0)} -g",
                  sync_threshold=ALWAYS)
        lab.master()
        cport = lab.port()
        lab.client.send(udp(ip.cip, cport, ip.vip, 80))
        flags = DROUTE | NOOUTPUT | INACTIVE
        equal(lab.conns(), [
            conn(ip, cport, protocol=17, flags=flags, state=0, fwmark=258,
                 timeout=300),
            template(ip, protocol=0, vaddr={
                "IPv4": "0.0.1.2", "IPv6": "0:102::"}[ip.name], vport=0,
                dport=0, fwmark=258).but(flags=flags | TEMPLATE)], ip.name)
    lab.director.run("nft", "delete", "table", "inet", "marks")


def message(call_id):
    """A SIP request, as far as matters."""
    return ("INVITE sip:bob@example.com SIP/2.0\r\n"
            "Via: SIP/2.0/UDP client.example.com\r\n"
            "From: <sip:alice@example.com>;tag=1\r\n"
            f"Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\r\n").encode()


@test("templates of a persistence engine have its name and data; what follows "
      "in a datagram is aligned")
def engine(lab):
    lab.fresh(f"-A -u {VIP}:80 -s rr -p 300 --pe sip",
              f"-a -u {VIP}:80 -r {RIP}:80 -m", sync_threshold=ALWAYS)
    lab.daemons.start(MASTER, DEV, 7)
    ports = []
    for call in "1@a", "22@a", "333@abc":
        ports.append(lab.port())
        lab.client.send(udp(CIP, ports[-1], VIP, 80, message(call)))
    lab.settle()
    _, load = lab.frame()
    wanted = []
    for cport, call in zip(ports, (b"1@a", b"22@a", b"333@abc")):
        wanted += [conn(IPV4, cport, protocol=17, flags=INACTIVE, state=0,
                        timeout=300),
                   template(IPV4, protocol=17, options=(
                       (PE_DATA, call), (PE_NAME, b"sip")))]
    equal(parse(load).conns, tuple(wanted))
    equal(len(load), 8 + 3 * 72 + sum(
        7 + size + -(7 + size) % 4 for size in (3, 4)) + 7 + 7)


@test("of a one-packet service nothing is sent but its templates")
def one_packet(lab):
    lab.fresh(f"-A -u {VIP}:80 -s rr -p 300 -o",
              f"-a -u {VIP}:80 -r {RIP}:80 -m", sync_threshold=ALWAYS)
    lab.master()
    lab.client.send(udp(CIP, lab.port(), VIP, 80))
    equal(lab.conns(), [template(IPV4, protocol=17)])


@test("FTP: the control connection without sequence numbers, which conntrack "
      "has, and the data connection, with its control connection")
def ftp_conns(lab):
    ftp.load()
    for version in 1, 0:
        lab.fresh(f"-A -t {VIP}:21 -s rr", f"-a -t {VIP}:21 -r {RIP}:21 -m",
                  sync_threshold="9 50", sync_version=version)
        lab.master()
        control = Flow(lab, IPV4).open()
        control.passive(40000)
        assert control.shift, "a text as long as the other"
        lab.sent()
        control.from_client(FIN | ACK)
        wanted = conn(IPV4, control.cport, vport=21, dport=21,
                      state=TCP["CLOSE_WAIT"],
                      flags=INACTIVE | NFCT * version, timeout=60 * version)
        equal(lab.conns(), [wanted])
        data = ftp.data(control, 40000, lab.port()).open()
        lab.sent()
        data.from_client(FIN | ACK)
        equal(lab.conns(), [wanted.but(cport=data.cport, vport=40000,
                                       dport=40000), wanted])
    lab.fresh()


@test("a connection with a conntrack entry has a flag of it in version 1")
def conntrack_flag(lab):
    for version, flags in (1, NFCT), (0, 0):
        lab.fresh(sync_version=version)
        lab.master()
        lab.settings["conntrack"] = 1
        cport = lab.play("i:syn i:fin")
        lab.settings["conntrack"] = 0
        equal([one.flags for one in lab.conns(cport)], [INACTIVE | flags])


@test("version 0: no timeout, no mark, no IPv6, and a connection that is not "
      "sent takes its template along")
def version0(lab):
    rules = []
    for ip in FAMILIES:
        kind = f"-t {end(ip.vip, 80)}"
        rules += (f"-A {kind} -s rr -p 300",
                  f"-a {kind} -r {end(ip.rip, 80)} -m")
    lab.fresh(*rules, sync_version=0)
    lab.master(syncid=9)
    for ip in reversed(FAMILIES):
        ends = ip.cip, ip.vip, ip.rip
        cport = lab.play("i:syn o:ack i:ack", ends)
        equal(lab.conns(), [], "before the threshold")
        lab.play("i:ack", ends, cport)
        found = lab.sent()
        wanted = [] if ip is not IPV4 else [
            conn(ip, cport, timeout=0),
            template(ip).but(state=ASSURED, timeout=0)]
        equal([one for load in found for one in parse(load).conns], wanted)
        equal({parse(load)[:2] for load in found},
              {(0, 9)} if wanted else set())


@test("another version begins another datagram")
def switch(lab):
    lab.fresh()
    lab.daemons.start(MASTER, DEV, 7)
    ports = []
    for version in 1, 0, 1:
        lab.settings["sync_version"] = version
        ports.append(lab.play("i:syn i:fin"))
    found = [parse(lab.frame()[1]) for _ in ports]
    equal([(each.version, [one.cport for one in each.conns])
           for each in found],
          [(version, [port]) for version, port in zip((1, 0, 1), ports)])


@test("a datagram has what there is room for, and is sent within seconds if "
      "there is more room")
def filling(lab):
    for version, maxlen, row in ((1, 8 + 5 * 36, (5, 5, 2)),
                                 (0, 4 + 4 * 24 - 1, (3, 3, 3, 3))):
        lab.fresh(sync_version=version)
        lab.daemons.start(MASTER, DEV, 7, maxlen)
        ports = [lab.play("i:syn i:fin") for _ in range(12)]
        found = [parse(lab.frame()[1]) for _ in row]
        equal(tuple(len(each.conns) for each in found), row, f"{maxlen}")
        equal([one.cport for each in found for one in each.conns], ports)


@test("headers: address, port, TTL, link address; no fragment is forbidden")
def headers(lab):
    for group, port, ttl in ((None, None, None), ("239.129.2.3", 9000, 64),
                             ("ff05::1234", 700, 3)):
        lab.fresh()
        lab.daemons.start(MASTER, DEV, 0x1ff, 1, group, port, ttl)
        lab.play("i:syn i:fin")
        lab.fence()
        frame, load = lab.frame()
        group, port, ttl = group or GROUP, port or PORT, ttl or 1
        equal(load[1], 0xff, "sync id")
        if ":" in group:
            equal(frame[:6], b"\x33\x33\0\0\x12\x34")
            equal(frame[14 + 7], ttl)
            equal(frame[14 + 8:14 + 24],
                  socket.inet_pton(socket.AF_INET6, "fd00:99::1"))
            equal(frame[38:54], socket.inet_pton(socket.AF_INET6, group))
            equal(struct.unpack_from("!H", frame, 56)[0], port)
        else:
            sport = struct.unpack_from("!H", frame, 34)[0]
            wanted = packet(OWN, group, Udp(sport, port, load, check=None),
                            ttl=ttl, id=None)
            equal(frame[:6], {GROUP: b"\1\0\x5e\0\0\x51"}.get(
                group, b"\1\0\x5e\1\2\3"))
            equal(wanted.matches(frame[14:]), True, frame.hex())


@test("the director itself does not get what it sends")
def no_loop(lab):
    lab.fresh()
    with lab.director:
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind((GROUP, PORT))
    here.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                    socket.inet_aton(GROUP) + socket.inet_aton(OWN))
    here.setblocking(False)
    lab.master()
    lab.play("i:syn i:fin")
    equal(len(lab.conns()), 1)
    try:
        raise AssertionError(here.recv(2000))
    except BlockingIOError:
        pass
    here.close()


@test("threads: all connections are sent, each to one of the ports")
def several(lab):
    lab.fresh(sync_ports=4)
    lab.daemons.start(MASTER, DEV, 7, port=1000)
    ports = {lab.play("i:syn i:fin") for _ in range(40)}
    seen, used = [], set()
    while len(seen) < len(ports):
        frame, load = lab.frame()
        used.add(struct.unpack_from("!H", frame, 36)[0])
        seen += [one.cport for one in parse(load).conns]
    equal((sorted(seen), used - {1000, 1001, 1002, 1003}),
          (sorted(ports), set()))


@test("a master that was stopped sends nothing any more; one that is started "
      "sends connections that there were before")
def stopped(lab):
    lab.fresh(sync_threshold=ALWAYS)
    cport = lab.established()
    lab.daemons.start(MASTER, DEV, 7)
    equal(lab.play("i:ack", cport=cport), cport)
    lab.daemons.stop()
    lab.play("i:ack", cport=cport)
    lab.daemons.start(MASTER, DEV, 7, 1)
    equal(lab.conns(), [], "what was gathered by the first")
    equal(lab.packets(1, cport), 1)


if __name__ == "__main__":
    main(lambda: SentLab(ipv6=True))
