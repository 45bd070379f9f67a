#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""A service by firewall mark with an address and a port besides, which only
socket options can add: what is shown of it, and what the port does. Packets to
any port of the marked ones are the service's, but those to its own port have
what those of a service by address have: templates for that port, and the
server's port."""

from lib.lab import CIP, RIP, VIP, Lab
from lib.packet import RST, ACK, icmp_error, tcp, udp
from lib.sockopt import (ADD, ADDDEST, EDIT, FLUSH, GET_SERVICE, TCP, Sockopts,
                         server, service, service_entry)
from lib.tap import equal, main, test

MARK, OWN, OTHER, FTP, RPORT = 258, 7001, 7002, 21, 8080
PERSISTENT = {"flags": 1, "timeout": 300}


class MarkLab(Lab):
    """Packets to some ports are marked; each test has its own services."""

    def build(self):
        super().build()
        self.options = Sockopts(self.director)
        self.director.run("nft", "-f", "-", stdin=f"""
            table ip marks {{ chain in {{
                type filter hook prerouting priority mangle
                iifname client th dport {{ 21, 7000-7009 }} meta mark set {MARK}
            }}
            }}""")

    def __exit__(self, *error):
        if self.options:
            self.options.close()
        super().__exit__(*error)

    options = None

    def fresh(self, port, servers=1, **more):
        """Nothing but a service by mark with this port; its argument."""
        which = service(port, TCP, VIP, MARK, **more)
        for option, argument in ((FLUSH, b""), (ADD, which)) + servers * (
                (ADDDEST, which + server(RIP, RPORT)),):
            equal(self.options.set(option, argument), "")
        return which

    def sent(self, dport, port, make=tcp):
        """One packet to a port gets to the server at another one."""
        request = make(CIP, self.port(), VIP, dport)
        self.expect(self.client, request, {self.server: request.but(
            dst=RIP, dport=port, ttl=request.ttl - 1)})

    def templates(self):
        """{(protocol, address, port): server's port}."""
        return {(each.protocol, each.vaddr, each.vport): each.dport
                for each in self.ipvs.connections() if each.cport == 0}


@test("it is shown by socket options as it was added, by others with its mark "
      "alone")
def shown(lab):
    which = lab.fresh(OWN, servers=0)
    for scheduler in b"rr", b"lc":
        changed = service(OWN, TCP, VIP, MARK, scheduler=scheduler)
        equal(lab.options.set(EDIT, changed), "")
        entry = service_entry(changed)
        equal(lab.options.get(GET_SERVICE, which[:16] + bytes(88)).data, entry)
        equal(lab.options.services(1), [entry])
    # It is found by its mark alone, and keeps what it was added with.
    nameless = service(0, TCP, mark=MARK)
    equal(lab.options.set(ADD, nameless), "EEXIST")
    equal(lab.options.set(EDIT, nameless), "")
    equal(lab.options.get(GET_SERVICE, nameless[:16] + bytes(88)).data,
          service_entry(which))
    equal(lab.ipvs.saved(), [f"-A -f {MARK} -s rr"])
    equal(lab.director.proc("ip_vs").splitlines()[3:],
          [f"FWM  {MARK:08X} rr "])


@test("without persistence, all ports go to the server's, be there a port or "
      "not")
def balanced(lab):
    for port in OWN, 0:
        lab.fresh(port)
        for dport in OWN, OTHER:
            for make in tcp, udp:
                lab.sent(dport, RPORT, make)


@test("with persistence, the service's port has templates of its own, and its "
      "packets go to the server's port; others go together, to the port that "
      "the client asked for")
def persistent(lab):
    lab.fresh(OWN, **PERSISTENT)
    for _ in range(2):
        lab.sent(OWN, RPORT)
        lab.sent(OTHER, OTHER)
        lab.sent(OWN, RPORT, udp)
        lab.sent(OTHER, OTHER, udp)
    equal(lab.templates(), {("TCP", VIP, OWN): RPORT,
                            ("UDP", VIP, OWN): RPORT,
                            ("IP", "0.0.1.2", 0): 0})


@test("that of FTP: its own template is for all ports; without a server, "
      "packets to other ports are not refused")
def ftp(lab):
    lab.fresh(FTP, **PERSISTENT)
    known = lab.templates()
    lab.sent(FTP, RPORT)
    lab.sent(OTHER, OTHER)
    equal({key: port for key, port in lab.templates().items()
           if key not in known}, {("TCP", VIP, 0): 0})
    lab.fresh(FTP, servers=0, **PERSISTENT)
    other, own = (tcp(CIP, lab.port(), VIP, port, seq=7)
                  for port in (OTHER, FTP))
    lab.expect(lab.client, other, {lab.client: other.back(
        flags=RST | ACK, seq=0, ack=8, window=0, id=0, df=True)})
    lab.expect(lab.client, own,
               {lab.client: icmp_error(VIP, CIP, 3, 3, own)})


if __name__ == "__main__":
    main(MarkLab)
