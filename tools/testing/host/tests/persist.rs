// SPDX-License-Identifier: GPL-2.0

//! Persistent services: templates, and the connections that they control.

use super::{
    packet::*,
    world::*, //
};
use kernel::memory;
use linux::{
    jiffies::HZ,
    netfilter::HookNum,
    printk, //
};
use std::net::SocketAddr;

fn world_with(ip: Ip, timeout: u32) -> (World, Service, [Server; 2]) {
    let world = World::new();
    let service = Service::new(ip, UDP).persistent(timeout);
    let servers = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
    world.add(&service, &servers);
    (world, service, servers)
}

/// A request from another port of a client; to which server it went.
fn ask(world: &World, ip: Ip, client: u8, port: u16) -> SocketAddr {
    let mut client = ip.client(client);
    client.set_port(port);
    parts(
        &world
            .request(udp(client, ip.vip(), b"request"))
            .sent()
            .bytes,
    )
    .dst
}

fn templates(world: &World) -> usize {
    let is_template = |line: &&String| line.contains("NONE") || line.contains("ASSURED");
    world.conns().iter().filter(is_template).count()
}

#[test]
fn a_client_stays_with_its_server() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 300);
        let first = ask(&world, ip, 1, 1000);
        let other = ask(&world, ip, 2, 1000);
        assert_ne!(first, other);
        for port in 1001..1010 {
            assert_eq!(ask(&world, ip, 1, port), first);
        }
        let server = servers.iter().find(|server| server.at == first).unwrap();
        assert_eq!(world.load_of(&service, server), (0, 10, 1));
        assert_eq!(templates(&world), 2);
    }
}

#[test]
fn a_template_lasts_as_long_as_its_connections() {
    for ip in BOTH {
        // Less than a connection of UDP lasts.
        let (world, _, _) = world_with(ip, 100);
        let first = ask(&world, ip, 1, 1000);
        world.wait(200);
        assert_eq!((world.conns().len(), templates(&world)), (2, 1));
        assert_eq!(ask(&world, ip, 1, 1000), first);
        world.wait(299);
        assert_eq!((world.conns().len(), templates(&world)), (2, 1));
        world.wait(70);
        assert!(world.conns().is_empty(), "{:?}", world.conns());
    }
}

#[test]
fn a_template_lasts_beyond_its_connections() {
    for ip in BOTH {
        let (world, _, _) = world_with(ip, 1000);
        let first = ask(&world, ip, 1, 1000);
        world.wait(310);
        assert_eq!((world.conns().len(), templates(&world)), (1, 1));
        assert_eq!(ask(&world, ip, 1, 1000), first);
        // The packet has begun its time anew.
        world.wait(990);
        assert_eq!(templates(&world), 1);
        world.wait(11);
        assert!(world.conns().is_empty(), "{:?}", world.conns());
        assert_ne!(ask(&world, ip, 1, 1000), first);
    }
}

#[test]
fn a_packet_before_a_late_timer_keeps_its_template() {
    for ip in BOTH {
        let (world, _, _) = world_with(ip, 1000);
        let first = ask(&world, ip, 1, 1000);
        world.wait(310);
        assert_eq!((world.conns().len(), templates(&world)), (1, 1));
        linux::clock::fall_behind(1000 * HZ as usize);
        assert_eq!(ask(&world, ip, 1, 1001), first);
        world.wait(1);
        assert_eq!((world.conns().len(), templates(&world)), (2, 1));
        // Without its connection it lasts as long as after any packet.
        world.wait(990);
        assert_eq!((world.conns().len(), templates(&world)), (1, 1));
        world.wait(10);
        assert!(world.conns().is_empty(), "{:?}", world.conns());
    }
}

#[test]
fn a_server_of_weight_0_loses_its_clients_if_so_set() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 300);
        let first = ask(&world, ip, 1, 1000);
        let server = servers.iter().find(|server| server.at == first).unwrap();
        ok(world.edit_server(&service, &server.weight(0)));
        assert_eq!(ask(&world, ip, 1, 1001), first);
        world.set(c"expire_quiescent_template", "1");
        assert_ne!(ask(&world, ip, 1, 1002), first);
        // Its connections it keeps.
        assert_eq!(ask(&world, ip, 1, 1000), first);
        // It stays with the new one, although the old one is back.
        ok(world.edit_server(&service, server));
        assert_ne!(ask(&world, ip, 1, 1003), first);
    }
}

#[test]
fn the_clients_of_a_removed_server_go_to_others() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 300);
        let first = ask(&world, ip, 1, 1000);
        let server = servers.iter().find(|server| server.at == first).unwrap();
        ok(world.delete_server(&service, server));
        assert_ne!(ask(&world, ip, 1, 1001), first);
        ok(world.add_server(&service, server));
        assert_ne!(ask(&world, ip, 1, 1002), first);
        // The template of the old server still counts as its own.
        assert_eq!(world.load_of(&service, server), (0, 1, 1));
        world.wait(700);
        assert!(world
            .loads(&service)
            .iter()
            .all(|(_, load)| *load == (0, 0, 0)));
    }
}

#[test]
fn templates_end_with_their_server_if_so_set() {
    for ip in BOTH {
        let (world, service, servers) = world_with(ip, 10_000);
        world.set(c"expire_nodest_conn", "1");
        let first = ask(&world, ip, 1, 1000);
        let server = servers.iter().find(|server| server.at == first).unwrap();
        ok(world.delete_server(&service, server));
        world.wait(1);
        assert!(world.conns().is_empty(), "{:?}", world.conns());
    }
}

