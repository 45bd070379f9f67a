// SPDX-License-Identifier: GPL-2.0

//! Transmitters: the destinations of packets, and the changes in them.

use super::{
    packet::*,
    world::*, //
};
use linux::{
    events::Event,
    netfilter::HookNum, //
};
use std::net::SocketAddr;

fn world_with(ip: Ip, protocol: u8, server: Server) -> (World, Service) {
    let world = World::new();
    let service = Service::new(ip, protocol);
    world.add(&service, &[server]);
    (world, service)
}

/// An answer of a server.
fn answer(from: SocketAddr, to: SocketAddr, protocol: u8) -> Vec<u8> {
    match protocol {
        TCP => tcp(from, to, SYN | ACK),
        _ => udp(from, to, b"an answer"),
    }
}

#[test]
fn nat_translates_requests_and_answers() {
    for ip in BOTH {
        for protocol in [TCP, UDP] {
            let server = Server::new(ip.server(1), Method::Nat);
            let (world, service) = world_with(ip, protocol, server);

            let request = world.first(ip.client(1), ip.vip(), protocol);
            let sent = world.request(request.clone()).sent();
            assert_sound(&sent.bytes);
            let seen = parts(&sent.bytes);
            assert_eq!((seen.src, seen.dst), (ip.client(1), server.at));
            assert_eq!(seen.ttl, TTL - 1);
            assert!(sent.ipvs_property && sent.ignore_df);
            assert_eq!(sent.bytes.len(), request.len());

            let answer = answer(server.at, ip.client(1), protocol);
            let accepted = world.forward(answer.clone()).accepted();
            assert_sound(&accepted.bytes);
            let seen = parts(&accepted.bytes);
            assert_eq!((seen.src, seen.dst), (ip.vip(), ip.client(1)));
            assert_eq!(seen.ttl, TTL);

            let counters = world.counters(&service);
            assert_eq!(
                (counters.conns, counters.inpkts, counters.outpkts),
                (1, 1, 1)
            );
            assert_eq!(counters.inbytes, request.len() as u64);
            assert_eq!(counters.outbytes, answer.len() as u64);
        }
    }
}

#[test]
fn direct_routing_changes_nothing_but_the_hops() {
    for ip in BOTH {
        let server = Server::new(ip.server(1), Method::Direct);
        let (world, _) = world_with(ip, UDP, server);
        let request = udp(ip.client(1), ip.vip(), b"request");
        let sent = world.request(request.clone()).sent();
        assert_sound(&sent.bytes);
        let seen = parts(&sent.bytes);
        assert_eq!(
            (seen.src, seen.dst, seen.ttl),
            (ip.client(1), ip.vip(), TTL - 1)
        );
        assert_eq!(seen.payload, parts(&request).payload);
        assert!(std::ptr::eq(route_of(&sent).device, world.inside));
    }
}

fn route_of(packet: &linux::skb::Packet) -> linux::route::Way {
    match packet.route.as_ref().expect("it has a route") {
        linux::skb::PacketRoute::V4(rt) => rt.way,
        linux::skb::PacketRoute::V6(rt) => rt.way,
    }
}

#[test]
fn a_tunnel_goes_around_each_family_in_each() {
    for inner in BOTH {
        for outer in BOTH {
            let server = Server::new(outer.server(1), Method::Tunnel);
            let (world, _) = world_with(inner, UDP, server);
            let request = udp(inner.client(1), inner.vip(), b"request");
            let sent = world.request(request.clone()).tunnelled();
            let seen = parts(&sent.bytes);
            assert_eq!(
                (seen.src.ip(), seen.dst.ip()),
                (outer.inside(), server.at.ip())
            );
            assert_eq!(seen.protocol, if inner == Ip::V4 { 4 } else { 41 });
            let inside = parts(seen.payload);
            assert_eq!((inside.src, inside.dst), (inner.client(1), inner.vip()));
            assert_eq!(inside.ttl, TTL - 1);
            assert_sound(seen.payload);
        }
    }
}

#[test]
fn tunnels_of_gue_and_gre_have_their_headers_between() {
    const CHECKSUM: u16 = 1;
    for ip in BOTH {
        for (kind, flags, between) in [(1, 0, 12), (1, CHECKSUM, 12), (2, 0, 4), (2, CHECKSUM, 8)] {
            let server = Server::new(ip.server(1), Method::Tunnel).tunnel(kind, 6080, flags);
            let (world, _) = world_with(ip, UDP, server);
            let request = udp(ip.client(1), ip.vip(), b"request");
            let sent = world.request(request.clone()).tunnelled();
            let seen = parts(&sent.bytes);
            assert_eq!(seen.protocol, if kind == 1 { UDP } else { 47 });
            if kind == 1 {
                assert_eq!(seen.dst.port(), 6080);
            }
            let inside = parts(&seen.payload[between..]);
            assert_eq!((inside.src, inside.dst), (ip.client(1), ip.vip()));
        }
    }
}

#[test]
fn a_server_on_this_host_gets_the_packet_as_it_is() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Server::new(ip.vip(), Method::Local));
        let request = udp(ip.client(1), ip.vip(), b"request");
        let accepted = world.request(request.clone()).accepted();
        assert_eq!(accepted.bytes, request);
        assert!(accepted.ipvs_property);
    }
}

#[test]
fn without_a_route_the_packet_is_freed_and_the_sender_told() {
    for ip in BOTH {
        for method in [Method::Nat, Method::Direct, Method::Tunnel] {
            let server = Server::new(ip.server(1), method);
            let (world, service) = world_with(ip, UDP, server);
            world.net.remove_route(server.at.ip());
            world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .assert_gone();
            assert!(
                matches!(world.events()[..], [Event::LinkFailure]),
                "{method:?}"
            );
            // The connection stays, as in C: the next packet finds the route that is back.
            assert_eq!(world.load_of(&service, &server), (0, 1, 0));
            world.add_route(server.at.ip(), world.inside, 1500);
            world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .went();
            assert_eq!(world.counters(&service).conns, 1);
        }
    }
}

