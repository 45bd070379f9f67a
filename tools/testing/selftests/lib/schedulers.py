# SPDX-License-Identifier: GPL-2.0
"""What each scheduler chooses, from its description: one server after the
other is looked at, the one that was added last first.

Nothing here is quick, and nothing is shared with the module.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from ipaddress import ip_address
from math import gcd

MASK64 = (1 << 64) - 1
FALLBACK, PORT = "fallback", "port"


@dataclass
class Server:
    """A server. It goes on counting when it is removed and comes back."""
    number: int
    address: str
    weight: int = 1
    last_weight: int = 1
    upper: int = 0
    active: int = 0
    total: int = 0
    overloaded: bool = False
    in_service: bool = False

    @property
    def available(self):
        return self.weight > 0 and not self.overloaded

    @property
    def overhead(self):
        return 256 * self.active + self.total

    def set_upper(self, upper):
        """The lower threshold is three quarters of it."""
        if upper == self.upper:
            return
        self.upper = upper
        if not upper or self.total < upper - upper // 4:
            self.overloaded = False
        elif self.total >= upper:
            self.overloaded = True

    def connected(self, active):
        """A new connection."""
        self.total += 1
        self.active += active
        if self.total == self.upper:
            self.overloaded = True


@dataclass(frozen=True)
class Arrival:
    """The addresses of a connection, as numbers."""
    client: int
    port: int
    target: int


def first_least(servers, load):
    """The first server with the least load."""
    return min(servers, key=load, default=None)


class Scheduler:
    """The state of a service's scheduler; `servers` has the newest first."""
    uses_active = False

    def __init__(self, flags=()):
        self.servers, self.flags = [], flags

    def available(self):
        return [server for server in self.servers if server.available]

    def changed(self):
        """Servers were added, removed or edited."""

    def removing(self, server):
        """This one is about to go."""

    def add(self, server):
        server.last_weight, server.in_service = server.weight, True
        self.servers.insert(0, server)
        self.changed()

    def remove(self, server):
        self.removing(server)
        server.in_service = False
        self.servers.remove(server)
        self.changed()

    def edit(self, server, weight, upper):
        server.weight = weight
        server.last_weight = weight or server.last_weight
        server.set_upper(upper)
        self.changed()


class Lc(Scheduler):
    uses_active = True

    def pick(self, _arrival):
        return first_least(self.available(), lambda s: s.overhead)


class Wlc(Scheduler):
    uses_active = True

    def pick(self, _arrival):
        return first_least(self.available(),
                           lambda s: Fraction(s.overhead, s.weight))


class Sed(Scheduler):
    uses_active = True

    def pick(self, _arrival):
        return first_least(self.available(),
                           lambda s: Fraction(s.active + 1, s.weight))


class Nq(Sed):
    def pick(self, arrival):
        for server in self.available():
            if server.active == 0:
                return server
        return super().pick(arrival)


class Fo(Scheduler):
    def pick(self, _arrival):
        return first_least(self.available(), lambda s: -s.weight)


class Ovf(Scheduler):
    uses_active = True

    def pick(self, _arrival):
        room = [s for s in self.available() if s.active <= s.weight]
        return first_least(room, lambda s: -s.weight)


class Rr(Scheduler):
    """`last` is the server picked last, None for the head of the list."""
    last = None

    def behind(self):
        """The servers behind the last one."""
        return self.servers[self.servers.index(self.last) + 1:] \
            if self.last else self.servers

    def pick(self, _arrival):
        for server in [*self.behind(), *self.servers]:
            if server.available:
                self.last = server
                return server
        return None

    def removing(self, server):
        if self.last is server:
            place = self.servers.index(server)
            self.last = self.servers[place - 1] if place else None


class Wrr(Rr):
    """Pass by pass, each with a bar that is one step lower."""
    bar = 0

    def changed(self):
        weights = [s.weight for s in self.servers if s.weight > 0]
        self.step = gcd(*weights) or 1
        self.top = max(weights, default=0) - (self.step - 1)
        self.last = None
        if self.bar > self.top or not self.bar:
            self.bar = self.top
        elif self.step > 1:
            self.bar = self.bar // self.step * self.step + 1

    def removing(self, server):
        pass

    def pick(self, _arrival):
        started, end = self.last, None
        lowest_pass = wrapped = False
        while self.top:
            for server in self.behind():
                if not server.overloaded and server.weight >= self.bar:
                    self.last = server
                    return server
                if server is end:
                    self.last = server
                    return None
            self.last = None
            self.bar -= self.step
            if self.bar <= 0:
                self.bar = self.top
                if lowest_pass or started is None:
                    return None
                wrapped = True
            lowest_pass = self.bar <= self.step
            if lowest_pass and wrapped:
                end = started
        return None


def hash_8(value):
    """Multiplication by the golden ratio, upper 8 bits."""
    return (value * 0x61c88647 & 0xffffffff) >> 24