#[test]
fn all_ports_of_a_client_go_to_one_server() {
    for ip in BOTH {
        let world = World::new();
        let mut at = ip.vip();
        at.set_port(0);
        let service = Service::new(ip, TCP).at(at).persistent(300);
        let servers = [1, 2].map(|number| {
            let mut at = ip.server(number);
            at.set_port(0);
            Server::new(at, Method::Nat)
        });
        world.add(&service, &servers);
        let mut went = Vec::new();
        for port in [80, 443, 8443] {
            let mut to = ip.vip();
            to.set_port(port);
            let sent = world.request(tcp(ip.client(1), to, SYN)).sent();
            let dst = parts(&sent.bytes).dst;
            assert_eq!(dst.port(), port);
            went.push(dst.ip());
        }
        assert!(went.iter().all(|addr| *addr == went[0]));
        assert_eq!(templates(&world), 1);
    }
}

#[test]
fn without_persistence_a_service_of_all_ports_serves_none() {
    let ip = Ip::V4;
    let world = World::new();
    let mut at = ip.vip();
    at.set_port(0);
    world.add(
        &Service::new(ip, TCP).at(at),
        &[Server::new(ip.server(1), Method::Nat)],
    );
    world
        .request(tcp(ip.client(1), ip.vip(), SYN))
        .assert_dropped();
    world.icmp();
    let lines = printk::take_lines();
    assert!(
        lines.iter().any(|line| line.contains("port zero")),
        "{lines:?}"
    );
}

fn sip(call_id: &str) -> Vec<u8> {
    format!("INVITE sip:a@b SIP/2.0\r\nCall-ID: {call_id}\r\n\r\n").into_bytes()
}

#[test]
fn each_dialogue_of_a_client_has_its_server() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).persistent(300).pe("sip");
        let servers = [1, 2].map(|number| Server::new(ip.server(number), Method::Nat));
        world.add(&service, &servers);
        let ask = |port: u16, call_id: &str| {
            let mut client = ip.client(1);
            client.set_port(port);
            let request = udp(client, ip.vip(), &sip(call_id));
            parts(&world.request(request).sent().bytes).dst
        };
        let first = ask(1001, "one");
        assert_ne!(ask(1002, "another"), first);
        assert_eq!(ask(1003, "one"), first);
        assert_eq!(ask(1004, "one"), first);
        // No dialogue, no connection.
        world
            .request(udp(ip.client(4), ip.vip(), b"nothing of the kind"))
            .assert_dropped();
        assert_eq!(templates(&world), 2);
        assert!(world.conns().iter().any(|line| line.ends_with(" sip one")));
    }
}

#[test]
fn a_server_begins_a_dialogue_under_the_address_of_its_service() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP).persistent(300).pe("sip");
        let server = Server::new(ip.server(1), Method::Nat);
        world.add(&service, &[server]);
        let accepted = world
            .forward(udp(server.at, ip.client(1), &sip("one")))
            .accepted();
        assert_sound(&accepted.bytes);
        assert_eq!(parts(&accepted.bytes).src, ip.vip());
        assert_eq!(world.load_of(&service, &server), (0, 1, 1));
        // The answer finds the server.
        let sent = world
            .request(udp(ip.client(1), ip.vip(), b"SIP/2.0 200 OK\r\n\r\n"))
            .sent();
        assert_eq!(parts(&sent.bytes).dst, server.at);
        assert_eq!(world.counters(&service).conns, 1);
        // What begins none goes out as it is.
        let other = udp(ip.server(2), ip.client(1), &sip("two"));
        assert_eq!(world.forward(other.clone()).accepted().bytes, other);
    }
}

#[test]
fn each_failure_on_the_way_to_a_connection_leaves_nothing_held() {
    for ip in BOTH {
        for after in 0..10 {
            let (world, service, _) = world_with(ip, 100);
            let packet = world.incoming(udp(ip.client(1), ip.vip(), b"request"), world.outside);
            memory::fail_after(after);
            let fate = world.pass(HookNum::LocalIn, packet);
            if !memory::fail_no_more() {
                assert!(
                    after >= 2,
                    "a template, a connection and a route need memory"
                );
                fate.sent();
                break;
            }
            match after {
                0 | 1 => {
                    fate.assert_dropped();
                    let lines = printk::take_lines();
                    assert!(
                        lines.iter().any(|line| line.contains("no memory")),
                        "{lines:?}"
                    );
                }
                _ => fate.assert_gone(),
            }
            let held = |(_, load): &(_, Load)| load.0 + load.1;
            let conns: u32 = world.loads(&service).iter().map(held).sum();
            assert_eq!(conns, u32::from(after >= 2));
            world.wait(500);
            assert!(world.conns().is_empty());
            assert!(world
                .loads(&service)
                .iter()
                .all(|(_, load)| *load == (0, 0, 0)));
        }
    }
}

#[test]
fn a_connection_that_its_quota_forbids_gives_its_template_back() {
    for ip in BOTH {
        let (world, service, _) = world_with(ip, 100);
        world.set(c"conn_max", "1");
        world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .assert_dropped();
        assert_eq!((world.conns().len(), templates(&world)), (1, 1));
        world.wait(101);
        assert!(world.conns().is_empty());
        assert!(world
            .loads(&service)
            .iter()
            .all(|(_, load)| *load == (0, 0, 0)));
    }
}
