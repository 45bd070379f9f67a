// SPDX-License-Identifier: GPL-2.0

//! Connection tracking: which packets it keeps, what its entries know, and when they go.

use super::{
    packet::*,
    world::*, //
};
use linux::{
    events::Event,
    netfilter::HookNum,
    nf_conntrack::Tuple,
    skb::{
        Conntrack,
        Packet, //
    },
};
use std::{
    net::SocketAddr,
    sync::atomic::Ordering::SeqCst, //
};

/// The replies that are expected to a packet before it is translated.
fn reply_to(bytes: &[u8], protocol: u8) -> Option<Tuple> {
    let seen = parts(bytes);
    Some(Tuple {
        protocol,
        src: seen.dst,
        dst: seen.src,
    })
}

fn request(world: &World, bytes: Vec<u8>, protocol: u8) -> Packet {
    Packet {
        reply: reply_to(&bytes, protocol),
        ..world.incoming(bytes, world.outside)
    }
}

/// A host with a service and its only server.
fn world_with(ip: Ip, protocol: u8, method: Method, conntrack: bool) -> (World, Server) {
    let world = World::new();
    if conntrack {
        world.set(c"conntrack", "1");
    }
    let server = Server::new(ip.server(1), method);
    world.add(&Service::new(ip, protocol), &[server]);
    (world, server)
}

/// The entries that were deleted since the last time.
fn killed(world: &World) -> Vec<Tuple> {
    let events = world.events().into_iter().chain(linux::events::take());
    let killed = |event| match event {
        Event::Killed(tuple) => Some(tuple),
        _ => None,
    };
    events.filter_map(killed).collect()
}

#[test]
fn a_new_entry_learns_where_replies_to_a_request_come_from() {
    for ip in BOTH {
        for protocol in [TCP, UDP] {
            let (world, server) = world_with(ip, protocol, Method::Nat, true);
            let bytes = world.first(ip.client(1), ip.vip(), protocol);
            let packet = request(&world, bytes, protocol);
            let sent = world.pass(HookNum::LocalIn, packet).sent();
            assert_eq!(sent.conntrack, Conntrack::New);
            let wanted = Tuple {
                protocol,
                src: server.at,
                dst: ip.client(1),
            };
            assert_eq!(sent.reply, Some(wanted));
        }
    }
}

#[test]
fn an_entry_that_an_answer_made_learns_where_replies_go() {
    for ip in BOTH {
        let (world, server) = world_with(ip, UDP, Method::Nat, true);
        let first = udp(ip.client(1), ip.vip(), b"request");
        let first = request(&world, first, UDP);
        world.pass(HookNum::LocalIn, first).sent();
        let bytes = udp(server.at, ip.client(1), b"answer");
        let packet = Packet {
            reply: reply_to(&bytes, UDP),
            ..world.incoming(bytes, world.inside)
        };
        let passed = world.pass(HookNum::Forward, packet).accepted();
        let wanted = Tuple {
            protocol: UDP,
            src: ip.client(1),
            dst: ip.vip(),
        };
        assert_eq!(passed.reply, Some(wanted));
    }
}

#[test]
fn an_entry_that_is_confirmed_or_of_the_other_direction_stays_as_it_is() {
    for (conntrack, is_original) in [(Conntrack::Confirmed, true), (Conntrack::New, false)] {
        let (world, _) = world_with(Ip::V4, UDP, Method::Nat, true);
        let bytes = udp(Ip::V4.client(1), Ip::V4.vip(), b"request");
        let packet = Packet {
            conntrack,
            is_original,
            ..request(&world, bytes, UDP)
        };
        let before = packet.reply;
        let sent = world.pass(HookNum::LocalIn, packet).sent();
        assert_eq!((sent.conntrack, sent.reply), (conntrack, before));
    }
}

#[test]
fn without_translation_an_entry_stays_as_it_is() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Method::Direct, true);
        let packet = request(&world, udp(ip.client(1), ip.vip(), b"request"), UDP);
        let before = packet.reply;
        let sent = world.pass(HookNum::LocalIn, packet).sent();
        assert_eq!((sent.conntrack, sent.reply), (Conntrack::New, before));
    }
}

#[test]
fn a_packet_in_a_tunnel_is_another_one_whose_entry_was_confirmed_before() {
    for clashes in [false, true] {
        let (world, _) = world_with(Ip::V4, UDP, Method::Tunnel, true);
        let bytes = udp(Ip::V4.client(1), Ip::V4.vip(), b"request");
        let packet = Packet {
            clashes,
            ..request(&world, bytes, UDP)
        };
        let fate = world.pass(HookNum::LocalIn, packet);
        if clashes {
            fate.assert_gone();
        } else {
            assert_eq!(fate.tunnelled().conntrack, Conntrack::None);
        }
        assert!(matches!(world.events()[..], [Event::Confirmed]));
    }
}

#[test]
fn by_default_connection_tracking_is_kept_out() {
    for method in [Method::Nat, Method::Direct] {
        let (world, _) = world_with(Ip::V4, UDP, method, false);
        let packet = request(&world, udp(Ip::V4.client(1), Ip::V4.vip(), b"request"), UDP);
        let sent = world.pass(HookNum::LocalIn, packet).sent();
        assert_eq!(sent.conntrack, Conntrack::Untracked);
        world.wait(301);
        assert!(world.conns().is_empty() && killed(&world).is_empty());
    }
}

#[test]
fn a_connection_takes_its_entry_with_it_whatever_the_setting_is_then() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Method::Nat, true);
        let packet = request(&world, udp(ip.client(1), ip.vip(), b"request"), UDP);
        world.pass(HookNum::LocalIn, packet).sent();
        world.set(c"conntrack", "0");
        assert!(killed(&world).is_empty());
        world.wait(301);
        assert!(world.conns().is_empty());
        let wanted = Tuple {
            protocol: UDP,
            src: ip.client(1),
            dst: ip.vip(),
        };
        assert_eq!(killed(&world), [wanted]);
    }
}

