#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 90
"""What generic netlink refuses: with which errno, why, and with no effect.

The errnos are those of the C module, which is as liberal as families of its
age are: attributes of unknown types are skipped and long ones cut off. Our
module says besides, in the extended ack, what is wrong with which attribute.
After every refusal all services, servers and timeouts are as before.
"""

import os
import random
import struct

from lib import genl, rules
from lib.genl import Genl, attr, be16, nest, string, u8, u16, u32
from lib.lab import RIP, VIP, VIP6, Lab
from lib.tap import equal, main, module_under_test, test

AF_INET6, TCP = 10, 6
PORT, RPORT = 80, 8080
MISSING_PORT = 4444


class NetlinkLab(Lab):
    """A service with a server, and a netlink socket."""

    def build(self):
        super().build()
        self.netlink = Genl(self.director)
        self.configure()

    def configure(self):
        """The service that all this is about."""
        for command, row in ((genl.NEW_SERVICE, [service()]),
                             (genl.NEW_DEST, [service(), server()])):
            equal(self.netlink.request(command, *row).error, "")

    def __exit__(self, *error):
        self.netlink.close()
        super().__exit__(*error)

    def state(self):
        """All that netlink tells of services, servers and timeouts."""
        services = self.netlink.dump(genl.GET_SERVICE).messages
        return (services,
                [self.netlink.dump(genl.GET_DEST, service).messages
                 for service in services],
                self.netlink.request(genl.GET_CONFIG).messages)


def service(port=PORT, protocol=TCP, **more):
    """The SERVICE attribute of the service that is there."""
    return rules.service(protocol, VIP, port, **more)


def server(port=RPORT, ip=RIP, **more):
    """The DEST attribute of its server."""
    return rules.server(ip, port, **more)


def named(reply, request, kind):
    """Whether the extended ack says that it is about this attribute: that
    it is missing, or where it is."""
    if kind is None:
        return True
    at = reply.offset - 20
    there = struct.unpack_from("=HH", request, at)[1] & 0x3fff \
        if 0 <= at <= len(request) - 4 else 0
    return kind in (reply.missing, there)


def refused(lab, cases):
    """Each case: what is wrong, command, attributes, errno, and the type of
    the attribute that our module has to name."""
    wrong = []
    before = lab.state()
    for what, command, row, error, kind in cases:
        reply = lab.netlink.request(command, *row)
        if reply.error != error:
            wrong.append(f"{what}: {reply.error or 'accepted'}, not {error}")
        if module_under_test() == "rust" and not (
                reply.message and named(reply, b"".join(row), kind)):
            wrong.append(f"{what}: not said in {reply}")
        if lab.state() != before:
            raise AssertionError(f"{what}: the state has changed")
    equal(wrong, [], "refusals")


@test("services: attributes that are missing")
def service_missing(lab):
    needed = [(name, kind) for name, kind in vars(genl).items()
              if name in ("SVC_AF", "SVC_SCHED_NAME", "SVC_FLAGS",
                          "SVC_TIMEOUT", "SVC_NETMASK")]
    refused(lab, [
        (f"{command} without {name}", command,
         [service(MISSING_PORT if command == genl.NEW_SERVICE else PORT,
                  without=[kind])], "EINVAL", kind)
        for name, kind in needed
        for command in (genl.NEW_SERVICE, genl.SET_SERVICE)] + [
        (f"{command} without {kind}", command,
         [service(without=[kind])], "EINVAL", None)
        for kind in (genl.SVC_PROTOCOL, genl.SVC_ADDR, genl.SVC_PORT)
        for command in (genl.SET_SERVICE, genl.DEL_SERVICE, genl.GET_SERVICE,
                        genl.ZERO)] + [
        (f"{command} without SERVICE", command, [], "EINVAL",
         genl.CMD_SERVICE)
        for command in (genl.NEW_SERVICE, genl.SET_SERVICE, genl.DEL_SERVICE,
                        genl.GET_SERVICE, genl.NEW_DEST, genl.SET_DEST,
                        genl.DEL_DEST)] + [
        ("empty SERVICE", genl.NEW_SERVICE, [nest(genl.CMD_SERVICE)],
         "EINVAL", genl.SVC_AF)])


