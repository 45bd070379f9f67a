#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 900
"""Allocations fail, each once, where connection tracking, FTP and `-m ipvs`
come in: when ip_vs_ftp and xt_ipvs are loaded, when a service begins to need
conntrack, in the first packets of tracked connections, and in all that is
said in control connections and comes of it.

As in faults.py, the outcome is ENOMEM and no effect, or a packet that is
dropped, or all is as it should be; nothing leaks. A packet that was dropped
and is sent again is treated as if it had not been sent before."""

from contextlib import nullcontext

from lib import faults, ftp, genl, memory, module, rules
from lib.busy import TCP, UDP
from lib.ctnetlink import Table
from lib.family import IPV4
from lib.faultlab import (RUST, FaultLab, arrives, at_server, command,
                          insertion, one_way, unsharing)
from lib.lab import CIP, RIP, VIP
from lib.module import MATCH, run
from lib.packet import ACK, IPPROTO_SCTP, PSH, SYN, tcp, udp
from lib.sctp import sctp
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

SERVICE, SERVER = rules.service(TCP, VIP, 21), rules.server(RIP, 21)


class TrackingLab(FaultLab):
    """With the modules beside ip_vs, and the table of conntrack."""

    def __enter__(self):
        super().__enter__()
        run("modprobe", "-a", "nf_conntrack", "nf_conntrack_netlink")
        self.at_first = max(memory.namespaces() for _ in range(3))
        self.build()
        self.table = Table(self.director)
        ftp.load()
        module.load_match()
        return self

    def __exit__(self, *error):
        self.table.close()
        super().__exit__(*error)
        # One that an entry is left of never ends.
        eventually(lambda: memory.namespaces() <= self.at_first + 1,
                   "the end of namespaces", 60)

    def anew(self, *vports):
        """FTP's service, and others."""
        self.must(genl.FLUSH)
        self.must(genl.NEW_SERVICE, SERVICE)
        self.must(genl.NEW_DEST, SERVICE, SERVER)
        for vport in vports:
            for protocol in TCP, UDP, IPPROTO_SCTP:
                which = rules.service(protocol, VIP, vport)
                self.must(genl.NEW_SERVICE, which)
                self.must(genl.NEW_DEST, which, rules.server(RIP, vport))

    def tracks(self):
        """Whether packets are tracked."""
        before = self.table.count()
        self.client.write(udp(CIP, next(self.ports), RIP, 5000))
        self.drain()
        return self.table.count() != before

    def say(self, flow, flags, text=b""):
        """The client says something."""
        self.client.write(flow.request(flags, text)[0])
        flow.client_next += len(text) + bool(flags & SYN)

    def reply(self, flow, flags, text=b""):
        """The server does."""
        self.server.write(flow.answer(flags, text)[0])
        flow.server_next += len(text) + bool(flags & SYN)

    def control(self, *said):
        """A control connection in which the client has said something."""
        flow = ftp.Flow(self, IPV4, cport=next(self.ports))
        self.say(flow, SYN)
        self.reply(flow, SYN | ACK)
        self.say(flow, ACK)
        for text in said:
            self.say(flow, PSH | ACK, text)
        self.drain()
        return flow


@test("ip_vs_ftp and xt_ipvs are loaded: ENOMEM, and nothing of them is there")
def load(lab):
    run("rmmod", "ip_vs_ftp", MATCH)
    insertion("loading ip_vs_ftp", ftp.path(), "ip_vs_ftp", 1 if RUST else 3,
              lambda: equal(ftp.apps(lab.director), [], "applications"))
    path = f"{module.RUST_MODULES}/{MATCH}.ko" if RUST else \
        run("modinfo", "-n", MATCH).strip()
    insertion(f"loading {MATCH}", path, MATCH, 1)
    ftp.load()
    module.load_match()


@test("a namespace is made while ip_vs_ftp is loaded: ENOMEM, and nothing of "
      "it is there")
def namespace(_lab):
    unsharing("a namespace with FTP", 20 if RUST else 12)


@test("a server by NAT on FTP's port, for which conntrack is turned on: "
      "ENOMEM and no effect, or done")
def tracking_begins(lab):
    def without():
        lab.must(genl.FLUSH)
        lab.must(genl.NEW_SERVICE, SERVICE)
        equal(lab.tracks(), False, "tracks without servers")

    def direct():
        without()
        lab.must(genl.NEW_DEST, SERVICE,
                 rules.server(RIP, 21, method=genl.DROUTE))
        equal(lab.tracks(), False, "tracks without NAT")

    def refused():
        equal(lab.tracks(), False, "tracks after a refusal")
    command(lab, "FTP's server", 4, without, genl.NEW_DEST, SERVICE, SERVER,
            refused=refused)
    equal(lab.tracks(), True, "tracks")
    command(lab, "FTP's server changed to NAT", 3, direct, genl.SET_DEST,
            SERVICE, SERVER, refused=refused)
    equal(lab.tracks(), True, "tracks")
    without()


