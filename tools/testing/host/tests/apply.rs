// SPDX-License-Identifier: GPL-2.0

//! Connections and templates that another director has told of.

use super::{
    packet::*,
    world::*, //
};
use crate::{
    conn::Conn,
    family::V4,
    sync::apply::apply, //
};
use ipvs_core::{
    flow::Flow,
    net::{
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_NOOUTPUT,
        CONN_F_NO_CPORT,
        CONN_F_SYNC,
        CONN_F_TEMPLATE,
        FWD_DROUTE,
        FWD_LOCALNODE,
        FWD_MASQ,
        FWD_TUNNEL, //
    },
    sync::{
        Entry,
        PeEntry,
        Received, //
    },
};
use kernel::memory;
use linux::{
    events::Event,
    netfilter::HookNum,
    rcu,
    skb::{
        Conntrack,
        Packet, //
    },
};
use std::net::{
    IpAddr,
    SocketAddr, //
};

const ESTABLISHED: u16 = 1;
const FIN_WAIT: u16 = 4;
const TIME_WAIT: u16 = 5;
const INIT_OF_SCTP: u16 = 1;

const METHODS: [Method; 4] = [Method::Nat, Method::Direct, Method::Tunnel, Method::Local];

fn flags_of(method: Method) -> u32 {
    match method {
        Method::Nat => FWD_MASQ,
        Method::Direct => FWD_DROUTE | CONN_F_NOOUTPUT,
        Method::Tunnel => FWD_TUNNEL | CONN_F_NOOUTPUT,
        Method::Local => FWD_LOCALNODE | CONN_F_NOOUTPUT,
    }
}

/// An entry of a datagram.
#[derive(Clone, Copy)]
pub(super) struct Told {
    protocol: u8,
    client: SocketAddr,
    virt: SocketAddr,
    server: SocketAddr,
    flags: u32,
    state: u16,
    fwmark: u32,
    timeout: u32,
    pe: Option<(&'static str, &'static str)>,
}

impl Told {
    pub(super) fn conn(ip: Ip, protocol: u8, method: Method) -> Self {
        Self {
            protocol,
            client: ip.client(1),
            virt: ip.vip(),
            server: ip.server(1),
            flags: flags_of(method),
            state: if protocol == UDP { 0 } else { ESTABLISHED },
            fwmark: 0,
            timeout: 500,
            pe: None,
        }
    }

    fn template(ip: Ip, protocol: u8) -> Self {
        Self {
            client: (ip.client(1).ip(), 0).into(),
            state: 0,
            ..Self::conn(ip, protocol, Method::Nat)
        }
        .with(CONN_F_TEMPLATE)
    }

    pub(super) fn of_service(self, virt: SocketAddr) -> Self {
        Self { virt, ..self }
    }

    fn with(self, flags: u32) -> Self {
        Self {
            flags: self.flags | flags,
            ..self
        }
    }

    pub(super) fn to(self, server: SocketAddr) -> Self {
        Self { server, ..self }
    }

    fn in_state(self, state: u16) -> Self {
        Self { state, ..self }
    }

    fn lasting(self, timeout: u32) -> Self {
        Self { timeout, ..self }
    }

    fn entry<A>(&self, addr: impl Fn(IpAddr) -> A) -> Entry<'static, A> {
        Entry {
            protocol: self.protocol,
            caddr: addr(self.client.ip()),
            vaddr: addr(self.virt.ip()),
            daddr: addr(self.server.ip()),
            cport: Be16::new(self.client.port()),
            vport: Be16::new(self.virt.port()),
            dport: Be16::new(self.server.port()),
            flags: self.flags | CONN_F_SYNC,
            state: self.state,
            fwmark: self.fwmark,
            timeout: self.timeout,
            seqs: None,
            pe: self.pe.map(|(name, data)| PeEntry {
                name: name.as_bytes(),
                data: data.as_bytes(),
            }),
        }
    }

    pub(super) fn tell(&self, world: &World) {
        let v4 = |addr| match addr {
            IpAddr::V4(addr) => Be32::from_bytes(addr.octets()),
            IpAddr::V6(_) => panic!("not of IPv4"),
        };
        let v6 = |addr| match addr {
            IpAddr::V6(addr) => Be128::from_bytes(addr.octets()),
            IpAddr::V4(_) => panic!("not of IPv6"),
        };
        let received = match self.server.is_ipv4() {
            true => Received::V4(self.entry(v4)),
            false => Received::V6(self.entry(v6)),
        };
        prepare(world);
        world.netns(|netns| apply(&netns, &received, 3));
    }
}