@test("services: attributes that are too short, too long or not terminated")
def service_lengths(lab):
    refused(lab, [
        (what, genl.NEW_SERVICE, [service(MISSING_PORT, instead=[bad])],
         "EINVAL", struct.unpack_from("=HH", bad)[1])
        for what, bad in (
            ("family of one byte", u8(genl.SVC_AF, 2)),
            ("no family", attr(genl.SVC_AF, b"")),
            ("protocol of one byte", u8(genl.SVC_PROTOCOL, 6)),
            ("port of one byte", u8(genl.SVC_PORT, 80)),
            ("fwmark of two bytes", u16(genl.SVC_FWMARK, 1)),
            ("timeout of two bytes", u16(genl.SVC_TIMEOUT, 1)),
            ("netmask of three bytes", attr(genl.SVC_NETMASK, b"abc")),
            ("address of 17 bytes", attr(genl.SVC_ADDR, bytes(17))),
            ("flags of 9 bytes", attr(genl.SVC_FLAGS, bytes(9))),
            ("scheduler without end", attr(genl.SVC_SCHED_NAME, b"rr")),
            ("scheduler of 16 letters", string(genl.SVC_SCHED_NAME, "r" * 16)),
            ("scheduler of 60 letters", string(genl.SVC_SCHED_NAME, "r" * 60)),
            ("empty scheduler", attr(genl.SVC_SCHED_NAME, b"")),
            ("engine without end", attr(genl.SVC_PE_NAME, b"s" * 20)))])


@test("services: values that mean nothing")
def service_values(lab):
    refused(lab, [
        ("family 0", genl.NEW_SERVICE, [service(MISSING_PORT, family=0)],
         "EAFNOSUPPORT", genl.SVC_AF),
        ("family 99", genl.NEW_SERVICE, [service(MISSING_PORT, family=99)],
         "EAFNOSUPPORT", genl.SVC_AF),
        ("unknown scheduler", genl.NEW_SERVICE,
         [service(MISSING_PORT, scheduler="nonesuch")], "ENOENT",
         genl.SVC_SCHED_NAME),
        ("unknown scheduler for a service that is", genl.SET_SERVICE,
         [service(scheduler="nonesuch")], "ENOENT", genl.SVC_SCHED_NAME),
        ("unknown engine", genl.NEW_SERVICE,
         [service(MISSING_PORT, instead=[string(genl.SVC_PE_NAME, "xyz")])],
         "ENOENT", genl.SVC_PE_NAME)])


@test("services: one that is there can't be added, one that isn't can't be "
      "anything else")
def service_presence(lab):
    refused(lab, [
        ("added twice", genl.NEW_SERVICE, [service()], "EEXIST", None)] + [
        (f"{command} of none", command, [service(MISSING_PORT), server()],
         "ESRCH", None)
        for command in (genl.SET_SERVICE, genl.DEL_SERVICE, genl.GET_SERVICE,
                        genl.NEW_DEST, genl.SET_DEST, genl.DEL_DEST,
                        genl.ZERO)] + [
        ("other protocol", genl.GET_SERVICE, [service(protocol=17)], "ESRCH",
         None)])


@test("servers: attributes that are missing or of wrong lengths")
def server_attributes(lab):
    full = [genl.DEST_ADDR, genl.DEST_PORT, genl.DEST_FWD_METHOD,
            genl.DEST_WEIGHT, genl.DEST_U_THRESH, genl.DEST_L_THRESH]
    refused(lab, [
        (f"{command} without {kind}", command,
         [service(), server(without=[kind])], "EINVAL", kind)
        for kind in full for command in (genl.NEW_DEST, genl.SET_DEST)] + [
        (f"deletion without {kind}", genl.DEL_DEST,
         [service(), server(without=[kind])], "EINVAL", kind)
        for kind in full[:2]] + [
        (f"{command} without DEST", command, [service()], "EINVAL",
         genl.CMD_DEST)
        for command in (genl.NEW_DEST, genl.SET_DEST, genl.DEL_DEST)] + [
        (what, genl.NEW_DEST, [service(), server(9999, instead=[bad])],
         "EINVAL", struct.unpack_from("=HH", bad)[1])
        for what, bad in (
            ("port of one byte", u8(genl.DEST_PORT, 80)),
            ("method of two bytes", u16(genl.DEST_FWD_METHOD, 1)),
            ("weight of two bytes", u16(genl.DEST_WEIGHT, 1)),
            ("upper threshold of one byte", u8(genl.DEST_U_THRESH, 1)),
            ("lower threshold of none", attr(genl.DEST_L_THRESH, b"")),
            ("family of one byte", u8(genl.DEST_ADDR_FAMILY, 2)),
            ("address of 17 bytes", attr(genl.DEST_ADDR, bytes(17))),
            ("no tunnel type", attr(genl.DEST_TUN_TYPE, b"")),
            ("tunnel port of one byte", u8(genl.DEST_TUN_PORT, 1)))])


