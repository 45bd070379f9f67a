// SPDX-License-Identifier: GPL-2.0

//! FTP: what is said in control connections is changed, and data connections find their servers.

use super::{
    apply::Told,
    packet::*,
    world::*, //
};
use crate::{
    app::ftp::{
        expected_reply,
        ip_vs_ftp_register,
        ip_vs_ftp_unregister, //
    },
    xt::ip_vs_xt_match, //
};
use kernel::{
    context,
    memory,
    prelude::EEXIST, //
};
use linux::{
    events::Event,
    netfilter::HookNum,
    nf_conntrack::Tuple,
    nf_nat::Mangler,
    skb::{
        Conntrack,
        Packet, //
    },
};
use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc, //
};

const PSH: u8 = 8;

/// A segment with data of its own.
fn segment(src: SocketAddr, dst: SocketAddr, flags: u8, text: &str) -> Vec<u8> {
    segment_at(1, src, dst, flags, text)
}

/// The same with another sequence number.
fn segment_at(seq: u8, src: SocketAddr, dst: SocketAddr, flags: u8, text: &str) -> Vec<u8> {
    let mut segment = [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat();
    segment.extend([0, 0, 0, seq, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    segment.extend(text.as_bytes());
    ip(src.ip(), dst.ip(), TCP, segment)
}

fn with_port(at: SocketAddr, port: u16) -> SocketAddr {
    (at.ip(), port).into()
}

/// A host with FTP's module, a service on port 21, and its only server.
struct Ftp {
    world: World,
    mangler: &'static Mangler,
    ip: Ip,
    vip: SocketAddr,
    server: SocketAddr,
    client: SocketAddr,
}

impl Ftp {
    fn new(ip: Ip) -> Self {
        let world = World::new();
        let mangler = Mangler::leak(&[21, 0, 2121]);
        ip_vs_ftp_register(mangler).unwrap();
        let (vip, server) = (with_port(ip.vip(), 21), with_port(ip.server(1), 21));
        let ftp = Self {
            world,
            mangler,
            ip,
            vip,
            server,
            client: ip.client(1),
        };
        ftp.world.add(&ftp.service(), &[ftp.only()]);
        ftp
    }

    fn service(&self) -> Service {
        Service::new(self.ip, TCP).at(self.vip)
    }

    /// The service's only server.
    fn only(&self) -> Server {
        Server::new(self.server, Method::Nat)
    }

    /// Passes a segment of the client.
    fn request(&self, src: SocketAddr, dst: SocketAddr, flags: u8, text: &str) -> Fate {
        let bytes = segment(src, dst, flags, text);
        let packet = self.world.incoming(bytes, self.world.outside);
        self.world.pass(HookNum::LocalIn, tracked(packet))
    }

    /// Passes a segment of the server.
    fn answer(&self, src: SocketAddr, dst: SocketAddr, flags: u8, text: &str) -> Fate {
        let bytes = segment(src, dst, flags, text);
        let packet = self.world.incoming(bytes, self.world.inside);
        self.world.pass(HookNum::Forward, tracked(packet))
    }

    fn open(&self) {
        self.request(self.client, self.vip, SYN, "").sent();
        self.answer(self.server, self.client, SYN | ACK, "")
            .accepted();
        self.request(self.client, self.vip, ACK, "").sent();
    }

    fn command(&self, text: &str) -> Fate {
        self.request(self.client, self.vip, PSH | ACK, text)
    }

    fn reply(&self, text: &str) -> Fate {
        self.answer(self.server, self.client, PSH | ACK, text)
    }

    /// Passes a server's reply, and returns what the client gets of it.
    #[track_caller]
    fn told(&self, text: &str) -> String {
        let packet = self.reply(text).accepted();
        assert_sound(&packet.bytes);
        let seen = parts(&packet.bytes);
        assert_eq!((seen.src, seen.dst), (self.vip, self.client));
        String::from_utf8(seen.payload[20..].to_vec()).unwrap()
    }

    /// Passes the server's answer to who has asked for a port.
    fn announce(&self, port: u16) {
        let (high, low) = (port >> 8, port & 255);
        self.reply(&match self.ip {
            Ip::V4 => format!("227 Here (10,0,2,1,{high},{low}).\r\n"),
            Ip::V6 => format!("229 Here (|||{port}|)\r\n"),
        })
        .accepted();
    }

    /// Asks for a port of the server's.
    fn ask(&self) {
        self.command(match self.ip {
            Ip::V4 => "PASV\r\n",
            Ip::V6 => "EPSV 2\r\n",
        })
        .sent();
    }

    /// Asks for a port of the server's, and is told one.
    #[track_caller]
    fn passive(&self, port: u16) {
        self.ask();
        match self.ip {
            Ip::V4 => {
                let [high, low] = port.to_be_bytes();
                let text = |addr: &str| format!("227 Here ({addr},{high},{low}).\r\n");
                assert_eq!(self.told(&text("10,0,2,1")), text("10,0,0,1"));
            }
            Ip::V6 => {
                let text = format!("229 Here (|2|fd00:0:0:2::1|{port}|)\r\n");
                assert_eq!(self.told(&text), format!("229 Here (|||{port}|)\r\n"));
            }
        }
    }

    /// The ports and states of connections other than the control connection: of the client, the
    /// service and the server.
    fn data(&self) -> Vec<(u16, u16, u16, String)> {
        let port = |word: &str| u16::from_str_radix(word, 16).unwrap();
        let lines = self.world.conns();
        let rows = lines.iter().map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let ports = (port(words[2]), port(words[4]), port(words[6]));
            (ports.0, ports.1, ports.2, words[7].to_owned())
        });
        let mut rows: Vec<_> = rows.filter(|row| row.1 != 21).collect();
        rows.sort();
        rows
    }

    fn apps(&self) -> String {
        self.world.net.read_file(c"ip_vs_app").unwrap()
    }
}

impl Drop for Ftp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.world.unload();
            ip_vs_ftp_unregister(self.mangler);
        }
    }
}