class Dh(Scheduler):
    size = 256

    def __init__(self, flags=()):
        super().__init__(flags)
        self.table = []

    def changed(self):
        self.table = [self.servers[n % len(self.servers)]
                      for n in range(self.size)] if self.servers else []

    def place(self, key, offset):
        return (hash_8(key) + offset) % self.size

    def at(self, place):
        """The server of a place if it is available."""
        return self.table[place] if self.table[place].available else None

    def pick(self, arrival):
        return self.at(self.place(arrival.target, 0)) if self.table else None


class Sh(Dh):
    def changed(self):
        turn = [server for server in self.servers
                for _ in range(max(1, min(server.weight, self.size)))]
        self.table = [turn[n % len(turn)] for n in range(self.size)] \
            if turn else []

    def pick(self, arrival):
        if not self.table:
            return None
        key = arrival.client + (arrival.port if PORT in self.flags else 0)
        key &= 0xffffffff
        first = self.place(key, 0)
        found = self.at(first)
        if found or FALLBACK not in self.flags:
            return found
        for number in range(self.size):
            found = self.at(self.place(key, (first + number) % self.size))
            if found:
                return found
        return None


def rotate(value, bits):
    return (value << bits | value >> 64 - bits) & MASK64


@lru_cache(maxsize=100_000)
def siphash_1_3(key, number):
    """SipHash-1-3 of 32 bits, the low word of it."""
    a, b, c, d = (key ^ int.from_bytes(word, "big") for word in (
        b"somepseu", b"dorandom", b"lygenera", b"tedbytes"))

    def mix():
        nonlocal a, b, c, d
        a, c = (a + b) & MASK64, (c + d) & MASK64
        b, d = rotate(b, 13) ^ a, rotate(d, 16) ^ c
        a = rotate(a, 32)
        c, a = (c + b) & MASK64, (a + d) & MASK64
        b, d = rotate(b, 17) ^ c, rotate(d, 21) ^ a
        c = rotate(c, 32)

    word = number | 4 << 56
    d ^= word
    mix()
    a ^= word
    c ^= 0xff
    for _ in range(3):
        mix()
    return (a ^ b ^ c ^ d) & 0xffffffff


class Mh(Sh):
    size = 4093
    keys = 2654435761, 2654446892

    def place(self, key, offset):
        return siphash_1_3(self.keys[0],
                           key + offset & 0xffffffff) % self.size

    def changed(self):
        weights = [server.last_weight for server in self.servers]
        divisor = gcd(*weights)
        if not divisor:
            self.table = []
            return
        shift = max(0, (max(weights) // divisor).bit_length() - 6)
        players = []
        for server in self.servers:
            key = int(ip_address(server.address))   # and port 0
            place = siphash_1_3(self.keys[0], key) % self.size
            skip = siphash_1_3(self.keys[1], key) % (self.size - 1) + 1
            weight = server.last_weight
            turns = weight // divisor >> shift or int(weight > 0)
            players.append([server, place, skip, turns])
        table, taken = [None] * self.size, 0
        while taken < self.size:
            for player in players:
                server, place, skip, turns = player
                for _ in range(min(turns, self.size - taken)):
                    while table[place]:
                        place = (place + skip) % self.size
                    table[place] = server
                    taken += 1
                player[1] = place
        self.table = table


class Lblc(Wlc):
    def __init__(self, flags=()):
        super().__init__(flags)
        self.memory = {}

    def crowded(self, server):
        return server.active > server.weight and any(
            2 * other.active < other.weight for other in self.servers)

    def pick(self, arrival):
        server = self.memory.get(arrival.target)
        if server and server.in_service and server.weight > 0 \
                and not self.crowded(server):
            return server
        server = super().pick(arrival)
        if server:
            self.memory[arrival.target] = server
        return server


class Lblcr(Lblc):
    def pick(self, arrival):
        known = self.memory.get(arrival.target, [])
        server = first_least((s for s in known if s.available
                              and s.in_service),
                             lambda s: Fraction(s.overhead, s.weight))
        if server and not self.crowded(server):
            return server
        server = Wlc.pick(self, arrival)
        if server and server not in known:
            self.memory[arrival.target] = [server, *known]
        return server


class Twos(Scheduler):
    """With a source of random numbers of its own."""
    uses_active = False

    def __init__(self, random):
        super().__init__()
        self.random = random

    def draw(self):
        left = self.random.randint(0, sum(s.weight for s in self.available()))
        for server in self.available():
            left -= server.weight
            if left <= 0:
                return server
        return None

    def pick(self, _arrival):
        one, other = self.draw(), self.draw()
        return other if other.weight * one.overhead > \
            one.weight * other.overhead else one


MODELS = {name.__name__.lower(): name for name in (
    Rr, Wrr, Lc, Wlc, Sed, Nq, Fo, Ovf, Dh, Sh, Mh, Lblc, Lblcr)}
