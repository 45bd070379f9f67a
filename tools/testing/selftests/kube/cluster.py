# SPDX-License-Identifier: GPL-2.0
"""A node with kube-proxy, and who talks to it.

    client ---+--- node --- pod1
              |      +----- pod2
              +--- node2 -- pod3

Client and nodes are on one link. The client's route to the services is the
node, and it knows its way to the pods, so that a reply that does not come back
through the node is seen. Pods have a wire each, as the CNI plugin "ptp" makes
them.
"""

from contextlib import contextmanager
from ipaddress import ip_address
from typing import NamedTuple

from lib import module
from lib.stacks import ROUTER, Stacks, Talk, entry

from . import rules

PORT, DNS = 8080, 5353
NODE_PORT, AFFINITY = 30080, 10800
PODS = "pod1", "pod2", "pod3"
OF_NODE = PODS[:2]

# What it sets when it starts, in its order. Where one can't be set, it ends.
SYSCTLS = {
    "ipv4/vs/conntrack": 1,
    "ipv4/vs/expire_nodest_conn": 1,
    "ipv4/vs/expire_quiescent_template": 1,
    "ipv4/ip_forward": 1,
    "ipv4/conf/all/arp_ignore": 1,
    "ipv4/conf/all/arp_announce": 2,
}


class Family(NamedTuple):
    """The addresses of a family."""
    name: str
    link: str           # of client and nodes; the rest is a number
    pods: str           # of the cluster, with its prefix length
    pod_net: tuple      # of node's pods and of node2's
    services: str       # its format, of two bytes
    virtual: str        # of load balancers
    single: int         # length of an address
    tool: str = "iptables"

    def __str__(self):
        return self.name

    @property
    def ipv6(self):
        """Whether it is IPv6."""
        return self.single == 128

    @property
    def option(self):
        """The family's option of ip(8) and conntrack(8)."""
        return "ipv6" if self.ipv6 else "ipv4"

    def end(self, address, port):
        """An address and a port as ipvsadm takes them."""
        return f"[{address}]:{port}" if self.ipv6 else f"{address}:{port}"

    @property
    def everywhere(self):
        """The network that all addresses are in."""
        return "::/0" if self.ipv6 else "0.0.0.0/0"

    @property
    def client(self):
        """The client's address."""
        return f"{self.link}2"

    @property
    def node(self):
        """The node's address."""
        return f"{self.link}1"

    @property
    def node2(self):
        """The other node's address."""
        return f"{self.link}3"

    @property
    def gateway(self):
        """The node's address towards its pods."""
        return f"{self.pod_net[0]}1"

    def pod(self, name):
        """A pod's address."""
        return f"{self.pod_net[name not in OF_NODE]}1{name[-1]}"

    def masqueraded(self, server):
        """The address from which a pod sees what the node masquerades."""
        return self.gateway if server in OF_NODE else self.node


IPV4 = Family("IPv4", "192.0.2.", "10.244.0.0/16",
              ("10.244.0.", "10.244.1."), "10.96.{}.{}", "203.0.113.", 32)
IPV6 = Family("IPv6", "2001:db8:1::", "fd00:244::/32",
              ("fd00:244:0:1::", "fd00:244:0:2::"), "fd00:96::{:x}:{:x}",
              "2001:db8:2::", 128, "ip6tables")
FAMILIES = IPV4, IPV6


class Service(NamedTuple):
    """A service of the cluster: number of its cluster IP, port, the pods'."""
    number: int
    port: int
    target: int = PORT
    udp: bool = False
    affinity: bool = False
    node_port: int = 0
    balancer: int = 0           # number of a load balancer's address
    pods: tuple = PODS

    def address(self, ip):
        """The cluster IP."""
        return str(ip_address(ip.services.format(*divmod(self.number, 256))))