/// The packet with the reply that its entry expects.
fn tracked(packet: Packet) -> Packet {
    let seen = parts(&packet.bytes);
    let reply = Tuple {
        protocol: TCP,
        src: seen.dst,
        dst: seen.src,
    };
    Packet {
        reply: Some(reply),
        ..packet
    }
}

fn row(cport: u16, vport: u16, dport: u16, state: &str) -> (u16, u16, u16, String) {
    (cport, vport, dport, state.to_owned())
}

#[test]
fn ports_are_listed_with_their_connections_the_last_one_first() {
    let ftp = Ftp::new(Ip::V4);
    let text = |uses| {
        format!(
            "prot port    usecnt name\n\
             TCP  2121    0      ftp              \n\
             TCP  21      {uses}      ftp              \n"
        )
    };
    assert_eq!(ftp.apps(), text(0));
    ftp.open();
    assert_eq!(ftp.apps(), text(1));
    assert_eq!(ftp.mangler.uses(), 1);
}

#[test]
fn a_port_that_is_there_twice_is_refused() {
    let ftp = Ftp::new(Ip::V4);
    ip_vs_ftp_unregister(ftp.mangler);
    for ports in [&[21, 21][..], &[1, 2, 0, 0, 3, 1]] {
        assert_eq!(ip_vs_ftp_register(Mangler::leak(ports)), Err(EEXIST));
    }
    assert_eq!(ftp.apps(), "prot port    usecnt name\n");
    ip_vs_ftp_register(Mangler::leak(&[])).unwrap();
    ip_vs_ftp_register(ftp.mangler).unwrap();
}

#[test]
fn without_the_module_nothing_is_looked_at() {
    let ftp = Ftp::new(Ip::V4);
    ip_vs_ftp_unregister(ftp.mangler);
    ftp.open();
    ftp.command("PASV\r\n").sent();
    let text = "227 Here (10,0,2,1,8,0).\r\n";
    assert_eq!(ftp.told(text), text);
    assert_eq!(ftp.data(), []);
    ip_vs_ftp_register(ftp.mangler).unwrap();
    // It was made before.
    ftp.command("PASV\r\n").sent();
    assert_eq!(ftp.told(text), text);
}

