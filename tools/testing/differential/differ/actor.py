# SPDX-License-Identifier: GPL-2.0
"""Who does operations: a process with sockets in the namespaces."""

import os
import struct
from contextlib import nullcontext
from multiprocessing import Pipe

from lib import genl, sockopt
from lib.genl import NLM_F_DUMP, NLM_F_REQUEST, Genl, error_name
from lib.netns import Space, become_owner, up
from lib.sockopt import Sockopts
from lib.vs import Settings

from . import outcome
from .operations import NOBODY, OWNED, OWNER, Read
from .outcome import Result

NOBODY_ID = 65534


class Door:
    """One namespace, from the process that it belongs to or from another."""

    def __init__(self, space):
        self.space = space
        self.genl = Genl(space)
        self.options = Sockopts(space)
        self.settings = Settings()      # of where the process is

    def close(self):
        self.genl.close()
        self.options.close()

    def do(self, operation):
        """Do it as whoever the process is."""
        return getattr(self, type(operation).__name__.lower())(operation)

    def request(self, op):
        return outcome.of_reply(op.command, self.genl.send(
            self.genl.family, op.command, op.body, op.flags, op.version))

    def set(self, op):
        return Result(self.options.set(op.option, op.data, op.length))

    def get(self, op):
        def count():
            info = self.options.get(sockopt.GET_INFO, room=12)
            return struct.unpack_from("=III", info.data)[2]
        return outcome.of_option(op.option, self.options.get(
            op.option, op.data, op.room, op.length), count)

    def write(self, op):
        error = self.settings.write(op.name, op.text)
        return Result(error, self.setting(op.name))

    def setting(self, name):
        """What a setting shows."""
        try:
            with open(f"/proc/sys/net/ipv4/vs/{name}",
                      encoding="ascii") as file:
                return file.read()
        except OSError as error:
            return error_name(error.errno)

    def read(self, op):
        try:
            with open(f"/proc/thread-self/net/{op.name}",
                      encoding="ascii") as file:
                return outcome.of_file(op.name, file.read())
        except OSError as error:
            return Result(error_name(error.errno))

    def look(self, op):
        """Dumps of everything, and the files."""
        def dump(command, body=b""):
            return outcome.of_reply(command, self.genl.send(
                self.genl.family, command, body, NLM_F_REQUEST | NLM_F_DUMP))
        services = self.genl.dump(genl.GET_SERVICE).messages
        return Result("", (
            dump(genl.GET_SERVICE),
            sorted((service, dump(genl.GET_DEST, service))
                   for service in services),
            outcome.of_reply(genl.GET_CONFIG,
                             self.genl.request(genl.GET_CONFIG)),
            dump(genl.GET_DAEMON),
            *(self.read(Read(op.where, op.who, name))
              for name in ("ip_vs", "ip_vs_conn", "ip_vs_stats"))))


class Owner:
    """A child process that is root of a user namespace, with a network
    namespace."""

    def __init__(self):
        self.pipe, theirs = Pipe()
        self.pid = os.fork()
        if not self.pid:
            self.pipe.close()
            try:
                self._serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        if self.pipe.recv() != "ready":
            raise AssertionError("no user namespace")

    @staticmethod
    def _serve(pipe):
        become_owner()
        up()
        door = Door(nullcontext())
        pipe.send("ready")
        while True:
            operation = pipe.recv()
            if operation is None:
                return
            pipe.send(door.do(operation))

    def do(self, operation):
        """Have it done there."""
        self.pipe.send(operation)
        return self.pipe.recv()

    def close(self):
        """End the process."""
        self.pipe.send(None)
        os.waitpid(self.pid, 0)
        self.pipe.close()


class World:
    """Fresh namespaces for a sequence, and whoever acts in them."""

    def __init__(self):
        self.owner = Owner()
        self.spaces = [Space.new(), Space.new(),
                       Space(f"/proc/{self.owner.pid}/ns/net")]
        for space in self.spaces[:OWNED]:
            with space:
                up()
        self.doors = [Door(space) for space in self.spaces]

    def close(self):
        """Leave nothing of it."""
        for door, space in zip(self.doors, self.spaces):
            door.close()
            space.close()
        self.owner.close()

    def do(self, operation):
        """Do one operation, and tell what came of it."""
        if operation.who == OWNER:
            return self.owner.do(operation)
        with self.spaces[operation.where]:
            if operation.who != NOBODY:
                return self.doors[operation.where].do(operation)
            os.seteuid(NOBODY_ID)
            try:
                return self.doors[operation.where].do(operation)
            finally:
                os.seteuid(0)
