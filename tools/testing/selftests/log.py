#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""What IPVS says in the kernel's log: every event has its line, with what
monitoring matches on, and neither packets nor requests can flood it.

Each event is caused with both modules. Where a line is compared as text, they
say the same; otherwise a regular expression is met by both. What differs on
purpose is in the tests for one module.
"""

import os
import re
import socket
import struct
import time
import traceback
from contextlib import suppress

from lib import genl, klog, module, rules, sockopt
from lib.genl import Genl
from lib.klog import ERROR, INFO, KernelLog, Line, packet_limit
from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6, Lab
from lib.module import SCHEDULERS
from lib.netns import become_owner, up
from lib.packet import tcp, udp
from lib.rules import Rules
from lib.sockopt import Sockopts
from lib.tap import equal, main, module_under_test, test

TCP, UDP = 6, 17
RUST = module_under_test() == "rust"
NONE_LEFT = "no destination available"
# How many lines requests may cause, and in how many seconds.
REQUESTS, SECONDS = 10, 5


class LogLab(Lab):
    """A director whose kernel's log is read."""

    def __enter__(self):
        super().__enter__()
        self.log = KernelLog()
        return self

    def __exit__(self, *error):
        self.log.__exit__()
        super().__exit__(*error)

    def fresh(self, *lines):
        """A module that was just loaded, so that nothing has been said, with
        these services alone."""
        self.ipvs.admin("-C")
        module.unload()
        module.load()
        self.ipvs.rules(*lines)
        self.log.read()

    def said(self):
        """What IPVS has said since the last look, but for what the C module
        says of its threads."""
        return [line for line in self.log.ipvs() if "estimator" not in line.text
                and "ests per chain" not in line.text]

    def ask(self, *requests):
        """Send netlink requests, (errno's name, command, attributes...)."""
        netlink = Genl(self.director)
        for error, command, *row in requests:
            equal(netlink.request(command, *row).error, error, f"{command}")
        netlink.close()


def meet(lines, level, *patterns):
    """Lines of this level, each of which a regular expression describes."""
    assert len(lines) == len(patterns) and all(
        line.level == level and re.search(pattern, line.text)
        for line, pattern in zip(lines, patterns)), \
        f"{lines}\n  want {patterns} of level {level}"


@test("loading says protocols, the size of the table, each scheduler and "
      "engine, and that it is done; unloading says the same in reverse")
def life(lab):
    lab.ipvs.admin("-C")
    module.unload()
    lab.log.read()
    module.load("conn_tab_bits=10")
    if not RUST:
        module.run("modprobe", "ip_vs_pe_sip")
    come = [text for level, text in lab.log.ipvs() if level == INFO]
    module.unload()
    gone = [text for level, text in lab.log.ipvs() if level == INFO]
    module.load()

    protocols, table = come[:2]
    assert re.fullmatch(r"Registered protocols \(TCP, UDP.*\)", protocols), \
        protocols
    assert re.match(r"Connection hash table configured \(size=\d+, "
                    r"memory=\d+Kbytes\)", table), table
    assert "(size=1024, memory=8Kbytes)" in table, table
    names = [f"[{name}] scheduler" for name in SCHEDULERS] + ["[sip] pe"]
    equal(sorted(set(come[2:])), sorted(
        ["ipvs loaded."] + [f"{name} registered." for name in names]))
    equal(sorted(gone), sorted(
        ["ipvs unloaded."] + [f"{name} unregistered." for name in names]))
    equal(gone[-1], "ipvs unloaded.")


@test("what it says of protocols and of the table is true",
      modules=("rust",))
def truth(lab):
    lab.ipvs.admin("-C")
    module.unload()
    lab.log.read()
    module.load()
    protocols, table, *_ = [text for _, text in lab.log.ipvs()]
    named = re.search(r"\((.*)\)", protocols)[1].split(", ")
    # Packets of these follow connections, and there are no services of them.
    for name in "AH", "ESP":
        assert name in named, named
    for name, number in (("TCP", 6), ("UDP", 17), ("SCTP", 132)):
        netlink = Genl(lab.director)
        error = netlink.request(
            genl.NEW_SERVICE, rules.service(number, VIP, 80)).error
        equal(error == "", name in named, f"{name}: {error}")
        netlink.close()
    lab.ipvs.admin("-C")
    size = int(re.search(r"size=(\d+)", lab.director.proc("ip_vs"))[1])
    assert f"(size={size}, memory={size * 8 // 1024}Kbytes)" in table, table


@test("a scheduler that finds no server says so, with its name and the "
      "service's protocol, address and port")
