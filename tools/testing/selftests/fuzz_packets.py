#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""Packets by chance, from the wires and from a raw socket of the director.

Requests and answers of both protocols with IPv4 options, in fragments that
overlap or lack parts, of sizes around the MTU and with short lives; ICMP
errors about either, about tunnels and about other errors; control and data
connections of FTP, with conntrack on and off; and all of these with bytes
changed and ends cut off. Nothing of it hinders new connections, services and
servers stay as they were, connections are of services, and no packet's memory
is lost: as many objects as before are in use when the modules and the
namespaces have gone.

N (packets), SEED and TRACE=1 (print packets
and connections) come by the environment; "make fuzz-kernel N=... SEED=..."
sets them.
"""

import os
import re
import socket

from lib import control, ftp, memory, module
from lib.busy import METHODS, BusyLab
from lib.chance import chance, number
from lib.chat import Chat
from lib.lab import CIP, RIP, RIP2, VIP
from lib.packet import (IPPROTO_SCTP, Packet, Raw, Sctp, Tcp, Udp,
                        icmp_error)
from lib.rules import Rules
from lib.sctp import chunk
from lib.tap import equal, eventually, main, note, test
from lib.vs import Settings

PACKETS, BATCH = number("N", 3000, c=1500), 100
ROUNDS = 5
TRACE = os.environ.get("TRACE")
OPTIONS = (b"\x01\x01\x01\x01", b"\x94\x04\x00\x00",            # NOP, alert
           b"\x07\x0b\x04" + bytes(9),                          # record route
           b"\x44\x0c\x05\x00" + bytes(8),                      # time stamp
           b"\x83\x07\x04\x0a\x00\x02\x02\x00",                 # source route
           b"\x89\x07\x04\x0a\x00\x02\x02\x00", b"\x83\x03\x00\x00",
           b"\x07\xff\x04\x00", b"\xff" * 40, b"\x00" * 40, b"\x82\x00\x00\x00")


class PacketLab(BusyLab):
    """The laboratory at work, with what fragments wait for kept short."""

    def __init__(self):
        super().__init__()
        self.rng, self.raw, self.chat = chance(20261125), None, None
        self.at_first = 0

    def build(self):
        if not self.at_first:
            self.at_first = max(memory.namespaces() for _ in range(3))
        super().build()
        ftp.load()
        self.chat = Chat(self, self.rng)
        self.director.sysctl("ipv4/ipfrag_time", 1)
        with self.director:
            self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                     socket.IPPROTO_RAW)

    def configure(self):
        """The services of the laboratory, and such of SCTP and FTP."""
        super().configure()
        with Rules(self.director) as rules:
            control.configure(rules)
            for vport, method in METHODS.items():
                rules.add(IPPROTO_SCTP, VIP, vport, RIP, RIP2, method=method)

    def __exit__(self, *error):
        if self.raw:
            self.raw.close()
        super().__exit__(*error)

    def gone(self):
        """The modules leave with connections, then the namespaces with all
        that the kernel remembers of addresses in packets (peers, neighbours,
        exceptions of routes): the more of that, the more packets there were,
        and longer than this runs. What is allocated then."""
        control.end(self)
        self.ipvs.admin("-C")
        module.unload()
        self.raw.close()
        for host in self.hosts:
            host.unplug()
        for namespace in self.namespaces:
            namespace.delete()
        self.namespaces, self.hosts, self.director = [], [], None
        eventually(lambda: memory.namespaces() <= self.at_first + 1,
                   "the end of namespaces", 60)
        return memory.usage()

    def forget_fragments(self):
        """Wait until the director has told all senders that their packets
        can't be put together, so that it says nothing more of itself."""
        eventually(lambda: re.search(
            r"^FRAG: inuse 0 ", self.director.proc("sockstat"), re.M),
            "the end of fragments", 60)

    def transport(self, sport, dport):
        """A UDP, TCP or SCTP part of any size, flags and chunks."""
        rng = self.rng
        payload = rng.randbytes(rng.choice((0, 1, 7, 64, 1400, 1452, 1472,
                                            1473, 3000)))
        if rng.random() < .5:
            return Udp(sport, dport, payload, check=rng.choice((None, None,
                                                                0)))
        if rng.random() < .4:
            return Sctp(sport, dport, chunk(
                rng.choice((1, 1, 10, 11, rng.randrange(16))), payload,
                rng.choice((None, None, 0, 3, 0xffff))) + rng.choice(
                    (b"", chunk(6), chunk(rng.randrange(256))[:3])))
        return Tcp(sport, dport, rng.choice((2, 2, 16, 18, 17, 4, 20, 0, 63,
                                             rng.randrange(256))),
                   rng.randrange(1 << 32), rng.randrange(1 << 32), payload,
                   tcp_options=b"\x01" * rng.choice((0, 0, 4, 40)),
                   offset=rng.choice((None,) * 8 + (0, 4, 15)))

    def flow(self):
        """A packet of a client, or of a server."""
        rng = self.rng
        cport, vport = rng.choice((20, 0, 53, 1000, rng.randrange(1000, 1100))
                                  ), rng.choice((*METHODS, 84))
        more = {"options": rng.choice((b"",) * 4 + OPTIONS),
                "df": rng.random() < .3, "id": rng.randrange(8),
                "ttl": rng.choice((64, 64, 64, 2, 1, 0)),
                "tos": rng.choice((0, 3, 0xff))}
        if rng.random() < .6:
            return Packet(CIP, VIP, self.transport(cport, vport), **more)
        return Packet(rng.choice((RIP, RIP2, VIP)), CIP,
                      self.transport(vport, cport), **more)

    def packet(self):
        """Any packet, sound in its header."""
        rng = self.rng
        packet, dice = self.flow(), rng.random()
        if dice < .3:
            quoted = packet.back() if rng.random() < .7 else packet
            if rng.random() < .3:
                quoted = Packet("10.0.2.1", RIP, Raw(bytes(quoted),
                                                     rng.choice((4, 47, 17))))
            if rng.random() < .1:
                quoted = icmp_error(RIP, CIP, 3, 1, quoted)
            packet = icmp_error(
                rng.choice((CIP, RIP, "10.0.1.9")), rng.choice((VIP, CIP,
                                                                "10.0.2.1")),
                rng.choice((3, 3, 4, 5, 11, 12, 8, 0, 13)), rng.randrange(16),
                quoted, rng.choice((0, 68, 600, 1400, rng.randrange(1 << 32))),
                limit=rng.choice((576, 576, 56, 60, 1500)))
        elif dice < .37:
            packet = Packet(CIP, VIP, Raw(bytes(packet), rng.choice(
                (4, 47, 50, 51, 132, 253, 1, 2))))
        return packet

    @staticmethod
    def is_data(found):
        """Whether a connection may be a data connection."""
        return found.protocol == "TCP" and found.vaddr == VIP and (
            found.vport not in (*METHODS, 21, 84))

    def pieces(self, packet):
        """The packet, whole or in fragments, and not always all of them."""
        rng = self.rng
        size = len(packet.l4.build(packet.src, packet.dst))
        if size <= 1400 and (size < 24 or rng.random() < .8):
            return [packet]
        cuts = sorted(rng.sample(range(8, size, 8), rng.randrange(
            1, min(4, size // 8))))
        parts = packet.fragments(*cuts)
        if rng.random() < .3:                     # over one another
            parts.append(rng.choice(parts).but(frag=rng.randrange(200)))
        if rng.random() < .3:
            del parts[rng.randrange(len(parts))]
        rng.shuffle(parts)
        return parts

    def bend(self, data):
        """Bytes changed, an end cut off, or neither."""
        rng = self.rng
        if rng.random() < .5:
            return data
        data = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < .3:
            del data[rng.randrange(1, len(data)):]
        return bytes(data)

    def talk(self):
        """The next packet of FTP. Most are as they are, or there would soon
        be no conversation any more."""
        host, packet = self.chat.next()
        data = bytes(packet)
        if self.rng.random() < .1:
            data = self.bend(data)
        host.socket.send(host.frame(data))
        if TRACE:
            note(f"{data.hex()}")

    def batch(self, size):
        """Send so many packets; each frame fits the wire."""
        rng = self.rng
        for host in self.up:
            host.drain()
        for _ in range(size):
            if rng.random() < .3:
                self.talk()
                continue
            for part in self.pieces(self.packet()):
                data = self.bend(bytes(part))[:1500]
                if rng.random() < .2:
                    try:
                        self.raw.sendto(data, (rng.choice((VIP, RIP, CIP)), 0))
                    except OSError:       # the socket refuses many shapes
                        pass
                else:
                    host = rng.choice((self.client, *self.hosts))
                    host.socket.send(host.frame(data))
                if TRACE:
                    note(f"{data.hex()}")
        self.settle()


@test(f"{PACKETS} packets leave services, servers and new connections as they "
      "were, and no memory behind")
def packets(lab):
    rules = lab.ipvs.saved()
    names = {f"{VIP}:{vport}" for vport in (*METHODS, 21)}
    kinds = {}
    snapshots = []
    per_round = max(PACKETS // ROUNDS // BATCH, 1)
    for round_ in range(ROUNDS):
        Settings(lab.director)["conntrack"] = round_ % 2
        for batch in range(per_round):
            lab.batch(BATCH)
            what = f"after batch {round_ * per_round + batch}"
            equal(lab.ipvs.saved(), rules, f"rules {what}")
            for found in lab.ipvs.connections():
                # The ports of data connections are those that were said.
                of = "data" if lab.is_data(found) else \
                    f"{found.vaddr}:{found.vport}"
                assert of in names or of == "data", f"{found} {what}"
                kinds[of] = kinds.get(of, 0) + 1
        lab.forget_fragments()
        lab.works()
        control.works(lab)
        connections = lab.ipvs.connections()
        note(f"{len(connections)} connections")
        if TRACE:
            note("\n".join(map(str, sorted(connections))))
        # All that a connection or a fragment could hold goes.
        snapshots.append(lab.gone())
        module.load()
        lab.build()
    note(", ".join(f"{what}: {count}" for what, count in kinds.items()))
    equal(sorted(kinds), sorted({"data", *names}), "connections found")
    # The first round fills what the kernel keeps for later.
    equal(memory.leaks(snapshots[1:], 24), [], "what leaks")


if __name__ == "__main__":
    main(PacketLab)
