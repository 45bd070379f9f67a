# SPDX-License-Identifier: GPL-2.0
"""Network namespaces that this process steps into and out of."""

import os
import subprocess

from .module import run


class Netns:
    """A named namespace. Inside `with namespace:` all that is opened, read
    under /proc or started as a child belongs to it; a socket stays in the
    namespace that it was opened in.
    """

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self.handle = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        self.outer = []

    def __enter__(self):
        self.outer.append(os.open("/proc/thread-self/ns/net",
                                  os.O_RDONLY | os.O_CLOEXEC))
        os.setns(self.handle, os.CLONE_NEWNET)
        return self

    def __exit__(self, *_error):
        outer = self.outer.pop()
        os.setns(outer, os.CLONE_NEWNET)
        os.close(outer)

    def delete(self):
        """The namespace goes when the last of its users does."""
        os.close(self.handle)
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
        """Whether /proc/sys/net/<path> exists in this namespace."""
        with self:
            return os.path.exists(f"/proc/sys/net/{path}")

    def proc(self, name):
        """The content of /proc/net/<name>."""
        with self, open(f"/proc/thread-self/net/{name}",
                        encoding="ascii") as file:
            return file.read()
