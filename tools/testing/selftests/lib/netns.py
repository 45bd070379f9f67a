# SPDX-License-Identifier: GPL-2.0
"""Network namespaces that this process steps into and out of."""

import fcntl
import os
import socket
import struct
import subprocess

from .module import run

SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def up(name="lo"):
    """Set a device of the current namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", name.encode(), IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def become_owner():
    """Leave for a network namespace in a user namespace, root of which this
    process is from now on. There is no way back."""
    uid, gid = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    for file, row in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"),
                      ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as out:
            out.write(row)


def in_child(function):
    """What `function` returns, as text, called in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, repr(function()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


def in_user_namespace(function):
    """The same, as root of a user namespace and a network namespace in it."""
    def inside():
        become_owner()
        return function()
    return in_child(inside)


class Space:
    """A namespace by its open file. Inside `with space:` all that is opened,
    read under /proc or started as a child belongs to it; a socket stays in the
    namespace that it was opened in.
    """

    def __init__(self, path):
        self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.outer = []

    @classmethod
    def new(cls):
        """Create one without a name. It ends with its last user."""
        here = cls("/proc/thread-self/ns/net")
        os.unshare(os.CLONE_NEWNET)
        space = cls("/proc/thread-self/ns/net")
        os.setns(here.handle, os.CLONE_NEWNET)
        here.close()
        return space

    def __enter__(self):
        self.outer.append(os.open("/proc/thread-self/ns/net",
                                  os.O_RDONLY | os.O_CLOEXEC))
        os.setns(self.handle, os.CLONE_NEWNET)
        return self

    def __exit__(self, *_error):
        outer = self.outer.pop()
        os.setns(outer, os.CLONE_NEWNET)
        os.close(outer)

    def close(self):
        """Be no user of it any more."""
        os.close(self.handle)


class Netns(Space):
    """A namespace with a name, as ip(8) has it."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        super().__init__(f"/run/netns/{name}")

    def delete(self):
        """The namespace goes when the last of its users does."""
        self.close()
        run("ip", "netns", "del", self.name)

    def ip(self, *commands):
        """Run ip(8) commands in the namespace, in one process."""
        run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(commands))

    def run(self, *argv, stdin=None, check=True):
        """Run a command in the namespace and return its standard output."""
        with self:
            return run(*argv, stdin=stdin, check=check)

    def start(self, *argv, **options):
        """Start a process in the namespace."""
        with self:
            return subprocess.Popen(argv, **options)

    def sysctl(self, path, value):
        """Set /proc/sys/net/<path>."""
        with self, open(f"/proc/sys/net/{path}", "w",
                        encoding="ascii") as file:
            file.write(str(value))

    def has_sysctl(self, path):
        """Return whether /proc/sys/net/<path> exists in this namespace."""
        with self:
            return os.path.exists(f"/proc/sys/net/{path}")

    def proc(self, name):
        """The content of /proc/net/<name>."""
        with self, open(f"/proc/thread-self/net/{name}",
                        encoding="ascii") as file:
            return file.read()
