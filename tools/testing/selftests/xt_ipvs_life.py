#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
"""How long rules of iptables with `-m ipvs` and their modules last: while
services come and go, while namespaces end, and while packets pass.

Compared: what is loaded, what refuses to be unloaded, and what rules count."""

import os
import threading
from contextlib import contextmanager

from lib import module
from lib.ipvs import Ipvs
from lib.iptables import Tables
from lib.lab import CIP, RIP, VIP, Lab
from lib.module import MATCH, run
from lib.netns import Netns
from lib.packet import udp
from lib.tap import equal, eventually, main, test, test_each

FRONTS = ["legacy", "nft"]
RULES = 1000


class LifeLab(Lab):
    """With a service, and the match loaded."""

    def build(self):
        super().build()
        module.load_match()
        self.serve()

    def serve(self, port=80):
        """Add a service for a port."""
        self.ipvs.service(f"{VIP}:{port}", f"{RIP}:{port} -m", kind="-u")

    def request(self, port=80):
        """Send a request of a new connection."""
        self.exchange(self.client, udp(CIP, self.port(), VIP, port))


@contextmanager
def rules(lab, front, *options):
    """Rules of the director's POSTROUTING chain with these options."""
    tables = Tables(lab.director, front)
    tables.restore({"mangle": [f"POSTROUTING -m ipvs {text}"
                               for text in options]})
    try:
        yield tables
    finally:
        tables.clear()


def counts(tables):
    """Packets that each rule has counted."""
    return [packets for _rule, packets in tables.counts()["mangle"]]


@test_each(FRONTS, "ip_vs can't be unloaded before the match, nor that before "
           "the last rule; then both can")
def in_use(lab, front):
    lab.ipvs.admin("-C")
    with rules(lab, front, "--ipvs"):
        assert module.refuses("ip_vs") and module.refuses(MATCH)
        run("rmmod", MATCH, "ip_vs", check=False)
        assert {MATCH, "ip_vs"} <= set(module.loaded()), module.loaded()
    assert module.refuses("ip_vs"), "beside the match"
    eventually(lambda: not module.refuses(MATCH), "the match unloaded")
    assert MATCH not in module.loaded()
    module.load_match()
    lab.serve()


@test_each(FRONTS, "a rule stays while services are removed and added")
def services_change(lab, front):
    with rules(lab, front, "--ipvs", "--vport 80", "--vport 81") as tables:
        lab.request()
        equal(counts(tables), [1, 1, 0], "with a service")
        lab.ipvs.admin("-C")
        lab.request()
        equal(counts(tables), [1, 1, 0], "without")
        lab.serve(81)
        lab.request(81)
        equal(counts(tables), [2, 1, 1], "with another one")
        lab.ipvs.admin("-C")
        lab.serve()
        lab.request()
        equal(counts(tables), [3, 2, 1], "with the first one again")


@test_each(FRONTS, "a thousand rules are loaded again and again while packets "
           "pass, and each counts its own")
def many(lab, front):
    lab.ipvs.admin("-C")
    ports = 1, RULES // 2, RULES
    for port in ports:
        lab.serve(port)
    with traffic(lab, ports):
        for _ in range(5):
            with rules(lab, front, *(f"--vport {port}"
                                     for port in range(1, RULES + 1))):
                pass
    with rules(lab, front, *(f"--vport {port}"
                             for port in range(1, RULES + 1))) as tables:
        for port in ports:
            lab.request(port)
        equal([(number, count) for number, count in
               enumerate(counts(tables), 1) if count],
              [(port, 1) for port in ports])
    lab.ipvs.admin("-C")
    lab.serve()


@contextmanager
def traffic(lab, ports=(80,)):
    """While this lasts, packets pass; at least some have before it begins."""
    begun, over = threading.Event(), threading.Event()

    def send():
        count = 0
        while not over.is_set():
            for port in ports:
                lab.client.send(udp(CIP, 20000 + count % 40000, VIP, port))
                count += 1
            if count > 100:
                begun.set()
            if count % 64 == 0:
                for host in lab.up:
                    host.drain()
    sender = threading.Thread(target=send)
    sender.start()
    begun.wait()
    try:
        yield
    finally:
        over.set()
        sender.join()
        for host in lab.up:
            host.drain()


@test_each(FRONTS, "the match is unloaded and loaded again while packets pass, "
           "whenever there is no rule")
def unloaded_under_traffic(lab, front):
    with traffic(lab):
        for _ in range(10):
            with rules(lab, front, "--ipvs", "! --vport 81"):
                pass
            eventually(lambda: not module.refuses(MATCH), "the match unloaded")
            module.load_match()


@test_each(FRONTS, "rules end with their namespace, and so does their use of "
           "the match")
def with_namespace(lab, front):
    del lab
    for _ in range(5):
        space = Netns("ipvs-short")
        try:
            space.ip("link set lo up")
            ipvs, tables = Ipvs(space), Tables(space, front)
            ipvs.service("192.0.2.1:80", "192.0.2.2:80 -m")
            tables.restore({"mangle": ["OUTPUT -m ipvs --vport 80"]})
            assert module.refuses(MATCH)
        finally:
            space.delete()
        eventually(lambda: not module.refuses(MATCH), "the match unloaded", 30)
        module.load_match()


@test("no rule is left, nor a module that the match alone has needed")
def nothing_left(_lab):
    eventually(lambda: not module.refuses(MATCH), "the match unloaded")
    assert not os.path.exists(f"/sys/module/{MATCH}")


if __name__ == "__main__":
    main(LifeLab)
