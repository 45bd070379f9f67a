# SPDX-License-Identifier: GPL-2.0
"""What FTP's clients and servers may say to each other by chance: commands and
replies as they should be and otherwise, whole and in parts, sent again, in
wrong places of the conversation, and the connections that they announce."""

from . import ftp
from .family import IPV4
from .ftp import Flow
from .lab import CIP, RIP, VIP
from .packet import ACK, FIN, PSH, RST, SYN

CONTROLS = range(4000, 4008)
NUMBERS = (0, 1, 9, 20, 21, 255, 256, 1000, 65535, 65536, 99999999999, -1)
COMMANDS = ("PASV\r\n", "EPSV\r\n", "EPSV 1\r\n", "EPSV 2\r\n", "EPSV ALL\r\n",
            "PORT {}\r\n", "PORT {}\r\n", "PORT  {}\r\n", "EPRT {}\r\n",
            "EPRT {}\r\n", "USER x\r\n", "PAS", "V\r\n", "PORT ", "EPRT |1|",
            "\xff\xf4\xff\xf2PASV\r\n", "RETR x\r\n")
REPLIES = ("227 Entering Passive Mode ({}).\r\n", "227 {}\r\n", "227 ({}",
           "227 Entering Passive Mode ({}).\r\n", "229 Here (|||{}|)\r\n",
           "229 Here (|||{}|)\r\n", "229 (|1|10.0.2.2|{}|)\r\n",
           "229 (!!!{}!)\r\n", "227", "229 ", "200 fine\r\n", "150 227 ({})")


class Chat:
    """Some control connections of the lab's client, by `rng`."""

    def __init__(self, lab, rng):
        self.lab, self.rng = lab, rng
        self.flows, self.waiting, self.past = {}, [], []

    def next(self):
        """The next packet, with the host that sends it."""
        if self.past and self.rng.random() < .1:
            return self.rng.choice(self.past)
        while not self.waiting:
            self.go_on()
        item = self.waiting.pop(0)
        self.past = self.past[-20:] + [item]
        return item

    def go_on(self):
        """Something more happens in one of the connections."""
        rng, cport = self.rng, self.rng.choice(CONTROLS)
        flow = self.flows.get(cport)
        if flow is None or rng.random() < .03:
            flow = self.flows[cport] = Flow(self.lab, IPV4, cport=cport)
            flow.client_next = rng.randrange(1 << 32)
            flow.server_next = rng.randrange(1 << 32)
            self.say(flow, True, SYN)
            self.say(flow, False, SYN | ACK)
            self.say(flow, True, ACK)
            return
        dice = rng.random()
        if dice < .05:
            self.say(flow, rng.random() < .5, rng.choice((
                RST, FIN | ACK, SYN, SYN | ACK, 0, rng.randrange(64))))
        elif dice < .2:
            self.data(flow)
        else:
            client = rng.random() < .5
            text = self.text(COMMANDS if client else REPLIES)
            cuts = sorted(rng.randrange(len(text) + 1) for _ in range(
                rng.choice((0, 0, 0, 0, 1, 2))))
            for start, stop in zip([0, *cuts], [*cuts, len(text)]):
                self.say(flow, client, PSH | ACK, text[start:stop])

    def say(self, flow, client, flags, text=b""):
        """A packet of one side; sometimes with a number that is wrong."""
        rng, more = self.rng, {}
        if rng.random() < .05:
            more["seq"] = rng.choice((
                flow.client_next - 1, flow.server_next + 5,
                rng.randrange(1 << 32))) & 0xffffffff
        make = flow.request if client else flow.answer
        flow.client_next &= 0xffffffff
        flow.server_next &= 0xffffffff
        self.waiting.append((
            self.lab.client if client else flow.server,
            make(flags, text, **more)[0]))
        if not more:
            size = len(text) + bool(flags & SYN)
            if client:
                flow.client_next += size
            else:
                flow.server_next += size

    def data(self, flow):
        """A packet of a data connection, announced or not."""
        rng = self.rng
        if rng.random() < .6:
            other = ftp.data(flow, self.port(), rng.choice((
                5000, flow.cport + 1000, 0)))
        else:
            other = Flow(self.lab, IPV4, cport=self.port(), vport=20, rport=20)
        self.say(other, rng.random() < .6, rng.choice((
            SYN, SYN, SYN | ACK, ACK, FIN | ACK, RST)))

    def port(self):
        """One of few ports of data connections."""
        return self.rng.randrange(6000, 6008)

    def text(self, choice):
        """A text, or several, and what chance may make of it."""
        rng = self.rng
        text = "".join(self.filled(rng.choice(choice))
                       for _ in range(rng.choice((1, 1, 1, 2, 3))))
        data = bytearray(text.encode("latin-1"))
        while data and rng.random() < .3:
            at = rng.randrange(len(data))
            rng.choice((
                lambda at=at: data.__setitem__(at, rng.randrange(256)),
                lambda at=at: data.insert(at, rng.choice(b"(|,0 9\r\n")),
                lambda at=at: data.__delitem__(at),
                lambda at=at: data.__delitem__(slice(at, None)),
                lambda at=at: data.extend(data[at:] * rng.choice((1, 1, 20))),
                lambda: data.__init__(data.swapcase())))()
        return bytes(data[:1400])

    def filled(self, text):
        """With an address and a port in the form that it wants, or nearly."""
        rng = self.rng
        port = self.port() if rng.random() < .8 else rng.choice(NUMBERS)
        addr = rng.choice((CIP, CIP, RIP, RIP, VIP, "10.0.3.2", "0.0.0.0",
                           "255.255.255.255", "127.0.0.1", "10.0.2.256"))
        if "EPRT" in text:
            return text.format(ftp.eprt(addr, port, rng.choice("||||!9\x7f ")))
        if "229" in text:
            return text.format(port)
        return text.format(ftp.comma(addr, port) if rng.random() < .8 else
                           ",".join(str(rng.choice(NUMBERS))
                                    for _ in range(rng.choice((6, 6, 5, 7)))))
