# SPDX-License-Identifier: GPL-2.0
"""A laboratory whose director tracks connections, and counts in which state
packets pass its hooks."""

import json
from contextlib import contextmanager

from .ctnetlink import TCP, UDP, Entry, Table
from .family import end
from .lab import Lab
from .module import run
from .packet import ACK, PSH, SYN, tcp, udp
from .sockets import bound
from .tap import equal, eventually
from .vs import Settings

STATES = "new", "established", "related", "invalid", "untracked"
# Where packets are counted: before IPVS sees them, or else after it.
HOOKS = {"prerouting": 150, "input": 0, "forward": 150, "output": 150,
         "postrouting": 150}
RPORT = 8080
KIND = {TCP: "-t", UDP: "-u"}


def chain(hook, priority, *rules, kind="filter"):
    """A base chain of nft, named after its hook."""
    return "\n".join((f"chain {hook} {{",
                      f"type {kind} hook {hook} priority {priority}", *rules,
                      "}"))


def table(name, *parts, family="inet"):
    """A table of nft."""
    return "\n".join((f"table {family} {name} {{", *parts, "}", ""))


def counting():
    """Rules that count packets by hook and state, but for markers, which are
    not to have entries, and what hosts say of themselves to the groups of
    their link. They have nf_conntrack look at all packets."""
    counters = (f"counter {hook}-{state} {{ }}"
                for hook in HOOKS for state in STATES)
    chains = (chain(hook, priority, "meta l4proto 253 accept",
                    "ip6 daddr ff02::/16 accept", *(
        f"ct state {state} counter name {hook}-{state} accept"
        for state in STATES)) for hook, priority in HOOKS.items())
    unseen = chain("prerouting", "raw", "meta l4proto 253 notrack")
    return table("counting", *counters, *chains) + table("markers", unseen)


def passed(states):
    """The states of one packet of a client through the hooks, in the order of
    prerouting, input, output and postrouting."""
    return sorted(f"1 {hook} {state}" for hook, state in zip(
        ("prerouting", "input", "output", "postrouting"), states.split()))


def forwarded(states):
    """The same of one packet of a server, in the order of prerouting, forward
    and postrouting."""
    return sorted(f"1 {hook} {state}" for hook, state in zip(
        ("prerouting", "forward", "postrouting"), states.split()))


class TrackingLab(Lab):
    """The module with `conntrack` on or off. Each test begins with begin()."""

    def __init__(self, servers=1):
        super().__init__(servers=servers, ipv6=True)
        self.table = self.settings = None

    def build(self):
        run("modprobe", "-a", "nf_conntrack", "nf_conntrack_netlink")
        super().build()
        self.table = Table(self.director)
        self.settings = Settings(self.director)

    def __exit__(self, *error):
        if self.table:
            self.table.close()
        super().__exit__(*error)

    def begin(self, on=1, rules="", counted=True):
        """No services, no entries, only these rules (of nft), and the setting
        `conntrack`."""
        self.ipvs.admin("-C")
        self.exchange(self.client)
        self.nft("flush ruleset\n" + (counting() if counted else "") + rules)
        self.table.flush()
        self.settings["conntrack"] = on

    def nft(self, script):
        """Have nft(8) do what a script says."""
        return self.director.run("nft", "-f", "-", stdin=script)

    def states(self):
        """Packets by hook and state since the last look, as a sorted list of
        texts: "2 input new"."""
        found = json.loads(self.director.run(
            "nft", "-j", "reset", "counters", "table", "inet", "counting"))
        return sorted(
            f"{part['counter']['packets']} "
            f"{part['counter']['name'].replace('-', ' ')}"
            for part in found["nftables"]
            if part.get("counter", {}).get("packets"))

    def listener(self, address, port):
        """A UDP socket of the director."""
        return bound(self.director, address, port)

    def gone(self, talk):
        """Wait until it has no connection any more."""
        self.ended(talk.cport)

    def ended(self, *cports, seconds=30):
        """Wait until there is no connection from these ports."""
        eventually(lambda: not {each.cport for each in self.ipvs.connections()}
                   & set(cports), "the end of connections", seconds)

    def only(self, talk):
        """Wait until the connection is the only one of its client's port."""
        eventually(lambda: [each.daddr for each in self.ipvs.connections()
                            if each.cport == talk.cport] == [talk.rip],
                   "the end of the other connection", 30)

    @contextmanager
    def short(self, seconds=1):
        """While this lasts, connections end so soon after a packet."""
        self.ipvs.admin("--set", *[str(seconds)] * 3)
        try:
            yield
        finally:
            self.ipvs.admin("--set", "900", "120", "300")

    def serve(self, ip, vport, *servers, kind="-t", scheduler="rr"):
        """A service of the virtual address; each server is "ADDRESS PORT
        METHOD" in a tuple."""
        self.ipvs.service(end(ip.vip, vport), *(
            f"{end(address, port)} {method}"
            for address, port, method in servers), kind=kind,
            scheduler=scheduler)


