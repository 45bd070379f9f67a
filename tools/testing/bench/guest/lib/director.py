# SPDX-License-Identifier: GPL-2.0
"""The director: frames come in through one end of a veth pair, and all that
it forwards ends in a dummy device.
"""

import subprocess
import time

from .family import Ipv6

GENERATOR = "gen"
SYNC = "sync"       # where the other directors would be
SETTLE = 10         # seconds, nearly free: an idle guest's clock jumps
SETUP = f"""
link add {GENERATOR} type veth peer name in
link add out type dummy
link add {SYNC} type dummy
addr add 10.99.0.1/24 dev {SYNC}
link set {SYNC} up
link set lo up
link set {GENERATOR} up
link set in up
link set out up
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


def setup(family):
    """Set the network up, with nothing in it that speaks on its own, once
    the kernel is done with what it does after booting."""
    time.sleep(SETTLE)
    if family is Ipv6:
        run("sysctl", "-q", "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.default.addr_gen_mode=1",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.default.router_solicitations=0")
    else:
        run("sysctl", "-q", "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1")
    run("ip", "-batch", "-", stdin=SETUP + family.commands)
    # Group membership of the new addresses is reported by now.
    time.sleep(SETTLE)


# Names below net.netfilter, so that no entry goes, or has no room, while it is measured.
TRACKING = {"nf_conntrack_max": 4 << 20, "nf_conntrack_udp_timeout": 86400,
            "nf_conntrack_udp_timeout_stream": 86400}
TRACKED = """
table inet bench {
    chain forward {
        type filter hook forward priority 0
        ct state invalid counter
    }
}
"""


def track():
    """Have connection tracking know every packet from now on."""
    run("nft", "-f", "-", stdin=TRACKED)
    for name, value in TRACKING.items():
        run("sysctl", "-q", f"net.netfilter.{name}={value}")
    with open("/sys/module/nf_conntrack/parameters/hashsize", "w",
              encoding="ascii") as file:
        file.write(f"{1 << 20}")


def forget():
    """Delete all that connection tracking knows."""
    run("conntrack", "-F")


def mac():
    """Where frames have to go."""
    return bytes.fromhex(read("/sys/class/net/in/address").replace(":", ""))


def forwarded():
    """How many packets the director has sent on."""
    return int(read("/sys/class/net/out/statistics/tx_packets"))