/// Closes a connection, and has its client's port used again: by a packet with such an entry.
fn reuse(conntrack: Conntrack) -> (World, Vec<Tuple>) {
    let ip = Ip::V4;
    let (world, server) = world_with(ip, TCP, Method::Nat, true);
    let confirmed = |bytes: Vec<u8>, device| Packet {
        conntrack: Conntrack::Confirmed,
        ..world.incoming(bytes, device)
    };
    let steps: [(bool, u8); 5] = [
        (true, SYN),
        (false, SYN | ACK),
        (true, ACK),
        (false, FIN | ACK),
        (true, FIN | ACK),
    ];
    let ends: (SocketAddr, SocketAddr) = (ip.client(1), server.at);
    for (is_request, flags) in steps {
        if is_request {
            let packet = confirmed(tcp(ends.0, ip.vip(), flags), world.outside);
            world.pass(HookNum::LocalIn, packet).sent();
        } else {
            let packet = confirmed(tcp(ends.1, ends.0, flags), world.inside);
            world.pass(HookNum::Forward, packet).accepted();
        }
    }
    let packet = Packet {
        conntrack,
        ..request(&world, tcp(ends.0, ip.vip(), SYN), TCP)
    };
    let fate = world.pass(HookNum::LocalIn, packet);
    match conntrack {
        Conntrack::Confirmed => fate.assert_dropped(),
        _ => drop(fate.sent()),
    }
    world.wait(1);
    let killed = killed(&world);
    (world, killed)
}

#[test]
fn a_port_that_is_used_again_takes_the_old_entry_away_first() {
    let (world, killed) = reuse(Conntrack::Confirmed);
    assert_eq!((world.conns().len(), killed.len()), (0, 1));
}

#[test]
fn a_new_entry_for_a_port_that_is_used_again_is_not_taken_for_the_old_one() {
    let (world, killed) = reuse(Conntrack::New);
    assert_eq!((world.conns().len(), killed.len()), (1, 0));
}

#[test]
fn entries_are_left_to_a_namespace_that_ends() {
    let (mut world, _) = world_with(Ip::V4, UDP, Method::Nat, true);
    let packet = request(&world, udp(Ip::V4.client(1), Ip::V4.vip(), b"request"), UDP);
    world.pass(HookNum::LocalIn, packet).sent();
    linux::events::take();
    // Looks at what was freed, and that nothing else happened.
    world.unload();
}

#[test]
fn an_ftp_service_has_connections_tracked_from_its_first_nat_server_on() {
    for ip in BOTH {
        let world = World::new();
        let tracking = || world.net.tracking.load(SeqCst);
        let ftp = |number: u8| {
            let mut service = Service::new(ip, TCP);
            let mut at = ip.client(number);
            at.set_port(21);
            service.at = at;
            service
        };
        let server = |method| Server::new(ip.server(1), method);
        for number in [1, 2] {
            world.add(&ftp(number), &[server(Method::Direct)]);
        }
        world.add(&Service::new(ip, TCP), &[server(Method::Nat)]);
        assert_eq!(tracking(), 0);
        for number in [1, 2] {
            ok(world.edit_server(&ftp(number), &server(Method::Nat)));
            ok(world.edit_server(&ftp(number), &server(Method::Direct)));
            assert_eq!(tracking(), 1);
        }
        for (number, left) in [(1, 1), (2, 0)] {
            ok(world.netns(|netns| netns.delete_service(&ftp(number).id())));
            assert_eq!(tracking(), left);
        }
    }
}

#[test]
fn the_entry_of_a_removed_server_goes_before_the_next_packet_comes() {
    for ip in BOTH {
        let (world, server) = world_with(ip, UDP, Method::Nat, true);
        world.set(c"expire_nodest_conn", "1");
        let service = Service::new(ip, UDP);
        let bytes = || udp(ip.client(1), ip.vip(), b"request");
        world
            .pass(HookNum::LocalIn, request(&world, bytes(), UDP))
            .sent();
        ok(world.add_server(&service, &Server::new(ip.server(2), Method::Nat)));
        ok(world.delete_server(&service, &server));
        // No tick passes from here on.
        let late = Packet {
            conntrack: Conntrack::Confirmed,
            ..request(&world, bytes(), UDP)
        };
        world.pass(HookNum::LocalIn, late).assert_dropped();
        assert_eq!(killed(&world).len(), 1);
        let next = world
            .pass(HookNum::LocalIn, request(&world, bytes(), UDP))
            .sent();
        assert_eq!(parts(&next.bytes).dst, ip.server(2));
        world.wait(1);
        assert_eq!((killed(&world).len(), world.conns().len()), (0, 1));
    }
}

#[test]
fn entries_of_many_removed_connections_go_with_them() {
    const MANY: u16 = 15_000;
    let ip = Ip::V4;
    let (world, server) = world_with(ip, UDP, Method::Nat, true);
    world.set(c"expire_nodest_conn", "1");
    // In few buckets, each with more of them than are ended at a time.
    world.set(c"conn_lfactor", "8");
    for number in 0..MANY {
        let mut client = ip.client(1);
        client.set_port(1000 + number);
        let packet = request(&world, udp(client, ip.vip(), b"request"), UDP);
        world.pass(HookNum::LocalIn, packet).sent();
    }
    ok(world.delete_server(&Service::new(ip, UDP), &server));
    world.wait(1);
    assert_eq!(killed(&world).len(), usize::from(MANY));
    assert!(world.conns().is_empty());
}
