#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
"""What a server remembers of its route keeps no device: one can be deleted
whatever happened to it, its addresses and its namespace before, and packets go
by what routing says afterwards."""

import json
import subprocess
from contextlib import contextmanager

from lib.family import FAMILIES, end
from lib.lab import CIP, CIP6, VIP, VIP6, Lab
from lib.packet import is_ipv6, udp
from lib.tap import TIME_FACTOR, equal, main, test

DEVICE, VRF, TABLE = "spare", "red", 200
NAT, TUNNEL, DIRECT = 81, 82, 83
METHODS = (NAT, "m"), (TUNNEL, "i"), (DIRECT, "g")
# Client, virtual address, the device's own address, prefix, a neighbour there.
ADDRESSES = [(CIP, VIP, "10.9.0.1", 24, "10.9.0.2"),
            (CIP6, VIP6, "fd00:9::1", 64, "fd00:9::2")]
MANY = 1000
# So long a deletion may take; it takes for ever if a reference is left.
PATIENCE = 30 * TIME_FACTOR


def packets_out(lab, device=DEVICE):
    """How many packets the device has sent."""
    [link] = json.loads(lab.director.run("ip", "-j", "-s", "link", "show",
                                         device))
    return link["stats64"]["tx"]["packets"]


def delete(lab, device=DEVICE, namespace=None):
    """Delete a device, which ends when nothing refers to it any more."""
    namespace = namespace or lab.director
    process = namespace.start("ip", "link", "del", device)
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        lab.ipvs.admin("--clear")
        process.wait()
        raise AssertionError(f"something refers to {device} until IPVS is "
                             "cleared") from None
    equal(code, 0, "ip link del")


@contextmanager
def spare(lab, *more):
    """A device, with an address of each family, and what more it takes."""
    lab.director.ip(
        f"link add {DEVICE} type dummy", *more, f"link set {DEVICE} up",
        *(f"addr add {own}/{length} dev {DEVICE}" +
          (" nodad" if is_ipv6(own) else "")
          for _client, _vip, own, length, _neighbour in ADDRESSES))
    try:
        yield
    finally:
        lab.ipvs.admin("--clear")
        for device in DEVICE, VRF:
            lab.director.run("ip", "link", "del", device, check=False)


def services(lab, families, chosen):
    """A service for each method, whose server is at the chosen address."""
    for family in families:
        _client, vip, *_rest = family
        for vport, method in METHODS:
            lab.ipvs.service(
                end(vip, vport), f"{end(chosen(family), vport)} -{method}",
                kind="-u")


def use(lab, families):
    """A packet for each service, so that its server has a route."""
    for client, vip, *_rest in families:
        for vport, _method in METHODS:
            lab.client.send(udp(client, lab.port(), vip, vport))
    lab.settle()
    served(lab)


def served(lab):
    """Each server has had a packet."""
    for names, numbers in lab.ipvs.counters().items():
        assert sum(numbers), f"{names} has no connection"


def own(family):
    """The address that the device itself has."""
    return family[2]


def neighbour(family):
    """An address that is reached by the device."""
    return family[4]


@contextmanager
def in_use(lab, chosen, families=None, more=()):
    """The device, with servers that have used it."""
    families = families or ADDRESSES
    with spare(lab, *more):
        services(lab, families, chosen)
        before = packets_out(lab)
        use(lab, families)
        if chosen is neighbour:
            wanted = before + len(families) * len(METHODS)
            assert packets_out(lab) >= wanted, "packets by the device"
        yield


@test("a device is deleted that routes of servers lead out by")
def deleted(lab):
    with in_use(lab, neighbour):
        delete(lab)
        # With the device its routes have gone: nothing can use what was kept.
        for client, vip, *_rest in ADDRESSES:
            for vport, _method in METHODS:
                lab.client.send(udp(client, lab.port(), vip, vport))
        lab.settle()


@test("it is set down before")
def set_down(lab):
    with in_use(lab, neighbour):
        lab.director.ip(f"link set {DEVICE} down")
        delete(lab)


@test("it goes to another namespace, and is deleted there")
def moved(lab):
    with in_use(lab, neighbour):
        lab.director.ip(f"link set {DEVICE} netns {lab.client.ns.name}")
        delete(lab, namespace=lab.client.ns)


@test("a server is an IPv4 address of the device that is deleted")
def own_address(lab):
    with in_use(lab, own, ADDRESSES[:1]):
        delete(lab)


# The C module looks only at the device that a route leads out by: the loopback
# device, while the route refers to the IPv6 data of the one with the address.
@test("a server is an IPv6 address of the device that is deleted",
      modules=("rust",))
def own_address6(lab):
    with in_use(lab, own, ADDRESSES[1:]):
        delete(lab)


