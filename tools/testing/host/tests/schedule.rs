// SPDX-License-Identifier: GPL-2.0

//! Scheduling: the packets that begin a connection, the servers they go to, and the verdict on others.

use super::{
    packet::*,
    world::*, //
};
use crate::{
    conn,
    family::{
        Family,
        V4,
        V6, //
    },
    netns::Netns,
};
use kernel::memory;
use linux::{
    jiffies::HZ,
    netfilter::HookNum,
    printk,
    rcu, //
};

/// A world with a UDP service of so many servers by NAT.
fn world_with(ip: Ip, servers: u8) -> (World, Service, Vec<Server>) {
    let world = World::new();
    let service = Service::new(ip, UDP);
    let servers: Vec<_> = (1..=servers)
        .map(|number| Server::new(ip.server(number), Method::Nat))
        .collect();
    world.add(&service, &servers);
    (world, service, servers)
}

fn request(ip: Ip, client: u8) -> Vec<u8> {
    udp(ip.client(client), ip.vip(), b"request")
}

#[test]
fn what_no_service_is_for_is_left_alone() {
    for ip in BOTH {
        let (world, service, _) = world_with(ip, 1);
        let mut other = ip.vip();
        other.set_port(81);
        for bytes in [
            udp(ip.client(1), other, b"request"),
            tcp(ip.client(1), ip.vip(), SYN),
            bare_ip(ip.client(1).ip(), ip.vip().ip(), 132, vec![0; 32]),
        ] {
            let accepted = world.request(bytes.clone()).accepted();
            assert_eq!(accepted.bytes, bytes);
            assert!(!accepted.ipvs_property);
        }
        assert!(world.conns().is_empty());
        assert_eq!(world.counters(&service).inpkts, 0);
    }
}

#[test]
fn without_a_server_the_client_is_told() {
    for ip in BOTH {
        let (world, service, _) = world_with(ip, 0);
        let unreachable = if ip == Ip::V4 { (3, 3) } else { (1, 4) };
        for weightless in [false, true] {
            if weightless {
                let server = Server::new(ip.server(1), Method::Nat).weight(0);
                ok(world.add_server(&service, &server));
            }
            printk::take_lines();
            world.request(request(ip, 1)).assert_dropped();
            let icmp = world.icmp();
            assert_eq!((icmp.kind, icmp.code), unreachable);
            let lines = printk::take_lines();
            assert!(lines[0].contains("no destination available"), "{lines:?}");
        }
        assert!(world.conns().is_empty());
    }
}

#[test]
fn without_memory_for_a_connection_the_packet_is_dropped() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 1);
        let packet = world.incoming(request(ip, 1), world.outside);
        memory::fail_after(0);
        world.pass(HookNum::LocalIn, packet).assert_dropped();
        assert!(memory::fail_no_more());
        assert!(printk::take_lines()
            .iter()
            .any(|line| line.contains("no memory for a connection")));
        assert_eq!(world.load_of(&service, &servers[0]), (0, 0, 0));
        assert_eq!(world.counters(&service).conns, 0);
        assert!(world.conns().is_empty());
        world.request(request(ip, 1)).sent();
    }
}

#[test]
fn there_are_no_more_connections_than_allowed() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 1);
        world.set(c"conn_max", "2");
        for client in [1, 2] {
            world.request(request(ip, client)).sent();
        }
        world.request(request(ip, 3)).assert_dropped();
        // Those that there are go on.
        world.request(request(ip, 1)).sent();
        assert_eq!(world.load_of(&service, &servers[0]), (0, 2, 0));
        world.wait(301);
        world.request(request(ip, 3)).sent();
    }
}

#[test]
fn a_service_of_single_packets_has_no_connections() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).one_packet();
        let servers = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        world.add(&service, &servers);
        let went: Vec<_> = (0..4)
            .map(|_| parts(&world.request(request(ip, 1)).sent().bytes).dst)
            .collect();
        assert_eq!(went[..2], went[2..]);
        assert_ne!(went[0], went[1]);
        assert!(world.conns().is_empty());
        let counters = world.counters(&service);
        assert_eq!((counters.conns, counters.inpkts), (4, 4));
        assert!(world
            .loads(&service)
            .iter()
            .all(|(_, load)| *load == (0, 0, 0)));
        // The limit counts for them, too.
        world.set(c"conn_max", "0");
        world.request(request(ip, 1)).assert_dropped();
    }
}

