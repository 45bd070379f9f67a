#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: rust
# timeout: 120
"""The kernel's own tests pass on a busy host: their sleep(1) waits for what
they count on, and makes nothing pass that is not there. No module is needed."""

import os
import subprocess
import tempfile

from lib.netns import Netns
from lib.tap import equal, main, test

PATIENT = "/ipvs/tools/testing/vm/patient"
NAME = "ipvs-patience"
# As netfilter/ipvs.sh has it.
SERVER = ("ip netns exec {0} timeout 1 {1} -u -4 TCP-LISTEN:8080,reuseaddr "
          "STDOUT > received &\nserver_pid=$!\nsleep 0.1\n")
CLIENT = ("echo hello | ip netns exec {0} timeout 1 socat -u -4 STDIN "
          "TCP:127.0.0.1:8080\necho $?\nwait $server_pid\n")


class Namespace:
    """A namespace, and a directory with a server that is slow to begin."""

    def __enter__(self):
        self.netns = Netns(NAME)
        self.netns.ip("link set lo up")
        self.temporary = tempfile.TemporaryDirectory()
        path = f"{self.temporary.name}/late"
        with open(path, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\n/usr/bin/sleep 3\nexec socat "$@"\n')
        os.chmod(path, 0o755)
        return self

    def __exit__(self, *_error):
        self.temporary.cleanup()
        self.netns.delete()

    def run(self, script):
        """What a script prints with the programs of "patient"."""
        directory = self.temporary.name
        path = f"{PATIENT}:{directory}:{os.environ['PATH']}"
        return subprocess.run(["bash", "-c", script], cwd=directory,
                              env=os.environ | {"PATH": path},
                              stdout=subprocess.PIPE, check=False,
                              text=True).stdout.strip()

    def received(self):
        """What a server has got."""
        with open(f"{self.temporary.name}/received", encoding="ascii") as file:
            return file.read()


@test("a server may begin to listen later than the test has slept")
def late(namespace):
    said = namespace.run((SERVER + CLIENT).format(NAME, "late"))
    equal((said, namespace.received()), ("0", "hello\n"))


@test("a server that ends before it listens is not waited for, and is missed")
def missing(namespace):
    said = namespace.run((SERVER + CLIENT).format(NAME, "false"))
    equal((said, namespace.received()), ("1", ""))


@test("a server that listens elsewhere is missed")
def elsewhere(namespace):
    server = SERVER.replace(":8080", ":8081")
    said = namespace.run((server + CLIENT).format(NAME, "socat"))
    equal((said, namespace.received()), ("1", ""))


@test("a link may notice its carrier later than the test has slept")
def carrier(namespace):
    namespace.netns.ip("link add veth0 type veth peer name veth1")
    namespace.netns.ip("link set veth0 up")
    said = namespace.run(
        f"(/usr/bin/sleep 2; ip -n {NAME} link set veth1 up) & sleep 0.1\n"
        f"ip -n {NAME} -o link show veth0 | grep -o 'state [A-Z]*'")
    equal(said, "state UP")


if __name__ == "__main__":
    main(Namespace)