/// Makes what a backup makes when it is started.
fn prepare(world: &World) {
    world.netns(|netns| {
        netns.v4.prepare(true).unwrap();
        netns.v6.prepare(true).unwrap();
    });
}

/// A packet of a client in the middle of a connection.
fn later(client: SocketAddr, to: SocketAddr, protocol: u8) -> Vec<u8> {
    match protocol {
        TCP => tcp(client, to, ACK),
        UDP => udp(client, to, b"request"),
        _ => sctp(client, to, &[0, 3, 0, 8, 1, 2, 3, 4]),
    }
}

/// The lines of /proc/net/ip_vs_conn_sync, in words.
fn synced(world: &World) -> Vec<Vec<String>> {
    let text = world.net.read_file(c"ip_vs_conn_sync").unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines().skip(1).map(words).collect()
}

/// The state, origin and remaining seconds of the only one.
#[track_caller]
fn only(world: &World) -> (String, String, u32) {
    let lines = synced(world);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let word = |at: usize| lines[0][at].clone();
    (word(7), word(8), word(9).parse().unwrap())
}

/// A host with a service, and without servers.
fn world_with(ip: Ip, protocol: u8) -> (World, Service) {
    let world = World::new();
    let service = Service::new(ip, protocol);
    world.add(&service, &[]);
    (world, service)
}

/// Checks that a packet of the client gets to the server by `method`.
#[track_caller]
fn assert_forwarded(world: &World, ip: Ip, protocol: u8, method: Method, server: SocketAddr) {
    let fate = world.request(later(ip.client(1), ip.vip(), protocol));
    match method {
        Method::Nat => {
            let sent = fate.sent();
            assert_sound(&sent.bytes);
            assert_eq!(parts(&sent.bytes).dst, server);
        }
        Method::Direct => assert_eq!(parts(&fate.sent().bytes).dst, ip.vip()),
        Method::Tunnel => assert_eq!(parts(&fate.tunnelled().bytes).dst.ip(), server.ip()),
        Method::Local => assert_eq!(parts(&fate.accepted().bytes).dst, ip.vip()),
    }
}

#[test]
fn a_connection_that_is_told_goes_on_at_its_server() {
    for ip in BOTH {
        for protocol in [TCP, UDP, SCTP] {
            for method in METHODS {
                let (world, service) = world_with(ip, protocol);
                let servers = [1, 2].map(|number| Server::new(ip.server(number), method));
                for server in &servers {
                    ok(world.add_server(&service, server));
                }
                let state = if protocol == SCTP { 8 } else { ESTABLISHED };
                let state = if protocol == UDP { 0 } else { state };
                // The server says by which method, not the other director.
                Told::conn(ip, protocol, Method::Nat)
                    .to(servers[1].at)
                    .in_state(state)
                    .tell(&world);
                let name = if protocol == UDP {
                    "UDP"
                } else {
                    "ESTABLISHED"
                };
                assert_eq!(only(&world), (name.into(), "SYNC".into(), 500));
                assert_eq!(world.load_of(&service, &servers[1]), (1, 0, 0));
                assert_eq!(world.load_of(&service, &servers[0]), (0, 0, 0));
                assert_forwarded(&world, ip, protocol, method, servers[1].at);
                let counters = world.counters(&service);
                assert_eq!((counters.conns, counters.inpkts), (0, 1));
                assert_eq!(world.conns().len(), 1);
                world.wait(1000);
                assert!(world.conns().is_empty());
                assert_eq!(world.load_of(&service, &servers[1]), (0, 0, 0));
            }
        }
    }
}