class Talk:
    """A connection of a client through a service by NAT, whose packets have
    right sequence numbers; each must arrive as it should. `seen_as` is the
    client's address and port as the server sees it; None: as they are."""

    def __init__(self, lab, ip, vport, protocol=TCP, server=None, rip=None,
                 seen_as=None, rport=RPORT, cport=None):
        self.lab, self.ip, self.protocol = lab, ip, protocol
        self.server = server or lab.server
        self.vport, self.rport = vport, rport
        self.rip = rip or ip.rip
        self.cport = cport or lab.port()
        self.seen_as = seen_as or (ip.cip, self.cport)
        self.seq = {"client": 1000, "server": 7000}

    def _packet(self, side, flags, payload):
        other = "server" if side == "client" else "client"
        ends = (self.ip.cip, self.cport, self.ip.vip, self.vport)
        if self.protocol == UDP:
            return udp(*ends, payload or b"payload")
        packet = tcp(*ends, flags, payload=payload, seq=self.seq[side],
                     ack=self.seq[other] if flags & ACK else 0)
        self.seq[side] += len(payload) + bool(flags & 3)
        return packet

    def request(self, flags=PSH | ACK, payload=b""):
        """A packet of the client as it is sent; it counts as sent."""
        return self._packet("client", flags, payload)

    def at_server(self, request):
        """It as the server gets it."""
        src, sport = self.seen_as
        return request.but(src=src, sport=sport, dst=self.rip,
                           dport=self.rport, ttl=request.ttl - 1)

    def reply(self, flags=PSH | ACK, payload=b""):
        """A packet of the server as it is sent; it counts as sent."""
        src, sport = self.seen_as
        return self._packet("server", flags, payload).but(
            src=self.rip, sport=self.rport, dst=src, dport=sport)

    def at_client(self, reply):
        """It as the client gets it."""
        return reply.but(src=self.ip.vip, sport=self.vport, dst=self.ip.cip,
                         dport=self.cport, ttl=reply.ttl - 1)

    def ask(self, flags=PSH | ACK, payload=b""):
        """The client's packet reaches the server."""
        request = self.request(flags, payload)
        self.lab.expect(self.lab.client, request,
                        {self.server: self.at_server(request)})

    def answer(self, flags=PSH | ACK, payload=b""):
        """The server's packet reaches the client."""
        reply = self.reply(flags, payload)
        self.lab.expect(self.server, reply,
                        {self.lab.client: self.at_client(reply)})

    def open(self):
        """A handshake, or a datagram each way."""
        self.ask(SYN)
        self.answer(SYN | ACK)
        if self.protocol == TCP:
            self.ask(ACK)

    def entry(self, state="ESTABLISHED", seen="assured", **more):
        """The entry that nf_conntrack should have."""
        src, sport = self.seen_as
        found = Entry(self.protocol,
                      (self.ip.cip, self.cport, self.ip.vip, self.vport),
                      (self.rip, self.rport, src, sport),
                      state if self.protocol == TCP else "", seen)
        return found._replace(**more)

    def entries(self):
        """The entries that nf_conntrack has."""
        return self.lab.table.entries(self.cport)

    def tracked(self, *wanted, **more):
        """Nf_conntrack has this entry, or those that are given."""
        equal(self.entries(), list(wanted) or [self.entry(**more)],
              "entries")

    def untracked(self):
        """Nf_conntrack has no entry."""
        equal(self.entries(), [], "entries")

    def connection(self):
        """The connection, or None."""
        return self.lab.ipvs.connection(
            self.cport, "TCP" if self.protocol == TCP else "UDP")
