#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""The socket options: every reply byte by byte, every refusal by its errno,
and who may use them. Where nothing is said, both modules answer the same."""

import errno
import os
import re
import socket
import struct

from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.netns import in_child
from lib.packet import udp
from lib.sockopt import (
    ADD, ADDDEST, BASE, DEL, DELDEST, EDIT, EDITDEST, FLUSH, GET_DAEMON,
    GET_DESTS, GET_INFO, GET_SERVICE, GET_SERVICES, GET_TIMEOUT, GET_VERSION,
    GETS, SCTP, SETS, STARTDAEMON, STOPDAEMON, TCP, TIMEOUT, UDP, ZERO,
    Sockopts, server, server_entry, service, service_entry, stats,
    without_rates)
from lib.tap import equal, eventually, main, module_under_test, test

UNUSED = b"\xa5" * 104
INACTIVE, NOOUTPUT = 0x100, 0x80
MASQ, LOCAL, TUNNEL, ROUTE = range(4)


class SockoptLab(Lab):
    """A socket on the director."""

    def __enter__(self):
        super().__enter__()
        self.options = Sockopts(self.director)
        return self

    def __exit__(self, *error):
        self.options.close()
        super().__exit__(*error)

    def fresh(self, *settings):
        """Nothing but these: (option, argument)."""
        for option, argument in ((FLUSH, b""),) + settings:
            equal(self.options.set(option, argument), "",
                  f"option {option - BASE}")

    def state(self):
        """All that can be read of services, servers and timeouts."""
        options = self.options
        services = options.services(8)
        return (services, [options.servers(each, 8) for each in services
                           if each != UNUSED],
                options.get(GET_TIMEOUT, room=12))

    def table_size(self):
        """The size of the connection table, as the old file has it."""
        return int(re.search(r"size=(\d+)",
                             self.director.proc("ip_vs"))[1])


def refused(lab, cases):
    """Each case: option, argument, errno; nothing may change."""
    before = lab.state()
    wrong = []
    for option, argument, error in cases:
        got = lab.options.set(option, argument)
        if got != error:
            wrong.append(f"{option - BASE} {argument.hex()}: "
                         f"{got or 'accepted'}, not {error}")
        equal(lab.state(), before, f"state after {wrong or option - BASE}")
    equal(wrong, [], "refusals")


@test("the version is told as a text and as numbers")
def version(lab):
    lab.fresh((ADD, service(80, ip=VIP)), (ADD, service(mark=7)))
    size = lab.table_size()
    text = f"IP Virtual Server version 1.2.1 (size={size})\0".encode()
    for room in (64, 100):
        answer = lab.options.get(GET_VERSION, room=room)
        equal((answer.error, answer.length), ("", len(text)))
        equal(answer.data, text.ljust(room, b"\xa5"))
    equal(lab.options.get(GET_INFO, room=12),
          ("", struct.pack("=III", 0x010201, size, 2), 12))
    equal(lab.options.get(GET_INFO, room=20).data,
          struct.pack("=III", 0x010201, size, 2) + UNUSED[:8])


@test("a service is shown as it was added, changed, and not after it was "
      "removed")
def services(lab):
    lab.fresh()
    arguments = [
        service(80, ip=VIP, netmask=bytes(4)),
        service(80, UDP, VIP, scheduler=b"wlc", timeout=300),
        service(81, ip=VIP, scheduler=b"none", flags=8),
        service(mark=7, protocol=UDP, scheduler=b"wrr"),
        service(mark=0xffffffff, scheduler=b"lc"),
    ]
    for argument in arguments:
        equal(lab.options.set(ADD, argument), "")
        equal(lab.options.set(ADD, argument), "EEXIST")
        equal(lab.options.get(GET_SERVICE, argument[:16] + bytes(88)),
              ("", service_entry(argument), 104))
    equal(lab.options.services(5), sorted(map(service_entry, arguments)))
    equal(lab.options.services(7),
          sorted([*map(service_entry, arguments), UNUSED, UNUSED]))
    two = lab.options.services(2)
    equal(len(set(two) & set(map(service_entry, arguments))), 2)
    equal(lab.options.services(0), [])

    changed = service(80, ip=VIP, scheduler=b"lc", flags=0x18, timeout=7)
    equal(lab.options.set(EDIT, changed), "")
    equal(lab.options.get(GET_SERVICE, changed[:16] + bytes(88)).data,
          service_entry(changed))
    # Names are not looked at where none is needed.
    equal(lab.options.set(DEL, service(80, ip=VIP, scheduler=b"x" * 16)), "")
    equal(lab.options.get(GET_SERVICE, changed[:16] + bytes(88)).error,
          "ESRCH")
    equal(lab.options.services(5),
          sorted([*map(service_entry, arguments[1:]), UNUSED]))
    lab.fresh()
    equal(lab.options.services(2), [UNUSED] * 2)


@test("a server is shown as it was added and changed, the last one first")
def servers(lab):
    which = service(80, ip=VIP)
    arguments = [server(RIP, 80, MASQ, 3, 100, 50),
                 server(RIP, 0, TUNNEL, 0),
                 server(RIP2, 8080, ROUTE | NOOUTPUT, 65535)]
    entries = [server_entry(arguments[0], MASQ | INACTIVE),
               server_entry(arguments[1], TUNNEL | INACTIVE | NOOUTPUT),
               server_entry(arguments[2], ROUTE | INACTIVE | NOOUTPUT)]
    lab.fresh((ADD, which))
    for argument in arguments:
        equal(lab.options.set(ADDDEST, which + argument), "")
        equal(lab.options.set(ADDDEST, which + argument), "EEXIST")
    equal(lab.options.servers(which, 3), entries[::-1])
    equal(lab.options.servers(which, 5), entries[::-1] + [UNUSED[:96]] * 2)
    equal(lab.options.servers(which, 2), entries[:0:-1])
    equal(lab.options.servers(which, 0), [])
    equal(lab.options.services(1), [service_entry(which, 3)])

    changed = server(RIP, 0, LOCAL, 9, 5, 5)
    equal(lab.options.set(EDITDEST, which + changed), "")
    equal(lab.options.servers(which, 3),
          [entries[2], server_entry(changed, LOCAL | INACTIVE | NOOUTPUT),
           entries[0]])
    equal(lab.options.set(DELDEST, which + changed), "")
    equal(lab.options.set(DELDEST, which + changed), "ENOENT")
    equal(lab.options.servers(which, 2), [entries[2], entries[0]])


@test("both control protocols see the same rules")
def same_rules(lab):
    lab.fresh((ADD, service(80, ip=VIP, scheduler=b"wrr")),
              (ADDDEST, service(80, ip=VIP) + server(RIP, 8080, weight=4)),
              (ADD, service(mark=7, protocol=UDP)))
    equal(lab.ipvs.saved(),
          ["-A -f 7 -s rr", f"-A -t {VIP}:80 -s wrr",
           f"-a -t {VIP}:80 -r {RIP}:8080 -m -w 4"])
    lab.ipvs.rules("-E -f 7 -s wlc", f"-a -f 7 -r {RIP}:0 -g -w 2")
    which = service(mark=7, protocol=UDP, scheduler=b"wlc")
    entry = lab.options.get(GET_SERVICE, which[:16] + bytes(88)).data
    equal(entry, service_entry(which, 1))
    equal(lab.options.servers(which, 1), [server_entry(
        server(RIP, 0, ROUTE, 2), ROUTE | INACTIVE | NOOUTPUT)])
    # One by firewall mark has the protocol of whoever added it.
    lab.ipvs.rules("-A -f 8 -s rr")
    equal(lab.options.get(GET_SERVICE, service(mark=8)[:16] + bytes(88)).data,
          service_entry(service(mark=8)))
    lab.ipvs.admin("-C")
    equal(lab.options.services(1), [UNUSED])


@test("what packets count is in the entries, and can be zeroed")
def counted(lab):
    which, other = service(80, UDP, VIP), service(81, UDP, VIP)
    one = server(RIP, 80)
    lab.fresh((ADD, which), (ADDDEST, which + one),
              (ADD, other), (ADDDEST, other + one))
    for vport in (80, 81):
        lab.exchange(lab.client, udp(CIP, lab.port(), VIP, vport, bytes(22)))
    counts = stats(1, 1, 0, 50)

    def shown(argument):
        entry = lab.options.get(GET_SERVICE, argument[:16] + bytes(88)).data
        return [without_rates(entry)] + [
            without_rates(each) for each in lab.options.servers(argument, 1)]

    def entries(argument, counts):
        return [service_entry(argument, 1, counts),
                server_entry(one, MASQ | INACTIVE, (0, 1, 0), counts)]
    # The C module's are up to two seconds old.
    for argument in (which, other):
        eventually(lambda a=argument: shown(a) == entries(a, counts),
                   "the counts", 6)
    equal(lab.options.set(ZERO, which), "")
    equal(shown(which), entries(which, stats()))
    equal(shown(other), entries(other, counts))
    # No service stands for all; the protocol does not matter then.
    equal(lab.options.set(ZERO, service(0, protocol=99)), "")
    equal(shown(other), entries(other, stats()))


@test("timeouts: 0 leaves one as it is, and none is set if one is wrong")
def timeouts(lab):
    def values(*three):
        return struct.pack("=iii", *three)
    lab.fresh((TIMEOUT, values(900, 120, 300)))
    largest = 0x7fffffff // 250
    for wanted, becomes in (((11, 12, 13), (11, 12, 13)),
                            ((0, 0, 14), (11, 12, 14)),
                            ((0, largest, 0), (11, largest, 14))):
        equal(lab.options.set(TIMEOUT, values(*wanted)), "")
        equal(lab.options.get(GET_TIMEOUT, room=12),
              ("", values(*becomes), 12))
    wrong = [-1, -0x80000000, largest + 1, 0x7fffffff]
    refused(lab, [(TIMEOUT, values(*(bad if place == at else 5
                                     for at in range(3))), "EINVAL")
                  for bad in wrong for place in range(3)])
    lab.fresh((TIMEOUT, values(900, 120, 300)))


@test("what can't be a sync daemon is refused, and none runs")
def daemons(lab):
    def daemon(state, name=b"lo"):
        return struct.pack("=i16si", state, name, 0)
    equal(lab.options.get(GET_DAEMON, room=48), ("", bytes(48), 48))
    refused(lab, [(STARTDAEMON, daemon(1, b""), "EINVAL"),
                  (STARTDAEMON, daemon(2, b"x" * 16), "EINVAL"),
                  (STARTDAEMON, daemon(3), "EINVAL"),
                  (STOPDAEMON, daemon(1), "ESRCH"),
                  (STOPDAEMON, daemon(2, b"x" * 16), "ESRCH"),
                  (STOPDAEMON, daemon(0), "EINVAL")])


@test("services that are wrong are refused, the first mistake first")
def wrong_services(lab):
    good = service(80, ip=VIP)
    lab.fresh((ADD, good), (ADD, service(mark=7, protocol=UDP)))
    endless = b"x" * 16
    cases = []
    for option in (ADD, EDIT):
        cases += [
            (option, service(80, 99, VIP, scheduler=endless), "EINVAL"),
            (option, service(80, 99, VIP), "EFAULT"),
            (option, service(mark=7, protocol=0), "EFAULT"),
            (option, service(80, 1, VIP), "EFAULT")]
    for option in (DEL, ZERO, ADDDEST, EDITDEST, DELDEST):
        more = server(RIP, 1, weight=-1) if SETS[option] == 68 else b""
        cases += [
            (option, service(80, 99, VIP) + more, "EFAULT"),
            (option, service(82, ip=VIP) + more, "ESRCH"),
            (option, service(80, SCTP, VIP) + more, "ESRCH"),
            (option, service(mark=8) + more, "ESRCH"),
            (option, service(mark=7, protocol=TCP) + more, "ESRCH")]
    cases += [
        (EDIT, service(82, ip=VIP, scheduler=b"no-such"), "ESRCH"),
        (EDIT, service(mark=7, protocol=TCP), "ESRCH"),
        (ADD, service(80, ip=VIP, scheduler=b"no-such"), "EEXIST"),
        (ADD, service(mark=7, protocol=TCP), "EEXIST"),
        (ADD, service(82, ip=VIP, scheduler=b"no-such"), "ENOENT"),
        (ADD, service(82, ip=VIP, scheduler=b""), "ENOENT"),
        (EDIT, service(80, ip=VIP, scheduler=b"no-such"), "ENOENT")]
    refused(lab, cases)


@test("servers that are wrong are refused, the first mistake first")
def wrong_servers(lab):
    which = service(80, ip=VIP)
    lab.fresh((ADD, which), (ADDDEST, which + server(RIP, 80)))
    cases = []
    for option in (ADDDEST, EDITDEST):
        cases += [
            (option, which + server(RIP, 80, weight=-1, upper=1, lower=2),
             "ERANGE"),
            (option, which + server(RIP, 81, upper=1, lower=2), "ERANGE"),
            (option, which + server(RIP, 81, upper=1 << 31), "EINVAL")]
    cases += [
        (ADDDEST, which + server("224.0.0.1", 80), "EINVAL"),
        (ADDDEST, which + server("255.255.255.255", 80), "EINVAL"),
        (EDITDEST, which + server(RIP, 81), "ENOENT"),
        (DELDEST, which + server(RIP2, 80, weight=-1), "ENOENT")]
    refused(lab, cases)
    # What the C module accepts, and ours can't do.
    if module_under_test() == "rust":
        refused(lab, [(ADDDEST, which + server(RIP2, 80, 5), "EINVAL")])


@test("a wrong length is refused before anything else is looked at")
def lengths(lab):
    lab.fresh((ADD, service(80, ip=VIP)))
    before = lab.state()
    for option, right in SETS.items():
        for length in {0, 1, 12, 24, 43, 44, 45, 64, 68, 69, 255,
                       1000} - {right}:
            equal(lab.options.set(option, bytes(length)), "EINVAL",
                  f"{option - BASE}, {length} bytes")
        equal(lab.options.set(option, bytes(right), length=0x7fffffff),
              "EINVAL")
    for option, least in GETS.items():
        for length in {-0x80000000, -1, 0, 1, least - 1}:
            equal(lab.options.get(option, room=least, length=length),
                  ("EINVAL", UNUSED[:least], length),
                  f"{option - BASE}, {length} bytes")
    which = service(80, ip=VIP)[:16]
    for option, head, size in ((GET_SERVICES, b"", 104),
                               (GET_DESTS, which, 96)):
        least = GETS[option]
        for count, length in ((0, least + 1), (0, least + size),
                              (1, least), (1, least + size - 1),
                              (1, least + size + 1), (0xffffffff, least),
                              (0xffffffff, 0x7fffffff)):
            equal(lab.options.get(
                option, head + struct.pack("=I4x", count), room=500,
                length=length).error, "EINVAL", f"{count} in {length} bytes")
    # A missing service counts after the length.
    head = service(82, ip=VIP)[:16]
    equal(lab.options.get(GET_DESTS, head + struct.pack("=I4x", 1)).error,
          "EINVAL")
    equal(lab.options.get(GET_DESTS, head + bytes(8)).error, "ESRCH")
    equal(lab.state(), before)


@test("numbers that mean nothing are refused")
def unknown(lab):
    for option in (0, 1, 6, 13, 14):
        for length in (0, 44):
            equal(lab.options.set(BASE + option, bytes(length)), "EINVAL")
    for length in (0, 4, 100):
        equal(lab.options.get(BASE + 5, room=length).error, "EINVAL")
    for option in (BASE - 1, BASE + 16):
        equal(lab.options.set(option, bytes(44)), "ENOPROTOOPT")
        equal(lab.options.get(option, room=64).error, "ENOPROTOOPT")
    equal(lab.options.get(BASE + 8, room=64).error, "ENOPROTOOPT")


@test("memory that can't be read or written is refused")
def bad_memory(lab):
    lab.fresh((ADD, service(80, ip=VIP)))
    before = lab.state()
    for pointer in (8, 0x7ffffffff000, 0xffff888000000000):
        for option, length in SETS.items():
            if length:
                equal(lab.options.set(option, length=length,
                                      pointer=pointer), "EFAULT")
        for option, length in GETS.items():
            equal(lab.options.get(option, length=length,
                                  pointer=pointer).error, "EFAULT")
    equal(lab.state(), before)


@test("they are those of IPv4 sockets")
def families(lab):
    six = Sockopts(lab.director, socket.AF_INET6)
    try:
        answer = six.socket.getsockopt(socket.IPPROTO_IPV6, GET_INFO, 12)
    except OSError as error:
        equal(error.errno, errno.ENOPROTOOPT)
    else:
        raise AssertionError(f"an IPv6 option: {answer!r}")
    finally:
        six.close()


@test("they need CAP_NET_ADMIN, which is asked for first")
def capability(lab):
    lab.fresh((ADD, service(80, ip=VIP)))

    def unprivileged():
        os.setgid(65534)
        os.setuid(65534)
        return {lab.options.set(option, bytes(length))
                for option in range(BASE, BASE + 16)
                for length in (0, 1, 44)} | {
                    lab.options.get(option, room=length).error
                    for option in range(BASE, BASE + 8)
                    for length in (0, 200)}
    equal(in_child(unprivileged), "{'EPERM'}")
    equal(len(lab.options.services(1)), 1)


@test("root of a user namespace has them in network namespaces of his own, "
      "and in no other")
def user_namespace(lab):
    lab.fresh((ADD, service(80, ip=VIP)))

    def rootless():
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        own = Sockopts()
        which = service(81, UDP, VIP)
        said = [own.set(ADD, which), own.set(ADD, which),
                own.services(2) == [service_entry(which), UNUSED],
                own.set(DEL, which), own.set(DEL, which),
                lab.options.set(FLUSH), lab.options.get(GET_INFO,
                                                        room=12).error]
        own.close()
        return said
    equal(in_child(rootless),
          repr(["", "EEXIST", True, "", "ESRCH", "EPERM", "EPERM"]))
    equal(lab.options.services(1), [service_entry(service(80, ip=VIP))])


if __name__ == "__main__":
    main(SockoptLab)