#[test]
fn only_a_syn_begins_a_connection() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, TCP);
        world.add(&service, &[Server::new(ip.server(1), Method::Nat)]);
        for flags in [0, ACK, FIN | ACK, RST, RST | SYN] {
            let segment = tcp(ip.client(1), ip.vip(), flags);
            assert_eq!(world.request(segment.clone()).accepted().bytes, segment);
        }
        world.set(c"sloppy_tcp", "1");
        world.request(tcp(ip.client(1), ip.vip(), RST)).accepted();
        assert!(world.conns().is_empty());
        world.request(tcp(ip.client(1), ip.vip(), ACK)).sent();
        world.set(c"sloppy_tcp", "0");
        world.request(tcp(ip.client(2), ip.vip(), SYN)).sent();
        assert_eq!(world.conns().len(), 2);
    }
}

#[test]
fn a_packet_that_is_cut_begins_nothing() {
    for ip in BOTH {
        for protocol in [TCP, UDP] {
            let world = World::new();
            let service = Service::new(ip, protocol);
            world.add(&service, &[Server::new(ip.server(1), Method::Nat)]);
            let whole = world.first(ip.client(1), ip.vip(), protocol);
            let header_len = if protocol == TCP { 20 } else { 8 };
            for len in 0..header_len {
                let payload = parts(&whole).payload[..len].to_vec();
                let cut = bare_ip(ip.client(1).ip(), ip.vip().ip(), protocol, payload);
                world.request(cut.clone()).assert_dropped();
                if len < 4 {
                    world.forward(cut).accepted();
                }
            }
            assert!(world.conns().is_empty());
        }
    }
}

#[test]
fn each_tenth_new_connection_is_dropped_if_so_set() {
    let ip = Ip::V4;
    let (world, service, _) = world_with(ip, 1);
    world.set(c"am_droprate", "10");
    world.set(c"drop_packet", "3");
    let mut dropped = 0;
    for port in 0..100 {
        let mut client = ip.client(1);
        client.set_port(1000 + port);
        if let Fate::Dropped = world.request(udp(client, ip.vip(), b"request")) {
            dropped += 1;
        }
    }
    assert_eq!(dropped, 10);
    assert_eq!(world.counters(&service).conns, 90);
    world.set(c"drop_packet", "0");
}

#[test]
fn a_server_of_weight_0_keeps_what_it_has() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 2);
        let first = parts(&world.request(request(ip, 1)).sent().bytes).dst;
        let server = servers.iter().find(|server| server.at == first).unwrap();
        ok(world.edit_server(&service, &server.weight(0)));
        assert_eq!(
            parts(&world.request(request(ip, 1)).sent().bytes).dst,
            first
        );
        for client in 2..=5 {
            assert_ne!(
                parts(&world.request(request(ip, client)).sent().bytes).dst,
                first
            );
        }
    }
}

#[test]
fn a_connection_waits_for_its_server_to_come_back() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 2);
        let first = parts(&world.request(request(ip, 1)).sent().bytes).dst;
        let server = servers.iter().find(|server| server.at == first).unwrap();
        ok(world.delete_server(&service, server));
        world.request(request(ip, 1)).assert_dropped();
        assert_eq!(world.conns().len(), 1);
        ok(world.add_server(&service, server));
        assert_eq!(
            parts(&world.request(request(ip, 1)).sent().bytes).dst,
            first
        );
        assert_eq!(world.load_of(&service, server), (0, 1, 0));
        assert_eq!(world.counters(&service).conns, 1);
    }
}

#[test]
fn connections_end_with_their_server_if_so_set() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 2);
        world.set(c"expire_nodest_conn", "1");
        let first = parts(&world.request(request(ip, 1)).sent().bytes).dst;
        world.request(request(ip, 2)).sent();
        world.request(request(ip, 3)).sent();
        let server = servers.iter().find(|server| server.at == first).unwrap();
        ok(world.delete_server(&service, server));
        // A packet that comes before the work begins anew with another server.
        let sent = world.request(request(ip, 1)).sent();
        assert_ne!(parts(&sent.bytes).dst, first);
        world.wait(1);
        assert_eq!(
            world.conns().len(),
            2,
            "the one without a packet ended, too"
        );
        assert_eq!(world.counters(&service).conns, 4);
    }
}