@test("servers: values out of range, and addresses that are none of a server")
def server_values(lab):
    refused(lab, [
        (what, command, [service(), bad], error, kind)
        for command in (genl.NEW_DEST, genl.SET_DEST)
        for what, bad, error, kind in (
            ("weight -1", server(weight=-1), "ERANGE", genl.DEST_WEIGHT),
            ("lower threshold above the upper", server(upper=1, lower=2),
             "ERANGE", genl.DEST_L_THRESH),
            ("upper threshold of 2^31", server(upper=1 << 31), "EINVAL",
             genl.DEST_U_THRESH),
            ("family 99", server(
                instead=[u16(genl.DEST_ADDR_FAMILY, 99)]), "EAFNOSUPPORT",
             genl.DEST_ADDR_FAMILY),
            ("IPv6 without a tunnel", server(
                instead=[u16(genl.DEST_ADDR_FAMILY, AF_INET6)]), "EINVAL",
             None),
            ("GUE tunnel without a port", server(
                instead=[u8(genl.DEST_TUN_TYPE, 1)]), "EINVAL", None))] + [
        (f"address {ip}", genl.NEW_DEST, [service(), server(ip=ip)],
         "EINVAL", genl.DEST_ADDR)
        for ip in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "10.0.2.255")])


@test("IPv6: prefix lengths that are none, and addresses that are none of a "
      "server")
def ipv6_values(lab):
    def service6(prefix=128, port=PORT):
        return rules.service(TCP, VIP6, port, family=AF_INET6,
                             instead=[u32(genl.SVC_NETMASK, prefix)])
    equal(lab.netlink.request(genl.NEW_SERVICE, service6()).error, "")
    refused(lab, [
        (f"prefix length {prefix}", command, [service6(prefix, port)],
         "EINVAL", genl.SVC_NETMASK)
        for prefix in (0, 129, 0xffffffff)
        for command, port in ((genl.NEW_SERVICE, MISSING_PORT),
                              (genl.SET_SERVICE, PORT))] + [
        (f"address {ip}", genl.NEW_DEST, [service6(), server(ip=ip)],
         "EINVAL", genl.DEST_ADDR)
        for ip in ("::", "ff02::1", "fe80::1", "::ffff:10.0.2.2")] + [
        ("IPv4 without a tunnel", genl.NEW_DEST, [service6(), server(
            instead=[u16(genl.DEST_ADDR_FAMILY, 2)])], "EINVAL", None)])
    equal(lab.netlink.request(genl.DEL_SERVICE, service6()).error, "")


@test("servers: one that is there can't be added, one that isn't can't be "
      "changed or removed")
def server_presence(lab):
    refused(lab, [
        ("added twice", genl.NEW_DEST, [service(), server()], "EEXIST", None),
        ("changed without being", genl.SET_DEST, [service(), server(9)],
         "ENOENT", None),
        ("removed without being", genl.DEL_DEST, [service(), server(9)],
         "ENOENT", None)])


@test("timeouts: negative ones, ones that overflow, ones that are short")
def timeouts(lab):
    kinds = genl.CMD_TIMEOUT_TCP, genl.CMD_TIMEOUT_TCP_FIN, \
        genl.CMD_TIMEOUT_UDP
    refused(lab, [(f"{kind} {value}", genl.SET_CONFIG, [u32(kind, value)],
                   "EINVAL", kind)
                  for kind in kinds for value in (-1, 0x7fffffff)] +
            [(f"short {kind}", genl.SET_CONFIG, [u16(kind, 1)], "ERANGE", kind)
             for kind in kinds])


@test("daemons: what starts and stops none")
def daemons(lab):
    refused(lab, [
        ("nothing", genl.NEW_DAEMON, [], "EINVAL", None),
        ("no state", genl.DEL_DAEMON, [nest(genl.CMD_DAEMON)], "EINVAL",
         None),
        ("no interface", genl.NEW_DAEMON,
         [nest(genl.CMD_DAEMON, u32(1, 1), u32(3, 0))], "EINVAL", None)])
    equal(lab.netlink.dump(genl.GET_DAEMON).messages, [], "daemons")


@test("commands that are no commands, and messages without a header")
def no_commands(lab):
    before = lab.state()
    for command in (0, genl.SET_INFO, genl.GET_DEST, genl.GET_DAEMON, 18, 255):
        equal(lab.netlink.request(command, service()).error, "EOPNOTSUPP",
              f"command {command}")
    lab.netlink.sequence += 1
    lab.netlink.socket.send(struct.pack(
        "=IHHII", 16, lab.netlink.family, 5, lab.netlink.sequence, 0))
    code = struct.unpack_from("=i", lab.netlink.socket.recv(4096), 16)[0]
    equal(code, -22, "errno of a message without genetlink header")
    equal(lab.state(), before)


@test("nests that are broken: lengths beyond the message, of nothing, of "
      "less than a header; numbers where a nest should be")