@test("it is an address of a device that was never up", modules=("rust",))
def never_up(lab):
    with spare(lab):
        lab.director.ip(f"link set {DEVICE} down", "addr flush dev " + DEVICE)
        lab.director.ip(f"addr add {ADDRESSES[1][2]}/64 dev {DEVICE} nodad")
        services(lab, ADDRESSES[1:], own)
        for client, vip, *_rest in ADDRESSES[1:]:
            for vport, _method in METHODS:
                lab.client.send(udp(client, lab.port(), vip, vport))
        lab.settle()
        delete(lab)


@test("the address is removed before", modules=("rust",))
def address_removed(lab):
    with in_use(lab, own):
        for _client, _vip, address, length, _neighbour in ADDRESSES:
            lab.director.ip(f"addr del {address}/{length} dev {DEVICE}")
        delete(lab)


@test("the device with the address goes to another namespace",
      modules=("rust",))
def own_moved(lab):
    with in_use(lab, own):
        lab.director.ip(f"link set {DEVICE} netns {lab.client.ns.name}")
        delete(lab, namespace=lab.client.ns)


# IPv6 exchanges the device in routes without a word to others; what is left is
# the FIB entry, which refers to the device too. The C module knows neither.
@test("IPv6 is disabled on it before", modules=("rust",))
def ipv6_disabled(lab):
    for chosen in neighbour, own:
        with in_use(lab, chosen):
            lab.director.sysctl(f"ipv6/conf/{DEVICE}/disable_ipv6", 1)
            delete(lab)


@test("its MTU becomes too small for IPv6 before", modules=("rust",))
def mtu_too_small(lab):
    for chosen in neighbour, own:
        with in_use(lab, chosen):
            lab.director.ip(f"link set {DEVICE} mtu 1000")
            delete(lab)


# With the C module, the deletion of the device waits until IPVS is cleared.
@test("a VRF is deleted that it was in, then the device", modules=("rust",))
def in_vrf(lab):
    enslave = (f"link add {VRF} type vrf table {TABLE}", f"link set {VRF} up",
               f"link set {DEVICE} master {VRF}")
    routes = [f"route add {client}/{'128' if is_ipv6(client) else '32'} "
              f"dev {lab.client.name} table {TABLE}"
              for client, *_rest in ADDRESSES]
    with spare(lab, *enslave):
        for family in ADDRESSES:
            prefix = "fd00:9::/64" if is_ipv6(family[0]) else "10.9.0.0/24"
            routes.append(f"route add {prefix} dev {DEVICE}")
        lab.director.ip(*routes)
        services(lab, ADDRESSES, neighbour)
        before = packets_out(lab)
        use(lab, ADDRESSES)
        assert packets_out(lab) > before, "packets by the device"
        delete(lab, VRF)
        delete(lab)


@test("servers were removed before, and their connections had more packets")
def removed(lab):
    with in_use(lab, neighbour):
        port = lab.port()
        packets = [udp(client, port, vip, vport)
                   for client, vip, *_rest in ADDRESSES
                   for vport, _method in METHODS]
        for packet in packets:
            lab.client.send(packet)
        lab.settle()
        for _client, vip, _own, _length, server in ADDRESSES:
            for vport, _method in METHODS:
                lab.ipvs.admin("-d", "-u", end(vip, vport),
                               "-r", end(server, vport))
        for packet in packets:
            lab.client.send(packet)
        lab.settle()
        delete(lab)


@test(f"{MANY} servers of a service have routes by it")
def many(lab):
    with spare(lab):
        for client, vip, *_rest in ADDRESSES:
            prefix = "fd00:9::1:" if is_ipv6(vip) else "10.9."
            if not is_ipv6(vip):
                lab.director.ip(f"addr add 10.9.0.3/16 dev {DEVICE}")
            servers = [f"{prefix}{n:x}" if is_ipv6(vip) else
                       f"{prefix}{n // 250 + 1}.{n % 250 + 1}"
                       for n in range(1, MANY + 1)]
            lab.ipvs.service(end(vip, DIRECT), *(
                f"{end(server, DIRECT)} -g" for server in servers), kind="-u")
            lab.burst(udp(client, lab.port(), vip, DIRECT)
                      for _server in servers)
        served(lab)
        delete(lab)


@test("a new MTU of the device holds for the next packet, and the client is "
      "told")
def mtu(lab):
    for ip in FAMILIES:
        lab.ipvs.service(end(ip.vip, DIRECT), f"{end(ip.rip, DIRECT)} -g",
                         kind="-u")
        request = udp(ip.cip, lab.port(), ip.vip, DIRECT, bytes(1400),
                      **ip.whole)
        passed = request.but(ttl=request.ttl - 1)
        lab.expect(lab.client, request, {lab.server: passed})
        lab.director.ip(f"link set {lab.server.name} mtu 1300")
        lab.expect(lab.client, request,
                   {lab.client: ip.error(ip.vip, ip.cip, ip.too_big, passed,
                                         1300)})
        lab.director.ip(f"link set {lab.server.name} mtu 1500")
        lab.ipvs.admin("--clear")


if __name__ == "__main__":
    main(lambda: Lab(servers=1, ipv6=True))
