# SPDX-License-Identifier: GPL-2.0
"""A director for choices: frames come by one end of a veth pair, and a dummy
device takes all that leaves. Servers are told apart by link addresses.

    wire -- client (director) servers

All is in one namespace without a name, so that a packet keeps the mark that
its sender gave it. Its way is one call: it begins in sendmmsg(2) and ends in
the ring that looks at the last device.
"""

import socket
import struct
import time
from array import array

from lib import genl
from lib.lab import DIRECTOR
from lib.mmsg import BATCH, Batch
from lib.module import run
from lib.netns import Space
from lib.ring import Ring
from lib.rules import Rules, server as server_attribute, service
from lib.sockets import SO_MARK
from lib.tap import TIME_FACTOR, equal, eventually
from lib.wire import SOL_PACKET

from . import arrivals
from .arrivals import KIND, NUMBER, SERVER, SIZE, UDP

PACKET_QDISC_BYPASS = 20
ROOM = 3 * BATCH        # frames between two looks at the ring
LONG, SHORT = 86400, 1  # seconds that a connection lasts
MARKER, MARKER_SERVER = 0xffffffff, 255
RECORD = len(NUMBER) + 2
SETUP = f"""
link set lo up
link add wire address {arrivals.WIRE} type veth peer name client \
    address {arrivals.DIRECTOR}
link add servers type dummy
link set servers arp on up
link set wire up
link set client up
addr add 10.8.255.254/16 dev servers
route add local 198.51.0.0/16 dev lo
"""


def address(number):
    """Of a server."""
    return f"10.8.0.{number}"


def softnet_lost():
    """How many packets the backlogs of all CPUs had no room for."""
    with open("/proc/net/softnet_stat", encoding="ascii") as file:
        return sum(int(line.split()[1], 16) for line in file)