#[test]
fn a_connection_to_an_unknown_server_goes_on_and_counts_nowhere() {
    for ip in BOTH {
        for method in METHODS {
            let (world, service) = world_with(ip, TCP);
            let other = Server::new(ip.server(2), Method::Nat);
            ok(world.add_server(&service, &other));
            Told::conn(ip, TCP, method).tell(&world);
            assert_eq!(only(&world), ("ESTABLISHED".into(), "SYNC".into(), 500));
            assert_eq!(world.load_of(&service, &other), (0, 0, 0));
            if method == Method::Tunnel {
                // As in C, which does not know the tunnel.
                world
                    .request(later(ip.client(1), ip.vip(), TCP))
                    .assert_gone();
            } else {
                assert_forwarded(&world, ip, TCP, method, ip.server(1));
            }
            assert_eq!(world.counters(&service).inpkts, 0);
            // The packet has begun the time anew.
            assert_eq!(only(&world).2, 900);
            world.wait(901);
            assert!(world.conns().is_empty());
        }
    }
}

#[test]
fn answers_of_an_unknown_server_are_translated() {
    for ip in BOTH {
        let (world, _) = world_with(ip, TCP);
        Told::conn(ip, TCP, Method::Nat).tell(&world);
        let answer = world.forward(tcp(ip.server(1), ip.client(1), ACK));
        let bytes = answer.accepted().bytes;
        assert_sound(&bytes);
        assert_eq!(parts(&bytes).src, ip.vip());
    }
}

#[test]
fn a_connection_is_bound_when_it_is_told_again_and_its_server_is_there() {
    for ip in BOTH {
        for told in METHODS {
            for method in METHODS {
                let (world, service) = world_with(ip, TCP);
                let told = Told::conn(ip, TCP, told);
                told.tell(&world);
                let server = Server::new(ip.server(1), method);
                ok(world.add_server(&service, &server));
                assert_eq!(world.load_of(&service, &server), (0, 0, 0));
                told.lasting(600).tell(&world);
                assert_eq!(only(&world), ("ESTABLISHED".into(), "SYNC".into(), 600));
                assert_eq!(world.load_of(&service, &server), (1, 0, 0));
                assert_forwarded(&world, ip, TCP, method, server.at);
                assert_eq!(world.counters(&service).inpkts, 1);
                world.wait(1);
                assert_eq!(world.netns(|netns| netns.conn_quota.taken()), 1);
                told.with(CONN_F_INACTIVE).in_state(FIN_WAIT).tell(&world);
                assert_eq!(world.load_of(&service, &server), (0, 1, 0));
                assert_eq!(only(&world).0, "FIN_WAIT");
                world.wait(501);
                assert_eq!(world.load_of(&service, &server), (0, 0, 0));
            }
        }
    }
}

#[test]
fn a_connection_of_this_director_stays_its_own() {
    for ip in BOTH {
        let (world, service) = world_with(ip, TCP);
        let server = Server::new(ip.server(1), Method::Nat);
        ok(world.add_server(&service, &server));
        world.request(tcp(ip.client(1), ip.vip(), SYN)).sent();
        assert_eq!(only(&world), ("SYN_RECV".into(), "LOCAL".into(), 60));
        Told::conn(ip, TCP, Method::Nat).tell(&world);
        assert_eq!(only(&world), ("ESTABLISHED".into(), "LOCAL".into(), 500));
        assert_eq!(world.load_of(&service, &server), (1, 0, 0));
    }
}

#[test]
fn a_connection_to_another_server_replaces_the_old_one() {
    for ip in BOTH {
        let (world, service) = world_with(ip, TCP);
        let [old, new] = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        ok(world.add_server(&service, &old));
        ok(world.add_server(&service, &new));
        let told = Told::conn(ip, TCP, Method::Nat);
        told.tell(&world);
        told.to(new.at).tell(&world);
        assert_eq!(synced(&world).len(), 1);
        world.wait(1);
        assert_eq!(world.load_of(&service, &old), (0, 0, 0));
        assert_eq!(world.load_of(&service, &new), (1, 0, 0));
        assert_forwarded(&world, ip, TCP, Method::Nat, new.at);
        // The end of the old one.
        told.with(CONN_F_INACTIVE).in_state(TIME_WAIT).tell(&world);
        assert_eq!(only(&world).0, "ESTABLISHED");
        assert_eq!(world.load_of(&service, &new), (1, 0, 0));
        // To one that is not known.
        told.to(ip.server(3)).tell(&world);
        world.wait(1);
        assert_eq!(world.load_of(&service, &new), (0, 0, 0));
        assert_forwarded(&world, ip, TCP, Method::Nat, ip.server(3));
    }
}