#[test]
fn a_server_takes_no_more_than_its_threshold() {
    for ip in BOTH {
        let (world, service, _) = world_with(ip, 0);
        let server = Server::new(ip.server(1), Method::Nat).thresholds(2, 1);
        ok(world.add_server(&service, &server));
        for client in [1, 2] {
            world.request(request(ip, client)).sent();
        }
        world.request(request(ip, 3)).assert_dropped();
        world.wait(301);
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
        world.request(request(ip, 3)).sent();
    }
}

#[test]
fn a_mark_makes_a_service_of_any_address() {
    const MARK: u32 = 7;
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).fwmark(MARK);
        let server = Server::new(ip.server(1), Method::Direct);
        world.add(&service, &[server]);
        let mut packet = world.incoming(request(ip, 1), world.outside);
        world.pass(HookNum::LocalIn, packet.clone()).accepted();
        packet.mark = MARK;
        world.pass(HookNum::LocalIn, packet).sent();
        assert_eq!(world.load_of(&service, &server), (0, 1, 0));
    }
}

#[test]
fn a_cache_without_servers_is_bypassed() {
    const MARK: u32 = 7;
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).fwmark(MARK);
        world.add(&service, &[]);
        let request = udp(ip.client(1), ip.server(5), b"request");
        let mut packet = world.incoming(request.clone(), world.outside);
        packet.mark = MARK;
        world
            .pass(HookNum::LocalIn, packet.clone())
            .assert_dropped();
        world.icmp();
        world.set(c"cache_bypass", "1");
        let sent = world.pass(HookNum::LocalIn, packet).sent();
        let seen = parts(&sent.bytes);
        assert_eq!((seen.dst, seen.ttl), (ip.server(5), TTL - 1));
        assert_eq!(world.conns().len(), 1);
        // What is addressed to this host is not passed on.
        let mut packet = world.incoming(udp(ip.client(1), ip.vip(), b"request"), world.outside);
        packet.mark = MARK;
        if ip == Ip::V4 {
            world.pass(HookNum::LocalIn, packet).assert_dropped();
        }
    }
}

#[test]
fn an_answer_of_a_lost_connection_is_refused_if_so_set() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, TCP);
        let server = Server::new(ip.server(1), Method::Nat);
        world.add(&service, &[server]);
        let lost = |flags| world.forward(tcp(server.at, ip.client(1), flags));
        lost(ACK).accepted();
        world.set(c"nat_icmp_send", "1");
        lost(ACK).assert_dropped();
        assert_eq!(world.icmp().kind, if ip == Ip::V4 { 3 } else { 1 });
        lost(RST).accepted();
        // From somebody who is no server.
        world
            .forward(tcp(ip.server(2), ip.client(1), ACK))
            .accepted();
        assert!(world.events().is_empty());
    }
}

#[test]
fn what_was_in_a_tunnel_is_left_alone_if_so_set() {
    for ip in BOTH {
        let (world, _, _) = world_with(ip, 1);
        let bytes = bare_ip(ip.client(1).ip(), ip.vip().ip(), 4, vec![0; 20]);
        assert!(!world.request(bytes.clone()).accepted().ipvs_property);
        world.set(c"ignore_tunneled", "1");
        assert!(world.request(bytes.clone()).accepted().ipvs_property);
        assert!(!world.forward(bytes).accepted().ipvs_property);
    }
}

#[test]
fn fragments_are_one_packet() {
    let ip = Ip::V4;
    let (world, service, _) = world_with(ip, 1);
    let whole = request(ip, 1);
    let mut fragment = whole.clone();
    fragment[6] = 0x20;
    sum_header(&mut fragment);
    world.request(fragment.clone()).assert_gone();
    assert!(world.conns().is_empty());
    world.net.reassemble(world.incoming(whole, world.outside));
    assert_sound(&world.request(fragment).sent().bytes);
    let counters = world.counters(&service);
    assert_eq!((counters.conns, counters.inpkts), (1, 1));
}

/// The flags of a connection from its beginning to its end, by whom.
const CONVERSATION: [(bool, u8); 5] = [
    (true, SYN),
    (false, SYN | ACK),
    (true, ACK),
    (false, FIN | ACK),
    (true, FIN | ACK),
];