def no_destination(lab):
    lab.fresh()
    with packet_limit(10, 0):
        for number, name in enumerate(SCHEDULERS):
            where = f"{VIP}:{100 + number}"
            lab.ipvs.service(where, f"{RIP}:80 -m -w 0", scheduler=name)
            lab.exchange(lab.client, tcp(CIP, lab.port(), VIP, 100 + number))
            want = [Line(ERROR, f"{name}: TCP {where} - {NONE_LEFT}")]
            # C's lblcr says it only where it remembers a server.
            equal(lab.said(), want if RUST or name != "lblcr" else [], name)
        lab.ipvs.service(f"{VIP}:90", kind="-u", scheduler="wlc")
        lab.ipvs.rules(f"-A -t {VIP}:91 -s sh -p 60")
        lab.exchange(lab.client, udp(CIP, lab.port(), VIP, 90),
                     tcp(CIP, lab.port(), VIP, 91))
        equal(lab.said(), [
            Line(ERROR, f"wlc: UDP {VIP}:90 - {NONE_LEFT}"),
            Line(ERROR, f"sh: TCP {VIP}:91 - {NONE_LEFT}")])


@test("it says so of IPv6 services with their address in brackets, and of "
      "those by firewall mark with the mark")
def no_destination_others(lab):
    lab.fresh(f"-A -u [{VIP6}]:90 -s rr", "-A -f 10 -s rr", "-A -f 11 -6 -s lc")
    lab.director.run("nft", "-f", "-", stdin="""
        table inet marks { chain in {
            type filter hook prerouting priority mangle
            meta nfproto ipv4 udp dport 70 meta mark set 10
            meta nfproto ipv6 udp dport 70 meta mark set 11
        }
        }""")
    with packet_limit(10, 0):
        lab.exchange(lab.client, udp(CIP6, lab.port(), VIP6, 90),
                     udp(CIP, lab.port(), VIP, 70),
                     udp(CIP6, lab.port(), VIP6, 70))
    lab.director.run("nft", "delete", "table", "inet", "marks")
    equal(lab.said(), [
        Line(ERROR, f"rr: UDP [{VIP6}]:90 - {NONE_LEFT}"),
        Line(ERROR, f"rr: FWM 10 0x0000000A - {NONE_LEFT}"),
        Line(ERROR, f"lc: FWM 11 0x0000000B - {NONE_LEFT}")])


@test("wrr tells servers without weight from servers that are overloaded")
def overloaded(lab):
    lab.fresh(f"-A -u {VIP}:80 -s wrr", f"-a -u {VIP}:80 -r {RIP}:80 -m -w 1 "
              "-x 1", f"-a -u {VIP}:80 -r {RIP}:81 -m -w 0")
    requests = [udp(CIP, lab.port(), VIP, 80) for _ in range(3)]
    with packet_limit(10, 0):
        lab.exchange(lab.client, *requests[:2])
        lab.ipvs.rules(f"-e -u {VIP}:80 -r {RIP}:80 -m -w 0 -x 1")
        lab.exchange(lab.client, requests[2])
    equal(lab.said(), [
        Line(ERROR, f"wrr: UDP {VIP}:80 - {NONE_LEFT}: all destinations are "
             "overloaded"),
        Line(ERROR, f"wrr: UDP {VIP}:80 - {NONE_LEFT}")])


@test("a packet for a service of all ports that is not persistent is an error "
      "of configuration, which is said")
def port_zero(lab):
    lab.fresh()
    with Rules(lab.director) as netlink:
        netlink.add(TCP, VIP, 0, RIP)
    with packet_limit(10, 0):
        lab.exchange(lab.client, tcp(CIP, lab.port(), VIP, 80))
    meet(lab.said(), ERROR, "^Schedule: port zero .*persistent service")


@test("nothing is said of packets that have a server, of their connections, "
      "and of services without a scheduler")
def silence(lab):
    lab.fresh(f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RIP}:80 -m",
              f"-A -t {VIP}:82 -s rr -p 60", f"-a -t {VIP}:82 -r {RIP}:82 -m")
    with Rules(lab.director) as netlink:
        netlink.add(TCP, VIP, 81, RIP, scheduler="none")
    lab.said()
    with packet_limit(10, 0):
        for vport in 80, 81, 82:
            request = tcp(CIP, lab.port(), VIP, vport)
            lab.exchange(lab.client, request, request)
    equal(lab.said(), [])


@test("packets to a thousand services without a server cause no more lines "
      "than net.core.message_burst allows")
def flood(lab):
    lab.fresh()
    with Rules(lab.director) as netlink:
        for vport in range(1, 1001):
            netlink.add(UDP, VIP, vport)
    packets = [udp(CIP, lab.port(), VIP, vport) for vport in range(1, 1001)]
    # Limits hold from the first line on that comes after a change.
    with packet_limit(10, 0):
        lab.burst(packets[:1])
    lab.said()
    for burst in 1, 10, 25:
        with packet_limit(burst, 3600):
            lab.burst(packets)
        equal(len(lab.said()), burst, "lines")
        with packet_limit(10, 0):
            lab.burst(packets[:1])
        lab.said()