#[test]
fn without_a_timeout_that_of_the_state_holds() {
    let ip = Ip::V4;
    let cases = [
        (TCP, ESTABLISHED, 900),
        (TCP, FIN_WAIT, 120),
        (UDP, 0, 300),
        (SCTP, INIT_OF_SCTP, 4),
    ];
    for (protocol, state, seconds) in cases {
        let (world, _) = world_with(ip, protocol);
        let told = Told::conn(ip, protocol, Method::Nat);
        told.in_state(state).lasting(0).tell(&world);
        assert_eq!(only(&world).2, seconds);
    }
    let (world, _) = world_with(ip, TCP);
    Told::template(ip, TCP).lasting(0).tell(&world);
    assert_eq!(only(&world).2, 180);
}

#[test]
fn the_longest_timeout_is_a_long_one() {
    for told in [
        Told::conn(Ip::V4, TCP, Method::Nat),
        Told::template(Ip::V4, TCP),
    ] {
        let (world, _) = world_with(Ip::V4, TCP);
        told.lasting(u32::MAX).tell(&world);
        assert_eq!(only(&world).2, u32::MAX / linux::jiffies::HZ);
        told.lasting(1).tell(&world);
        world.wait(2);
        assert!(synced(&world).is_empty());
    }
}

#[test]
fn a_packet_that_steps_the_state_ends_the_time_that_was_told() {
    let (world, service) = world_with(Ip::V4, TCP);
    ok(world.add_server(&service, &Server::new(Ip::V4.server(1), Method::Nat)));
    Told::conn(Ip::V4, TCP, Method::Nat)
        .lasting(50)
        .tell(&world);
    world.wait(49);
    assert_eq!(only(&world).2, 1);
    world
        .request(tcp(Ip::V4.client(1), Ip::V4.vip(), ACK))
        .sent();
    assert_eq!(only(&world).2, 900);
}

#[test]
fn a_told_connection_counts_for_the_thresholds_of_its_server() {
    for ip in BOTH {
        let (world, service) = world_with(ip, TCP);
        let full = Server::new(ip.server(1), Method::Nat).thresholds(1, 1);
        let other = Server::new(ip.server(2), Method::Nat);
        ok(world.add_server(&service, &full));
        ok(world.add_server(&service, &other));
        let told = Told::conn(ip, TCP, Method::Nat);
        told.tell(&world);
        for number in 2..6 {
            let sent = world.request(tcp(ip.client(number), ip.vip(), SYN)).sent();
            assert_eq!(parts(&sent.bytes).dst, other.at);
        }
        told.lasting(1).tell(&world);
        world.wait(2);
        let went = [6, 7].map(|number| {
            let sent = world.request(tcp(ip.client(number), ip.vip(), SYN)).sent();
            parts(&sent.bytes).dst
        });
        assert!(went.contains(&full.at));
    }
}

#[test]
fn a_server_is_found_by_the_mark_of_its_service() {
    for ip in BOTH {
        for method in [Method::Nat, Method::Direct] {
            let world = World::new();
            let service = Service::new(ip, TCP).fwmark(7);
            let any_port: SocketAddr = (ip.server(1).ip(), 0).into();
            let at = [any_port, ip.server(1)];
            world.add(&service, &[]);
            for at in at {
                ok(world.add_server(&service, &Server::new(at, method)));
            }
            let told = Told {
                fwmark: 7,
                ..Told::conn(ip, TCP, method)
            };
            told.tell(&world);
            // With NAT that of the port comes first, otherwise that of all ports.
            let wanted = match method {
                Method::Nat => ip.server(1),
                _ => any_port,
            };
            for (at, load) in world.loads(&service) {
                assert_eq!(load.0, u32::from(at == wanted), "{at}");
            }
            // The other one, if that is the only one.
            drop(world);
            let world = World::new();
            let rest = at.into_iter().find(|&at| at != wanted).unwrap();
            let rest = Server::new(rest, method);
            world.add(&service, &[rest]);
            told.tell(&world);
            assert_eq!(world.load_of(&service, &rest), (1, 0, 0));
        }
    }
}