def broken_nests(lab):
    good = service(MISSING_PORT)
    refused(lab, [
        ("a number for a service", genl.NEW_SERVICE,
         [u32(genl.CMD_SERVICE, 5)], "EINVAL", None),
        ("a service of two bytes", genl.NEW_SERVICE,
         [attr(genl.CMD_SERVICE, b"ab")], "ERANGE", None),
        ("a service that ends within", genl.NEW_SERVICE,
         [attr(genl.CMD_SERVICE, good[4:], len(good) - 40)], "EINVAL", None),
        ("an attribute longer than the service", genl.NEW_SERVICE,
         [nest(genl.CMD_SERVICE, attr(genl.SVC_AF, b"\2\0", 4000),
               good[12:])], "EINVAL", None),
        ("an attribute of no length", genl.NEW_SERVICE,
         [nest(genl.CMD_SERVICE, attr(genl.SVC_AF, b"\2\0", 0),
               good[12:])], "EINVAL", None)])


@test("what is unknown, long or double is taken as the C module takes it")
def liberal(lab):
    unknown = attr(13, b"who knows") + attr(99, b"") + attr(0, b"zero")
    base = service(MISSING_PORT)
    for what, row in (
            ("unknown attributes", [nest(
                genl.CMD_SERVICE, unknown, base[4:]), attr(77, b"")]),
            ("a service without the nest's flag", [attr(
                genl.CMD_SERVICE, base[4:])]),
            ("a port of four bytes", [service(instead=[attr(
                genl.SVC_PORT, struct.pack("!HH", MISSING_PORT, 0))])]),
            ("the last of two ports", [nest(
                genl.CMD_SERVICE, be16(genl.SVC_PORT, 1), base[4:])]),
            ("an address of four bytes", [service(MISSING_PORT, instead=[attr(
                genl.SVC_ADDR, bytes(map(int, VIP.split("."))))])]),
            ("rubbish at the end", [base, b"xyz"])):
        equal(lab.netlink.request(genl.NEW_SERVICE, *row).error, "", what)
        assert f"-A -t {VIP}:{MISSING_PORT} -s wlc" in lab.ipvs.saved(), what
        equal(lab.netlink.request(
            genl.DEL_SERVICE, service(MISSING_PORT)).error, "", what)


@test("dumps of servers of no service, and of no service at all, are empty")
def empty_dumps(lab):
    for row in ([], [service(MISSING_PORT)], [nest(genl.CMD_SERVICE)]):
        reply = lab.netlink.dump(genl.GET_DEST, *row)
        equal((reply.error, reply.messages), ("", []))


@test("without CAP_NET_ADMIN every command is refused with EPERM")
def permission(lab):
    before = lab.state()
    row = [service(), server()]
    os.seteuid(65534)
    try:
        answers = {command: lab.netlink.request(command, *row).error
                   for command in (genl.NEW_SERVICE, genl.SET_SERVICE,
                                   genl.DEL_SERVICE, genl.GET_SERVICE,
                                   genl.NEW_DEST, genl.SET_DEST,
                                   genl.DEL_DEST, genl.NEW_DAEMON,
                                   genl.DEL_DAEMON, genl.SET_CONFIG,
                                   genl.GET_CONFIG, genl.GET_INFO, genl.ZERO,
                                   genl.FLUSH)}
        dumps = [lab.netlink.dump(command, *row).error
                 for command in (genl.GET_SERVICE, genl.GET_DEST,
                                 genl.GET_DAEMON)]
    finally:
        os.seteuid(0)
    equal(set(answers.values()), {"EPERM"}, f"answers {answers}")
    equal(dumps, ["EPERM"] * 3, "dumps")
    equal(lab.state(), before)


@test("150 messages with random bytes changed: whatever is refused has no "
      "effect, and the family goes on answering")
def mutations(lab):
    rng = random.Random(7)
    name = b"wlc"       # another would have modprobe look for a scheduler
    commands = (genl.NEW_SERVICE, genl.SET_SERVICE, genl.NEW_DEST,
                genl.SET_DEST, genl.DEL_DEST, genl.GET_SERVICE)
    before = lab.state()
    for round_ in range(150):
        body = bytearray(service(rng.choice((PORT, 81))) + server(
            rng.choice((RPORT, 9))))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(body))
            if at not in range(body.find(name), body.find(name) + 3):
                body[at] = rng.randrange(256)
        if rng.random() < .3:
            del body[rng.randrange(len(body)):]
        reply = lab.netlink.request(rng.choice(commands), bytes(body))
        if reply.error:
            equal(lab.state(), before, f"round {round_}, {reply.error}")
        else:
            equal(lab.netlink.request(genl.FLUSH).error, "")
            lab.configure()
            before = lab.state()


if __name__ == "__main__":
    main(NetlinkLab)
