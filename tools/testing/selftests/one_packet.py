#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""One-packet scheduling: each datagram of a service is balanced by itself, and
nothing of it is remembered."""

import struct

from lib import sockopt
from lib.lab import CIP, CIP6, RIP, RIP2, RIP6, RIP6_2, VIP, VIP6, Lab
from lib.packet import ACK, icmp_error, tcp, udp
from lib.tap import equal, eventually, main, test
from lib.vs import Settings

ONE_PACKET, NOOUTPUT_INACTIVE, DROUTE = 0x2000, 0x180, 3


class OnePacketLab(Lab):
    """Each test starts with no service."""

    def fresh(self, which, *servers, options="-s rr -o"):
        """Only this service."""
        self.ipvs.admin("-C")
        self.ipvs.rules(f"-A {which} {options}",
                        *(f"-a {which} -r {server}" for server in servers))

    def served(self, packet, count):
        """Which server each of equal packets gets to, from 1; 0 for none."""
        found = []
        for _ in range(count):
            seen = self.exchange(self.client, packet)
            at = [number for number, server in enumerate(self.servers, 1)
                  if seen[server]]
            found += at or [0]
        return found

    def left(self, vport):
        """Connections to a port, templates too."""
        return [each for each in self.ipvs.connections()
                if each.vport == vport]


@test("ipvsadm shows and saves it, and /proc/net/ip_vs has it")
def listing(lab):
    lab.ipvs.admin("-C")
    rules = [f"-A -u {VIP}:80 -s rr -o", f"-A -u {VIP}:81 -s rr -p 90 -o"]
    lab.ipvs.rules(*rules)
    text = lab.ipvs.admin("-Ln")
    for line in (f"UDP  {VIP}:80 rr ops\n",
                 f"UDP  {VIP}:81 rr persistent 90 ops\n"):
        assert line in text, f"no\n{line}in\n{text}"
    equal(sorted(line.split(" (")[0] for line in
                 lab.director.proc("ip_vs").splitlines()[3:]),
          ["UDP  C6336401:0050 rr ops  ",
           "UDP  C6336401:0051 rr ops  persistent 22500 FFFFFFFF"])
    for rule in rules:
        assert any(saved.startswith(rule[:25]) and " -o" in saved
                   for saved in lab.ipvs.saved()), lab.ipvs.saved()


@test("each datagram of a client goes to the next server, byte by byte right, "
      "and leaves no connection")
def balanced(lab):
    lab.fresh(f"-u {VIP}:80", f"{RIP}:8080 -m", f"{RIP2}:8081 -m")
    request = udp(CIP, lab.port(), VIP, 80)
    first, = lab.served(request, 1)
    sides = [(lab.servers[0], RIP, 8080), (lab.servers[1], RIP2, 8081)]
    for number in range(4):
        server, rip, rport = sides[(first + number) % 2]
        lab.expect(lab.client, request,
                   {server: request.but(dst=rip, dport=rport, ttl=63)})
    equal(lab.left(80), [], "connections")
    equal(lab.ipvs.counters(),
          {("C6336401:0050", f"{rip}:{rport}"): (0, 0)
           for _, rip, rport in sides}, "counters")


@test("the same by direct routing, in a tunnel, and for IPv6")
def methods(lab):
    for method in "-g", "-i":
        lab.fresh(f"-u {VIP}:82", f"{RIP} {method}", f"{RIP2} {method}")
        found = lab.served(udp(CIP, lab.port(), VIP, 82), 4)
        equal(sorted(found), [1, 1, 2, 2], method)
        equal(lab.left(82), [], "connections")
    lab.fresh(f"-u [{VIP6}]:82", f"[{RIP6}]:82 -m", f"[{RIP6_2}]:82 -m")
    request = udp(CIP6, lab.port(), VIP6, 82)
    equal(sorted(lab.served(request, 4)), [1, 1, 2, 2], "IPv6")
    equal(lab.left(82), [], "connections")


@test("an answer is nobody's: it passes untranslated; with nat_icmp_send the "
      "server is told")
def answers(lab):
    lab.fresh(f"-u {VIP}:84", f"{RIP}:84 -m")
    request = udp(CIP, lab.port(), VIP, 84)
    lab.expect(lab.client, request, {lab.server: request.but(dst=RIP, ttl=63)})
    reply = request.back(src=RIP)
    lab.expect(lab.server, reply, {lab.client: reply.but(ttl=63)})
    with Settings(lab.director).but(nat_icmp_send=1):
        lab.expect(lab.server, reply, {lab.server: icmp_error(
            "10.0.2.1", RIP, 3, 3, reply.but(ttl=63))})


@test("an ICMP error about such a datagram is nobody's")
def errors(lab):
    lab.fresh(f"-u {VIP}:85", f"{RIP}:85 -m")
    request = udp(CIP, lab.port(), VIP, 85)
    lab.exchange(lab.client, request)
    error = icmp_error(RIP, CIP, 3, 3, request.but(dst=RIP, ttl=63))
    lab.expect(lab.server, error, {lab.client: error.but(ttl=63)})


@test("statistics count a connection for each datagram")
def statistics(lab):
    lab.fresh(f"-u {VIP}:86", f"{RIP}:86 -g")
    request = udp(CIP, lab.port(), VIP, 86, b"1234")
    lab.served(request, 3)
    for name in f"UDP {VIP}:86", f"UDP {VIP}:86 {RIP}:86":
        eventually(lambda key=name: lab.ipvs.statistics()[key] ==
                   (3, 3, 0, 96, 0), f"statistics of {name}", 6)


@test("with persistence a client stays with its server, and its template is "
      "all that there is")
def persistent(lab):
    lab.fresh(f"-u {VIP}:87", f"{RIP}:87 -g", f"{RIP2}:87 -g",
              options="-s rr -o -p 300")
    request = udp(CIP, lab.port(), VIP, 87)
    first, = lab.served(request, 1)
    equal(lab.served(request, 3) +
          lab.served(request.but(sport=lab.port()), 2), [first] * 5)
    other = request.but(src="10.0.1.99")
    equal(lab.served(other, 2), [3 - first] * 2, "another client")
    equal(sorted((each.caddr, each.cport, each.state)
                 for each in lab.left(87)),
          [("10.0.1.2", 0, "NONE"), ("10.0.1.99", 0, "NONE")])


@test("a firewall mark: datagrams one by one, TCP by connections")
def fwmark(lab):
    lab.fresh("-f 86", f"{RIP} -g", f"{RIP2} -g")
    lab.director.run("nft", "-f", "-", stdin="""
        table ip marks { chain in {
            type filter hook prerouting priority mangle
            iifname client th dport 7100 meta mark set 86
        }
        }""")
    equal(sorted(lab.served(udp(CIP, lab.port(), VIP, 7100), 4)),
          [1, 1, 2, 2], "UDP")
    request = tcp(CIP, lab.port(), VIP, 7100)
    first, = lab.served(request, 1)
    equal(lab.served(request.but(flags=ACK), 2), [first] * 2, "TCP")
    lab.director.run("nft", "delete", "table", "ip", "marks")


@test("switched on, a client's connection goes on as it was; switched off, "
      "the next datagram makes one")
def switched(lab):
    which = f"-u {VIP}:88"
    lab.fresh(which, f"{RIP} -g", f"{RIP2} -g", options="-s rr")
    old = udp(CIP, lab.port(), VIP, 88)
    first, = lab.served(old, 1)
    lab.ipvs.admin("-E", *which.split(), "-s", "rr", "-o")
    equal(lab.served(old, 2), [first] * 2, "the old connection")
    new = udp(CIP, lab.port(), VIP, 88)
    equal(sorted(lab.served(new, 4)), [1, 1, 2, 2], "one by one")
    lab.ipvs.admin("-E", *which.split(), "-s", "rr")
    first, = lab.served(new, 1)
    equal(lab.served(new, 3), [first] * 3, "a connection")


@test("a server that is added so by socket option gets datagrams one by one, "
      "others and TCP connections; netlink takes it back")
def by_server(lab):
    lab.fresh(f"-u {VIP}:90", options="-s rr")
    lab.ipvs.rules(f"-A -t {VIP}:90 -s rr")
    link = sockopt.Sockopts(lab.director)
    for protocol in sockopt.UDP, sockopt.TCP:
        which = sockopt.service(90, protocol=protocol, ip=VIP)
        for rip in RIP, RIP2:
            equal(link.set(sockopt.ADDDEST, which + sockopt.server(
                rip, 90, flags=ONE_PACKET | DROUTE)), "", "errno")
        equal([struct.unpack_from("=I", entry, 8)[0]
               for entry in link.servers(which, 2)],
              [ONE_PACKET | NOOUTPUT_INACTIVE | DROUTE] * 2, "flags")
    link.close()
    request = udp(CIP, lab.port(), VIP, 90)
    equal(sorted(lab.served(request, 4)), [1, 1, 2, 2], "UDP")
    equal(lab.left(90), [], "connections")
    segment = tcp(CIP, lab.port(), VIP, 90)
    first, = lab.served(segment, 1)
    equal(lab.served(segment.but(flags=ACK), 2), [first] * 2, "TCP")
    lab.ipvs.rules(f"-e -u {VIP}:90 -r {RIP}:90 -g -w 1",
                   f"-e -u {VIP}:90 -r {RIP2}:90 -g -w 0")
    equal(lab.served(request, 1), [1])
    equal(len([each for each in lab.left(90) if each.protocol == "UDP"]), 1,
          "connections")


@test("without a server, the client is told; without room, nobody")
def refused(lab):
    lab.fresh(f"-u {VIP}:89")
    request = udp(CIP, lab.port(), VIP, 89)
    lab.expect(lab.client, request,
               {lab.client: icmp_error(VIP, CIP, 3, 3, request)})
    lab.ipvs.rules(f"-a -u {VIP}:89 -r {RIP}:89 -g")
    equal(lab.served(request, 1), [1])
    with Settings(lab.director).but(conn_max=0):
        lab.expect(lab.client, request, {})


if __name__ == "__main__":
    main(lambda: OnePacketLab(servers=2, ipv6=True))
