#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""The persistence engine sip: messages of one dialogue go to one server,
whatever ports they come from; and servers start connections of their own."""

from socket import inet_aton

from lib.ipvs import connection_lines
from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.packet import icmp_error, udp
from lib.tap import equal, main, test
from lib.vs import Settings


def message(call_id, name="Call-ID", method="INVITE"):
    """A SIP request, as far as matters."""
    return (f"{method} sip:bob@example.com SIP/2.0\r\n"
            "Via: SIP/2.0/UDP client.example.com\r\n"
            "From: <sip:alice@example.com>;tag=1\r\n"
            f"{name}: {call_id}\r\nCSeq: 1 {method}\r\n\r\n").encode("latin-1")


class SipLab(Lab):
    """Two servers by NAT behind a SIP service. Each test has another port:
    templates keep the C module's engine from being unloaded."""

    vport = 5060

    def fresh(self, options="-p 300 --pe sip"):
        """Only this service."""
        self.ipvs.admin("-C")
        self.vport += 1
        # Server and its port, by number.
        self.at = {1: (RIP, self.vport + 1000), 2: (RIP2, self.vport + 2000)}
        self.which = f"-u {VIP}:{self.vport}"
        self.ipvs.rules(f"-A {self.which} -s rr {options}",
                        *(f"-a {self.which} -r {rip}:{rport} -m"
                          for rip, rport in self.at.values()))

    def template(self, client, server, state, call_id):
        """The line of a template but for its time."""
        rip, rport = self.at[server]
        return (f"UDP {inet_aton(client).hex().upper()} 0000 C6336401 "
                f"{self.vport:04X} {inet_aton(rip).hex().upper()} "
                f"{rport:04X} {state} sip {call_id}")

    def connections(self):
        """What there is for this service."""
        return [each for each in self.ipvs.connections()
                if each.vport == self.vport]

    def served(self, payload, src=CIP, count=1):
        """Which servers messages get to, each from a port of its own."""
        found = []
        for _ in range(count):
            seen = self.exchange(self.client, udp(
                src, self.port(), VIP, self.vport, payload))
            at = [number for number, server in enumerate(self.servers, 1)
                  if seen[server]]
            found += at or [0]
        return found

    def templates(self):
        """Each template's line but for its time, sorted."""
        lines = map(str.split, connection_lines(self.director))
        return sorted(" ".join(part[:8] + part[9:]) for part in lines
                      if part[2] == "0000" and
                      part[4] == f"{self.vport:04X}")


@test("ipvsadm sets, shows and saves the engine; one that does not exist is "
      "refused")
def listing(lab):
    lab.fresh()
    assert f"UDP  {VIP}:{lab.vport} rr persistent 300 pe sip\n" in \
        lab.ipvs.admin("-Ln"), lab.ipvs.admin("-Ln")
    assert any("-p 300" in rule and "--pe sip" in rule
               for rule in lab.ipvs.saved()), lab.ipvs.saved()
    try:
        lab.ipvs.admin("-A", "-u", f"{VIP}:5060", "-p", "300", "--pe", "nope")
    except AssertionError as error:
        assert "Scheduler or persistence engine not found" in str(error), error
    else:
        raise AssertionError("accepted")
    lab.ipvs.admin("-E", *lab.which.split(), "-s", "rr", "-p", "300")
    assert "pe sip" not in lab.ipvs.admin("-Ln"), lab.ipvs.admin("-Ln")


@test("messages with the same Call-ID go to one server, whatever name the "
      "field has; others are balanced")
def dialogues(lab):
    lab.fresh()
    first, = lab.served(message("1@a"))
    equal(lab.served(message("1@a"), count=2) +
          lab.served(message("1@a", "i", "BYE")) +
          lab.served(message("1@a", "call-id", "ACK")), [first] * 4)
    other = 3 - first
    equal(lab.served(message("2@a"), count=2), [other] * 2, "another one")
    equal(lab.served(message("1@a"), src="10.0.1.9"), [first],
          "another client is another one")
    equal(lab.served(message("1@a")), [first], "again")
    equal(lab.templates(), sorted([
        lab.template(CIP, first, "NONE", "1@a"),
        lab.template(CIP, other, "NONE", "2@a"),
        lab.template("10.0.1.9", first, "NONE", "1@a")]))
    text = lab.ipvs.admin("-Lnc", "--persistent-conn")
    found = [line.split() for line in text.splitlines() if "2@a" in line]
    equal([part[-2:] for part in found], [["sip", "2@a"]], "ipvsadm -c")


@test("a netmask makes the same of a whole network")
def netmask(lab):
    lab.fresh("-p 300 -M 255.255.255.0 --pe sip")
    first, = lab.served(message("1@a"))
    equal(lab.served(message("1@a"), src="10.0.1.9"), [first], "same network")
    equal(lab.served(message("2@a"), src="10.0.1.9"), [3 - first], "another")


@test("what has no Call-ID that is sound is dropped; later packets of a "
      "connection are not looked at")
