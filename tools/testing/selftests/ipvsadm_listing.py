#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 120
"""What ipvsadm shows with each of its listing options, to the letter. The text
wanted is what it shows of the C module."""

import re

from lib.lab import CIP, RIP, RIP2, VIP, Lab
from lib.packet import ACK, FIN, SYN, tcp, udp
from lib.tap import equal, eventually, main, test

RULES = [
    "-A -f 7 -s wrr",
    f"-A -t {VIP}:80 -s rr",
    f"-A -t {VIP}:443 -s wlc",
    f"-A -u {VIP}:53 -s lc",
    f"-a -f 7 -r {RIP}:0 -g -w 2",
    f"-a -f 7 -r {RIP2}:0 -i -w 65535 --tun-type ipip",
    f"-a -t {VIP}:80 -r {RIP2}:8080 -m -w 1 -x 1000 -y 500",
    f"-a -t {VIP}:80 -r {RIP}:8080 -m -w 1",
    f"-a -t {VIP}:443 -r {RIP}:443 -g -w 0",
    f"-a -u {VIP}:53 -r {RIP}:53 -m -w 3",
]


class ListingLab(Lab):
    """Services, three TCP connections in two states, and two of UDP."""

    def __init__(self):
        super().__init__(servers=2)

    def build(self):
        super().build()
        self.ipvs.rules(*RULES)
        for cport in 20001, 20002, 20003, 20004:
            self.client.send(tcp(CIP, cport, VIP, 80))
            self.settle()
        for cport in 20001, 20003:
            # Those of the first server, whichever it is.
            found = self.ipvs.connection(cport)
            host = self.servers[found.daddr == RIP2]
            host.send(tcp(found.daddr, 8080, CIP, cport, SYN | ACK))
            self.client.send(tcp(CIP, cport, VIP, 80, ACK))
            self.settle()
        self.client.send(tcp(CIP, 20003, VIP, 80, FIN | ACK))
        for cport in 30001, 30002:
            self.client.send(udp(CIP, cport, VIP, 53, bytes(22)))
        self.settle()

    def shown(self, *options):
        """What ipvsadm shows, with the size of the connection table as N."""
        return re.sub(r"size=\d+", "size=N", self.ipvs.admin(*options))


HEAD = "IP Virtual Server version 1.2.1 (size=N)\n"
COLUMNS = """\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""
ONE = """\
TCP  198.51.100.1:80 rr
  -> 10.0.2.2:8080                Masq    1      1          1_
  -> 10.0.3.2:8080                Masq    1      2          0_
"""
REST = """\
TCP  198.51.100.1:443 wlc
  -> 10.0.2.2:443                 Route   0      0          0_
UDP  198.51.100.1:53 lc
  -> 10.0.2.2:53                  Masq    3      0          2_
FWM  7 wrr
  -> 10.0.2.2:0                   Route   2      0          0_
  -> 10.0.3.2:0                   Tunnel  65535  0          0_
"""
THRESHOLDS = """\
Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn~
  -> RemoteAddress:Port
TCP  198.51.100.1:80 rr
  -> 10.0.2.2:8080                0          0          1          1_
  -> 10.0.3.2:8080                1000       500        2          0_
TCP  198.51.100.1:443 wlc
  -> 10.0.2.2:443                 0          0          0          0_
UDP  198.51.100.1:53 lc
  -> 10.0.2.2:53                  0          0          0          2_
FWM  7 wrr
  -> 10.0.2.2:0                   0          0          0          0_
  -> 10.0.3.2:0                   0          0          0          0_
"""
PERSISTENT = """\
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn~
  -> RemoteAddress:Port
TCP  198.51.100.1:80 rr
  -> 10.0.2.2:8080                1         0           1          1_
  -> 10.0.3.2:8080                1         0           2          0_
TCP  198.51.100.1:443 wlc
  -> 10.0.2.2:443                 0         0           0          0_
UDP  198.51.100.1:53 lc
  -> 10.0.2.2:53                  3         0           0          2_
FWM  7 wrr
  -> 10.0.2.2:0                   2         0           0          0_
  -> 10.0.3.2:0                   65535     0           0          0_
"""
NUMBERS = """\
  -> RemoteAddress:Port