def numbers(rows, size, place):
    """The numbers of connections, which rows of that size have there."""
    words = bytearray(len(rows) // size * 4)
    for byte in range(4):
        words[3 - byte::4] = rows[place + byte::size]
    return array("I", bytes(words))


class World:
    """The director, and services by firewall mark."""

    def __init__(self):
        self.space = Space.new()
        with self.space:
            for path, value in DIRECTOR.items():
                with open(f"/proc/sys/net/{path}", "w",
                          encoding="ascii") as file:
                    file.write(str(value))
            run("ip", "-batch", "-", stdin=SETUP + "\n".join(
                f"neigh add {address(n)} lladdr 02:00:00:00:01:{n:02x} "
                "dev servers nud permanent" for n in range(256)))
            eventually(lambda: " state UP " in run(
                "ip", "-o", "link", "show", "dev", "client"), "a carrier")
            self.ring = Ring("servers", ROOM + BATCH)
            self.socket, self.plain = self.sender(), self.sender()
        self.rules = Rules(self.space)
        self.batch = Batch(bytearray(BATCH * SIZE), SIZE)
        self.marker = Batch(bytearray(arrivals.frame(
            MARKER, UDP, arrivals.CLIENTS, 1, 0x0a0800ff, 0)), SIZE)
        self.records, self.pending = bytearray(), 0
        self.lost = softnet_lost()
        self.timeouts(LONG)

    @staticmethod
    def sender():
        """A socket that puts frames on the wire."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind(("wire", 0))
        sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        return sock

    def close(self):
        """All of it goes, with its connections."""
        self.rules.netlink.close()
        for sock in self.ring, self.socket, self.plain, self.space:
            sock.close()

    def timeouts(self, seconds):
        """How long connections last whose packets come from now on."""
        reply = self.rules.netlink.request(genl.SET_CONFIG, *(
            genl.u32(kind, seconds) for kind in
            (genl.CMD_TIMEOUT_TCP, genl.CMD_TIMEOUT_TCP_FIN,
             genl.CMD_TIMEOUT_UDP)))
        equal(reply.error, "", "timeouts")

    def begin(self, mark):
        """What is sent from now on has that mark."""
        self.socket.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        self.records = bytearray()
        self.service, self.mark = None, mark

    def do(self, kind, what):
        """An action of changes.py on the service of the mark."""
        request = self.rules.netlink.request
        if kind == "schedule":
            self.service, known = service(
                0, "0.0.0.0", 0, scheduler=what.name,
                without=(genl.SVC_PROTOCOL, genl.SVC_ADDR, genl.SVC_PORT),
                instead=(genl.u32(genl.SVC_FWMARK, self.mark),
                         genl.attr(genl.SVC_FLAGS, struct.pack(
                             "=2I", what.flags, 0xffffffff)))), self.service
            reply = request(genl.SET_SERVICE if known else genl.NEW_SERVICE,
                            self.service)
        else:
            command = {"add": genl.NEW_DEST, "edit": genl.SET_DEST,
                       "remove": genl.DEL_DEST}[kind]
            reply = request(command, self.service, server_attribute(
                address(what.number), 0, genl.DROUTE, what.weight, what.upper,
                what.lower))
        equal(reply.error, "", f"{kind} {what}")

    def put(self, frames, first, count):
        """Put some of these frames on the wire."""
        self.batch.data[:count * SIZE] = \
            frames[first * SIZE:(first + count) * SIZE]
        self.batch.check(self.batch.send(self.socket.fileno(), count), count)

    def send(self, frames, first, last):
        """Put these on the wire, as fast as the ring is read."""
        while first < last:
            count = min(BATCH, last - first)
            if self.pending + count > ROOM:
                self.settle()
            self.put(frames, first, count)
            first += count
            self.pending += count

    def read(self):
        """Make records of what came out; whether the marker did."""
        rows = self.ring.read(*NUMBER, KIND, SERVER)
        marker = rows[-1].find(MARKER_SERVER)
        if marker >= 0:
            rows = [row[:marker] + row[marker + 1:] for row in rows]
        some = bytearray(len(rows[0]) * RECORD)
        for place, row in enumerate(rows):
            some[place::RECORD] = row
        self.records += some
        return marker >= 0

    def settle(self):
        """Wait for the end of what was sent on this CPU, and read it."""
        self.marker.check(self.marker.send(self.plain.fileno(), 1), 1)
        deadline = time.monotonic() + 20 * TIME_FACTOR
        while not self.read():
            if time.monotonic() > deadline:
                raise AssertionError("the marker never came")
            time.sleep(0)
        equal(self.ring.lost(), 0, "frames that the ring had no room for")
        equal(softnet_lost(), self.lost, "packets lost by a backlog")
        self.pending = 0

    def connections(self):
        """[(number, active, inactive)] of each server of the service."""
        found = []
        reply = self.rules.netlink.dump(genl.GET_DEST, self.service)
        equal(reply.error, "", "servers")
        for message in reply.messages:
            fields = genl.attributes(genl.attributes(message)[genl.CMD_DEST])
            found.append((fields[genl.DEST_ADDR][3], *(
                struct.unpack("=I", fields[kind])[0] for kind in
                (genl.DEST_ACTIVE_CONNS, genl.DEST_INACT_CONNS))))
        return found

    def total(self):
        """The connections of all servers of the service."""
        return sum(active + inactive
                   for _, active, inactive in self.connections())

    def end(self, frames, ends):
        """Send the last packets of many connections, and wait until those
        have ended."""
        # Nobody is chosen meanwhile: some end while others are told to.
        served = set(numbers(self.records, RECORD, 0))
        rows = numbers(frames[ends.first * SIZE:ends.last * SIZE], SIZE,
                       NUMBER[0])
        kept = bytearray().join(
            frames[place * SIZE:(place + 1) * SIZE]
            for place, number in enumerate(rows, ends.first)
            if number in served)
        before, place = self.total(), len(self.records)
        self.timeouts(SHORT)
        self.send(kept, 0, len(kept) // SIZE)
        self.settle()
        self.timeouts(LONG)
        left = before - (len(self.records) - place) // RECORD
        time.sleep(SHORT)
        eventually(lambda: self.total() <= left,
                   f"the end of {before - left} connections", 60)
        equal(self.total(), left, "connections that stay")
