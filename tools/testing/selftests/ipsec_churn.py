#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 300
"""IPsec policies come and go, many of them, while packets meet them. Nothing
leaves in clear in between, and no packet keeps a route, a device or a
namespace for ever. The C module does not look at policies."""

import os
import threading
from contextlib import ExitStack, contextmanager

from lib.ipsec import ESP, IpsecLab, protocol
from lib.lab import CIP, CIP6, RIP, RIP6, VIP, VIP6
from lib.packet import is_ipv6, udp
from lib.tap import equal, eventually, main, test
from lib.wire import tap

PAYLOAD = b"nobody else should read this"
NAT, DIRECT, TUNNEL = 81, 82, 91
ROUNDS, MANY = 10, 1000
FAMILIES = (CIP, VIP, RIP, "10.0.2.1"), (CIP6, VIP6, RIP6, "fd00:2::1")


def flows():
    """What leaves, as policies select it, and the ends of its association."""
    found = {}
    for client, vip, server, director in FAMILIES:
        inside = 41 if is_ipv6(server) else 4
        for src, dst, number in ((client, server, "udp"), (client, vip, "udp"),
                                 (director, server, inside)):
            found[f"src {src} dst {dst} proto {number}"] = src, dst
    return found


class Churn(IpsecLab):
    """Services of both families. Traffic goes on while it is taken down."""

    def __init__(self):
        super().__init__()
        self.until_the_end = ExitStack()

    def build(self):
        super().build()
        for _client, vip, server, *_ in FAMILIES:
            if is_ipv6(vip):
                vip, server = f"[{vip}]", f"[{server}]"
            for port, method in (NAT, "-m"), (DIRECT, "-g"), (TUNNEL, "-i"):
                self.ipvs.service(f"{vip}:{port}", f"{server}:{port} {method}",
                                  kind="-u")

    def __exit__(self, *error):
        with self.until_the_end:
            super().__exit__(*error)

    def requests(self, number=1):
        """So many connections by each way."""
        return [udp(client, self.port(), vip, port, PAYLOAD)
                for client, vip, *_ in FAMILIES
                for port in (NAT, DIRECT, TUNNEL) for _ in range(number)]

    @contextmanager
    def traffic(self):
        """Requests of some connections, again and again, from another CPU."""
        frames = [self.client.frame(packet) for packet in self.requests(8)]
        sock = tap(self.client.ns, "eth0")
        sock.bind(("eth0", 0))
        over = threading.Event()

        def send():
            os.sched_setaffinity(0, {os.cpu_count() - 1})
            while not over.is_set():
                for frame in frames:
                    try:
                        sock.send(frame)
                    except OSError:     # a full queue, a device that is gone
                        over.wait(0.01)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()
            sock.close()


def seen(lab):
    """The kinds of packets that left: how many are ESP, and how many can be
    read."""
    packets = lab.left()
    return (sum(protocol(packet) == ESP for packet in packets),
            sum(PAYLOAD in packet for packet in packets))


def come_and_go(lab):
    """Policies with their associations, added and removed under traffic."""
    encrypted = 0

    def some():
        nonlocal encrypted
        esp, clear = seen(lab)
        equal(clear, 0, "packets in clear")
        encrypted += esp
        return esp

    with lab.traffic():
        for _ in range(ROUNDS):
            lab.protect(flows(), "transport")
            eventually(some, "encrypted packets")
            lab.director.ip(*(f"xfrm policy delete {selector} dir out"
                              for selector in flows()),
                            "xfrm state flush")
            lab.server.ns.ip("xfrm policy flush", "xfrm state flush")
    some()


@test("policies come and go under traffic in front of one that blocks the rest:"
      " nothing leaves in clear")
def before_a_block(lab):
    lab.forget()
    lab.director.ip("xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 proto udp "
                    "dir out action block priority 1000",
                    "xfrm policy add src ::/0 dst ::/0 proto udp "
                    "dir out action block priority 1000",
                    f"xfrm policy add src 0.0.0.0/0 dst {RIP} proto 4 "
                    "dir out action block priority 1000",
                    f"xfrm policy add src ::/0 dst {RIP6} proto 41 "
                    "dir out action block priority 1000")
    come_and_go(lab)


@test("policies come and go under traffic where what meets none is refused: "
      "nothing leaves in clear, with no policy at all either")
def default_block(lab):
    lab.forget()
    lab.director.ip("xfrm policy setdefault out block")
    try:
        come_and_go(lab)
    finally:
        lab.director.ip("xfrm policy setdefault out accept")


@test("among a thousand policies and as many associations each packet meets "
      "its own")
def many(lab):
    lab.forget()
    other = {f"src {CIP} dst 10.9.{n // 250}.{n % 250} proto udp":
             (CIP, f"10.9.{n // 250}.{n % 250}") for n in range(MANY)}
    lab.protect(other | flows(), "transport")
    for request in lab.requests():
        packets = lab.leaves(request)
        equal([protocol(packet) for packet in packets], [ESP], str(request))


@test("the server's device is removed under traffic that policies apply to")
def device_goes(lab):
    lab.forget()
    lab.protect(flows(), "transport")
    lab.until_the_end.enter_context(lab.traffic())
    eventually(lambda: seen(lab)[0], "encrypted packets")
    lab.wire.close()
    lab.wire = None
    lab.director.run("timeout", "60", "ip", "link", "del", lab.server.name)


if __name__ == "__main__":
    main(Churn)
