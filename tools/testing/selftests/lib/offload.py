# SPDX-License-Identifier: GPL-2.0
"""Packets with work left in them for a device: a checksum to complete, and
segments to cut.

That is what a stack gives to a network card, and what goes from one end of a
veth to the other as it is. A packet socket with a virtio_net header sends and
shows both, so a test sees whether somebody did the work before its time.
"""

import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

from .lab import Lab
from .packet import (FIN, IPPROTO_TCP, IPPROTO_UDP, PSH, is_ipv6,
                     pseudo_sum)
from .tap import equal
from .wire import SOL_PACKET, Host, received

PACKET_VNET_HDR = 15
HEADER = struct.Struct("<BBHHHH")
NEEDS_CSUM = 1
TCPV4, TCPV6, UDP_L4 = 1, 4, 5
ETH_HLEN = 14
CHECK_AT = {IPPROTO_TCP: 16, IPPROTO_UDP: 6}
# What a device may be asked to do.
WORK = "tx", "sg", "tso", "gso"


class About(NamedTuple):
    """What is left to do, as the virtio_net header says it: where to sum up
    from and where to put that, from the IP header on, and how to cut."""
    start: int
    offset: int
    kind: int = 0
    size: int = 0

    def pack(self, header):
        """The bytes; `header` is how long all headers are."""
        return HEADER.pack(NEEDS_CSUM, self.kind, ETH_HLEN + header, self.size,
                           ETH_HLEN + self.start, self.offset)

    def behind(self, length):
        """The same with so many bytes of headers put before the packet."""
        return self._replace(start=self.start + length)


def about(data):
    """Return the work described by a header's bytes, or None."""
    flags, kind, _length, size, start, offset = HEADER.unpack(data)
    if not flags & NEEDS_CSUM:
        equal((kind, size), (0, 0), "segments to cut without a checksum")
        return None
    return About(start - ETH_HLEN, offset, kind, size)


def ip_length(packet):
    """Bytes of a packet's IP header."""
    return 40 if is_ipv6(packet.src) else 20 + len(packet.options)


def pending(packet):
    """A packet with only the pseudo header in its transport checksum."""
    length = len(packet.l4.build(packet.src, packet.dst))
    return packet.but(check=pseudo_sum(packet.src, packet.dst,
                                       packet.l4.protocol, length))


@dataclass(frozen=True)
class Work:
    """A packet whose checksum a device has to complete, unless it is not
    `partial`, and of which it has to cut segments with `size` bytes of
    payload, if that is not 0."""
    packet: object
    size: int = 0
    partial: bool = True

    def but(self, **changes):
        """The same work for a packet that differs."""
        return replace(self, packet=self.packet.but(**changes))

    def pending(self):
        """The packet before the work is done."""
        return pending(self.packet) if self.partial else self.packet

    def about(self):
        """Return the work that is left."""
        if not self.partial:
            return None
        protocol = self.packet.l4.protocol
        kind = 0
        if self.size:
            tcp = TCPV6 if is_ipv6(self.packet.src) else TCPV4
            kind = tcp if protocol == IPPROTO_TCP else UDP_L4
        return About(ip_length(self.packet), CHECK_AT[protocol], kind,
                     self.size)

    def done(self):
        """The packets that it takes to say the same without a device."""
        packet, size = self.packet, self.size
        payload = packet.l4.payload
        if not size:
            return [packet]
        parts = []
        for number, at in enumerate(range(0, len(payload), size)):
            part = packet.but(payload=payload[at:at + size])
            if not is_ipv6(packet.src):
                part = part.but(id=packet.id + number)
            if packet.l4.protocol == IPPROTO_TCP:
                flags = packet.l4.flags
                if at + size < len(payload):
                    flags &= ~(FIN | PSH)
                part = part.but(seq=packet.l4.seq + at, flags=flags)
            parts.append(part)
        return parts


def together(work):
    """What GRO makes of the segments of a packet that a packet socket sent.
    The last one of TCP is left out: it alone still counts for the socket."""
    *parts, last = work.done()
    if not parts:
        return [Work(last, partial=False)]
    if work.packet.l4.protocol == IPPROTO_UDP:
        return [work]
    length = work.size * len(parts)
    return [Work(parts[0].but(payload=work.packet.l4.payload[:length]),
                 work.size), Work(last, partial=False)]


class Wanted(NamedTuple):
    """A packet as it must come, and what must be left to do."""
    packet: object
    about: About = None


class OffloadHost(Host):
    """The far end of a wire whose device takes all work off its stack."""

    def plug(self, mtu=1500, ipv6=False):
        super().plug(mtu, ipv6)
        self.device(True)
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)

    def device(self, works):
        """Switch the offloads of this end's device on or off."""
        offload(self.ns, "eth0", works)

    def frame(self, packet):
        if not isinstance(packet, Work):
            return bytes(HEADER.size) + super().frame(packet)
        headers = len(bytes(packet.packet.but(payload=b"")))
        return packet.about().pack(headers) + super().frame(packet.pending())

    def receive(self):
        return received(self.socket, HEADER.size)


def offload(namespace, device, works):
    """Switch a device's checksum and segmentation offloads on or off."""
    state = "on" if works else "off"
    namespace.run("ethtool", "-K", device,
                  *(word for name in WORK for word in (name, state)))


class OffloadLab(Lab):
    """A lab where devices do the work that the director leaves to them, while
    that is not turned off."""

    host_kind = OffloadHost

    def works(self, host, works):
        """Switch the offloads of the director's device towards a host."""
        offload(self.director, host.name, works)

    def compare(self, seen, wanted):
        """Compare packets, and what is left to do, with those wanted."""
        super().compare(seen, {host: [want.packet for want in wants]
                               for host, wants in wanted.items()})
        for host, wants in wanted.items():
            for frame, want in zip(seen[host], wants):
                equal(about(frame.about), want.about, f"work left at {host}")