TCP  198.51.100.1:80                     4        7        2      280       80
  -> 10.0.2.2:8080                       2        5        2      200       80
  -> 10.0.3.2:8080                       2        2        0       80        0
TCP  198.51.100.1:443                    0        0        0        0        0
  -> 10.0.2.2:443                        0        0        0        0        0
UDP  198.51.100.1:53                     2        2        0      100        0
  -> 10.0.2.2:53                         2        2        0      100        0
FWM  7                                   0        0        0        0        0
  -> 10.0.2.2:0                          0        0        0        0        0
  -> 10.0.3.2:0                          0        0        0        0        0
"""
STATS = ("Prot LocalAddress:Port               Conns   InPkts  OutPkts"
         "  InBytes OutBytes\n")
RATE = ("Prot LocalAddress:Port                 CPS    InPPS   OutPPS"
        "    InBPS   OutBPS\n")
CONNECTIONS = """\
IPVS connection entries
pro expire state       source             virtual            destination
TCP TT:TT  CLOSE_WAIT  10.0.1.2:20003     198.51.100.1:80    10.0.2.2:8080
TCP TT:TT  ESTABLISHED 10.0.1.2:20001     198.51.100.1:80    10.0.2.2:8080
TCP TT:TT  SYN_RECV    10.0.1.2:20002     198.51.100.1:80    10.0.3.2:8080
TCP TT:TT  SYN_RECV    10.0.1.2:20004     198.51.100.1:80    10.0.3.2:8080
UDP TT:TT  UDP         10.0.1.2:30001     198.51.100.1:53    10.0.2.2:53
UDP TT:TT  UDP         10.0.1.2:30002     198.51.100.1:53    10.0.2.2:53
"""
LIMITS = {"CLOSE_WAIT": 60, "SYN_RECV": 60, "ESTABLISHED": 900, "UDP": 300}
SAVED = """\
-A -t 198.51.100.1:80 -s rr
-a -t 198.51.100.1:80 -r 10.0.2.2:8080 -m -w 1
-a -t 198.51.100.1:80 -r 10.0.3.2:8080 -m -w 1
-A -t 198.51.100.1:443 -s wlc
-a -t 198.51.100.1:443 -r 10.0.2.2:443 -g -w 0
-A -u 198.51.100.1:53 -s lc
-a -u 198.51.100.1:53 -r 10.0.2.2:53 -m -w 3
-A -f 7 -s wrr
-a -f 7 -r 10.0.2.2:0 -g -w 2
-a -f 7 -r 10.0.3.2:0 -i -w 65535 --tun-type ipip
"""

EVERYTHING = """\
-A -t 198.51.100.1:0 -s wrr -p 30
-a -t 198.51.100.1:0 -r 10.0.2.2:0 -g -w 1
-A -t 198.51.100.1:21 -s fo
-A -t 198.51.100.1:80 -s rr -p 300 -M 255.255.255.0
-a -t 198.51.100.1:80 -r 10.0.2.2:80 -g -w 3
-a -t 198.51.100.1:80 -r 10.0.3.2:80 -i -w 0 --tun-type gue --tun-port 5555 \
--tun-nocsum
-A -t 198.51.100.1:443 -s sh -b sh-fallback,sh-port
-a -t 198.51.100.1:443 -r 10.0.2.2:443 -i -w 1 --tun-type gre --tun-csum
-A -t 198.51.100.1:444 -s mh -b mh-fallback
-A -t 198.51.100.1:445 -s wlc -b flag-3
-A -u 198.51.100.1:53 -s none
-A -u 198.51.100.1:5060 -s rr -p 60 --pe sip -o
-a -u 198.51.100.1:5060 -r 10.0.2.2:5060 -m -w 1
-A -t [2001:db8::1]:80 -s twos
-a -t [2001:db8::1]:80 -r [fd00:2::2]:80 -m -w 100
-a -t [2001:db8::1]:80 -r 10.0.2.2:80 -i -w 1 --tun-type ipip
-A -f 7 -s lblcr -p 600
-a -f 7 -r 10.0.2.2:0 -g -w 2
-A -f 8 -6 -s dh -p 100 -M 64
-a -f 8 -6 -r [fd00:2::2]:0 -g -w 2
"""


def spaced(text):
    """The columns' ends: ipvsadm fills the last one with blanks, and ends a
    heading with one."""
    return re.sub(r"(?m)(\d)_$", lambda end: end[1].ljust(10), text).replace(
        "~", " ")


@test("-L: services and servers, sorted, with their weights and connections")
def plain(lab):
    wanted = HEAD + COLUMNS + spaced(ONE + REST)
    equal(lab.shown("-L", "-n"), wanted)
    equal(lab.shown("-L", "-n", "--sort"), wanted)


@test("-L of one service")
def one(lab):
    equal(lab.shown("-L", "-n", "-t", f"{VIP}:80"), COLUMNS + spaced(ONE))
    equal(lab.shown("-L", "-n", "-f", "7"),
          COLUMNS + spaced(REST[REST.index("FWM"):]))


@test("--nosort: the server that was added last comes first, and services "
      "come in any order")
def unsorted(lab):
    text = lab.shown("-L", "-n", "--nosort")
    equal(text[:len(HEAD + COLUMNS)], HEAD + COLUMNS)
    blocks = re.findall(r"(?m)^[A-Z].*\n(?:  .*\n)*",
                        text[len(HEAD + COLUMNS):])
    sorted_blocks = re.findall(r"(?m)^[A-Z].*\n(?:  .*\n)*",
                               spaced(ONE + REST))
    mark = sorted_blocks[3].splitlines(True)
    sorted_blocks[3] = mark[0] + mark[2] + mark[1]
    equal(sorted(blocks), sorted(sorted_blocks))


@test("--thresholds and --persistent-conn")
def other_columns(lab):
    equal(lab.shown("-L", "-n", "--thresholds"), HEAD + spaced(THRESHOLDS))
    equal(lab.shown("-L", "-n", "--persistent-conn"),
          HEAD + spaced(PERSISTENT))


@test("-c: the connections, with what is left of their time")
def connections(lab):
    def shown(*options):
        head, columns, *rows = lab.shown("-L", "-n", "-c",
                                         *options).splitlines(True)
        for row in rows:
            _, left, state, *_ = row.split()
            minutes, seconds = map(int, left.split(":"))
            age = LIMITS[state] - 60 * minutes - seconds
            assert 0 <= age < 50, row
        return head + columns + "".join(sorted(
            re.sub(r"\d\d:\d\d ", "TT:TT ", row) for row in rows))
    equal(shown(), CONNECTIONS)
    equal(shown("--persistent-conn"), CONNECTIONS.replace(
        "destination\n", "destination        pe name          pe_data\n"))


@test("--stats and --stats --exact: what has passed")
def statistics(lab):
    # The C module's numbers are up to two seconds old.
    for exact in [], ["--exact"]:
        eventually(lambda e=exact: lab.shown("-L", "-n", "--stats", *e) ==
                   HEAD + STATS + NUMBERS, "the numbers", 6)


@test("--timeout and --daemon")
def times(lab):
    equal(lab.shown("-L", "--timeout"),
          "Timeout (tcp tcpfin udp): 900 120 300\n")
    equal(lab.shown("-L", "--daemon"), "")


@test("-S is what makes the same services with -R")
def saved(lab):
    equal(lab.shown("-S", "-n"), SAVED)
    lab.ipvs.admin("-C")
    equal(lab.shown("-L", "-n"), HEAD + COLUMNS)
    equal(lab.director.run("ipvsadm", "-R", stdin=SAVED), "")
    equal(lab.shown("-S", "-n"), SAVED)
    equal(lab.shown("-S", "-n"), SAVED, "a second time")


@test("--rate: nothing, after the numbers were zeroed")
def rate(lab):
    lab.ipvs.admin("-Z")
    first, *rows = NUMBERS.splitlines()
    zero = "\n".join([first] + [row[:-45] + "        0" * 5
                                for row in rows]) + "\n"
    eventually(lambda: lab.shown("-L", "-n", "--rate") == HEAD + RATE + zero,
               "rates of nothing", 6)
    equal(lab.shown("-L", "-n", "--rate", "--exact"), HEAD + RATE + zero)


@test("-S and -R know of all that a service and a server can be")
def everything(lab):
    lab.ipvs.admin("-C")
    equal(lab.director.run("ipvsadm", "-R", stdin=EVERYTHING), "")
    equal(lab.shown("-S", "-n"), EVERYTHING)


if __name__ == "__main__":
    main(ListingLab)