#[test]
fn a_passive_connection_gets_the_port_of_its_first_packet() {
    for ip in BOTH {
        let ftp = Ftp::new(ip);
        ftp.open();
        ftp.passive(2048);
        assert_eq!(ftp.data(), [row(0, 2048, 2048, "LISTEN")]);
        let client = with_port(ftp.client, 3000);
        let (to, server) = (with_port(ftp.vip, 2048), with_port(ftp.server, 2048));
        // What was expected is known before the packet comes to the hook.
        let original = Tuple::new(TCP, (client.ip(), 3000), (to.ip(), 2048));
        let reply = expected_reply(ftp.world.net, &original).unwrap();
        assert_eq!((reply.src, reply.dst), (server, client));
        // What only passes through this host does not count.
        let passing = ftp
            .world
            .incoming(segment(client, to, SYN, ""), ftp.world.outside);
        ftp.world.pass(HookNum::Forward, passing).accepted();
        assert_eq!(ftp.data(), [row(0, 2048, 2048, "LISTEN")]);
        let sent = ftp.request(client, to, SYN, "").sent();
        assert_eq!(parts(&sent.bytes).dst, server);
        // The control connection's port is that which rules with --vportctl see.
        for (port, matches) in [(21, true), (2048, false)] {
            let mut rule = [0; 40];
            rule[36..38].copy_from_slice(&u16::to_be_bytes(port));
            rule[39] = 1 << 6;
            assert_eq!(ip_vs_xt_match(&sent, &rule, ftp.world.net), matches);
        }
        ftp.world.wait(0);
        assert_eq!(ftp.data(), [row(3000, 2048, 2048, "SYN_RECV")]);
        let passed = ftp.answer(server, client, SYN | ACK, "").accepted();
        assert_eq!(parts(&passed.bytes).src, to);
        // The port was for one connection.
        let other = with_port(ftp.client, 3001);
        ftp.request(other, to, SYN, "").accepted();
    }
}

#[test]
fn an_error_about_an_answer_finds_a_connection_that_waits_for_a_port() {
    for ip in BOTH {
        let ftp = Ftp::new(ip);
        ftp.open();
        ftp.passive(2048);
        let client = with_port(ftp.client, 3000);
        let (from, server) = (with_port(ftp.vip, 2048), with_port(ftp.server, 2048));
        let kind = match ip {
            Ip::V4 => (3, 3),
            Ip::V6 => (1, 4),
        };
        let about = |from| {
            let answer = tcp(from, client, SYN | ACK);
            let bytes = icmp(client.ip(), from.ip(), kind, 0, &answer);
            let packet = ftp.world.incoming(bytes, ftp.world.outside);
            ftp.world.pass(HookNum::LocalIn, tracked(packet))
        };
        let sent = about(from).sent();
        assert_sound(&sent.bytes);
        let seen = parts(&sent.bytes);
        assert_eq!((seen.src.ip(), seen.dst.ip()), (client.ip(), server.ip()));
        let embedded = parts(&seen.payload[8..]);
        assert_eq!((embedded.src, embedded.dst), (server, client));
        // An error about another port belongs to no connection, and none has told the client's port.
        about(with_port(ftp.vip, 2049)).accepted();
        assert_eq!(ftp.data(), [row(0, 2048, 2048, "LISTEN")]);
    }
}

#[test]
fn an_active_connection_comes_from_the_port_below_the_service() {
    for ip in BOTH {
        let ftp = Ftp::new(ip);
        ftp.open();
        let client = with_port(ftp.client, 3000);
        ftp.command(&match ip {
            Ip::V4 => "PORT 10,0,1,1,11,184\r\n".to_owned(),
            Ip::V6 => format!("EPRT |2|{}|3000|\r\n", client.ip()),
        })
        .sent();
        assert_eq!(ftp.data(), [row(3000, 20, 20, "LISTEN")]);
        let (from, server) = (with_port(ftp.vip, 20), with_port(ftp.server, 20));
        let original = Tuple::new(TCP, (server.ip(), 20), (client.ip(), 3000));
        let reply = expected_reply(ftp.world.net, &original).unwrap();
        assert_eq!((reply.src, reply.dst), (client, from));
        let passed = ftp.answer(server, client, SYN, "").accepted();
        assert_eq!(parts(&passed.bytes).src, from);
    }
}

