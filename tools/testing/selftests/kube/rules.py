# SPDX-License-Identifier: GPL-2.0
"""What kube-proxy (pkg/proxy/ipvs) tells iptables and ipset, as data.

Names of sets begin with KUBE- for IPv4, and with KUBE-6- for IPv6, which has
its own.
"""

MASQUERADE = "0x4000"
PORTS = "bitmap:port"
SETS = {
    "LOOP-BACK": "hash:ip,port,ip",
    "CLUSTER-IP": "hash:ip,port",
    "EXTERNAL-IP": "hash:ip,port",
    "EXTERNAL-IP-LOCAL": "hash:ip,port",
    "LOAD-BALANCER": "hash:ip,port",
    "LOAD-BALANCER-FW": "hash:ip,port",
    "LOAD-BALANCER-LOCAL": "hash:ip,port",
    "LOAD-BALANCER-SOURCE-IP": "hash:ip,port,ip",
    "LOAD-BALANCER-SOURCE-CIDR": "hash:ip,port,net",
    "NODE-PORT-TCP": PORTS,
    "NODE-PORT-LOCAL-TCP": PORTS,
    "NODE-PORT-UDP": PORTS,
    "NODE-PORT-LOCAL-UDP": PORTS,
    "NODE-PORT-SCTP-HASH": "hash:ip,port",
    "NODE-PORT-LOCAL-SCTP-HASH": "hash:ip,port",
    "HEALTH-CHECK-NODE-PORT": PORTS,
    "IPVS-IPS": "hash:ip",
}

# Table, the kernel's chain, and kube-proxy's, to which its first rule goes.
JUMPS = (
    ("nat", "OUTPUT", "KUBE-SERVICES"),
    ("nat", "PREROUTING", "KUBE-SERVICES"),
    ("nat", "POSTROUTING", "KUBE-POSTROUTING"),
    ("filter", "FORWARD", "KUBE-FORWARD"),
    ("filter", "INPUT", "KUBE-NODE-PORT"),
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL"),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL"),
    ("filter", "INPUT", "KUBE-IPVS-FILTER"),
    ("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER"),
)
CHAINS = {
    "nat": ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT",
            "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"),
    "filter": ("KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL",
               "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER",
               "KUBE-IPVS-OUT-FILTER"),
}

# Rules that exist while a set has members: chain, match, set, what of the
# packet is looked up in it, target.
IF_ANY = {
    "nat": (
        ("KUBE-POSTROUTING", "", "LOOP-BACK", "dst,dst,src", "MASQUERADE"),
        ("KUBE-SERVICES", "", "LOAD-BALANCER", "dst,dst",
         "KUBE-LOAD-BALANCER"),
        ("KUBE-NODE-PORT", "-p tcp", "NODE-PORT-TCP", "dst", "KUBE-MARK-MASQ"),
        ("KUBE-NODE-PORT", "-p udp", "NODE-PORT-UDP", "dst", "KUBE-MARK-MASQ"),
        ("KUBE-SERVICES", "! -s {pods}", "CLUSTER-IP", "dst,dst",
         "KUBE-MARK-MASQ"),
    ),
    "filter": (
        ("KUBE-PROXY-FIREWALL", "", "LOAD-BALANCER-FW", "dst,dst",
         "KUBE-SOURCE-RANGES-FIREWALL"),
        ("KUBE-SOURCE-RANGES-FIREWALL", "", "LOAD-BALANCER-SOURCE-CIDR",
         "dst,dst,src", "RETURN"),
    ),
}
ALWAYS = {
    "nat": """
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m set --match-set {set}CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-SERVICES -m set --match-set {set}LOAD-BALANCER dst,dst -j ACCEPT
-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark {mark}
-A KUBE-POSTROUTING -m comment --comment "to be masqueraded" -j MASQUERADE \
--random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark {mark}
""",
    "filter": """
-A KUBE-SOURCE-RANGES-FIREWALL -j DROP
-A KUBE-FORWARD -m comment --comment "marked" -m mark --mark {mark}/{mark} \
-j ACCEPT
-A KUBE-FORWARD -m comment --comment "later packets" -m conntrack \
--ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-NODE-PORT -m set --match-set {set}HEALTH-CHECK-NODE-PORT dst -j ACCEPT
-A KUBE-IPVS-FILTER -m set --match-set {set}LOAD-BALANCER dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set {set}CLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set {set}EXTERNAL-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set {set}EXTERNAL-IP-LOCAL dst,dst \
-j RETURN
-A KUBE-IPVS-FILTER -m set --match-set {set}HEALTH-CHECK-NODE-PORT dst \
-j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set \
--match-set {set}IPVS-IPS dst -j REJECT
""",
}
# Load balancers whose sources are limited are closed to the node itself.
NOT_FROM_NODE = ("-A KUBE-IPVS-OUT-FILTER -s {address} -m ipvs "
                 "--vaddr {address} --vproto tcp --vport {port} -j DROP")


def set_name(name, ipv6):
    """The whole name of a set, which is cut off where ipset's names end."""
    return (f"KUBE-6-{name}" if ipv6 else f"KUBE-{name}")[:31]


def create_sets(ipv6):
    """Lines for `ipset restore` that make all sets."""
    family = "inet6" if ipv6 else "inet"
    return [f"create {set_name(name, ipv6)} {kind} " + (
        "range 0-65535" if kind == PORTS else
        f"family {family} hashsize 1024 maxelem 65536") + " -exist"
        for name, kind in SETS.items()]


def jumps():
    """The input of `iptables-restore --noflush` that makes the chains, and has
    the kernel's chains begin with them."""
    lines = []
    for table, chains in CHAINS.items():
        lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
        lines += [f"-I {hook} -m comment --comment \"kube-proxy's\" -j {chain}"
                  for of, hook, chain in JUMPS if of == table]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def rules(members, pods, ipv6, not_from_node=()):
    """The input of `iptables-restore --noflush` that fills these chains anew.
    `members` has those of each set, `not_from_node` (address, port) of load
    balancers."""
    lines = []
    words = {"set": set_name("", ipv6), "mark": MASQUERADE, "pods": pods}
    for table, chains in CHAINS.items():
        lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
        if table == "nat":
            loopback = "::1/128" if ipv6 else "127.0.0.0/8"
            lines.append(f"-A KUBE-SERVICES -s {loopback} -j RETURN")
        for chain, match, name, where, target in IF_ANY[table]:
            if members.get(name):
                lines.append(
                    f"-A {chain} {match.format(**words)} -m set --match-set "
                    f"{set_name(name, ipv6)} {where} -j {target}")
        lines += ALWAYS[table].format(**words).strip().splitlines()
        if table == "filter":
            lines += [NOT_FROM_NODE.format(address=address, port=port)
                      for address, port in not_from_node]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"
