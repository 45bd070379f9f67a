# SPDX-License-Identifier: GPL-2.0
"""Streams by chance: the same ones for the same seed.

A stream is a row of groups, each with settings of its own and a few episodes;
an episode is what belongs to one connection of a client, or might. No two
episodes share a client's port, and no two packets of a group that are cut in
fragments share an identification, so a group can be sent by itself.
"""

import random
from typing import NamedTuple

from lib.packet import (ACK, FIN, IPPROTO_DSTOPTS, IPPROTO_HOP,
                        IPPROTO_ROUTING, PSH, RST, SYN, URG, Icmp, Icmp6, Raw,
                        fragment_header, icmp6_error, icmp_error, is_ipv6,
                        options_header, packet, tcp, udp)
from lib.sctp import ABORT, COOKIE_ACK, COOKIE_ECHO, INIT, chunk, sctp

from .damage import damaged
from .tunnels import outer
from .world import (FAMILIES, NAT, SERVICES, SMALL_MTU, TRACKED, TUNNEL, V4,
                    V6, Service, addresses)

EPISODES = 8            # of a group
MTU = 1500
SETTINGS = {            # name: values to choose from, the default first
    "schedule_icmp": (0, 1),
    "ignore_tunneled": (0, 1),
    "cache_bypass": (0, 1),
    "nat_icmp_send": (0, 1),
    "snat_reroute": (1, 0),
    "pmtu_disc": (1, 0),
    "sloppy_sctp": (0, 1),
    "sloppy_tcp": (0, 1),
    "conn_reuse_mode": (1, 0, 2),
    "expire_nodest_conn": (0, 1),
    "conntrack": (0, 1),
    # Rules that have nf_conntrack look at packets, and show what it says.
    TRACKED: (0, 1),
}
DEFAULTS = {name: values[0] for name, values in SETTINGS.items()}
FLAGS = (SYN, SYN | ACK, ACK, ACK, PSH | ACK, FIN | ACK, FIN, RST, RST | ACK,
         SYN | RST, SYN | FIN, 0, URG | PSH | FIN, 0xff)
# Nothing, an alert to routers, a record of the route, an end and nothing.
OPTIONS = (b"\1\1\1\1", b"\x94\4\0\0", b"\7\x0b\4" + bytes(8) + b"\1",
           b"\1\0\0\0", b"\x88\4\x12\x34\1\1\1\0")
EXTENSIONS = ((options_header(IPPROTO_HOP),),
              (options_header(IPPROTO_DSTOPTS, 24),),
              ((IPPROTO_ROUTING, b"\0\2\0" + bytes(4)),),
              (options_header(IPPROTO_HOP), options_header(IPPROTO_DSTOPTS)),
              (fragment_header(0, False),))
MARKED = Service(0, NAT, (0, 1))
BYPASS = Service(0, NAT, (2,))
ERRORS = {V4.name: (3, 3, 3, 3, 4, 5, 11, 11, 12)}
TOLD = "an error about a packet in a tunnel tells the client another MTU"


class Step(NamedTuple):
    """A packet, and who sends it: a host's name, or the director itself."""
    origin: str
    data: bytes
    family: str
    what: str


class Group(NamedTuple):
    """Settings, and steps under them. `differs` says why outcomes may."""
    number: int
    settings: dict
    steps: list
    differs: str = ""


def group(seed, number):
    """The group of this number in the stream of this seed."""
    rng = random.Random(f"{seed}/{number}")
    settings = dict(DEFAULTS)
    if rng.random() < .6:
        for name, values in SETTINGS.items():
            if rng.random() < .35:
                settings[name] = rng.choice(values)
    if rng.random() < .04:
        episode = Episode(rng, number * EPISODES)
        episode.mtu_of_tunnel()
        return Group(number, settings, episode.steps, TOLD)
    steps = []
    for more in range(EPISODES):
        steps += Episode(rng, number * EPISODES + more).any()
    return Group(number, settings, steps)


