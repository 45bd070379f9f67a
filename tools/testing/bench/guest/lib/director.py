# SPDX-License-Identifier: GPL-2.0
"""The director: frames come in through one end of a veth pair, and all that
it forwards ends in a dummy device.
"""

import subprocess
import time

VIP, SERVER = "10.0.0.1", "10.2.0.{}"
GENERATOR = "gen"
SETTLE = 10         # seconds, nearly free: an idle guest's clock jumps
SETUP = f"""
link add {GENERATOR} type veth peer name in
link add out type dummy
link set lo up
link set {GENERATOR} up
link set in up
link set out up
address add {VIP}/32 dev lo
address add 10.2.0.254/16 dev out
route add 10.1.0.0/16 dev out
"""


def run(*argv, stdin=None):
    """A command's standard output; what it says when it fails is the error."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n"
                           f"{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def read(path):
    """The content of a file."""
    with open(path, encoding="ascii") as file:
        return file.read()


def setup():
    """Set the network up, with nothing in it that speaks on its own, once
    the kernel is done with what it does after booting."""
    time.sleep(SETTLE)
    run("sysctl", "-q", "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv6.conf.default.disable_ipv6=1")
    run("ip", "-batch", "-", stdin=SETUP)


def mac():
    """Where frames have to go."""
    return bytes.fromhex(read("/sys/class/net/in/address").replace(":", ""))


def forwarded():
    """How many packets the director has sent on."""
    return int(read("/sys/class/net/out/statistics/tx_packets"))
