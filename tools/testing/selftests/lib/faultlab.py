# SPDX-License-Identifier: GPL-2.0
"""A director for allocations that fail (see faults.py): all that happens is
done by the task that asks for it, and nothing may leak."""

import os
import time
from contextlib import contextmanager

from . import faults, genl, module, rules
from .busy import METHODS, TCP, UDP
from .genl import Genl
from .ipvs import Ipvs
from .lab import DIRECTOR, RIP, VIP
from .netns import Netns
from .packet import Packet, Raw
from .tap import equal, eventually, module_under_test
from .tun import Tun
from .wire import tap

RUST = module_under_test() == "rust"


def files():
    """The module file itself, whose dependencies are there."""
    return module.files()[0]


def insertion(what, path, name, at_least, refused=lambda: None):
    """A module of one file is loaded: ENOMEM, and it is not there; or it is,
    and goes again."""
    def insert():
        try:
            module.insert(path)
        except OSError as error:
            return error.errno
        return 0

    def after(result, hit):
        if result:
            assert hit, f"errno {result} without a failed allocation"
            equal(genl.error_name(result), "ENOMEM", "errno")
            equal(name in module.loaded(), False, f"{name} loaded")
            refused()
        else:
            module.remove(name)
    faults.walk(what, faults.function("do_init_module"), insert, at_least,
                after=after)


def unsharing(what, at_least):
    """A namespace is made: ENOMEM, and nothing of it is there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def unshare():
        try:
            os.unshare(os.CLONE_NEWNET)
        except OSError as error:
            return error.errno
        os.setns(home, os.CLONE_NEWNET)
        return 0

    def after(result, hit):
        assert hit or not result, f"errno {result} without a failed allocation"
        if result:
            equal(genl.error_name(result), "ENOMEM", "errno")
    faults.walk(what, faults.text(), unshare, at_least, after=after)
    os.close(home)


class FaultLab:
    """A director whose wires lead to this process."""

    def __enter__(self):
        faults.prepare()
        module.run("modprobe", "tun")
        module.load()
        self.ports = iter(range(1000, 60000))
        self.director = None
        return self

    def build(self):
        """Namespaces and wires, once loading has been tried."""
        self.director = Netns("ipvs-director")
        for path, value in DIRECTOR.items():
            self.director.sysctl(path, value)
        self.director.ip("link set lo up", f"addr add {VIP}/32 dev lo")
        self.client = Tun(self.director, "client", "10.0.1.1/24")
        self.server = Tun(self.director, "server1", "10.0.2.1/24")
        self.ipvs = Ipvs(self.director)
        self.netlink = Genl(self.director)

    def __exit__(self, *_error):
        if self.director:
            self.ipvs.admin("-C")
            self.netlink.close()
            self.client.close()
            self.server.close()
            self.director.delete()
        module.unload()
        eventually(lambda: not faults.slabs("ip_vs_conn*"),
                   "the end of the module's caches")
        # Younger objects are not reported.
        if os.path.exists(f"{faults.DEBUGFS}/kmemleak"):
            faults.leaks()
            time.sleep(6)
        equal(faults.leaks(), "", "what leaks")

    def configure(self, protocols=(TCP, UDP), vports=tuple(METHODS)):
        """Services made anew: no route to a server is known."""
        self.must(genl.FLUSH)
        for vport in vports:
            for protocol in protocols:
                self.must(genl.NEW_SERVICE, rules.service(
                    protocol, VIP, vport, scheduler="wrr"))
                self.must(genl.NEW_DEST, rules.service(protocol, VIP, vport),
                          rules.server(RIP, vport, method=METHODS[vport]))

    def reload(self):
        """A module without a past."""
        self.netlink.request(genl.FLUSH)
        self.netlink.close()
        module.unload()
        module.load()
        self.netlink = Genl(self.director)

    def table_size(self):
        """The buckets for connections."""
        reply = self.netlink.request(genl.GET_INFO)
        return int.from_bytes(genl.attributes(reply.messages[0])[
            genl.INFO_CONN_TAB_SIZE], "little")

    def must(self, command, *row):
        equal(self.netlink.request(command, *row).error, "",
              f"command {command}")

    def state(self):
        """What netlink tells of services, of the servers of those that
        commands are about, and of timeouts."""
        return (sorted(self.netlink.dump(genl.GET_SERVICE).messages),
                *(self.netlink.dump(genl.GET_DEST, rules.service(
                    TCP, VIP, vport)).messages for vport in (2000, 21)),
                self.netlink.request(genl.GET_CONFIG).messages)

    def drain(self):
        self.client.read()
        self.server.read()

    @contextmanager
    def listening(self, device):
        """Somebody captures what comes from this wire, so that packets are
        not the director's alone."""
        with tap(self.director, device, outgoing=True):
            yield


def command(lab, what, at_least, before, number, *row, dump=False,
            refused=lambda: None):
    """A netlink command: refused with ENOMEM and without effect, or done.
    `refused` looks for effects that netlink does not tell."""
    result = {}

    def prepare():
        if not result:
            before()
            result["before"] = lab.state()

    def operation():
        try:
            if dump:
                return lab.netlink.dump(number, *row)
            return lab.netlink.request(number, *row)
        except OSError as error:
            return genl.Reply(genl.error_name(error.errno), [], "", 0, 0)

    def after(reply, hit):
        if reply.error:
            assert hit, f"{reply.error} without a failed allocation"
            assert reply.error in ("ENOMEM", "ENOBUFS"), reply.error
            equal(lab.state(), result["before"], f"after {reply.error}")
            refused()
        else:
            result.clear()
    faults.walk(what, faults.function("netlink_dump") if dump
                else faults.text(), operation, at_least, before=prepare,
                after=after)


def arrives(got, want, hit):
    """Without a failed allocation all packets arrive; with one, no other."""
    got = [packet for packet in got if packet[:1] != b"\x60"]
    if not hit:
        equal(len(got), len(want), "packets")
    assert len(got) <= len(want), f"{len(got)} packets"
    for data in got:
        assert any(packet.matches(data) for packet in want), \
            f"an unknown packet {data.hex()}"


def at_server(packet, vport):
    """What the server gets of a request."""
    method = METHODS[vport]
    if method == genl.MASQ:
        return packet.but(dst=RIP, ttl=63)
    if method == genl.DROUTE:
        return packet.but(ttl=63)
    return Packet("10.0.2.1", RIP, Raw(bytes(packet.but(ttl=63)), 4),
                  ttl=63, id=None, df=packet.df)


def one_way(lab, what, at_least, source, sink, packets, want, before,
            place=faults.text):
    """Packets into one wire; what comes out of the other."""
    def operation():
        for packet in packets():
            try:
                source.write(packet)
            except OSError as error:
                # It is the wire that had none: for the data, or for the packet.
                name = genl.error_name(error.errno)
                assert name in ("ENOMEM", "ENOBUFS"), name

    def prepare():
        before()
        lab.drain()

    def after(_result, hit):
        arrives(sink.read(), want(), hit)
    faults.walk(what, place(), operation, at_least, prepare, after)
