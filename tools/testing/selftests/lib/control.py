# SPDX-License-Identifier: GPL-2.0
"""A service of FTP beside others, and traffic of control connections and of
their data connections that does not stop."""

import time

from . import ftp
from .family import IPV4
from .ftp import Flow
from .genl import MASQ
from .packet import ACK, PSH, SYN
from .rules import Rules
from .tap import eventually, module_under_test
from .vs import Settings

PORTS = range(3000, 3040)
DATA, BACK = 30000, 10000        # added to the port of a control connection


def configure(rules, *servers):
    """Add the service by an open `Rules`."""
    rules.add(6, IPV4.vip, 21, *servers or (IPV4.rip,), method=MASQ)


def end(lab):
    """Remove the service, and with it all that keeps ip_vs_ftp in use.

    It may have been removed before, when that left its connections: so it is
    added first. The C module goes through the table once, and leaves what has
    a packet just then; if traffic goes on, a control connection may get new
    data connections before it is looked at again, for ever. There the service
    is removed again, every few seconds."""
    def remove():
        with Rules(lab.director, lax=True) as rules:
            configure(rules)
            rules.remove(6, IPV4.vip, 21)
        return time.monotonic() + 3

    def gone():
        nonlocal due
        if module_under_test() == "c" and time.monotonic() > due:
            due = remove()
        return not any(app[2] for app in ftp.apps(lab.director))
    with Settings(lab.director).but(expire_nodest_conn=1):
        due = remove()
        eventually(gone, "the end of control connections", 60)


def conversation(lab, cport):
    """What the client and the server say, as two lists: a control connection
    with PASV, EPSV and PORT, and the beginning of the data connections. Each
    packet is right if all are sent in turn and no text gets longer."""
    ip, here, there = IPV4, [], []
    flow = Flow(lab, ip, cport=cport)

    def said(flags, text=b""):
        here.append(flow.request(flags, text)[0])
        flow.client_next += len(text) + bool(flags & SYN)

    def answered(flags, text=b""):
        there.append(flow.answer(flags, text)[0])
        flow.server_next += len(text) + bool(flags & SYN)
    said(SYN)
    answered(SYN | ACK)
    said(ACK)
    for command, reply in (
            (b"PASV\r\n", ftp.entering(ip, cport + DATA)[0]),
            (b"EPSV\r\n", f"229 Here (|||{cport + DATA + 100}|)\r\n"),
            (f"PORT {ftp.comma(ip.cip, cport + BACK)}\r\n".encode(),
             "200 fine\r\n")):
        said(PSH | ACK, command)
        answered(PSH | ACK, reply.encode())
    for port in cport + DATA, cport + DATA + 100:
        data = ftp.data(flow, port, cport=cport + BACK + 100)
        here.append(data.request(SYN)[0])
        there.append(data.answer(SYN | ACK)[0])
        here.append(data.request(ACK)[0])
    back = Flow(lab, ip, cport=cport + BACK, vport=20, rport=20)
    there.append(back.answer(SYN, ack=0)[0])
    here.append(back.request(SYN | ACK)[0])
    return here, there


def sources(lab, cports=PORTS):
    """For flood(): what all say to the director."""
    spoken = [conversation(lab, cport) for cport in cports]
    return ((lab.client, [packet for here, _ in spoken for packet in here]),
            (lab.server, [packet for _, there in spoken for packet in there]))


def works(lab):
    """A new control connection gets a data connection that passes data."""
    control = Flow(lab, IPV4, cport=lab.port()).open()
    control.passive(lab.port())
    control.both_ways()
