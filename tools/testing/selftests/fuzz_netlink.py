#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 150
"""Netlink requests and socket options by chance, to several namespaces.

Sound requests of all commands are bent: attributes missing, short, long,
double, unknown, wrongly nested, of lengths that lie; as requests and as dumps;
in messages whose own header lies. Whatever is refused is refused with an
errno of the interface and has changed nothing: all that netlink tells of
services, servers, timeouts and daemons is the same before and after, in the
namespace that was asked, and at the end of each batch in the others too.

N (requests), SEED and TRACE=1 (print each request) come by the environment;
"make fuzz-kernel N=... SEED=..." sets them.
"""

import os
import socket
import struct

from lib import genl
from lib.chance import chance, number
from lib.genl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Genl
from lib.lab import CIP, RIP, VIP, Lab
from lib.module import no_autoload
from lib.mutate import NUMBERS, Requests
from lib.packet import udp
from lib.rules import Rules
from lib.tap import equal, main, note, test

REQUESTS = number("N", 800)
BATCH = 50
TRACE = os.environ.get("TRACE")
# What the C module has for wrong requests, and ours besides; what the core of
# netlink itself answers. Anything else is a number that got out by mistake.
ERRNOS = {"", "EINVAL", "ERANGE", "EEXIST", "ENOENT", "ESRCH", "EAFNOSUPPORT",
          "EPROTONOSUPPORT", "ENOSYS", "EOPNOTSUPP", "ENODEV", "EMSGSIZE",
          "ENOPROTOOPT", "EFAULT", "EPERM"}
DUMPS = (genl.GET_SERVICE, genl.GET_DEST, genl.GET_DAEMON)
BASE_CTL = 64 + 1024 + 64                # IP_VS_BASE_CTL
IPPROTO_IP = 0


class FuzzLab(Lab):
    """The director, a namespace beside it, and the machine's first one."""

    def build(self):
        super().build()
        self.rng = chance(20261124)
        self.requests = Requests(self.rng)
        self.beside = self.namespace("beside", {})
        self.links = [Genl(self.director), Genl(self.beside)]
        self.answers = {}
        self.quiet = no_autoload()
        self.quiet.__enter__()

    def __exit__(self, *error):
        for link in getattr(self, "links", []):
            if not error[0]:
                link.request(genl.FLUSH)
            link.close()
        if hasattr(self, "quiet"):
            self.quiet.__exit__(None, None, None)
        super().__exit__(*error)

    def count(self, error):
        """For the summary of what was answered."""
        self.answers[error or "done"] = self.answers.get(
            error or "done", 0) + 1
        assert error in ERRNOS, f"answered with {error}"

    def summary(self):
        note(", ".join(f"{what} {times}" for what, times in sorted(
            self.answers.items())))
        self.answers = {}

    def works(self):
        """A service can be made, used and removed."""
        with Rules(self.director) as rules:
            rules.add(17, VIP, 999, RIP)
            request = udp(CIP, self.port(), VIP, 999)
            self.expect(self.client, request,
                        {self.server: request.but(dst=RIP, ttl=63)})
            rules.remove(17, VIP, 999)


def state(link):
    """All that netlink tells of a namespace. Services are in no order: the
    C module moves them into larger tables in its own time."""
    found = {service.hex(): [dest.hex() for dest in
                             link.dump(genl.GET_DEST, service).messages]
             for service in link.dump(genl.GET_SERVICE).messages}
    found["timeouts"] = link.request(genl.GET_CONFIG).messages[0].hex()
    found["daemons"] = link.dump(genl.GET_DAEMON).messages
    return found


def same(got, want, what):
    """Two states are the same, or it is shown where they differ."""
    if got != want:
        raise AssertionError("\n".join([what] + [
            f"  {key[:160]}\n    got  {got.get(key)}\n    want {want.get(key)}"
            for key in {**want, **got} if got.get(key) != want.get(key)]))


def batches(lab, total, one):
    """Run `one` with each number below the total on some namespace; it
    returns the errno's name, and then nothing may have changed. None: any
    change is right."""
    before = [state(link) for link in lab.links]
    for index in range(total):
        which = lab.rng.randrange(len(lab.links))
        error = one(index, which)
        if error != "":
            equal(state(lab.links[which]), before[which],
                  f"state after number {index}, answered with {error}")
        before[which] = state(lab.links[which])
        if error is not None:
            lab.count(error)
        if index % BATCH == BATCH - 1:
            for link, wanted in zip(lab.links, before):
                same(state(link), wanted, f"namespaces at number {index}")
            lab.works()
            for link in lab.links:
                equal(link.request(genl.FLUSH).error, "")
            before = [state(link) for link in lab.links]
    lab.summary()


@test(f"{REQUESTS} requests, most of them wrong: refused with an errno and "
      "without effect, or done")