#[test]
fn a_reply_that_is_sent_again_is_changed_again() {
    let ftp = Ftp::new(Ip::V4);
    ftp.open();
    ftp.command("PASV\r\n").sent();
    for _ in 0..2 {
        let told = ftp.told("227 Here (10,0,2,1,8,0).\r\n");
        assert_eq!(told, "227 Here (10,0,0,1,8,0).\r\n");
        assert_eq!(ftp.data(), [row(0, 2048, 2048, "LISTEN")]);
    }
    // Until the client wants something else.
    ftp.command("PORT 10,0,1,1,11,184\r\n").sent();
    let text = "227 Here (10,0,2,1,8,0).\r\n";
    assert_eq!(ftp.told(text), text);
}

#[test]
fn each_command_has_one_reply() {
    let ftp = Ftp::new(Ip::V4);
    ftp.open();
    ftp.passive(2048);
    let bytes = segment_at(2, ftp.server, ftp.client, ACK, "227 (10,0,2,1,9,0)\r\n");
    let packet = ftp.world.incoming(bytes, ftp.world.inside);
    let passed = ftp.world.pass(HookNum::Forward, tracked(packet)).accepted();
    assert!(passed.bytes.ends_with(b"227 (10,0,2,1,9,0)\r\n"));
    assert_eq!(ftp.data(), [row(0, 2048, 2048, "LISTEN")]);
    // The reply comes once more after the client has used it.
    let to = with_port(ftp.vip, 2048);
    ftp.request(with_port(ftp.client, 3000), to, SYN, "").sent();
    ftp.world.wait(0);
    let told = ftp.told("227 Here (10,0,2,1,8,0).\r\n");
    assert_eq!(told, "227 Here (10,0,0,1,8,0).\r\n");
    assert_eq!(ftp.data(), [row(3000, 2048, 2048, "SYN_RECV")]);
}