#[test]
fn a_client_stays_with_the_server_of_a_told_template() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).persistent(300);
        let servers = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        world.add(&service, &servers);
        for (number, server) in [(1, 1), (2, 1), (3, 1)] {
            let told = Told {
                client: (ip.client(number).ip(), 0).into(),
                ..Told::template(ip, UDP).to(ip.server(server))
            };
            // That of a network of one address.
            told.in_state(1).tell(&world);
        }
        assert_eq!(world.load_of(&service, &servers[0]), (0, 0, 3));
        assert!(synced(&world)
            .iter()
            .all(|line| line[7..9] == ["ASSURED", "SYNC"]));
        for number in [1, 2, 3] {
            let request = udp(ip.client(number), ip.vip(), b"request");
            let sent = world.request(request).sent();
            assert_eq!(parts(&sent.bytes).dst, servers[0].at);
        }
        assert_eq!(world.load_of(&service, &servers[0]), (0, 3, 3));
        // Its time is the one that was told, and it waits for its connections.
        world.wait(299);
        assert_eq!(synced(&world).len(), 6);
        world.wait(202);
        assert!(synced(&world).is_empty(), "{:?}", synced(&world));
        assert_eq!(world.load_of(&service, &servers[0]), (0, 0, 0));
    }
}

#[test]
fn a_template_without_its_server_makes_no_connection_and_is_bound_later() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).persistent(300);
        let [known, unknown] = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        world.add(&service, &[known]);
        let told = |number: u8| Told {
            client: (ip.client(number).ip(), 0).into(),
            ..Told::template(ip, UDP).to(unknown.at)
        };
        told(1).tell(&world);
        told(2).tell(&world);
        told(1).in_state(1).tell(&world);
        assert_eq!(synced(&world).len(), 2);
        let ask = |number: u8| {
            let request = udp(ip.client(number), ip.vip(), b"request");
            parts(&world.request(request).sent().bytes).dst
        };
        // It is of no use from then on.
        assert_eq!(ask(2), known.at);
        assert_eq!(world.load_of(&service, &known), (0, 1, 1));
        ok(world.add_server(&service, &unknown));
        told(1).tell(&world);
        assert_eq!(world.load_of(&service, &unknown), (0, 0, 1));
        world.wait(1);
        assert_eq!(world.netns(|netns| netns.conn_quota.taken()), 4);
        for _ in 0..3 {
            assert_eq!(ask(1), unknown.at);
        }
        // The client has got another server meanwhile, and stays there.
        told(2).tell(&world);
        assert_eq!(world.load_of(&service, &unknown), (0, 1, 1));
        assert_eq!(ask(2), known.at);
        world.wait(1000);
        assert!(synced(&world).is_empty());
        assert_eq!(world.load_of(&service, &unknown), (0, 0, 0));
    }
}

#[test]
fn a_dialogue_goes_on_at_the_server_that_was_told() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).persistent(300).pe("sip");
        let servers = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        world.add(&service, &servers);
        for (pe, is_kept) in [(("sip", "one"), true), (("none", "two"), false)] {
            let told = Told {
                pe: Some(pe),
                ..Told::template(ip, UDP).to(servers[1].at)
            };
            told.tell(&world);
            told.tell(&world);
            assert_eq!(synced(&world).len(), 1, "{is_kept}");
        }
        assert!(world.conns()[0].ends_with(" sip one"));
        for port in 1001..1005 {
            let mut client = ip.client(1);
            client.set_port(port);
            let text = b"INVITE sip:a@b SIP/2.0\r\nCall-ID: one\r\n\r\n";
            let sent = world.request(udp(client, ip.vip(), text)).sent();
            assert_eq!(parts(&sent.bytes).dst, servers[1].at);
        }
        assert_eq!(world.load_of(&service, &servers[1]), (0, 4, 1));
    }
}

