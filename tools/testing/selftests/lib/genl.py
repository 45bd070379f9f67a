# SPDX-License-Identifier: GPL-2.0
"""Generic netlink by hand, so that a message can be as wrong as it likes."""

import errno
import socket
import struct
from typing import NamedTuple

from .tap import TIME_FACTOR

NETLINK_GENERIC, SOL_NETLINK, NETLINK_EXT_ACK = 16, 270, 11
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS = 1, 2
NLMSGERR_ATTR_MISS_TYPE, NLMSGERR_ATTR_MISS_NEST = 5, 6
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
NLA_F_NESTED = 0x8000

(NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE, NEW_DEST, SET_DEST,
 DEL_DEST, GET_DEST, NEW_DAEMON, DEL_DAEMON, GET_DAEMON, SET_CONFIG,
 GET_CONFIG, SET_INFO, GET_INFO, ZERO, FLUSH) = range(1, 18)
(CMD_SERVICE, CMD_DEST, CMD_DAEMON, CMD_TIMEOUT_TCP, CMD_TIMEOUT_TCP_FIN,
 CMD_TIMEOUT_UDP) = range(1, 7)
(SVC_AF, SVC_PROTOCOL, SVC_ADDR, SVC_PORT, SVC_FWMARK, SVC_SCHED_NAME,
 SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK, SVC_STATS, SVC_PE_NAME,
 SVC_STATS64) = range(1, 13)
(DEST_ADDR, DEST_PORT, DEST_FWD_METHOD, DEST_WEIGHT, DEST_U_THRESH,
 DEST_L_THRESH, DEST_ACTIVE_CONNS, DEST_INACT_CONNS, DEST_PERSIST_CONNS,
 DEST_STATS, DEST_ADDR_FAMILY, DEST_STATS64, DEST_TUN_TYPE, DEST_TUN_PORT,
 DEST_TUN_FLAGS) = range(1, 16)
INFO_VERSION, INFO_CONN_TAB_SIZE = 1, 2
MASQ, LOCALNODE, TUNNEL, DROUTE, BYPASS = range(5)


class Reply(NamedTuple):
    """The answer to a request."""
    error: str          # "" or the errno's name
    messages: list      # payloads after the genetlink header
    message: str        # of the extended ack
    offset: int         # of the offending attribute in the request
    missing: int        # type of the attribute that is missing
    heads: tuple = ()   # (netlink's flags, command, version) of each payload


def attr(kind, payload, length=None):
    """One attribute, padded; `length` lies about its size."""
    size = 4 + len(payload) if length is None else length
    return struct.pack("=HH", size, kind) + payload + bytes(-len(payload) % 4)


def u8(kind, value):
    return attr(kind, struct.pack("=B", value))


def u16(kind, value):
    return attr(kind, struct.pack("=H", value))


def be16(kind, value):
    return attr(kind, struct.pack("!H", value))


def u32(kind, value):
    return attr(kind, struct.pack("=I", value & 0xffffffff))


def string(kind, value):
    return attr(kind, value.encode() + b"\0")


def nest(kind, *attributes):
    return attr(kind | NLA_F_NESTED, b"".join(attributes))


def address(kind, ip):
    """An address attribute, of the size of an IPv6 one as the tools send."""
    if ":" in ip:
        return attr(kind, socket.inet_pton(socket.AF_INET6, ip))
    return attr(kind, socket.inet_aton(ip).ljust(16, b"\0"))


def attributes(data):
    """{type: payload} of a row of attributes."""
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            break
        found[kind & 0x3fff] = data[4:size]
        data = data[size + (-size % 4):]
    return found


def error_name(code):
    """An errno's name, of two the one that the kernel calls it."""
    if not code:
        return ""
    return errno.errorcode.get(code, str(code)).replace(
        "ENOTSUP", "EOPNOTSUPP")


class Genl:
    """A socket to the IPVS family of one namespace."""

    def __init__(self, namespace):
        self.namespace = namespace
        with namespace:
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                        NETLINK_GENERIC)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.socket.bind((0, 0))
        self.socket.settimeout(20 * TIME_FACTOR)
        self.sequence = 0
        answer = self.send(GENL_ID_CTRL, CTRL_CMD_GETFAMILY,
                           string(2, "IPVS"))
        if answer.error:
            raise AssertionError(f"no IPVS family: {answer}")
        self.family, = struct.unpack(
            "=H", attributes(answer.messages[0])[1])

    def close(self):
        self.socket.close()

    def request(self, command, *row, flags=NLM_F_REQUEST | NLM_F_ACK):
        """A command to IPVS with these attributes."""
        return self.send(self.family, command, b"".join(row), flags)

    def dump(self, command, *row):
        """All messages of a dump."""
        return self.request(command, *row, flags=NLM_F_REQUEST | NLM_F_DUMP)

    def pieces(self, command, *row):
        """The messages of a dump, piece by piece as the kernel makes them."""
        self._post(self.family, command, b"".join(row),
                   NLM_F_REQUEST | NLM_F_DUMP)
        done = None
        while not done:
            messages = []
            done = self._receive(messages, [])
            if done and done.error:
                raise AssertionError(f"dump {command}: {done}")
            yield messages

    def _post(self, family, command, body, flags, version=1):
        self.sequence += 1
        self.socket.send(struct.pack(
            "=IHHIIBBH", 20 + len(body), family, flags, self.sequence, 0,
            command, version, 0) + body)

    def send(self, family, command, body, flags=NLM_F_REQUEST | NLM_F_ACK,
             version=1):
        """A message, and everything up to the ack or the end of the dump."""
        self._post(family, command, body, flags, version)
        if not flags & NLM_F_ACK and (flags & (NLM_F_DUMP | NLM_F_REQUEST) !=
                                      NLM_F_DUMP | NLM_F_REQUEST):
            # Nothing may be said of it; this is, and when all has been.
            self.socket.send(struct.pack("=IHHII", 16, NLMSG_NOOP,
                                         NLM_F_REQUEST | NLM_F_ACK,
                                         self.sequence, 0))
        messages, heads = [], []
        while True:
            done = self._receive(messages, heads)
            if done:
                return done._replace(heads=tuple(heads))

    def _receive(self, messages, heads):
        data = self.socket.recv(1 << 16)
        while len(data) >= 16:
            size, kind, flags, sequence, _pid = struct.unpack_from(
                "=IHHII", data)
            body, data = data[16:size], data[size + (-size % 4):]
            if sequence != self.sequence:
                continue
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                return self._done(kind, flags, body, messages)
            messages.append(body[4:])
            heads.append((flags, *body[:2]))
        return None

    @staticmethod
    def _done(kind, flags, body, messages):
        code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
        tlvs = {}
        if flags & NLM_F_ACK_TLVS:
            skip = 4
            if kind == NLMSG_ERROR:
                inner = struct.unpack_from("=I", body, 4)[0]
                skip += 16 if flags & NLM_F_CAPPED else (inner + 3) & ~3
            tlvs = attributes(body[skip:])

        def number(which):
            return struct.unpack("=I", tlvs[which])[0] if which in tlvs else 0
        return Reply(error_name(code), messages,
                     tlvs.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(),
                     number(NLMSGERR_ATTR_OFFS),
                     number(NLMSGERR_ATTR_MISS_TYPE))
