#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 60
"""TCP from port 0. The C module finds no connection for a client's packet
from it, as it may stand there for a port that is not known yet: each SYN makes
one, and what follows is the director's own, which resets it. Ours finds it as
any other."""

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import ACK, RST, SYN, tcp
from lib.tap import equal, main, test


class ZeroLab(Lab):
    """A service by NAT."""

    def build(self):
        super().build()
        self.ipvs.service(f"{VIP}:80", f"{RIP}:80 -m")


def to_server(request):
    """What the server gets of a request."""
    return request.but(dst=RIP, ttl=request.ttl - 1)


def open_connection(lab):
    """A SYN, again, and its answer; how many connections there are then."""
    syn = tcp(CIP, 0, VIP, 80, SYN, seq=1)
    for _ in range(2):
        lab.expect(lab.client, syn, {lab.server: to_server(syn)})
    answer = tcp(RIP, 80, CIP, 0, SYN | ACK, seq=5, ack=2)
    lab.expect(lab.server, answer, {lab.client: answer.but(
        src=VIP, ttl=answer.ttl - 1)})
    return len(lab.ipvs.connections())


@test("a SYN that is sent again is of the same connection, and what the client "
      "sends then gets to the server", modules=("rust",))
def carried(lab):
    equal(open_connection(lab), 1)
    equal(lab.ipvs.connection(0).state, "SYN_RECV")
    more = tcp(CIP, 0, VIP, 80, ACK, seq=2, ack=6, payload=b"question")
    lab.expect(lab.client, more, {lab.server: to_server(more)})
    equal(lab.ipvs.connection(0).state, "ESTABLISHED")


@test("a SYN that is sent again makes another connection, and what the client "
      "sends then is reset", modules=("c",))
def reset(lab):
    equal(open_connection(lab), 2)
    more = tcp(CIP, 0, VIP, 80, ACK, seq=2, ack=6)
    lab.expect(lab.client, more, {lab.client: more.back(
        flags=RST, seq=6, ack=0, window=0, id=0, df=True)})


if __name__ == "__main__":
    main(ZeroLab)