#[test]
fn a_packet_without_hops_left_is_answered() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Server::new(ip.server(1), Method::Nat));
        let mut request = udp(ip.client(1), ip.vip(), b"request");
        request[if ip == Ip::V4 { 8 } else { 7 }] = 1;
        sum_header(&mut request);
        world.request(request.clone()).assert_gone();
        let icmp = world.icmp();
        assert_eq!(
            (icmp.kind, icmp.code),
            if ip == Ip::V4 { (11, 0) } else { (3, 0) }
        );
        assert_eq!(icmp.about, request);
    }
}

#[test]
fn what_is_longer_than_the_mtu_is_answered_with_it() {
    for ip in BOTH {
        for (method, overhead) in [
            (Method::Nat, 0),
            (Method::Direct, 0),
            (Method::Tunnel, ip.header_len()),
        ] {
            let server = Server::new(ip.server(1), method);
            let (world, _) = world_with(ip, UDP, server);
            world.add_route(server.at.ip(), world.inside, 1400);
            let mtu = 1400 - overhead;
            let longest = mtu - ip.header_len() - 8;
            let request = |len| {
                let mut request = udp(ip.client(1), ip.vip(), &vec![0; len]);
                if ip == Ip::V4 {
                    request[6] |= 0x40;
                    sum_header(&mut request);
                }
                world.request(request)
            };
            request(longest).went();
            request(longest + 1).assert_gone();
            let icmp = world.icmp();
            assert_eq!(
                (icmp.kind, icmp.code),
                if ip == Ip::V4 { (3, 4) } else { (2, 0) }
            );
            assert_eq!(u32::from_be_bytes(icmp.info), mtu as u32, "{method:?}");
        }
    }
}

#[test]
fn what_may_be_cut_goes_out_longer_than_the_mtu() {
    let ip = Ip::V4;
    let server = Server::new(ip.server(1), Method::Nat);
    let (world, _) = world_with(ip, UDP, server);
    world.add_route(server.at.ip(), world.inside, 1400);
    let sent = world
        .request(udp(ip.client(1), ip.vip(), &[0; 2000]))
        .sent();
    assert_eq!(sent.bytes.len(), 2028);
    assert!(world.events().is_empty());
}

#[test]
fn no_packet_from_outside_reaches_a_server_on_the_loopback_address() {
    let ip = Ip::V4;
    let server = Server::new("127.0.0.1:8080".parse().unwrap(), Method::Nat);
    let world = World::new();
    world.add_address(server.at.ip());
    world.add(&Service::new(ip, UDP), &[server]);
    world
        .request(udp(ip.client(1), ip.vip(), b"request"))
        .assert_gone();
    // A client on this host does.
    let request = udp((ip.inside(), 40_000).into(), ip.vip(), b"request");
    let accepted = world.local_out(request).accepted();
    assert_eq!(parts(&accepted.bytes).dst, server.at);
    assert_sound(&accepted.bytes);
}

#[test]
fn a_client_of_this_host_is_sent_to_servers_too() {
    for ip in BOTH {
        let server = Server::new(ip.server(1), Method::Nat);
        let (world, _) = world_with(ip, TCP, server);
        let client = (ip.inside(), 40_000).into();
        let sent = world.local_out(tcp(client, ip.vip(), SYN)).sent();
        assert_eq!(parts(&sent.bytes).dst, server.at);
        assert!(sent.has_socket, "the packet stays its socket's");
        // The answer comes in for this host.
        let answer = world.incoming(tcp(server.at, client, SYN | ACK), world.inside);
        let accepted = world.pass(HookNum::LocalIn, answer).accepted();
        assert_eq!(parts(&accepted.bytes).src, ip.vip());
        assert_sound(&accepted.bytes);
    }
}

#[test]
fn an_answer_that_fails_to_find_its_way_is_freed() {
    for ip in BOTH {
        let server = Server::new(ip.server(1), Method::Nat);
        let (world, _) = world_with(ip, UDP, server);
        world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        let answer = world.incoming(udp(server.at, ip.client(1), b"an answer"), world.inside);
        kernel::memory::fail_after(0);
        world.pass(HookNum::Forward, answer).assert_gone();
        assert!(kernel::memory::fail_no_more(), "rerouting failed");
    }
}

#[test]
fn policies_that_forbid_it_keep_packets_here() {
    use std::sync::atomic::Ordering::SeqCst;
    for ip in BOTH {
        for method in [Method::Nat, Method::Direct, Method::Tunnel] {
            let (world, _) = world_with(ip, UDP, Server::new(ip.server(1), method));
            world.net.policies.store(true, SeqCst);
            world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .assert_gone();
            world.net.policies_pass.store(true, SeqCst);
            world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .went();
        }
    }
}

#[test]
fn a_packet_that_ipvs_has_sent_is_left_alone() {
    for ip in BOTH {
        let (world, service) = world_with(ip, UDP, Server::new(ip.server(1), Method::Nat));
        let bytes = udp(ip.client(1), ip.vip(), b"request");
        for hook in [HookNum::LocalIn, HookNum::Forward, HookNum::LocalOut] {
            let mut packet = world.incoming(bytes.clone(), world.outside);
            packet.ipvs_property = true;
            assert_eq!(world.pass(hook, packet).accepted().bytes, bytes);
        }
        assert_eq!(world.counters(&service).inpkts, 0);
    }
}