#[test]
fn a_port_that_is_used_again_gets_a_new_connection() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, TCP);
        let servers = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        world.add(&service, &servers);
        let first = parts(&world.request(tcp(ip.client(1), ip.vip(), SYN)).sent().bytes).dst;
        for (from_client, flags) in CONVERSATION {
            if from_client {
                world.request(tcp(ip.client(1), ip.vip(), flags)).sent();
            } else {
                world.forward(tcp(first, ip.client(1), flags)).accepted();
            }
        }
        assert_eq!(world.conn().0, "TIME_WAIT");
        // Conntrack still knows the old one: the client is to ask again.
        let mut packet = world.incoming(tcp(ip.client(1), ip.vip(), SYN), world.outside);
        packet.conntrack = linux::skb::Conntrack::Confirmed;
        world.pass(HookNum::LocalIn, packet).assert_dropped();
        let second = parts(&world.request(tcp(ip.client(1), ip.vip(), SYN)).sent().bytes).dst;
        assert_ne!(first, second);
        world.wait(1);
        assert_eq!(world.conn().0, "SYN_RECV");
        assert_eq!(world.counters(&service).conns, 2);
    }
}

#[test]
fn every_scheduler_knows_what_it_has_given() {
    const SCHEDULERS: [&str; 15] = [
        "rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh",
        "twos", "none",
    ];
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP);
        // More servers than are looked at one by one.
        let server = |number: u16| {
            let mut at = ip.server(1 + (number % 9) as u8);
            at.set_port(1000 + number);
            Server::new(at, Method::Nat).weight(1 + i32::from(number % 3))
        };
        world.add(&service, &[]);
        let mut port = 1000;
        for scheduler in SCHEDULERS {
            ok(world.netns(|netns| netns.edit_service(&service.scheduler(scheduler).spec())));
            let mut went = 0;
            for number in 0..40 {
                ok(world.add_server(&service, &server(number)));
                let mut client = ip.client(1 + (number % 9) as u8);
                client.set_port(port);
                port += 1;
                if let Fate::Sent(_) = world.request(udp(client, ip.vip(), b"request")) {
                    went += 1;
                }
                if number % 5 == 4 {
                    ok(world.edit_server(&service, &server(number - 1).weight(0)));
                    ok(world.edit_server(&service, &server(number - 2).weight(9)));
                }
            }
            match scheduler {
                "none" => assert_eq!(went, 0),
                // These look at one server, whose weight may be 0.
                "dh" | "sh" | "mh" => assert!(went > 20, "{scheduler}: {went}"),
                _ => assert_eq!(went, 40, "{scheduler}"),
            }
            let loads = world.loads(&service);
            let count: u32 = loads.iter().map(|(_, (_, inactive, _))| inactive).sum();
            assert_eq!(count, went, "{scheduler}");
            world.wait(301);
            for number in 0..40 {
                ok(world.delete_server(&service, &server(number)));
            }
        }
    }
}

#[test]
fn a_request_that_comes_back_from_the_host_itself_is_left_alone() {
    for ip in BOTH {
        let (world, _, _) = world_with(ip, 1);
        world.request(request(ip, 1)).sent();
        // By direct routing and local servers, answers of a service look like requests to a client.
        world
            .local_out(udp(ip.vip(), ip.client(1), b"an answer"))
            .accepted();
        assert_eq!(world.conns().len(), 1);
    }
}

/// Ends all connections, each of which a packet has found before, which restarts the timer only now.
/// Returns how many there were.
fn end_while_found<F: Family>(netns: &Netns) -> usize {
    let conns = &netns.state::<F>().conns;
    let mut ended = 0;
    rcu::read(|rcu| {
        let mut found = Vec::new();
        let mut place = 0;
        loop {
            place = conns.scan(rcu, place, |conn| found.push(conn));
            if place == 0 {
                break;
            }
        }
        for conn in found {
            assert!(conn::expire_now(conn, conns.owner(), false));
            conn::restart_timer(conn, 900 * HZ);
            ended += 1;
        }
    });
    ended
}

#[test]
fn a_packet_that_had_found_a_connection_does_not_keep_it_from_ending() {
    for ip in BOTH {
        let (world, _, _) = world_with(ip, 1);
        world.request(request(ip, 1)).sent();
        let count = |netns: &Netns| match ip {
            Ip::V4 => netns.state::<V4>().conns.count(),
            Ip::V6 => netns.state::<V6>().conns.count(),
        };
        let ended = world.netns(|netns| match ip {
            Ip::V4 => end_while_found::<V4>(&netns),
            Ip::V6 => end_while_found::<V6>(&netns),
        });
        assert_eq!(ended, 1);
        assert!(world.conns().is_empty());
        world.wait(1);
        assert_eq!(world.netns(|netns| count(&netns)), 0);
    }
}
