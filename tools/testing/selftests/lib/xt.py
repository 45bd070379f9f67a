# SPDX-License-Identifier: GPL-2.0
"""Rules with `-m ipvs`, and which packets match them."""

from typing import NamedTuple

from .iptables import CHAINS

NUMBERS = {"tcp": 6, "udp": 17}


class Conn(NamedTuple):
    """What a rule can ask of a connection; `control` is the virtual port of
    what controls it."""
    vaddr: str
    vport: int
    method: str
    control: int = None


class Seen(NamedTuple):
    """A packet as a chain sees it: whether IPVS has handled it, the number of
    its protocol, the connection that it is found to belong to, and its
    direction in connection tracking."""
    handled: bool = False
    protocol: int = 0
    conn: Conn = None
    direction: str = None


class Option(NamedTuple):
    """An option of a rule."""
    name: str
    value: object = None
    inverted: bool = False

    def text(self):
        """As a user writes it."""
        value = "" if self.value is None else f" {self.value}"
        return f"{'! ' if self.inverted else ''}--{self.name}{value}"

    def holds(self, seen, covers):
        """Whether a packet is as the option says, its inversion aside; None
        if there is no answer."""
        if self.name == "ipvs":
            return True         # matters only without others
        if self.name == "vproto":
            return seen.protocol == NUMBERS[self.value]
        if self.name == "vdir":
            return seen.direction and seen.direction == self.value
        return {
            "vaddr": lambda: covers(self.value, seen.conn.vaddr),
            "vport": lambda: seen.conn.vport == self.value,
            "vmethod": lambda: seen.conn.method == self.value,
            "vportctl": lambda: seen.conn.control == self.value,
        }[self.name]()

    def met(self, seen, covers):
        """Whether a packet meets the option."""
        holds = self.holds(seen, covers)
        if self.name == "ipvs":
            return True
        return holds is not None and holds != self.inverted


def matches(options, seen, covers):
    """Whether a packet matches a rule with these options."""
    if [option.name for option in options] == ["ipvs"]:
        return seen.handled != options[0].inverted
    return bool(seen.handled and seen.conn and
                all(option.met(seen, covers) for option in options))


def each_and_inverted(*options):
    """The options, each alone, and each inverted if it can be."""
    return [[option._replace(inverted=inverted)] for option in options
            for inverted in (False, True)
            if not (inverted and option.name == "vdir")]


def rule(chain, options):
    """As after `-A`."""
    return " ".join([chain, "-m ipvs", *(option.text() for option in options)])


def rules_everywhere(all_options, tables=CHAINS):
    """The same rules in each chain, for Tables.restore."""
    return {table: [rule(chain, options) for chain in chains
                    for options in all_options]
            for table, chains in tables.items()}


def expected(all_options, visits, covers, tables=CHAINS):
    """How many packets each of these rules should count, {table: [packets]}:
    `visits` are pairs, names of chains and the packet that they see."""
    return {table: [sum(matches(options, seen, covers)
                        for names, seen in visits
                        if chain in names.split() or
                        f"{table}/{chain}" in names.split())
                    for chain in chains for options in all_options]
            for table, chains in tables.items()}
