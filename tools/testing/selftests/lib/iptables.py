# SPDX-License-Identifier: GPL-2.0
"""iptables in a namespace: rules that count packets."""

import re

# The chains of each table.
CHAINS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


class Tables:
    """The tables of one family, by one of the two programs for them: `front`
    is "legacy" or "nft"."""

    def __init__(self, namespace, front="legacy", ipv6=False):
        self.namespace = namespace
        self.name = f"ip{'6' if ipv6 else ''}tables-{front}"

    def run(self, *arguments, check=True):
        """Run iptables."""
        return self.namespace.run(self.name, "-w", *arguments, check=check)

    def restore(self, rules):
        """Replace all rules of the tables that `rules` has, {table: [rule]},
        each as after `-A`."""
        lines = []
        for table, chains in CHAINS.items():
            if table in rules:
                lines += [f"*{table}", *(f":{name} ACCEPT" for name in chains),
                          *(f"-A {rule}" for rule in rules[table]), "COMMIT"]
        self.namespace.run(f"{self.name}-restore", "-w",
                           stdin="\n".join(lines) + "\n")

    def clear(self):
        """Remove all rules."""
        self.restore({table: [] for table in CHAINS})

    def saved(self):
        """The lines for `restore` that the program prints, without
        comments and counters of chains."""
        text = self.namespace.run(f"{self.name}-save", "-c")
        return [re.sub(r"^(:.*) \[.*\]$", r"\1", line)
                for line in text.splitlines() if not line.startswith("#")]

    def counts(self):
        """Packets that each rule has counted: {table: [(rule, packets)]}."""
        found, table = {}, None
        for line in self.saved():
            if line.startswith("*"):
                table = found.setdefault(line[1:], [])
            elif line.startswith("["):
                counted, rule = line[1:].split("] -A ", 1)
                table.append((rule, int(counted.split(":")[0])))
        return found