@test("packets to services of all ports cause no more lines than that either",
      modules=("rust",))
def flood_port_zero(lab):
    lab.fresh()
    with Rules(lab.director) as netlink:
        netlink.add(UDP, VIP, 0, RIP)
    packets = [udp(CIP, lab.port(), VIP, vport) for vport in range(1, 301)]
    with packet_limit(10, 0):
        lab.burst(packets[:1])
    lab.said()
    with packet_limit(10, 3600):
        lab.burst(packets)
    equal(len(lab.said()), 10, "lines")
    with packet_limit(10, 0):
        lab.burst(packets[:1])


def dest_request(error, command, **more):
    """A request about a server of the TCP service at port 80."""
    return (error, command, rules.service(TCP, VIP, 80),
            rules.server(RIP, 80, **more))


@test("an unknown scheduler, and an unknown persistence engine, are named")
def unknown_names(lab):
    lab.fresh(f"-A -t {VIP}:80 -s rr")
    pe = [genl.string(genl.SVC_PE_NAME, "nope")]
    with module.no_autoload():
        for command, vport in ((genl.NEW_SERVICE, 81), (genl.SET_SERVICE, 80)):
            lab.ask(("ENOENT", command, rules.service(
                        TCP, VIP, vport, scheduler="nonesuch")),
                    ("ENOENT", command, rules.service(
                        TCP, VIP, vport, scheduler="rr", instead=pe)))
    equal(lab.said(), 2 * [
        Line(INFO, "Scheduler module ip_vs_nonesuch not found"),
        Line(INFO, "persistence engine module ip_vs_pe_nope not found")])


@test("what is not printable in such a name is escaped, so that it is one line "
      "and no line of another's", modules=("rust",))
def unprintable(lab):
    lab.fresh()
    lab.ask(("ENOENT", genl.NEW_SERVICE, rules.service(
        TCP, VIP, 81, scheduler="a\nIPVS: b\x1b\x7f")))
    equal(lab.said(), [Line(INFO, r"Scheduler module ip_vs_a\x5cnIPVS: "
                            r"b\x5cx1b\x5cx7f not found")])


@test("refused weights, thresholds and tunnel ports are said, of servers that "
      "are added and that are changed")
def refused(lab):
    lab.fresh(f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RIP}:80 -m")
    gue = [genl.u8(genl.DEST_TUN_TYPE, 1), genl.be16(genl.DEST_TUN_PORT, 0)]
    for command in genl.NEW_DEST, genl.SET_DEST:
        lab.ask(dest_request("ERANGE", command, weight=-1),
                dest_request("ERANGE", command, upper=4, lower=5),
                dest_request("EINVAL", command, method=genl.TUNNEL,
                             instead=gue))
        meet(lab.said(), ERROR, "weight .*less than zero",
             "lower threshold .*higher than upper threshold",
             "tunnel port .*zero")


@test("such a line names service and server", modules=("rust",))
def refused_whom(lab):
    lab.fresh(f"-A -t {VIP}:80 -s rr", "-A -f 10 -6 -s rr")
    lab.ask(dest_request("ERANGE", genl.NEW_DEST, weight=-1),
            ("EINVAL", genl.NEW_DEST, genl.nest(
                genl.CMD_SERVICE, genl.u16(genl.SVC_AF, 10),
                genl.u32(genl.SVC_FWMARK, 10)),
             rules.server(RIP6, 8080, upper=1 << 31)))
    equal([line.text for line in lab.said()], [
        f"TCP {VIP}:80: server {RIP}:80: weight is less than zero",
        f"FWM 10 0x0000000A: server [{RIP6}]:8080: upper threshold is too high"])


@test("a scheduler that can't be had for a service is said: mh with more "
      "servers than it has places")
def init_error(lab):
    lab.fresh()
    netlink = Genl(lab.director)
    service = rules.service(TCP, VIP, 80, scheduler="rr")
    netlink.request(genl.NEW_SERVICE, service)
    for number in range(4094):
        equal(netlink.request(genl.NEW_DEST, service, rules.server(
            f"10.9.{number >> 8}.{number & 255}", 80)).error, "")
    equal(netlink.request(genl.SET_SERVICE, rules.service(
        TCP, VIP, 80, scheduler="mh")).error, "EINVAL")
    netlink.close()
    meet(lab.said(), ERROR, "init error")


@test("socket options with an invalid protocol, and with a length that is not "
      "that of the answer, are said")