@test("the first packets of tracked connections: dropped, or sent as they "
      "should be, wherever memory is short on their way")
def first_packets(lab):
    lab.anew()
    Settings(lab.director)["conntrack"] = 1
    for where in "tun", "ip_vs":
        for make, more in (udp, {}), (tcp, {}), (sctp, {"tag": 0}):
            now = []

            def fresh(make=make, more=more, now=now):
                # No route to the server is known.
                lab.anew(81)
                now[:] = [make(CIP, next(lab.ports), VIP, 81, **more)]
            one_way(lab, f"{make.__name__}, tracked, below {where}", 2,
                    lab.client, lab.server, lambda now=now: now,
                    lambda now=now: [at_server(now[0], 81)], fresh,
                    lambda where=where: faults.text(where))
    Settings(lab.director)["conntrack"] = 0


def stepping(lab, what, at_least, begin, forgets=False):
    """A step of a conversation. `begin` does what comes before it, and
    returns the wire of the step's packet, that packet, the wire on the other
    side, and what arrives there. Sent again, it arrives; unless the C module
    `forgets` what it was to do."""
    now = []

    def before():
        now[:] = begin()
        lab.drain()

    def after(_result, hit):
        source, packet, sink, want = now
        got = sink.read()
        arrives(got, [want], hit)
        if hit and not got and (RUST or not forgets):
            source.write(packet)
            arrives(sink.read(), [want], False)
    faults.walk(what, faults.text(), lambda: now[0].write(now[1]), at_least,
                before, after)


def first_of_control(lab):
    """The client connects."""
    lab.anew()
    sent, there = ftp.Flow(lab, IPV4, cport=next(lab.ports)).request(SYN)
    return lab.client, sent, lab.server, there


def announcing(lab, command_, reply, shown):
    """The server announces a port."""
    flow = lab.control(command_)
    sent, there = flow.answer(PSH | ACK, reply.encode())
    return lab.server, sent, lab.client, there.but(payload=shown.encode())


def passive_reply(lab):
    """The server's reply to PASV."""
    return announcing(lab, b"PASV\r\n", *ftp.entering(IPV4, next(lab.ports)))


def extended_reply(lab):
    """The server's reply to EPSV, which gets shorter."""
    port = next(lab.ports)
    return announcing(lab, b"EPSV\r\n", f"229 (|1|{RIP}|{port}|)\r\n",
                      f"229 (|||{port}|)\r\n")


def active_command(lab):
    """The client's PORT."""
    text = f"PORT {ftp.comma(CIP, next(lab.ports))}\r\n"
    sent, there = lab.control().request(PSH | ACK, text.encode())
    return lab.client, sent, lab.server, there


def passive_data(lab):
    """The client connects to the port that was announced."""
    flow, port = lab.control(b"PASV\r\n"), next(lab.ports)
    lab.reply(flow, PSH | ACK, ftp.entering(IPV4, port)[0].encode())
    sent, there = ftp.data(flow, port, cport=next(lab.ports)).request(SYN)
    return lab.client, sent, lab.server, there


def active_data(lab):
    """The server connects to the port that was announced."""
    port = next(lab.ports)
    lab.control(f"PORT {ftp.comma(CIP, port)}\r\n".encode())
    back = ftp.Flow(lab, IPV4, cport=port, vport=20, rport=20)
    sent, there = back.answer(SYN, ack=0)
    return lab.server, sent, lab.client, there


@test("control and data connections: packets are dropped, or changed as they "
      "should be; and if they are sent again, they are")
def conversations(lab):
    lab.anew()
    for captured in False, True:
        more = ", captured" if captured else ""
        both = (lab.listening("client"), lab.listening("server1")) \
            if captured else (nullcontext(), nullcontext())
        with both[0], both[1]:
            for step, at_least, forgets in (
                    (first_of_control, 2, False), (passive_reply, 1, True),
                    (extended_reply, 1, True), (active_command, 1, False),
                    (passive_data, 1 if RUST else 0, False),
                    (active_data, 0, False)):
                stepping(lab, f"{step.__name__}{more}", at_least,
                         lambda step=step: step(lab), forgets)


@test("connections that conntrack is told to expect: the reply arrives, with "
      "or without; and the connection does")
def expected(lab):
    lab.anew()
    with ftp.helped(lab, IPV4):
        for step, at_least in ((passive_reply, 2),
                               (passive_data, 1 if RUST else 0)):
            stepping(lab, f"{step.__name__}, expected", at_least,
                     lambda step=step: step(lab), True)
    lab.table.flush()


if __name__ == "__main__":
    main(TrackingLab)
