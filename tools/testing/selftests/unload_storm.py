#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 600
"""The modules ip_vs, ip_vs_ftp and xt_ipvs are unloaded and loaded again under
a storm of their packets on all CPUs: control and data connections of FTP,
requests and answers of each method, all of them looked at by rules with
`-m ipvs`; without conntrack, with it, and with its own helper for FTP.

Who is in use refuses to go. Afterwards nothing of them is left in
nf_conntrack, and all works."""

from lib import control, ftp, memory, module
from lib.busy import METHODS, BusyLab
from lib.chance import number
from lib.ctnetlink import Table
from lib.family import IPV4
from lib.flood import flood
from lib.iptables import Tables
from lib.lab import CIP, RIP, VIP
from lib.module import MATCH, run
from lib.packet import SYN, tcp, udp
from lib.rules import Rules
from lib.tap import equal, eventually, main, test, test_each
from lib.vs import Settings

# The setting `conntrack`, and whether nf_conntrack_ftp helps.
KINDS = {"without conntrack": (0, False), "with conntrack": (1, False),
         "with conntrack's helper": (1, True)}
RULES = [f"{chain} -m ipvs {options}"
         for chain in ("INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
         for options in ("--ipvs", "--vproto 6", "--vport 21",
                         "--vportctl 21", "--vdir REPLY")]
ROUNDS = number("ROUNDS", 3, c=1)


class StormLab(BusyLab):
    """The laboratory with an FTP service, and the three modules."""

    def build(self):
        super().build()
        run("modprobe", "-a", "nf_conntrack", "nf_conntrack_netlink")
        self.table = Table(self.director)
        self.tables = Tables(self.director)
        ftp.load()
        module.load_match()
        self.objects = memory.in_use("nf_conntrack")

    def __exit__(self, *error):
        if hasattr(self, "table"):
            self.table.close()
        super().__exit__(*error)

    def configure(self):
        super().configure()
        with Rules(self.director) as rules:
            control.configure(rules)

    def load(self, conntrack):
        """All three modules, with services and rules."""
        module.load()
        ftp.load()
        module.load_match()
        self.begin(conntrack)

    def begin(self, conntrack):
        """Settings, services and rules."""
        settings = Settings(self.director)
        settings["conntrack"] = conntrack
        # So that control connections end while packets keep coming.
        settings["expire_nodest_conn"] = 1
        self.configure()
        self.tables.restore({"mangle": RULES})

    def storm(self):
        """Packets of all kinds, on all CPUs."""
        ports = range(1000, 1050)
        client, server = control.sources(self)
        plain = [make(CIP, cport, VIP, vport) for cport in ports
                 for vport in METHODS for make in (udp, tcp)]
        answers = [make(RIP, 81, CIP, cport) for cport in ports
                   for make in (udp, tcp)]
        return flood(client, server, (self.client, plain),
                     (self.server, server[1] + answers))

    def busy(self):
        """Control connections, data connections and others, by now."""
        found = self.ipvs.connections()
        return all(any(part) for part in (
            [each.vport == 21 for each in found],
            [each.vport == 20 for each in found],
            [each.vport in METHODS and each.protocol == "UDP"
             for each in found]))


def expected(lab):
    """How many connections nf_conntrack expects."""
    return len(lab.director.proc("nf_conntrack_expect").splitlines())


@test_each(KINDS, "each module refuses to go while it is in use, and goes "
           "when it no longer is, under a storm of packets")
def unloaded(lab, kind):
    conntrack, help_ = KINDS[kind]
    lab.ipvs.admin("-C")
    lab.begin(conntrack)
    with ftp.helped(lab, IPV4, help_), lab.storm():
        for _ in range(ROUNDS):
            eventually(lab.busy, "connections of all kinds", 60)
            for _ in range(50):
                for name in "ip_vs_ftp", MATCH, "ip_vs":
                    assert module.refuses(name), f"{name} went while in use"
            lab.ipvs.admin("-C")
            eventually(lambda: not module.refuses("ip_vs_ftp"),
                       "ip_vs_ftp unloaded", 120)
            assert module.refuses(MATCH), "the match went with its rules there"
            assert module.refuses("ip_vs"), "ip_vs went beside the match"
            lab.tables.clear()
            eventually(lambda: not module.refuses(MATCH), "the match unloaded", 30)
            # With it go the C module's schedulers.
            module.unload()
            lab.load(conntrack)
    lab.exchange(lab.client)
    # Of the storm's ports it is unknown what nf_conntrack thinks of them.
    lab.table.flush()
    equal(expected(lab), 0, "expected connections without entries")
    lab.works()
    control.works(lab)


@test("a connection that ip_vs_ftp has announced comes when the modules have "
      "gone, and its control connection's entry, of another zone, has not: "
      "nobody is asked about it", modules=("rust",))
def expected_too_late(lab):
    # The C module looks for the entry in the default zone only, does not find
    # it, and what it has told nf_conntrack to call is gone when it is called.
    lab.ipvs.admin("-C")
    lab.begin(1)
    lab.table.flush()
    lab.director.run("nft", "-f", "-", stdin="""
table ip zones {
    chain prerouting {
        type filter hook prerouting priority raw
        ct original zone set 7
    }
}
""")
    with ftp.helped(lab, IPV4):
        talk = ftp.Flow(lab, IPV4).open()
        talk.passive(40080)
        assert expected(lab), "nothing is expected"
        sent, _ = ftp.data(talk, 40080).request(SYN)
        lab.ipvs.admin("-C")
        lab.tables.clear()
        module.unload()
        assert lab.table.entries(talk.cport), "the entry is gone"
        lab.exchange(lab.client, sent)
    lab.director.run("nft", "delete", "table", "ip", "zones")
    lab.table.flush()
    lab.load(0)
    lab.works()


@test("no memory of entries is left")
def nothing_left(lab):
    lab.ipvs.admin("-C")
    lab.tables.clear()
    module.unload()
    lab.table.flush()
    eventually(lambda: memory.in_use("nf_conntrack") <= lab.objects + 2,
               "the end of entries' memory", 30)
    module.load()
    lab.configure()


if __name__ == "__main__":
    main(StormLab)
