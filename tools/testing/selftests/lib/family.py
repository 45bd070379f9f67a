# SPDX-License-Identifier: GPL-2.0
"""The address families, for cases that run for IPv4 and for IPv6.

A file registers such a case with @test_each(FAMILIES, "what is promised"). It
runs once for each family on one lab, Lab(ipv6=True). What only one family has
is a case of its own, registered with @test, whose promise names the family.
"""

from contextlib import contextmanager
from ipaddress import ip_address
from socket import inet_aton

from .encap import number
from .lab import CIP, CIP6, RIP, RIP2, RIP6, RIP6_2, VIP, VIP6
from .packet import (IPPROTO_DSTOPTS, Icmp, Icmp6, Packet, Packet6, Raw,
                     icmp6_error, icmp_error, is_ipv6, options_header)


def end(address, port):
    """Return an address and a port as ipvsadm takes them."""
    return f"[{address}]:{port}" if is_ipv6(address) else f"{address}:{port}"


class Family:
    """An address family; Ipv4 and Ipv6 have what differs."""

    def __str__(self):
        return self.name

    @contextmanager
    def narrow(self, host, mtu):
        """Set the path MTU to a host's network while this lasts."""
        self.route_mtu(host, mtu)
        try:
            yield
        finally:
            self.route_mtu(host, 1500)

    def listed_end(self, address, port):
        """Return an address and a port as /proc/net/ip_vs shows them."""
        shown = self.listed(address)
        return f"[{shown}]:{port:04X}" if is_ipv6(address) \
            else f"{shown}:{port:04X}"

    def around(self, packet, load, **more):
        """Return the packet that the first server gets through a tunnel: the
        load in an outer header with the TTL and the traffic class of the
        packet inside."""
        fields = self.made | {"ttl": packet.ttl, "tos": packet.tos} | more
        return self.packet(self.source, self.rip, load, **fields)

    def encapsulated(self, packet, **more):
        """Return a packet in a tunnel that adds an IP header and no other."""
        return self.around(packet, Raw(bytes(packet), number(packet)), **more)

    def router_error(self, src, dst, kind, quoted, rest=0, **more):
        """Return an ICMP error with header fields that Linux would not use."""
        return self.error(src, dst, kind, quoted, rest,
                          **self.not_linux | more)


class Ipv4(Family):
    """IPv4."""
    name, header, packet = "IPv4", 20, Packet
    # In nftables, and for ip(8) where no address tells.
    table, option = "ip", "-4"
    cip, vip, rip, rip2 = CIP, VIP, RIP, RIP2
    # Addresses of the director: on the client's wire, and on the first
    # server's, where its tunnels begin.
    own, source = "10.0.1.1", "10.0.2.1"
    loopback, unspecified = "127.0.0.1", "0.0.0.0"
    # Somewhere beyond the client's wire, and behind the first server's.
    router, inside = "192.0.2.77", "10.0.2.77"
    # An address of nobody, to which tests have routes.
    beyond = "203.0.113.9"
    # The smallest path MTU of a packet in a tunnel.
    least_mtu = 68
    # Bytes in the first piece of a packet that is cut at an MTU of 1500.
    first_piece = 1480
    # Fields that forbid routers to fragment a packet.
    whole = {"df": True}
    # Fields of headers that the director makes: around a tunnelled packet, of
    # a datagram from its own socket, of a TCP reset.
    made, said, reset = {"id": None}, {"id": None, "df": True}, \
        {"id": 0, "df": True}
    # Fields of an ICMP error that Linux would not send.
    not_linux = {"tos": 0, "id": 0x55}
    # More than the fixed part of the header.
    options = {"options": b"\x88\x04\x12\x34\x01\x01\x01\x00"}   # stream id
    # Types and codes of ICMP.
    unreachable, port_unreachable = (3, 1), (3, 3)
    too_big, time_exceeded = (3, 4), (11, 0)

    @staticmethod
    def listed(address):
        """Return an address as files under /proc/net show it."""
        return inet_aton(address).hex().upper()

    @staticmethod
    def mark(value):
        """Return the arguments of ipvsadm -f for a firewall mark."""
        return f"{value}"

    @staticmethod
    def route_mtu(host, mtu):
        """Set the director's path MTU to the network of a host."""
        host.director.ip(f"route replace {host.net}.0/24 dev {host.name} "
                         f"src {host.router} mtu {mtu}")

    @staticmethod
    def error(src, dst, kind, quoted, rest=0, **more):
        """Return an ICMP error as Linux sends it; `kind` is type and code."""
        return icmp_error(src, dst, *kind, quoted, rest, **more)

    @staticmethod
    def echo(src, dst, payload=b"ping", reply=False):
        """Return an echo request or reply."""
        return Packet(src, dst, Icmp(0 if reply else 8, 0, 0x12340001,
                                     payload))

    @staticmethod
    def cut(packet, frames, *offsets):
        """Return the fragments that the director cuts a packet to, at these
        offsets. If the packet's identification is None, the director chose
        it: it is that of the first frame seen."""
        if packet.id is None and frames:
            packet = packet.but(id=int.from_bytes(frames[0].ip[4:6], "big"))
        return packet.fragments(*offsets)


class Ipv6(Family):
    """IPv6."""
    name, header, packet = "IPv6", 40, Packet6
    table, option = "ip6", "-6"
    cip, vip, rip, rip2 = CIP6, VIP6, RIP6, RIP6_2
    own, source = "fd00:1::1", "fd00:2::1"
    loopback, unspecified = "::1", "::"
    router, inside = "2001:db8:5::77", "fd00:2::77"
    beyond = "2001:db8:9::9"
    least_mtu = 1280
    first_piece = 1448
    # No router fragments a packet of IPv6.
    whole = {}
    made = said = reset = {"label": 0}
    not_linux = {}
    options = {"extensions": (options_header(IPPROTO_DSTOPTS, 24),)}
    unreachable, port_unreachable = (1, 3), (1, 4)
    too_big, time_exceeded = (2, 0), (3, 0)

    @staticmethod
    def listed(address):
        """Return an address as files under /proc/net show it."""
        return ip_address(address).exploded

    @staticmethod
    def mark(value):
        """Return the arguments of ipvsadm -f for a firewall mark."""
        return f"{value} -6"

    @staticmethod
    def route_mtu(host, mtu):
        """Set the director's path MTU to the network of a host."""
        host.director.ip(f"route replace {host.net6}:/64 dev {host.name} "
                         f"proto kernel metric 256 mtu {mtu}")

    @staticmethod
    def error(src, dst, kind, quoted, rest=0, **more):
        """Return an ICMPv6 error as Linux sends it; `kind` is type and
        code."""
        return icmp6_error(src, dst, *kind, quoted, rest, **more)

    @staticmethod
    def echo(src, dst, payload=b"ping", reply=False):
        """Return an echo request or reply."""
        return Packet6(src, dst, Icmp6(129 if reply else 128, 0, 0x12340001,
                                       payload))

    @staticmethod
    def cut(packet, frames, *offsets):
        """Return the fragments that the director cuts a packet to, at these
        offsets. The director chooses their identification: it is that of
        the first frame seen."""
        ident = int.from_bytes(frames[0].ip[44:48], "big") if frames else 0
        return packet.fragments(*offsets, ident=ident)


IPV4, IPV6 = FAMILIES = Ipv4(), Ipv6()