def unsound(lab):
    lab.fresh()
    for payload in (b"", b"x", b"Call-ID: 1@a\r\n", message("1@a")[:-60],
                    message("a" * 256), message("1;2"), message("@x"),
                    message("1@"), message("1@a", "Call-Ident")):
        equal(lab.served(payload), [0], repr(payload))
    equal(lab.templates(), [], "templates")
    first, = lab.served(message("a" * 255))
    assert first, "the longest one"
    request = udp(CIP, lab.port(), VIP, lab.vport, message("3@a"))
    seen = lab.exchange(lab.client, request, request.but(payload=b"x"))
    equal(sorted(map(len, seen.values())), [0, 0, 2], "frames")


@test("a server starts a connection: the client hears from the virtual "
      "service, and its answers get back")
def from_server(lab):
    for options in "-p 300 --pe sip", "-o -p 300 --pe sip":
        lab.fresh(options)
        payload = message("7@b")
        rip, rport = lab.at[2]
        request = udp(rip, rport, CIP, 6000, payload)
        given = request.but(src=VIP, sport=lab.vport, ttl=63)
        lab.expect(lab.servers[1], request, {lab.client: given})
        answer = given.back(payload=payload, ttl=64)
        lab.expect(lab.client, answer, {lab.servers[1]: answer.but(
            dst=rip, dport=rport, ttl=63)})
        equal(lab.templates(), [lab.template(CIP, 2, "ASSURED", "7@b")],
              options)
        equal(lab.served(payload, count=2), [2, 2], "the dialogue")


@test("servers that write to one port of a client have a connection and a "
      "template each; what it answers goes to the one that was new last")
def same_client_port(lab):
    lab.fresh()
    sent = {}
    for server in 2, 1, 2:
        request = udp(*lab.at[server], CIP, 6400, message(f"{server}@same"))
        sent[server] = request.but(src=VIP, sport=lab.vport, ttl=63)
        lab.expect(lab.servers[server - 1], request,
                   {lab.client: sent[server]})
    equal(sorted(each.daddr for each in lab.connections() if each.cport),
          sorted([RIP, RIP2]), "connections")
    equal(lab.templates(), sorted([
        lab.template(CIP, 1, "ASSURED", "1@same"),
        lab.template(CIP, 2, "ASSURED", "2@same")]), "templates")
    answer = sent[1].back(payload=b"SIP/2.0 200 OK\r\n", ttl=64)
    rip, rport = lab.at[1]
    lab.expect(lab.client, answer, {lab.servers[0]: answer.but(
        dst=rip, dport=rport, ttl=63)})


@test("a dialogue goes on at its server once that is back, though it was "
      "refused meanwhile")
def server_back(lab):
    lab.fresh()
    first, = lab.served(message("13@b"))
    service = lab.which.split()
    for rip, rport in lab.at.values():
        lab.ipvs.admin("-d", *service, "-r", f"{rip}:{rport}")
    equal(lab.served(message("13@b")), [0], "no server")
    # New dialogues can't go there, so it is not by chance that this one does.
    for number, (rip, rport) in lab.at.items():
        lab.ipvs.admin("-a", *service, "-r", f"{rip}:{rport}", "-m",
                       "-w", "0" if number == first else "1")
    equal(lab.served(message("14@b")), [3 - first], "a new dialogue")
    equal(lab.served(message("13@b"), count=2), [first] * 2, "the old one")


@test("another server that goes on with a dialogue takes it over")
def taken_over(lab):
    lab.fresh()
    payload = message("8@b")
    first, = lab.served(payload)
    other = 3 - first
    request = udp(*lab.at[other], CIP, 6100, payload)
    lab.expect(lab.servers[other - 1], request,
               {lab.client: request.but(src=VIP, sport=lab.vport, ttl=63)})
    equal(lab.served(payload, count=2), [other] * 2, "the dialogue")


@test("a server's packets that are no messages, or come from another port, "
      "start nothing; with nat_icmp_send the former are refused")
def no_message(lab):
    lab.fresh()
    rip, rport = lab.at[2]
    for sport, payload in (rport, b"x"), (rport + 1, message("9@b")):
        request = udp(rip, sport, CIP, 6200, payload)
        lab.expect(lab.servers[1], request,
                   {lab.client: request.but(ttl=63)})
    equal(lab.connections(), [], "connections")
    with Settings(lab.director).but(nat_icmp_send=1):
        request = udp(rip, rport, CIP, 6200, b"x")
        lab.expect(lab.servers[1], request, {lab.servers[1]: icmp_error(
            "10.0.3.1", rip, 3, 3, request.but(ttl=63))})


@test("a service without an engine has no connections of servers, and a "
      "service that loses it no more")
def without(lab):
    lab.fresh()
    lab.ipvs.admin("-E", *lab.which.split(), "-s", "rr", "-p", "300")
    request = udp(*lab.at[2], CIP, 6300, message("10@b"))
    lab.expect(lab.servers[1], request, {lab.client: request.but(ttl=63)})
    equal(lab.connections(), [], "connections")
    first, = lab.served(message("11@b"))
    equal(lab.served(message("12@b")), [first], "by the address alone")


if __name__ == "__main__":
    main(lambda: SipLab(servers=2))
