# SPDX-License-Identifier: GPL-2.0
"""Namespaces with network stacks of their own: real clients and servers, and
what is between them."""

import re
import selectors
import socket
import threading
from typing import NamedTuple

from . import module
from .ipvs import Ipvs
from .netns import Netns
from .packet import is_ipv6
from .tap import TIME_FACTOR, equal, eventually

PATIENCE = 30 * TIME_FACTOR
SETTINGS = {
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/router_solicitations": 0,
}
ROUTER = SETTINGS | {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}


class Stacks:
    """Namespaces, the wires between them, servers, and the module, for as long
    as `with` lasts. A subclass builds the network in build()."""

    def __init__(self):
        self.namespaces = []
        self.servers = None

    def __enter__(self):
        try:
            module.load()
            self.servers = Servers()
            self.build()
            self.servers.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        if self.servers:
            self.servers.stop()
        for namespace in self.namespaces:
            # A connection that has not ended keeps it, and so its services.
            if module.loaded() and namespace.proc("ip_vs").count("\n") > 3:
                namespace.ipvs.admin("--clear")
            namespace.delete()
        self.namespaces = []
        module.unload()

    def build(self):
        """Make the network."""
        raise NotImplementedError

    def namespace(self, name, settings=None):
        """Add a namespace with these settings. It has an `ipvs`, too."""
        namespace = Netns(f"ipvs-{name}")
        namespace.ipvs = Ipvs(namespace)
        self.namespaces.append(namespace)
        for path, value in (settings or SETTINGS).items():
            namespace.sysctl(path, value)
        namespace.ip("link set lo up")
        return namespace

    @staticmethod
    def wire(one, device, other, other_device):
        """Connect two namespaces, by these devices."""
        one.ip(f"link add {device} type veth peer name {other_device} "
               f"netns {other.name}", f"link set {device} up")
        other.ip(f"link set {other_device} up")

    def await_carriers(self):
        """Until a device has noticed its carrier, it drops what is sent."""
        def ready(namespace):
            lines = namespace.run("ip", "-o", "link", "show", "up")
            return all(" state UP " in line or " lo: " in line
                       for line in lines.splitlines())
        for namespace in self.namespaces:
            eventually(lambda at=namespace: ready(at),
                       f"carriers in {namespace.name}")


class Servers(threading.Thread):
    """TCP and UDP servers of many namespaces, in one thread. Each tells its
    client a name, and the client's address and port as the server sees them:
    TCP once, at the beginning, and then returns what it gets; UDP in front of
    each datagram that it returns."""

    def __init__(self):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.ended, self.end = socket.socketpair()
        self.selector.register(self.ended, selectors.EVENT_READ, None)

    def listen(self, namespace, name, port, kinds="tcp udp"):
        """Serve a port of all addresses of a namespace, under this name."""
        for kind in kinds.split():
            with namespace:
                sock = socket.socket(
                    socket.AF_INET6, socket.SOCK_STREAM if kind == "tcp" else
                    socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.bind(("::", port))
            if kind == "tcp":
                sock.listen(128)
            serve = self._accept if kind == "tcp" else self._datagram
            self.selector.register(
                sock, selectors.EVENT_READ,
                lambda at=sock, serve=serve: serve(at, name))

    def _accept(self, listener, name):
        sock, peer = listener.accept()
        sock.sendall(_introduction(name, peer))
        self.selector.register(sock, selectors.EVENT_READ,
                               lambda: self._echo(sock))

    def _echo(self, sock):
        try:
            data = sock.recv(65536)
            if data:
                sock.sendall(data)
                return
        except OSError:         # reset
            pass
        self.selector.unregister(sock)
        sock.close()

    @staticmethod
    def _datagram(sock, name):
        data, about, _flags, peer = sock.recvmsg(65536, 256)
        # From the address that was asked, by whatever device.
        about = [(level, kind, info[:16] + bytes(4))
                 for level, kind, info in about
                 if (level, kind) == (socket.IPPROTO_IPV6,
                                      socket.IPV6_PKTINFO)]
        sock.sendmsg([_introduction(name, peer), data], about, 0, peer)

    def run(self):
        while True:
            for key, _events in self.selector.select():
                if key.data is None:
                    return
                try:
                    key.data()
                except OSError:     # a client that is gone
                    pass

    def stop(self):
        """End the thread, and close what is open."""
        if self.is_alive():
            self.end.send(b"x")
            self.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.end.close()


def _introduction(name, peer):
    return f"{name} {unmapped(peer[0])} {peer[1]}\n".encode()


def unmapped(address):
    """An IPv4 address without the prefix that it has in an IPv6 socket."""
    return address.removeprefix("::ffff:")


class Talk:
    """A client's conversation with whoever answers: the server's name, and the
    client's address and port as the server sees them."""

    def __init__(self, namespace, address, port, udp=False, source=None):
        self.udp = udp
        self.to = address, port
        self.server = self.seen = None
        with namespace:
            self.socket = socket.socket(
                socket.AF_INET6 if is_ipv6(address) else socket.AF_INET,
                socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        try:
            self.socket.settimeout(PATIENCE)
            if source:
                self.socket.bind(source)
            self.socket.connect((address, port))
            self.own = self.socket.getsockname()[:2]
            if udp:
                if self.say() is None:
                    raise TimeoutError("nobody answers")
            else:
                self._introduced(self._line())
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def _line(self):
        line = b""
        while not line.endswith(b"\n"):
            byte = self.socket.recv(1)
            if not byte:
                raise AssertionError(f"closed after {line!r}")
            line += byte
        return line.decode()

    def _introduced(self, line):
        self.server, address, port = line.split()
        self.seen = address, int(port)

    def say(self, text=b"more", patience=PATIENCE):
        """Say something and hear it again. Returns the server's name; with UDP
        None, if nothing was heard."""
        self.socket.settimeout(patience)
        self.socket.send(text)
        if self.udp:
            try:
                line, heard = self.socket.recv(65536).split(b"\n", 1)
            except TimeoutError:
                return None
            self._introduced(line.decode())
        else:
            heard = b""
            while len(heard) < len(text):
                part = self.socket.recv(65536)
                if not part:
                    raise AssertionError(f"closed after {heard!r}")
                heard += part
        equal(heard, text, "echo")
        return self.server

    def close(self):
        """End it."""
        self.socket.close()


class Entry(NamedTuple):
    """An entry of conntrack(8): each direction has the source, its port, the
    destination and its port."""
    protocol: str
    original: tuple
    reply: tuple
    text: str


def entries(namespace, *options):
    """The entries of TCP and UDP that `conntrack -L` lists."""
    found = []
    for line in namespace.run("conntrack", "-L", *options).splitlines():
        value = re.findall(r" (?:src|dst|sport|dport)=(\S+)", line)
        if line.split()[0] in ("tcp", "udp") and len(value) == 8:
            ends = [(src, int(sport), dst, int(dport)) for
                    src, dst, sport, dport in (value[:4], value[4:])]
            found.append(Entry(line.split()[0], *ends, line))
    return found


def entry(namespace, talk, to=()):
    """The entry of a conversation whose client is not translated before it
    reaches the namespace: to such an address and port, if it may have used its
    own port for another one before."""
    family = "ipv6" if is_ipv6(talk.own[0]) else "ipv4"
    protocol = "udp" if talk.udp else "tcp"
    known = talk.own + to
    found = [each for each in entries(namespace, "-f", family)
             if each.protocol == protocol
             and each.original[:len(known)] == known]
    equal(len(found), 1, f"entries of {known}")
    return found[0]
