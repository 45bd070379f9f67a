# SPDX-License-Identifier: GPL-2.0
"""A laboratory whose director says the same in every run: nothing of what it
sends depends on how long something took."""

from .lab import Lab

# What it costs a sender, in time, to be told that there is no route; the same
# in all namespaces.
ERROR_COST = "/proc/sys/net/ipv4/route/error_cost"
SETTINGS = (("ipv4/icmp_msgs_per_sec", 1 << 20),
            ("ipv4/icmp_msgs_burst", 1 << 20),
            ("ipv4/ipfrag_time", 7200),
            ("ipv6/ip6frag_time", 7200),
            ("ipv6/icmp/ratemask", ""),
            ("netfilter/nf_conntrack_frag6_timeout", 7200))


class QuietLab(Lab):
    """The laboratory without limits of time."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.error_cost = None

    def build(self):
        super().build()
        self.quieten()
        self.answer_for_nobody()

    def answer_for_nobody(self):
        """No look for link addresses, which takes time: whoever is not known
        has the device's own."""
        for host in self.hosts:
            self.director.ip(
                f"link set {host.name} arp off",
                *(f"neigh replace {address} lladdr {host.mac} dev {host.name} "
                  "nud permanent" for address in (host.ip, host.ip6)))

    def quieten(self):
        """No limits of time on what the director says, and nothing that it
        says later of itself."""
        for path, value in SETTINGS:
            self.director.sysctl(path, value)
        with open(ERROR_COST, "r+", encoding="ascii") as file:
            self.error_cost = file.read()
            file.seek(0)
            file.write("0")

    def __exit__(self, *error):
        if self.error_cost:
            with open(ERROR_COST, "w", encoding="ascii") as file:
                file.write(self.error_cost)
        super().__exit__(*error)
