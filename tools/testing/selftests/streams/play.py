# SPDX-License-Identifier: GPL-2.0
"""Sending streams through one module and through both."""

import os
import socket
import time

from lib.packet import IPPROTO_FRAGMENT, IPPROTO_SCTP, IPPROTO_TCP, SYN
from lib.sctp import INIT
from lib.wire import ETH_P_IP, ETH_P_IPV6, mac_bytes

from .world import FAMILIES, V6, World

TICKS = .012            # three of 4 ms
KIND = {family.name: (ETH_P_IPV6 if family is V6 else ETH_P_IP).to_bytes(2)
        for family in FAMILIES}


def destination(data):
    """Where a packet of the director's own is to go."""
    if len(data) >= 40 and data[0] >> 4 == 6:
        return data[24:40]
    return data[16:20].ljust(4, b"\0")


def opens(data):
    """The client's port if a packet opens a connection (a TCP segment with SYN,
    or SCTP's INIT), or None."""
    if len(data) < 40:
        return None
    follow, at = data[9], (data[0] & 15) * 4
    if data[0] >> 4 == 6:
        follow, at = data[6], 40
        while follow in (0, 43, 44, 60) and at + 8 <= len(data):
            size = 0 if follow == IPPROTO_FRAGMENT else data[at + 1]
            follow, at = data[at], at + 8 + size * 8
    if len(data) < at + 14 or not (
            follow == IPPROTO_TCP and data[at + 13] & SYN or
            follow == IPPROTO_SCTP and data[at + 12] == INIT):
        return None
    return data[at:at + 2]


class Player:
    """A world, and the way into it for each origin."""

    def __init__(self, world):
        self.world, self.settings = world, {}
        self.opened = set()
        self.hosts = {host.name: host for host in world.hosts}
        self.heads = {
            host.name: mac_bytes(host.router_mac) + mac_bytes(host.mac)
            for host in world.hosts}

    def set(self, settings):
        """Write the settings that are others than now."""
        for name, value in settings.items():
            if self.settings.get(name) != value:
                self.world.set(name, value)
                self.settings[name] = value

    def send(self, step):
        """A step; the errno's name if the director's kernel refuses it.

        A SYN or an INIT may end a connection that was. The C module's can be
        found up to the next tick of the clock, so wait for that.
        """
        refused = ""
        if step.origin == "director":
            refused = self.send_raw(step)
        else:
            self.hosts[step.origin].socket.send(
                self.heads[step.origin] + KIND[step.family] + step.data)
        port = opens(step.data)
        if port in self.opened:
            time.sleep(TICKS)
        elif port:
            self.opened.add(port)
        return refused

    def send_raw(self, step):
        """From a raw socket of the director's."""
        sock = self.world.raw[step.family]
        where = destination(step.data)
        address = socket_address(where)
        try:
            sock.sendto(step.data, address)
        except OSError as error:
            return type(error).__name__ + str(error.errno)
        return ""

    def outcome(self, frames, refused):
        """What was seen, in a form to compare: for each host its frames in
        order, and for the director what it was refused."""
        seen = {host.name: [(frame.dst + frame.src, frame.ip) for frame in
                            frames[host]] for host in self.world.up}
        seen["director"] = [("refused", text.encode()) for text in refused]
        return seen

    def group(self, group):
        """The outcome of a group as a whole."""
        self.set(group.settings)
        self.opened.clear()
        refused = [self.send(step) for step in group.steps]
        return self.outcome(self.world.settle(), refused)

    def steps(self, group):
        """The outcome of each step of a group."""
        self.set(group.settings)
        self.opened.clear()
        found = []
        for step in group.steps:
            refused = [self.send(step)]
            found.append(self.outcome(self.world.settle(), refused))
        return found


def socket_address(packed):
    """As sendto() wants it."""
    family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
    return socket.inet_ntop(family, packed), 0


def on(module, groups, how):
    """What `how` makes of each group on a module in a new world."""
    os.environ["MODULE"] = module
    with World() as world:
        player = Player(world)
        return [how(player, group) for group in groups]


def both(groups, how=Player.group):
    """Pairs of outcomes: on the C module and on ours."""
    return list(zip(on("c", groups, how), on("rust", groups, how)))