def requests(lab):
    def one(index, which):
        command, body = lab.requests.request()
        flags = NLM_F_REQUEST
        if lab.rng.random() < (.5 if command in DUMPS else .05):
            flags |= NLM_F_DUMP
        if lab.rng.random() < .1:
            flags |= lab.rng.randrange(0x1000)
        link = lab.links[which]
        # A dump is begun by both of its bits.
        if flags & NLM_F_DUMP != NLM_F_DUMP:
            flags |= NLM_F_ACK
        reply = link.send(link.family, command, body, flags)
        if TRACE:
            note(f"{index} {which} {command} {flags:#x} {body[:300].hex()} "
                 f"{reply.error} {reply.message}")
        return reply.error
    batches(lab, REQUESTS, one)


@test("messages whose headers lie or are cut off are answered or passed over, "
      "and change nothing but what a whole message in them asks for")
def headers(lab):
    rng = lab.rng

    def one(_index, which):
        command, body = lab.requests.request()
        data = bytearray(struct.pack(
            "=IHHIIBBH", 20 + len(body), lab.links[which].family,
            NLM_F_REQUEST, 7, 0, command, rng.choice((0, 1, 2, 255)),
            rng.choice((0, 0, 0xffff))) + body)
        struct.pack_into("=I", data, 0, rng.choice(NUMBERS + (
            len(data) - 1, len(data) + 1, len(data) - 4, len(data) + 4)))
        if rng.random() < .3:
            del data[rng.randrange(1, len(data)):]
        # The work is done when send() returns, but for a dump, which ends
        # with its socket.
        with lab.links[which].namespace, socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW,
                genl.NETLINK_GENERIC) as throwaway:
            throwaway.send(data)
            throwaway.setblocking(False)
            try:
                while throwaway.recv(1 << 16):
                    pass
            except BlockingIOError:
                pass
        return ""
    batches(lab, REQUESTS // 5, one)


@test("dumps that are begun and not read to their end, and requests in the "
      "middle of one")
def broken_dumps(lab):
    link = lab.links[0]
    with Rules(lab.director) as rules:
        rules.flush()
        for vport in range(200):
            rules.add(6, VIP, 2000 + vport, RIP)
        for _ in range(REQUESTS // 100):
            half = Genl(lab.director)
            half.sequence += 1
            half.socket.send(struct.pack(
                "=IHHIIBBH", 20, half.family, NLM_F_REQUEST | NLM_F_DUMP,
                half.sequence, 0, genl.GET_SERVICE, 1, 0))
            half.socket.recv(1 << 16)
            vport = 2000 + lab.rng.randrange(200)
            rules.remove(6, VIP, vport)
            if lab.rng.random() < .5:
                half.socket.recv(1 << 16)
            half.close()
            rules.add(6, VIP, vport, RIP)
        equal(len(link.dump(genl.GET_SERVICE).messages), 200, "services")
        rules.flush()
    lab.works()


def option(rng):
    """The number and the content of a socket option of IPVS, or near it."""
    name = BASE_CTL + rng.choice((rng.randrange(-1, 17), rng.randrange(16)))
    service = struct.pack("=HH4sHI16sIII", rng.choice((6, 17, 6, 1)), 0,
                          socket.inet_aton(VIP), socket.htons(80), 0,
                          rng.choice((b"rr", b"wlc", b"x" * 16)),
                          rng.choice((0, 8, 1)), 0, 0xffffffff)
    server = struct.pack("=4sHIiII", socket.inet_aton(RIP), socket.htons(80),
                         rng.choice((0, 2, 3, 1, 7)), rng.choice((0, 1, -1)),
                         rng.choice((0, 5)), rng.choice((0, 9)))
    content = bytearray(rng.choice((
        service, service + server, rng.randbytes(rng.randrange(100)),
        bytes(rng.randrange(100)), struct.pack("=iii", 0, 0, 0),
        rng.randbytes(4096))))
    if content and rng.random() < .4:
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < .3:
        del content[rng.randrange(len(content) + 1):]
    return name, bytes(content)


@test(f"{REQUESTS // 4} socket options with random contents and lengths: "
      "refused with an errno and without effect, or done")
def options(lab):
    sockets = []
    for namespace in lab.director, lab.beside:
        with namespace:
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, 255))

    def one(_index, which):
        name, content = option(lab.rng)
        sock = sockets[which]
        try:
            if lab.rng.random() < .5:
                sock.setsockopt(IPPROTO_IP, name, content)
                return ""
            # The kernel reads some of what it will overwrite.
            sock.getsockopt(IPPROTO_IP, name, lab.rng.choice(
                (0, 4, 24, 40, 64, 200, 1024)))
        except OSError as error:
            return genl.error_name(error.errno)
        return ""
    batches(lab, REQUESTS // 4, one)
    for sock in sockets:
        sock.close()


if __name__ == "__main__":
    main(FuzzLab)