#[test]
fn a_dialogue_without_its_server_is_bound_later() {
    let ip = Ip::V4;
    let world = World::new();
    let service = Service::new(ip, UDP).persistent(300).pe("sip");
    let server = Server::new(ip.server(1), Method::Nat);
    world.add(&service, &[]);
    let told = Told {
        pe: Some(("sip", "one")),
        ..Told::template(ip, UDP)
    };
    told.tell(&world);
    ok(world.add_server(&service, &server));
    told.tell(&world);
    world.wait(1);
    assert_eq!(synced(&world).len(), 1);
    assert_eq!(world.load_of(&service, &server), (0, 0, 1));
}

#[test]
fn what_belongs_to_no_service_changes_nothing() {
    for ip in BOTH {
        let (world, service) = world_with(ip, TCP);
        let server = Server::new(ip.server(1), Method::Nat);
        ok(world.add_server(&service, &server));
        for protocol in [50, 51, 0, 255] {
            Told::conn(ip, protocol, Method::Nat).tell(&world);
        }
        // One that waits for the port that it says can't be found.
        Told::conn(ip, TCP, Method::Nat)
            .with(CONN_F_NO_CPORT)
            .tell(&world);
        assert!(synced(&world).is_empty());
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn the_first_packet_says_the_port_that_was_not_told() {
    for ip in BOTH {
        for is_known in [true, false] {
            let (world, service) = world_with(ip, TCP);
            let server = Server::new(ip.server(1), Method::Nat);
            if is_known {
                ok(world.add_server(&service, &server));
            }
            let load = |load: Load| if is_known { load } else { (0, 0, 0) };
            let loaded = |wanted: Load| {
                if is_known {
                    assert_eq!(world.load_of(&service, &server), load(wanted));
                }
            };
            let told = Told {
                client: (ip.client(1).ip(), 0).into(),
                ..Told::conn(ip, TCP, Method::Nat).with(CONN_F_NO_CPORT)
            };
            told.tell(&world);
            told.tell(&world);
            assert_eq!(synced(&world).len(), 1);
            loaded((1, 0, 0));
            // With the port told, as long as no packet has said it.
            Told::conn(ip, TCP, Method::Nat)
                .with(CONN_F_INACTIVE)
                .in_state(FIN_WAIT)
                .tell(&world);
            assert_eq!(only(&world).0, "FIN_WAIT");
            loaded((0, 1, 0));
            Told::conn(ip, TCP, Method::Nat).tell(&world);
            loaded((1, 0, 0));
            assert_forwarded(&world, ip, TCP, Method::Nat, server.at);
            assert_eq!(only(&world), ("ESTABLISHED".into(), "SYNC".into(), 900));
            assert!(synced(&world)[0].contains(&format!("{:04X}", ip.client(1).port())));
            world.wait(1);
            loaded((1, 0, 0));
            let waits = |netns: core::pin::Pin<&crate::netns::Netns>| match ip {
                Ip::V4 => netns.v4.conns.owner().has_no_cport(),
                Ip::V6 => netns.v6.conns.owner().has_no_cport(),
            };
            assert!(!world.netns(waits));
        }
    }
}

#[test]
fn a_connection_that_waits_for_its_port_is_bound_without_it() {
    let ip = Ip::V4;
    let (world, service) = world_with(ip, TCP);
    let told = Told {
        client: (ip.client(1).ip(), 0).into(),
        ..Told::conn(ip, TCP, Method::Nat).with(CONN_F_NO_CPORT)
    };
    told.tell(&world);
    let server = Server::new(ip.server(1), Method::Nat);
    ok(world.add_server(&service, &server));
    Told::conn(ip, TCP, Method::Nat).tell(&world);
    world.wait(1);
    assert_eq!(synced(&world).len(), 1);
    assert_eq!(world.load_of(&service, &server), (1, 0, 0));
    assert_forwarded(&world, ip, TCP, Method::Nat, server.at);
    world.wait(1);
    assert_eq!(world.netns(|netns| netns.conn_quota.taken()), 1);
}

#[test]
fn no_more_are_kept_than_conn_max_allows() {
    for ip in BOTH {
        let (world, service) = world_with(ip, TCP);
        world.set(c"conn_max", "2");
        let told = |number: u8| Told {
            client: ip.client(number),
            ..Told::conn(ip, TCP, Method::Nat)
        };
        for number in 1..6 {
            told(number).tell(&world);
            Told::template(ip, UDP).tell(&world);
        }
        assert_eq!(synced(&world).len(), 2);
        // Those that are there can be bound.
        let server = Server::new(ip.server(1), Method::Nat);
        ok(world.add_server(&service, &server));
        told(1).tell(&world);
        told(2).tell(&world);
        world.wait(1);
        told(1).tell(&world);
        assert_eq!(world.load_of(&service, &server), (1, 0, 0));
        assert_eq!(world.netns(|netns| netns.conn_quota.taken()), 2);
    }
}

#[test]
fn each_failure_leaves_nothing_held_and_is_made_up_for() {
    let ip = Ip::V4;
    let pe = Some(("sip", "one"));
    let told = [
        Told::conn(ip, TCP, Method::Nat),
        Told::template(ip, TCP),
        Told {
            pe,
            ..Told::template(ip, TCP)
        },
    ];
    for told in told {
        for is_known in [true, false] {
            let mut has_failed = false;
            for after in 0..10 {
                let (world, service) = world_with(ip, TCP);
                let server = Server::new(ip.server(1), Method::Direct);
                if is_known {
                    ok(world.add_server(&service, &server));
                }
                prepare(&world);
                memory::fail_after(after);
                told.tell(&world);
                let failed = memory::fail_no_more();
                assert_eq!(synced(&world).len(), usize::from(!failed));
                told.tell(&world);
                assert_eq!(synced(&world).len(), 1);
                if !is_known {
                    // It stays as it was, and is bound the next time.
                    ok(world.add_server(&service, &server));
                    memory::fail_after(after);
                    told.lasting(700).tell(&world);
                    memory::fail_no_more();
                    world.wait(1);
                    assert_eq!(synced(&world).len(), 1);
                    told.lasting(700).tell(&world);
                    world.wait(1);
                    assert_eq!(synced(&world).len(), 1);
                }
                let load = world.load_of(&service, &server);
                assert_eq!((load.0 + load.2, load.1), (1, 0));
                linux::printk::take_lines();
                if !failed {
                    break;
                }
                has_failed = true;
            }
            assert!(has_failed);
        }
    }
}

#[test]
fn without_any_service_connections_are_kept_and_end() {
    for ip in BOTH {
        let world = World::new();
        Told::conn(ip, TCP, Method::Nat).tell(&world);
        Told::template(ip, UDP).tell(&world);
        assert_eq!(synced(&world).len(), 2);
        // The service comes later.
        let service = Service::new(ip, TCP);
        world.add(&service, &[]);
        assert_forwarded(&world, ip, TCP, Method::Nat, ip.server(1));
        // The others are there when the module goes.
        Told::conn(ip, SCTP, Method::Direct).tell(&world);
    }
}

#[test]
fn a_thousand_are_bound_in_their_place() {
    for ip in BOTH {
        let (world, service) = world_with(ip, TCP);
        let told = |port: u16| Told {
            client: (ip.client(1).ip(), port).into(),
            ..Told::conn(ip, TCP, Method::Direct)
        };
        let ports = 1000..2000;
        ports.clone().for_each(|port| told(port).tell(&world));
        assert_eq!(synced(&world).len(), 1000);
        let server = Server::new(ip.server(1), Method::Nat);
        ok(world.add_server(&service, &server));
        for port in ports {
            told(port).tell(&world);
            let client = (ip.client(1).ip(), port).into();
            let sent = world.request(tcp(client, ip.vip(), ACK)).sent();
            assert_eq!(parts(&sent.bytes).dst, server.at);
        }
        assert_eq!(world.load_of(&service, &server), (1000, 0, 0));
        world.wait(3);
        assert_eq!(synced(&world).len(), 1000);
        assert_eq!(world.netns(|netns| netns.conn_quota.taken()), 1000);
        world.wait(1000);
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn one_that_gets_bound_keeps_its_entry_in_connection_tracking() {
    let ip = Ip::V4;
    let (world, service) = world_with(ip, TCP);
    world.set(c"conntrack", "1");
    let told = Told::conn(ip, TCP, Method::Nat);
    let killed = |world: &World| {
        let events = world.events().into_iter().chain(linux::events::take());
        events
            .filter(|event| matches!(event, Event::Killed(_)))
            .count()
    };
    told.tell(&world);
    ok(world.add_server(&service, &Server::new(ip.server(1), Method::Nat)));
    told.tell(&world);
    world.wait(1);
    assert_eq!(killed(&world), 0);
    // One that is replaced loses it.
    told.to(ip.server(2)).tell(&world);
    world.wait(1);
    assert_eq!(killed(&world), 1);
}

#[test]
fn a_translated_packet_to_this_host_is_dropped_if_it_is_tracked() {
    for ip in BOTH {
        for is_told in [true, false] {
            for conntrack in [Conntrack::New, Conntrack::None] {
                let (world, service) = world_with(ip, TCP);
                let at = (ip.inside(), 8080).into();
                ok(world.add_server(&service, &Server::new(at, Method::Nat)));
                let flags = if is_told {
                    Told::conn(ip, TCP, Method::Nat).to(at).tell(&world);
                    ACK
                } else {
                    SYN
                };
                let bytes = tcp(ip.client(1), ip.vip(), flags);
                let packet = Packet {
                    conntrack,
                    ..world.incoming(bytes, world.outside)
                };
                let fate = world.pass(HookNum::LocalIn, packet);
                if is_told && conntrack != Conntrack::None {
                    fate.assert_gone();
                } else {
                    assert_eq!(parts(&fate.accepted().bytes).dst, at);
                }
            }
        }
    }
}

#[test]
fn connections_without_a_server_do_not_end_with_removed_ones() {
    let ip = Ip::V4;
    let (world, service) = world_with(ip, TCP);
    world.set(c"expire_nodest_conn", "1");
    let server = Server::new(ip.server(2), Method::Nat);
    ok(world.add_server(&service, &server));
    Told::conn(ip, TCP, Method::Nat).tell(&world);
    Told::template(ip, TCP).tell(&world);
    let bound = Told {
        client: ip.client(2),
        ..Told::conn(ip, TCP, Method::Nat).to(server.at)
    };
    bound.tell(&world);
    ok(world.delete_server(&service, &server));
    world.wait(1);
    assert_eq!(synced(&world).len(), 2);
    // One in the trash is not known.
    bound.tell(&world);
    assert_eq!(synced(&world).len(), 3);
    ok(world.add_server(&service, &server));
    assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    bound.tell(&world);
    assert_eq!(world.load_of(&service, &server), (1, 0, 0));
}

#[test]
fn packets_count_from_what_was_told() {
    let ip = Ip::V4;
    let (world, _) = world_with(ip, TCP);
    let packets = |world: &World| {
        let flow = Flow {
            protocol: TCP,
            src: Be32::from_bytes([10, 0, 1, 1]),
            src_port: Be16::new(ip.client(1).port()),
            dst: Be32::from_bytes([10, 0, 0, 1]),
            dst_port: Be16::new(80),
        };
        world.netns(|netns| {
            let hash = flow.hash(&netns.v4.conn_key);
            rcu::read(|rcu| {
                Conn::<V4>::find_request(&netns.v4.conns, hash, rcu, &flow)
                    .unwrap()
                    .packets()
            })
        })
    };
    let told = Told::conn(ip, TCP, Method::Nat);
    told.tell(&world);
    assert_eq!(packets(&world), 3);
    for _ in 0..2 {
        assert_forwarded(&world, ip, TCP, Method::Nat, ip.server(1));
    }
    assert_eq!(packets(&world), 5);
    told.tell(&world);
    assert_eq!(packets(&world), 3);
}

#[test]
fn the_file_says_where_each_is_from() {
    let ip = Ip::V4;
    let (world, service) = world_with(ip, TCP);
    ok(world.add_server(&service, &Server::new(ip.server(1), Method::Nat)));
    Told::conn(ip, TCP, Method::Nat).tell(&world);
    let text = world.net.read_file(c"ip_vs_conn_sync").unwrap();
    assert_eq!(
        text,
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n\
         TCP 0A000101 9C40 0A000001 0050 0A000201 1F90 ESTABLISHED SYNC       500\n"
    );
}