#[test]
fn a_client_with_port_0_miscounts_nothing() {
    for ip in BOTH {
        let ftp = Ftp::new(ip);
        ftp.open();
        ftp.passive(2048);
        let to = with_port(ftp.vip, 2048);
        for port in [0, 3000] {
            ftp.request(with_port(ftp.client, port), to, SYN, "").sent();
        }
        let service = Service::new(ip, TCP).at(ftp.vip);
        let server = Server::new(ftp.server, Method::Nat);
        ftp.world.wait(0);
        // The control connection and the data connection.
        assert_eq!(ftp.world.load_of(&service, &server), (2, 0, 0));
        ftp.world.wait(1000);
        assert_eq!(ftp.world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn a_data_connection_goes_to_the_server_that_has_announced_it_last() {
    let ftp = Ftp::new(Ip::V4);
    let second = with_port(Ip::V4.server(2), 21);
    let service = Service::new(Ip::V4, TCP).at(ftp.vip);
    ok(ftp
        .world
        .add_server(&service, &Server::new(second, Method::Nat)));
    for port in [4000, 4001] {
        let client = with_port(ftp.client, port);
        let first = ftp.request(client, ftp.vip, SYN, "").sent();
        let server = parts(&first.bytes).dst;
        ftp.answer(server, client, SYN | ACK, "").accepted();
        ftp.request(client, ftp.vip, ACK, "PASV\r\n").sent();
        let host = if server == second { 2 } else { 1 };
        let text = format!("227 (10,0,2,{host},8,0)\r\n");
        ftp.answer(server, client, ACK, &text).accepted();
        if port == 4001 {
            let data = with_port(ftp.client, 3000);
            let sent = ftp.request(data, with_port(ftp.vip, 2048), SYN, "").sent();
            assert_eq!(parts(&sent.bytes).dst, with_port(server, 2048));
        }
    }
}

#[test]
fn without_an_entry_a_reply_is_dropped_once() {
    for (conntrack, has_seqadj) in [
        (Conntrack::None, true),
        (Conntrack::Untracked, true),
        (Conntrack::Confirmed, false),
    ] {
        let ftp = Ftp::new(Ip::V4);
        ftp.open();
        ftp.command("PASV\r\n").sent();
        let bytes = segment(ftp.server, ftp.client, ACK, "227 Here (10,0,2,1,08,0).\r\n");
        let packet = Packet {
            conntrack,
            has_seqadj,
            ..ftp.world.incoming(bytes, ftp.world.inside)
        };
        ftp.world
            .pass(HookNum::Forward, packet.clone())
            .assert_gone();
        let passed = ftp.world.pass(HookNum::Forward, packet).accepted();
        assert!(passed.bytes.ends_with(b"227 Here (10,0,2,1,08,0).\r\n"));
    }
}

#[test]
fn a_wrong_checksum_is_not_made_right() {
    let ftp = Ftp::new(Ip::V4);
    ftp.open();
    for text in ["PASV\r\n", "NOOP\r\n"] {
        let mut bytes = segment(ftp.client, ftp.vip, ACK, text);
        bytes[36] ^= 1;
        let packet = ftp.world.incoming(bytes, ftp.world.outside);
        ftp.world
            .pass(HookNum::LocalIn, tracked(packet))
            .assert_gone();
    }
    let text = "227 Here (10,0,2,1,8,0).\r\n";
    assert_eq!(ftp.told(text), text);
}

#[test]
fn a_control_connection_stays_while_it_has_data_connections() {
    for ip in BOTH {
        let ftp = Ftp::new(ip);
        ftp.open();
        ftp.passive(2048);
        ftp.request(ftp.client, ftp.vip, RST, "").sent();
        // It would end after 10 seconds, and the data connection ends after 120.
        ftp.world.wait(119);
        assert_eq!(ftp.world.conns().len(), 2);
        ftp.world.wait(2);
        assert_eq!(ftp.data(), []);
        assert_eq!(ftp.world.conns().len(), 1);
        ftp.world.wait(60);
        assert_eq!(ftp.world.conns().len(), 0);
    }
}

#[test]
fn data_connections_of_a_removed_server_take_the_control_connection_along() {
    let ftp = Ftp::new(Ip::V4);
    ftp.open();
    ftp.passive(2048);
    ftp.passive(2049);
    assert_eq!(ftp.world.conns().len(), 3);
    ftp.world.set(c"expire_nodest_conn", "1");
    let service = Service::new(Ip::V4, TCP).at(ftp.vip);
    let server = Server::new(ftp.server, Method::Nat);
    ok(ftp.world.delete_server(&service, &server));
    ftp.world.wait(1);
    assert_eq!(ftp.world.conns().len(), 0);
    assert_eq!(ftp.mangler.uses(), 0);
}

#[test]
fn what_is_announced_is_expected() {
    let ftp = Ftp::new(Ip::V4);
    ftp.open();
    ftp.world.events();
    ftp.passive(2048);
    let events = ftp.world.events();
    let [Event::Expected(tuple)] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(tuple.src, with_port(ftp.client, 0));
    assert_eq!(tuple.dst, with_port(ftp.vip, 2048));
    let unknown = Tuple::new(TCP, (ftp.client.ip(), 1), (ftp.vip.ip(), 2050));
    assert_eq!(expected_reply(ftp.world.net, &unknown), None);
}

#[test]
fn an_allocation_that_fails_costs_a_packet() {
    let ftp = Ftp::new(Ip::V4);
    let (client, to) = (with_port(ftp.client, 3000), with_port(ftp.vip, 2048));
    let of_client = |src, dst, flags, text: &str| {
        let bytes = segment(src, dst, flags, text);
        (HookNum::LocalIn, bytes, ftp.world.outside)
    };
    let of_server = |flags, text: &str| {
        let bytes = segment(ftp.server, ftp.client, flags, text);
        (HookNum::Forward, bytes, ftp.world.inside)
    };
    let steps = [
        of_client(ftp.client, ftp.vip, SYN, ""),
        of_server(SYN | ACK, ""),
        of_client(ftp.client, ftp.vip, ACK, ""),
        of_client(ftp.client, ftp.vip, ACK, "PORT 10,0,1,1,11,184\r\n"),
        of_client(ftp.client, ftp.vip, ACK, "EPRT !1!10.0.1.1!3001!\r\n"),
        of_client(ftp.client, ftp.vip, ACK, "PASV\r\n"),
        of_server(ACK, "227 Here (10,0,2,1,8,0).\r\n"),
        of_client(client, to, SYN, ""),
    ];
    let mut failures = 0;
    for (hook, bytes, device) in steps {
        for after in 0.. {
            let mut packet = tracked(ftp.world.incoming(bytes.clone(), device));
            (packet.is_cloned, packet.headroom) = (true, 0);
            memory::fail_after(after);
            let fate = ftp.world.pass(hook, packet);
            if !memory::fail_no_more() {
                assert!(
                    matches!(fate, Fate::Sent(_) | Fate::Accepted(_)),
                    "{fate:?}"
                );
                break;
            }
            assert!(matches!(fate, Fate::Dropped | Fate::Gone), "{fate:?}");
            failures += 1;
        }
    }
    assert!(failures > 20, "{failures} only");
    ftp.world.wait(0);
    assert_eq!(
        ftp.data(),
        [
            row(3000, 20, 20, "LISTEN"),
            row(3000, 2048, 2048, "SYN_RECV"),
            row(3001, 20, 20, "LISTEN"),
        ]
    );
}

#[test]
fn a_client_that_names_port_0_waits_for_nobody() {
    let ftp = Ftp::new(Ip::V4);
    ftp.open();
    ftp.command("PORT 10,0,1,1,0,0\r\n").sent();
    assert_eq!(ftp.data(), [row(0, 20, 20, "LISTEN")]);
    let from = with_port(ftp.client, 3000);
    let to = with_port(ftp.vip, 20);
    ftp.request(from, to, SYN, "").accepted();
    assert_eq!(ftp.data(), [row(0, 20, 20, "LISTEN")]);
}

/// With `expire_nodest_conn`. The control connection has been looked at, and so have the places where
/// the table may have the data connection.
#[test]
fn a_control_connection_of_a_removed_server_ends_also_if_a_port_is_announced_meanwhile() {
    for ip in BOTH {
        let mut last = 0;
        // First to see how often the search gives way, then to announce a port at the last time.
        for announces in [false, true] {
            let ftp = Rc::new(Ftp::new(ip));
            ftp.world.set(c"expire_nodest_conn", "1");
            ftp.open();
            ftp.passive(2048);
            ftp.ask();
            ok(ftp.world.delete_server(&ftp.service(), &ftp.only()));
            let (server, times) = (ftp.clone(), Rc::new(Cell::new(0)));
            let seen = times.clone();
            context::set_other_task(Some(Box::new(move || {
                seen.set(seen.get() + 1);
                if announces && seen.get() == last {
                    server.announce(2049);
                }
            })));
            ftp.world.wait(0);
            context::set_other_task(None);
            last = times.get();
            assert_eq!(ftp.data().len(), usize::from(announces));
            ftp.world.wait(1);
            assert_eq!(ftp.world.conns(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_control_connection_that_was_told_has_data_connections_before_its_server_is_known() {
    for ip in BOTH {
        let ftp = Ftp::new(ip);
        let server = with_port(ip.server(9), 21);
        let told = Told::conn(ip, TCP, Method::Nat)
            .of_service(ftp.vip)
            .to(server);
        told.tell(&ftp.world);
        ftp.ask();
        let text = match ip {
            Ip::V4 => "227 Here (10,0,2,9,19,136).\r\n",
            Ip::V6 => "229 Here (|||5000|)\r\n",
        };
        ftp.answer(server, ftp.client, PSH | ACK, text).accepted();
        assert_eq!(ftp.data(), [row(0, 5000, 5000, "LISTEN")]);
        let (from, to) = (with_port(ftp.client, 4000), with_port(ftp.vip, 5000));
        let sent = ftp.request(from, to, SYN, "").sent();
        assert_eq!(parts(&sent.bytes).dst, with_port(server, 5000));

        // It is bound when it has none any more.
        let known = Server::new(server, Method::Nat);
        ok(ftp.world.add_server(&ftp.service(), &known));
        told.tell(&ftp.world);
        assert_eq!(ftp.world.load_of(&ftp.service(), &known), (0, 0, 0));
        assert_eq!(ftp.world.conns().len(), 2);
        ftp.world.wait(200);
        assert!(ftp.data().is_empty(), "{:?}", ftp.data());
        told.tell(&ftp.world);
        ftp.world.wait(1);
        assert_eq!(ftp.world.load_of(&ftp.service(), &known), (1, 0, 0));
        assert_eq!(ftp.world.conns().len(), 1);
        assert!(ftp.apps().contains("TCP  21      1 "), "{}", ftp.apps());
    }
}