WEB = Service(10, 80, node_port=NODE_PORT)
STICKY = Service(20, 80, affinity=True)
NAMES = Service(53, 53, DNS, udp=True)
LONELY = Service(30, 80, pods=("pod1",))
# For pod1, without itself.
OTHERS = Service(11, 80, pods=PODS[1:])
OTHER_NAMES = Service(54, 53, DNS, udp=True, pods=PODS[1:])
COUNTED = Service(55, 53, DNS, udp=True)
PUBLIC = Service(40, 80, balancer=10, pods=OF_NODE)


class Cluster(Stacks):
    """The picture above, with the services of both families."""

    def __init__(self):
        super().__init__()
        self.client = self.node = self.node2 = None
        self.hosts, self.bound = {}, {}
        self.services = [WEB, STICKY, NAMES, LONELY, OTHERS, OTHER_NAMES,
                         COUNTED]

    def build(self):
        lan = self.namespace("lan")
        lan.ip("link add lan type bridge mcast_snooping 0",
               "link set lan up")
        self.client = self.namespace("client")
        # Forwarding is one of the things that kube-proxy sets for IPv4.
        self.node = self.namespace("node", ROUTER | {"ipv4/ip_forward": 0})
        self.node2 = self.namespace("node2", ROUTER)
        for number, host in enumerate((self.node, self.client, self.node2), 1):
            port = f"port{number}"
            self.wire(lan, port, host, "eth0")
            lan.ip(f"link set {port} master lan")
            for ip in FAMILIES:
                host.ip(f"addr add {ip.link}{number}/"
                        f"{64 if ip.ipv6 else 24} dev eth0" +
                        (" nodad" if ip.ipv6 else ""))
        for name in PODS:
            self.pod(name)
        for ip in FAMILIES:
            bits = 64 if ip.ipv6 else 24
            first, second = (f"{net}0/{bits}" for net in ip.pod_net)
            self.client.ip(
                f"route add {ip.everywhere} via {ip.node}",
                f"route add {second} via {ip.node2}")
            self.node.ip(f"route add {second} via {ip.node2}")
            self.node2.ip(f"route add {first} via {ip.node}")
        # Like the kubelet, at all addresses of the node.
        self.servers.listen(self.node, "node", PORT, "tcp")
        self.await_carriers()
        self.start()

    def pod(self, name):
        """Add a pod to its node."""
        node = self.node if name in OF_NODE else self.node2
        pod = self.hosts[name] = self.namespace(name)
        self.wire(node, name, pod, "eth0")
        for ip in FAMILIES:
            gateway = f"{ip.pod_net[node is self.node2]}1"
            nodad = " nodad" if ip.ipv6 else ""
            node.ip(f"addr add {gateway}/{ip.single} dev {name}{nodad}",
                    f"route add {ip.pod(name)} dev {name} src {gateway}")
            pod.ip(f"addr add {ip.pod(name)}/{ip.single} dev eth0{nodad}",
                   f"route add {gateway} dev eth0",
                   f"route add {ip.everywhere} via {gateway} dev eth0")
        self.servers.listen(pod, name, PORT)
        self.servers.listen(pod, name, DNS, "udp")

    def start(self):
        """Start kube-proxy on the node: settings, chains, first rules."""
        module.run("modprobe", "-a", "nf_conntrack_netlink", "dummy")
        for path, value in SYSCTLS.items():
            self.node.sysctl(path, value)
        for ip in FAMILIES:
            self.node.run(ip.tool, "-P", "FORWARD", "DROP")
            self.node.run(f"{ip.tool}-restore", "--noflush",
                          stdin=rules.jumps())
        # It has addresses, but is down.
        self.node.ip("link add kube-ipvs0 type dummy")
        self.sync()

    def members(self, ip):
        """The members of each set."""
        found = {"CLUSTER-IP": [], "LOOP-BACK": [], "IPVS-IPS": [],
                 "NODE-PORT-TCP": [], "LOAD-BALANCER": [],
                 "LOAD-BALANCER-FW": [], "LOAD-BALANCER-SOURCE-CIDR": []}
        for service in self.services:
            kind = "udp" if service.udp else "tcp"
            end = f"{service.address(ip)},{kind}:{service.port}"
            found["CLUSTER-IP"].append(end)
            found["IPVS-IPS"].append(service.address(ip))
            found["LOOP-BACK"] += [
                f"{ip.pod(pod)},{kind}:{service.target},{ip.pod(pod)}"
                for pod in service.pods if pod in OF_NODE]
            if service.node_port:
                found["NODE-PORT-TCP"].append(str(service.node_port))
            if service.balancer:
                address = f"{ip.virtual}{service.balancer}"
                end = f"{address},{kind}:{service.port}"
                found["IPVS-IPS"].append(address)
                found["LOAD-BALANCER"].append(end)
                found["LOAD-BALANCER-FW"].append(end)
                found["LOAD-BALANCER-SOURCE-CIDR"].append(
                    f"{end},{ip.client}/{ip.single}")
        return found

    def sync(self):
        """Have all of the node be as the cluster is."""
        self.sync_rules()
        want = [line for ip in FAMILIES for service in self.services
                for line in self.virtual_servers(ip, service)]
        have = set(self.node.ipvs.saved())
        # A service takes its servers with it.
        self.node.ipvs.rules(*(" ".join(["-D", *line.split()[1:3]])
                               for line in have.difference(want)
                               if line.startswith("-A")))
        self.node.ipvs.rules(*(line for line in want if line not in have))

    def sync_rules(self):
        """Do so for sets, rules and addresses."""
        bound = {}
        for ip in FAMILIES:
            members = self.members(ip)
            bound |= {f"{address}/{ip.single}": " nodad" if ip.ipv6 else ""
                      for address in members["IPVS-IPS"]}
            lines = rules.create_sets(ip.ipv6)
            for name, ends in members.items():
                name = rules.set_name(name, ip.ipv6)
                lines += [f"flush {name}",
                          *(f"add {name} {end} -exist" for end in ends)]
            self.node.run("ipset", "restore", stdin="\n".join(lines) + "\n")
            self.node.run(
                f"{ip.tool}-restore", "--noflush", "--counters",
                stdin=rules.rules(members, ip.pods, ip.ipv6, [
                    (f"{ip.virtual}{service.balancer}", service.port)
                    for service in self.services if service.balancer]))
        self.node.ip(
            *(f"addr add {address} dev kube-ipvs0{option}"
              for address, option in bound.items()
              if address not in self.bound),
            *(f"addr del {address} dev kube-ipvs0"
              for address in self.bound if address not in bound))
        self.bound = bound

    @contextmanager
    def also(self, *services):
        """Have more services while this lasts."""
        before = self.services
        self.services = [*before, *services]
        try:
            self.sync()
            yield
        finally:
            self.services = before
            self.sync()

    def virtual_servers(self, ip, service):
        """A service as ipvsadm saves it, at each of its addresses."""
        ends = [(service.address(ip), service.port)]
        if service.node_port:
            ends += [(ip.node, service.node_port),
                     (ip.gateway, service.node_port)]
        if service.balancer:
            ends.append((f"{ip.virtual}{service.balancer}", service.port))
        for end in ends:
            name = f"-{'u' if service.udp else 't'} {ip.end(*end)}"
            affinity = f" -p {AFFINITY}" if service.affinity else ""
            yield f"-A {name} -s rr{affinity}"
            for pod in service.pods:
                yield (f"-a {name} -r {ip.end(ip.pod(pod), service.target)} "
                       "-m -w 1")

    def talk(self, origin, ip, service, **options):
        """Talk to a service at its cluster IP."""
        return Talk(origin, service.address(ip), service.port,
                    udp=service.udp, **options)

    def entry(self, talk):
        """The node's conntrack entry of a conversation."""
        return entry(self.node, talk, talk.to)