class Episode:
    """A client, a service, and what they may have to say to each other."""

    def __init__(self, rng, number):
        self.rng, self.steps, self.idents = rng, [], number * 64
        self.cport = 10000 + number % 50000
        self.damage = rng.choice((0, 0, .05, .05, .4))
        self.choose(rng.choice(FAMILIES), rng.random())
        if rng.random() < .02:
            self.cport = 20
        self.local = rng.random() < .08 and not self.marked
        self.client = self.family.directors[0] if self.local \
            else self.family.client

    def choose(self, family, dice):
        """Which service it is about."""
        rng = self.rng
        self.family, self.vip, self.marked = family, family.vip, False
        self.make = rng.choice((tcp, udp, sctp))
        if dice < .80:
            self.service = rng.choice(SERVICES)
            self.vport = self.service.port
        elif dice < .90:
            self.service, self.marked = MARKED, True
            self.vip, self.vport = family.marked, rng.randrange(1, 5000)
        elif dice < .96:
            self.service, self.marked = BYPASS, True
            self.vip, self.vport = family.beyond, rng.randrange(6000, 7000)
        else:
            self.service, self.vport = BYPASS, 200
        self.rport = self.service.rport or self.vport

    def any(self):
        """The steps of one or two kinds of exchange."""
        kinds = (self.flow,) * 5 + (self.errors,) * 4 + (
            self.fragments, self.fragments, self.echo, self.strange)
        for kind in self.rng.choices(kinds, k=self.rng.choice((1, 1, 2))):
            kind()
        if self.service.method == TUNNEL and self.rng.random() < .3:
            self.errors_of_tunnel()
        return self.steps

    # Where packets come from, and what they look like.

    def add(self, origin, one, what):
        """A step; sometimes the packet gets damaged on its way."""
        data = bytes(one)[:MTU]
        if self.rng.random() < self.damage:
            data, what = damaged(self.rng, data)[:MTU], f"damaged {what}"
        self.steps.append(Step(origin, data, self.family.name, what))

    def from_client(self, one, what):
        """A step of the client."""
        self.add("director" if self.local else "client", one, what)

    def ends(self):
        """Host, address and port of each server that might answer."""
        if self.service is BYPASS:
            return [("server3", self.vip, self.vport)]
        found = []
        for address in addresses(self.service, self.family):
            host = "server3"
            for number, other in enumerate(self.family.servers, 1):
                host = f"server{number}" if address == other else host
            if self.service.mixed or self.service.method != NAT:
                address, port = self.vip, self.vport
            else:
                port = self.rport
            found.append(("director" if self.service.here else host, address,
                          port))
        return found

    def ident(self):
        """An identification that no other packet of the group has."""
        self.idents += 1
        return self.idents & 0xffff or 1

    def header(self):
        """Fields of the IP header."""
        rng = self.rng
        more = {"ttl": rng.choice((64,) * 12 + (1, 2, 3, 255, 0)),
                "tos": rng.choice((0, 0, 0, 0x28, 3, 0xb9, 0xff))}
        if is_ipv6(self.vip):
            more["label"] = rng.choice((0, 0x12345, 0xfffff))
            if rng.random() < .12:
                more["extensions"] = rng.choice(EXTENSIONS)
            return more
        more["id"] = self.ident()
        more["df"] = rng.random() < .4
        if rng.random() < .1:
            more["options"] = rng.choice(OPTIONS)
        return more

    def payload(self, most=MTU):
        """Of any size, and rather often one at an edge."""
        rng = self.rng
        if rng.random() < .7:
            return rng.randbytes(rng.choice((0, 1, 2, 7, 8, 33, 64, 200)))
        edge = rng.choice((576, 1280, SMALL_MTU, MTU)) + rng.choice(
            (0, 0, -8, -20, -24, -28, -32, -40, -44, -48, -52, -60))
        edge += rng.choice((-1, 0, 1))
        head = 40 if is_ipv6(self.vip) else 20
        head += {tcp: 20, udp: 8, sctp: 12 + 4}[self.make]
        return rng.randbytes(max(min(edge, most) - head, 0))

    def transport(self, flags):
        """Fields of the transport header."""
        rng = self.rng
        more = {"payload": self.payload()}
        if rng.random() < .06:
            more["check"] = rng.randrange(1 << 16)
        if self.make is sctp:
            return more | {"payload": self.chunks(flags, more["payload"])}
        if self.make is udp:
            if rng.random() < .1:
                more["check"] = 0
            if rng.random() < .03:
                more["length"] = rng.choice((0, 7, 8, 100, 0xffff))
            return more
        more |= {"flags": flags, "seq": rng.randrange(1 << 32),
                 "ack": rng.randrange(1 << 32)}
        if rng.random() < .2:
            more["tcp_options"] = rng.choice((b"\1" * 4, b"\2\4\5\xb4",
                                              b"\1" * 40))
        if rng.random() < .03:
            more["offset"] = rng.choice((0, 4, 6, 15))
        return more

    def chunks(self, flags, content):
        """An INIT where TCP has a SYN; else any chunk, sometimes with one more
        behind it, or with a wrong length."""
        rng = self.rng
        kind = INIT if flags == SYN else rng.choice((
            COOKIE_ECHO, COOKIE_ACK, rng.randrange(16), rng.randrange(256)))
        length = rng.choice((0, 3, 4, 8, 0xffff)) if rng.random() < .1 \
            else None
        said = chunk(kind, content, length)
        if rng.random() < .3:
            said += chunk(rng.choice((ABORT, rng.randrange(16))))
        return said

    def request(self, flags=SYN, **more):
        """A packet of the client."""
        more = self.header() | self.transport(flags) | more
        return self.make(self.client, self.cport, self.vip, self.vport, **more)

    def answer(self, end, flags=ACK, **more):
        """A packet of a server."""
        _host, address, port = end
        more = self.header() | self.transport(flags) | more
        return self.make(address, port, self.client, self.cport, **more)

    # What may happen.

    def flow(self):
        """Requests and answers, in the order of a connection or not."""
        rng = self.rng
        if rng.random() < .85:
            self.from_client(self.request(), "request")
        for _ in range(rng.randrange(1, 7)):
            flags = rng.choice(FLAGS)
            if rng.random() < .5:
                self.from_client(self.request(flags), "request")
                continue
            for end in self.ends():
                self.add(end[0], self.answer(end, flags), "answer")

    def fragments(self):
        """A request, and perhaps answers, in pieces."""
        rng = self.rng
        if self.is_cut_by_c() or self.misleads_c():
            return
        self.from_client(self.request(), "request")
        whole = [(("director" if self.local else "client"), self.request(ACK))]
        if rng.random() < .5:
            whole += [(end[0], self.answer(end)) for end in self.ends()]
        for origin, one in whole:
            for piece in self.pieces(one):
                self.add(origin, piece, "fragment")

    def is_cut_by_c(self):
        """Whether the C module cuts in fragments what came in fragments or
        passes through: from IPv4 into a tunnel of IPv6."""
        return self.family is V4 and self.service.mixed

    def misleads_c(self):
        """Whether the C module takes the size of fragments for flags of IPv4,
        such as those that POSTROUTING is over or that DF is to be set: from
        IPv6 into a tunnel of IPv4."""
        return self.family is V6 and self.service.mixed

    def pieces(self, one):
        """Fragments, mostly all of them, not always in order."""
        rng = self.rng
        size = len(one.l4.build(one.src, one.dst))
        if size < 17:
            one = one.but(payload=rng.randbytes(200))
            size += 200
        offsets = sorted(rng.sample(range(8, size, 8), min(
            rng.choice((1, 1, 2, 3)), len(range(8, size, 8)))))
        more = {"ident": self.ident()} if is_ipv6(self.vip) else {}
        pieces = one.fragments(*offsets, **more)
        dice = rng.random()
        if dice < .4:
            rng.shuffle(pieces)
        elif dice < .5:
            pieces.pop(rng.randrange(len(pieces)))
        elif dice < .6:
            pieces.append(rng.choice(pieces))
        elif dice < .7:
            at = rng.choice(offsets)
            pieces.append(one.fragments(max(at - 8, 8) if at > 8 else at,
                                        **more)[-1])
        return pieces

    def echo(self):
        """Echo to the service, to a server and from one, and answers."""
        rng, family = self.rng, self.family
        icmp = Icmp6 if is_ipv6(self.vip) else Icmp
        ask, tell = (128, 129) if is_ipv6(self.vip) else (8, 0)
        for _ in range(rng.randrange(1, 4)):
            kind = rng.choice((ask, ask, tell))
            data = icmp(kind, 0, rng.randrange(1 << 32), self.payload(),
                        rng.choice((None,) * 9 + (0x1234,)))
            where = rng.choice((self.vip, family.servers[0]))
            if rng.random() < .7:
                self.from_client(packet(self.client, where, data,
                                        **self.header()), "echo")
            else:
                self.add("server1", packet(family.servers[0], rng.choice(
                    (self.client, self.vip)), data, **self.header()), "echo")

    def strange(self):
        """Other protocols, and packets for others."""
        rng, family = self.rng, self.family
        for _ in range(rng.randrange(1, 3)):
            one = self.request()
            if rng.random() < .5:
                one = one.but(l4=Raw(rng.randbytes(rng.randrange(40)),
                                     rng.choice((2, 4, 41, 47, 89, 253))))
            else:
                one = one.but(dst=rng.choice(
                    (family.beyond, family.servers[1], family.directors[1],
                     family.far[1])))
            self.from_client(one, "stranger")

    # ICMP errors.

    def errors(self):
        """Errors about requests and answers, from either side."""
        rng = self.rng
        request = self.request()
        if rng.random() < .75:
            self.from_client(request, "request")
        for _ in range(rng.randrange(1, 5)):
            if rng.random() < .5:
                self.error_of_client(request)
            else:
                for end in self.ends():
                    self.error_of_server(request, end)

    def error(self, src, dst, quoted, limit=None):
        """An ICMP error with some of a packet in it."""
        rng = self.rng
        data = bytes(quoted)
        data = data[:rng.choice((len(data),) * 4 + (28, 48, 24, 44,
                                                    rng.randrange(1, 70)))]
        if rng.random() < .08:
            data = damaged(rng, data or b"\0")
        rest = rng.choice((0, 0, SMALL_MTU, 1400, rng.randrange(1 << 32)))
        more = self.header()
        if rng.random() < .06:
            more["check"] = 0x1234
        if is_ipv6(src):
            return icmp6_error(src, dst, rng.choice(
                (1, 1, 1, 2, 3, 3, 4, 100, 5)), rng.randrange(6), data, rest,
                **({"limit": 1280} | more))
        return icmp_error(src, dst, rng.choice(
            (3, 3, 3, 3, 4, 11, 11, 5, 12)), rng.choice((0, 1, 3, 4, 13)),
            data, rest, **({"limit": limit or 576} | more))

    def error_of_client(self, request):
        """From the client's side, about an answer as it came there."""
        rng, family = self.rng, self.family
        quoted = request.back().but(ttl=60)
        if rng.random() < .1:
            quoted = request
        src = rng.choice((family.outside, self.client))
        dst = rng.choice((self.vip,) * 4 + (family.beyond,))
        if self.is_cut_by_c():
            dst = self.vip
        one = self.error(src, dst, quoted.sealed())
        if self.local:
            self.add("director", one.but(src=self.client), "error of client")
        else:
            self.maybe_in_pieces("client", one, "error of client")

    def error_of_server(self, request, end):
        """From the server's side, about a request as it came there."""
        rng, family = self.rng, self.family
        host, address, port = end
        quoted = request.sealed().but(dst=address, dport=port, ttl=60)
        if rng.random() < .1 and not self.is_cut_by_c():
            quoted = quoted.back()
        src = rng.choice((address, family.inside, address))
        one = self.error(src, self.client, quoted)
        if host == "director":
            self.add(host, one.but(src=family.directors[0]), "error of server")
        else:
            self.maybe_in_pieces(host, one, "error of server")

    def maybe_in_pieces(self, origin, one, what):
        """An error, rarely in fragments."""
        if self.rng.random() < .06 and not (self.is_cut_by_c() or
                                            self.misleads_c()):
            for piece in self.pieces_of_error(one):
                self.add(origin, piece, f"fragment of {what}")
        else:
            self.add(origin, one, what)

    def pieces_of_error(self, one):
        """Two fragments of something with enough in it."""
        one = one.but(payload=bytes(one.l4.payload).ljust(40, b"\0"))
        more = {"ident": self.ident()} if is_ipv6(self.vip) else {}
        return one.fragments(self.rng.choice((8, 16, 32)), **more)

    def errors_of_tunnel(self):
        """From a router between the director and a server, about a packet in
        an IPv4 tunnel, as far as both modules do the same with it."""
        if self.family is not V4 or self.service.mixed or self.local:
            return
        request = self.request()
        self.from_client(request, "request")
        for _ in range(self.rng.randrange(1, 3)):
            self.error_of_tunnel(request, self.rng.choice(
                ((3, 1), (3, 3), (11, 0), (4, 0))), 0)

    def error_of_tunnel(self, request, kind, rest):
        """One of them."""
        rng = self.rng
        server, = addresses(self.service, self.family)
        number = 3 if server in self.family.far else \
            self.family.servers.index(server) + 1
        around = outer(self.service.tunnel, self.family.directors[number],
                       server, request.but(ttl=63), rng)
        data = bytes(around)
        data = data[:rng.choice((len(data), len(data), 60, 72,
                                 rng.randrange(28, 90)))]
        self.add(f"server{number}", icmp_error(
            self.family.inside, self.family.directors[number], *kind, data,
            rest, **({"limit": rng.choice((576, 1400))} | self.header())),
                 "error about tunnel")

    def mtu_of_tunnel(self):
        """A path MTU of a tunnel that is learned, and what comes of it."""
        self.choose(V4, 0)
        self.service = self.rng.choice(
            [one for one in SERVICES if one.port in (100, 101)])
        self.vport, self.damage, self.local = self.service.port, 0, False
        self.client = V4.client
        request = self.request(ttl=64, df=True)
        self.from_client(request, "request")
        self.error_of_tunnel(request, (3, 4), self.rng.randrange(1100, 1300))
        for _ in range(3):
            self.from_client(self.request(df=True), "request")