def socket_options(lab):
    lab.fresh(f"-A -t {VIP}:80 -s rr")
    options = Sockopts(lab.director)
    service = sockopt.service(80, 99, VIP)
    equal(options.set(sockopt.ADD, service), "EFAULT")
    equal(options.set(sockopt.ADDDEST, service + sockopt.server(RIP, 80)),
          "EFAULT")
    equal(options.get(sockopt.GET_SERVICES, struct.pack("=I4x", 2),
                      room=8 + 104).error, "EINVAL")
    equal(options.get(sockopt.GET_DESTS, sockopt.service(80, TCP, VIP)[:16] +
                      struct.pack("=I4x", 0), room=25).error, "EINVAL")
    options.close()
    meet(lab.said(), ERROR, f"invalid protocol: 99 {VIP}:80",
         f"invalid protocol: 99 {VIP}:80", "length: 112 != 216",
         "length: 25 != 24")


def as_users_root(function):
    """Run it as root of a user namespace, with a network namespace of its own; how
    many seconds that took."""
    begin = time.monotonic()
    child = os.fork()
    if not child:
        status = 1
        try:
            become_owner()
            function()
            status = 0
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            os._exit(status)
    equal(os.waitpid(child, 0)[1], 0, "exit status of the user's root")
    return time.monotonic() - begin


def refuse_thousand():
    """1,000 requests that are refused."""
    options = Sockopts()
    wrong = [options.set(sockopt.ADD, sockopt.service(80, 99, VIP))
             for _ in range(1000)]
    equal(wrong, ["EFAULT"] * 1000)


def refused_requests(lab):
    """How many lines 1,000 requests of a user namespace's root make, and in
    how many seconds."""
    lab.fresh()
    seconds = as_users_root(refuse_thousand)
    # Not that of the kernel about those it has kept back.
    lines = [line for line in lab.said() if "invalid protocol" in line.text]
    return len(lines), seconds


@test("of a thousand refused requests of a user namespace's root, no more are "
      "said than the limit allows", modules=("rust",))
def flood_of_requests(lab):
    lines, seconds = refused_requests(lab)
    # A span begins with the first line; the last one may have just begun.
    most = REQUESTS * (1 + int(seconds / SECONDS))
    assert REQUESTS <= lines <= most, f"{lines} lines in {seconds} s"


@test("of a thousand refused requests of a user namespace's root, each is said",
      modules=("c",))
def no_limit_of_requests(lab):
    equal(refused_requests(lab)[0], 1000, "lines")


@test("requests of a user namespace's root leave all lines to those of others",
      modules=("rust",))
def requests_of_others(lab):
    refused_requests(lab)
    options = Sockopts(lab.director)
    for _ in range(REQUESTS):
        equal(options.set(sockopt.ADD, sockopt.service(81, 99, VIP)), "EFAULT")
    options.close()
    meet(lab.said(), ERROR, *[f"invalid protocol: 99 {VIP}:81"] * REQUESTS)


def unserved_packets():
    """300 packets of a user namespace to a service of its own that has no
    server."""
    up()
    # By netlink only the machine's root may.
    equal(Sockopts().set(sockopt.ADD, sockopt.service(90, UDP, "127.0.0.1")),
          "")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(300):
            # A packet that is dropped on its way out is the sender's error.
            with suppress(PermissionError):
                client.sendto(b"", ("127.0.0.1", 90))


@test("packets of a user namespace have a limit, and leave all lines to those of "
      "others", modules=("rust",))
def packets_of_others(lab):
    lab.fresh(f"-A -u {VIP}:90 -s rr")
    packets = [udp(CIP, lab.port(), VIP, 90) for _ in range(5)]
    with packet_limit(10, 0):
        lab.burst(packets[:1])
    lab.said()
    with packet_limit(5, 3600):
        seconds = as_users_root(unserved_packets)
        lines = [line.text for line in lab.said() if NONE_LEFT in line.text]
        equal(set(lines), {f"rr: UDP 127.0.0.1:90 - {NONE_LEFT}"})
        most = REQUESTS * (1 + int(seconds / SECONDS))
        assert REQUESTS <= len(lines) <= most, f"{len(lines)} in {seconds} s"
        lab.burst(packets)
    equal(lab.said(), 5 * [Line(ERROR, f"rr: UDP {VIP}:90 - {NONE_LEFT}")])
    with packet_limit(10, 0):
        lab.burst(packets[:1])


@test("lines that packets have no leave for are not those of requests",
      modules=("rust",))
def two_limits(lab):
    lab.fresh(f"-A -u {VIP}:80 -s rr")
    with packet_limit(0, 3600):
        lab.exchange(lab.client, udp(CIP, lab.port(), VIP, 80))
        lab.ask(("ENOENT", genl.NEW_SERVICE, rules.service(
            TCP, VIP, 81, scheduler="nonesuch")))
    meet(lab.said(), INFO, "ip_vs_nonesuch not found")


if __name__ == "__main__":
    main(lambda: LogLab(ipv6=True))
