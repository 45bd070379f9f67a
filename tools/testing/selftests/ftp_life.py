#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# modules: c rust
# timeout: 300
"""How long FTP's connections and its module last: with data connections, with
removed servers, with a thousand data connections, and when ip_vs_ftp is
unloaded."""

from lib import ftp
from lib.family import FAMILIES, IPV4, IPV6, end
from lib.ftp import FtpLab, forget
from lib.genl import error_name
from lib.module import insert, loaded, run
from lib.packet import ACK, PSH, SYN
from lib.tap import equal, eventually, main, test, test_each
from lib.vs import Settings


@test_each(FAMILIES, "a control connection stays a minute longer while it has data "
           "connections")
def extended(lab, ip):
    lab.ipvs.admin("--set", "1", "1", "0")
    control = lab.control(ip)
    control.passive(40030)

    def left():
        found = lab.ipvs.connection(control.cport)
        return found and found.expires
    # It would have ended by now.
    eventually(lambda: (left() or 0) > 10, "extended")
    equal(left() <= 60, True, f"{left()} s")
    lab.ipvs.admin("--set", "900", "120", "300")


@test("with expire_nodest_conn, a removed server's data connections go, and with the "
      "last one the control connection")
def nodest(lab):
    control = lab.control(IPV4)
    for port in range(40040, 40045):
        control.passive(port)
    settings = Settings(lab.director)
    with settings.but(expire_nodest_conn=1):
        lab.ipvs.admin("-d", "-t", end(IPV4.vip, 21), "-r", end(IPV4.rip, 21))
        eventually(lambda: not lab.only_of(IPV4), "all gone")
    forget(lab)


@test("a thousand data connections of one control connection, and all end")
def thousand(lab):
    control = lab.control(IPV4)
    ports = range(41000, 42000)
    for port in ports:
        control.command("PASV\r\n")
        sent, _ = control.answer(
            PSH | ACK, ftp.entering(IPV4, port)[0].encode())
        lab.exchange(control.server, sent)
        there, shown = ftp.entering(IPV4, port)
        control.shift += len(shown) - len(there)
        control.server_next += len(there)
    equal(len([row for row in lab.only_of(IPV4) if row[0] == 0]), len(ports))
    lab.burst(ftp.data(control, port).request(SYN)[0] for port in ports)
    eventually(lambda: not [row for row in lab.only_of(IPV4) if row[0] == 0],
               "each has its port")
    shown = {row[1] for row in lab.only_of(IPV4) if row[4] == "SYN_RECV"}
    equal(shown >= set(ports), True, "data connections")
    with Settings(lab.director).but(expire_nodest_conn=1):
        lab.ipvs.admin("--clear")
        eventually(lambda: not lab.ipvs.connections(), "all gone")
    forget(lab)


@test("the module is in use while there are control connections, and goes after "
      "them; ports that can't be registered are refused")
def unloaded(lab):
    for ip in FAMILIES:
        lab.control(ip)
    equal("in use" in refused("rmmod", "ip_vs_ftp"), True)
    with Settings(lab.director).but(expire_nodest_conn=1):
        lab.ipvs.admin("--clear")
        eventually(lambda: not lab.ipvs.connections(), "all gone")
        eventually(lambda: not any(app[2] for app in ftp.apps(lab.director)),
                   "no uses")
    run("rmmod", "ip_vs_ftp")
    equal(ftp.apps(lab.director), [])
    # EEXIST would mean that it is loaded: the kernel makes EBUSY of it.
    equal(refused_load("ports=21,22,21"), "EBUSY")
    equal(refused_load("ports=1,2,3,4,5,6,7,8,9"), "EINVAL")
    equal("ip_vs_ftp" in loaded(), False)
    ftp.load("ports=0,990")
    equal(ftp.apps(lab.director), [("TCP", 990, 0, "ftp")])
    run("rmmod", "ip_vs_ftp")
    ftp.load()
    equal(ftp.apps(lab.director), [("TCP", 21, 0, "ftp")])


@test("connections that are left may go with their namespace")
def left(lab):
    forget(lab)
    for ip in FAMILIES:
        control = lab.control(ip)
        control.passive(40060)
        control.passive(40061)
        ftp.data(control, 40061).open()
        control.active(lab.port())
    eventually(lambda: len(lab.ipvs.connections()) == 8, "8 connections")


def refused(*argv):
    """What a command says that must fail."""
    try:
        run(*argv)
    except AssertionError as error:
        return str(error)
    raise AssertionError(f"{argv} succeeded")


def refused_load(parameters):
    """The errno's name of loading with these parameters, which must fail."""
    try:
        insert(ftp.path(), parameters.encode())
    except OSError as error:
        return error_name(error.errno)
    raise AssertionError(f"loaded with {parameters}")


if __name__ == "__main__":
    main(FtpLab)
