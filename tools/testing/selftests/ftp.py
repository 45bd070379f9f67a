#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""FTP through ip_vs_ftp, packet by packet: the addresses in the control
connection are those of the service, and data connections find the server of
their control connection."""

import struct

from lib import ftp
from lib.family import FAMILIES, IPV4, IPV6, end
from lib.ftp import PORTS, FtpLab
from lib.packet import ACK, PSH, SYN, tcp
from lib.tap import equal, eventually, main, module_under_test, test, test_each


@test("the module registers its ports in each namespace, the last one first")
def registered(lab):
    wanted = [("TCP", port, 0, "ftp") for port in reversed(PORTS)]
    equal(ftp.apps(lab.director), wanted)
    equal(ftp.apps(lab.client.ns), wanted)
    late = lab.namespace("late", {})
    equal(ftp.apps(late), wanted)
    text = lab.director.proc("ip_vs_app").splitlines()[1]
    equal(text, "TCP  2121    0      ftp              ")


@test_each(FAMILIES, "a control connection is counted, and is listed as any")
def counted(lab, ip):
    before = dict(app[1:3] for app in ftp.apps(lab.director))[21]
    control = lab.control(ip)
    equal(dict(app[1:3] for app in ftp.apps(lab.director))[21], before + 1)
    equal((control.cport, 21, ip.rip, 21, "ESTABLISHED") in lab.only_of(ip),
          True, "listed")
    other = ftp.apps(lab.client.ns)
    equal({app[2] for app in other}, {0}, "in another namespace")


@test_each(FAMILIES, "passive: the client is told the virtual address, and its "
           "connection from any port reaches the server that was asked")
def passive(lab, ip):
    control = lab.control(ip)
    port = 40000
    control.passive(port)
    equal((0, port, ip.rip, port, "LISTEN") in lab.only_of(ip), True,
          "waiting connection")
    flow = ftp.data(control, port).open()
    flow.both_ways()
    shown = lab.only_of(ip)
    equal((flow.cport, port, ip.rip, port, "ESTABLISHED") in shown, True,
          f"data connection in {shown}")
    eventually(lambda: not [row for row in lab.only_of(ip) if row[0] == 0],
               "waiting connection has its port")
    control.both_ways()


@test_each(FAMILIES, "active: the server's connection from port 20 comes from "
           "the virtual address")
def active(lab, ip):
    control = lab.control(ip)
    port = lab.port()
    control.active(port)
    equal((port, 20, ip.rip, 20, "LISTEN") in lab.only_of(ip), True)
    control.reply("200 fine\r\n")
    flow = ftp.called_back(control, port)
    flow.both_ways()
    equal((port, 20, ip.rip, 20, "ESTABLISHED") in lab.only_of(ip), True)


@test_each(FAMILIES, "commands are found in any case and among others, and the "
           "last one counts")
def pipelined(lab, ip):
    control = lab.control(ip)
    for text in ("noop\r\n%s", "\xff\xf4\xff\xf2%s", "USER x\r\n%sLIST\r\n"):
        port = lab.port()
        control.command(text % ("epsv\r\n" if ip is IPV6 else "pasv\r\n"))
        control.reply(*ftp.entering(ip, port))
        equal((0, port, ip.rip, port, "LISTEN") in lab.only_of(ip), True, text)


@test_each(FAMILIES, "what is not understood passes unchanged, and nothing is "
           "made of it")
def not_understood(lab, ip):
    control = lab.control(ip)
    before = lab.only_of(ip)
    comma = ftp.comma("10.0.1.2", 40000)
    for text in ("PASV", "PAS\r\nV\r\n", "EPSV ALL\r\n", "EPSV 3\r\n",
                 f"PORT {comma}", "PORT 10,0,1,256,1,1\r\n",
                 "PORT 10,0,1,2,999999999999,1\r\n", "PORT -1,0,1,2,1,1\r\n",
                 f"NOOP\r\nPORT {comma}\r\n", "EPRT |1|10.0.1.2|65536|\r\n",
                 "EPRT |1|10.0.1.2|0|\r\n", "EPRT |1|10.0.1|40000|\r\n",
                 "EPRT |3|x|1|\r\n", "EPRT |2|fd00:1::2|1\r\n",
                 "EPRT |2|fd00::1::2|1|\r\n", "EPRT |||1|\r\n",
                 "\0" * 300, "A" * 1400):
        control.command(text)
        control.reply("500 what\r\n")
        # Nobody has asked for these.
        control.reply(f"227 Passive ({ftp.comma(ip.rip, 1)}).\r\n"
                      if ip is IPV4 else "229 Passive (|||1|)\r\n")
    control.command("EPSV\r\n" if ip is IPV6 else "PASV\r\n")
    for text in ("227 (1,2,3,4,5)\r\n", "227 (256,0,0,1,1,1)\r\n",
                 "227-(10,0,2,2,1,1)\r\n", " 227 (10,0,2,2,1,1)\r\n",
                 "229 (|||65536|)\r\n", "229 (||1|)\r\n", "229 |||1|\r\n",
                 "150 227 (10,0,2,2,1,1)\r\n", "229 (|||1", "227 (1,2,3,4,5,6"):
        control.reply(text)
    equal(lab.only_of(ip), before, "connections")
    control.both_ways()


@test_each(FAMILIES, "texts that get longer and shorter: sequence numbers and "
           "acknowledgements of both ends fit, several times in a row")
def sequence_numbers(lab, ip):
    control = lab.control(ip)
    for text in ("229 Extended (|2|%s|%d|)\r\n" if ip is IPV6 else
                 "229 Extended (|1|%s|%d|)\r\n",
                 "229 Short (!!!%d!)\r\n", "229 Zeros (|||000%d|)\r\n"):
        port = lab.port()
        there = text % ((ip.rip, port) if text.count("%") == 2 else port)
        start = there.index("(")
        before = control.shift
        control.command("EPSV\r\n")
        control.reply(there, f"{there[:start]}(|||{port}|)\r\n")
        equal(control.shift == before, "!!!" in text, f"shift by {text!r}")
        control.both_ways()
    if ip is IPV4:
        for _ in range(3):
            control.passive(lab.port())
            control.both_ways()


@test_each(FAMILIES, "selective acknowledgements are adjusted, too")
def sack(lab, ip):
    control = lab.control(ip)
    if ip is IPV4:
        control.passive(lab.port())
    else:
        control.command("EPSV\r\n")
        control.reply(f"229 (|2|{ip.rip}|40001|)\r\n", "229 (|||40001|)\r\n")
    shift = control.shift
    equal(shift != 0, True, "shift")
    first, last = control.server_next + 100, control.server_next + 200

    def option(more):
        return b"\1\1\5\x0a" + struct.pack("!II", first + more, last + more)
    sent, there = control.request(ACK, tcp_options=option(shift))
    lab.expect(lab.client, sent,
               {control.server: there.but(tcp_options=option(0))})


@test("IPv4: a reply that outgrows the MTU is fragmented")
def outgrows(lab):
    control = lab.control(IPV4)
    there, shown = ftp.entering(IPV4, 40002)
    pad = "x" * (1460 - len(there))
    control.command("PASV\r\n")
    sent, wanted = control.answer(PSH | ACK, (there + pad).encode())
    wanted = wanted.but(payload=(shown + pad).encode())
    lab.expect(control.server, sent, {lab.client: wanted.fragments(1480)})


@test_each(FAMILIES, "a wrong checksum is not made right: the packet is dropped")
def wrong_checksum(lab, ip):
    control = lab.control(ip)
    for make in control.request, control.answer:
        sent, _ = make(PSH | ACK, b"NOOP\r\n")
        seen = lab.exchange(lab.client if make == control.request
                            else control.server, sent.but(check=0x1234))
        equal({host: len(frames) for host, frames in seen.items() if frames},
              {})


@test("a reply that is sent again is changed again")
def retransmitted(lab):
    control = lab.control(IPV4)
    control.command("PASV\r\n")
    there, shown = (text.encode() for text in ftp.entering(IPV4, 40003))
    before = control.shift
    control.from_server(PSH | ACK, there, shown)
    after = control.shift
    control.server_next -= len(there)
    control.shift = before
    if module_under_test() == "c":
        # The C module changes the first one only: the client gets the server's
        # address, and less than the sequence numbers say.
        control.from_server(PSH | ACK, there, there)
        control.shift = after
    else:
        control.from_server(PSH | ACK, there, shown)
    equal(control.shift, after)
    control.from_client(ACK)
    control.both_ways()


@test_each(FAMILIES, "with nf_conntrack_ftp, a passive data connection is related to "
           "its control connection, and works as without it")
def with_helper(lab, ip):
    with ftp.helped(lab, ip) as related:
        control = lab.control(ip)
        control.passive(40050)
        equal(related(), 0)
        flow = ftp.data(control, 40050).open()
        # The SYN; what follows is of an established connection.
        equal(related(), 1)
        flow.both_ways()
        control.both_ways()


@test_each(FAMILIES, "a command that is sent again, and a second one for the same "
           "port, are fine")
def again(lab, ip):
    control = lab.control(ip)
    port = lab.port()
    control.active(port)
    control.client_next -= 6
    control.from_client(PSH | ACK, b"PORT\r\n")
    control.active(port)
    equal([row for row in lab.only_of(ip) if row[0] == port],
          [(port, 20, ip.rip, 20, "LISTEN")])


@test_each(FAMILIES, "another port of the service's module: data comes from the port "
           "below")
def other_port(lab, ip):
    lab.ipvs.service(end(ip.vip, 2121), f"{end(ip.rip, 2100)} -m")
    control = lab.control(ip, vport=2121, rport=2100)
    port = lab.port()
    control.active(port)
    equal((port, 2120, ip.rip, 2099, "LISTEN") in lab.only_of(ip), True)
    ftp.called_back(control, port).both_ways()


@test_each(FAMILIES, "a data connection that nobody has announced reaches nobody")
def unannounced(lab, ip):
    control = lab.control(ip)
    control.passive(40010)
    ftp.data(control, 40010).open()
    eventually(lambda: not [row for row in lab.only_of(ip)
                            if row[:2] == (0, 40010)], "it has its port")
    before = lab.only_of(ip)
    for port in 40010, 40011:
        sent, _ = ftp.data(control, port).request(SYN)
        seen = lab.exchange(lab.client, sent)
        equal(seen[control.server], [], f"at the server, to port {port}")
    equal(lab.only_of(ip), before)


@test_each(FAMILIES, "an ICMP error about an answer of a data connection that waits for the "
           "client's port reaches the server, and it waits on")
def error_about_waiting(lab, ip):
    control = lab.control(ip)
    port = 40070
    control.passive(port)
    answer = tcp(ip.vip, port, ip.cip, lab.port(), SYN | ACK)
    kind = (3, 3) if ip is IPV4 else (1, 4)
    lab.expect(
        lab.client, ip.router_error(ip.cip, ip.vip, kind, answer),
        {control.server: ip.router_error(
            ip.cip, ip.rip, kind, answer.sealed().but(src=ip.rip), ttl=63)})
    # Of another port of the service it is not about any connection.
    other = answer.but(sport=port + 1)
    seen = lab.exchange(lab.client, ip.router_error(ip.cip, ip.vip, kind,
                                                    other))
    equal(seen[control.server], [], "about another port")
    equal((0, port, ip.rip, port, "LISTEN") in lab.only_of(ip), True)
    ftp.data(control, port).open().both_ways()


@test_each(FAMILIES, "data connections of a persistent service belong to the control "
           "connection's server")
def persistent(lab, ip):
    # The last case, as templates stay.
    service = end(ip.vip, 21)
    lab.ipvs.rules(f"-D -t {service}", f"-A -t {service} -s rr -p 100",
                   f"-a -t {service} -r {end(ip.rip, 21)} -m",
                   f"-a -t {service} -r {end(ip.rip2, 21)} -m")
    control = ftp.Flow(lab, ip)
    # The one that is chosen is seen by where the first packet goes.
    sent, _ = control.request(SYN)
    seen = lab.exchange(lab.client, sent)
    control.server = next(host for host in lab.servers if seen[host])
    control.rip = ip.rip if control.server is lab.servers[0] else ip.rip2
    control.client_next += 1
    control.from_server(SYN | ACK)
    control.from_client(ACK)
    text, shown = ftp.entering(ip, 40020)
    text = text.replace(ftp.comma(ip.rip, 40020), ftp.comma(control.rip, 40020))
    control.command("EPSV\r\n" if ip is IPV6 else "PASV\r\n")
    control.reply(text, shown)
    ftp.data(control, 40020).open().both_ways()


if __name__ == "__main__":
    main(FtpLab)
