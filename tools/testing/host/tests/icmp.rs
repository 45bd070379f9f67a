// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets of connections.

use super::{
    packet::*,
    world::*, //
};
use linux::{
    events::Event,
    netfilter::HookNum,
    skb::Packet, //
};

/// Kinds and codes of errors.
fn errors(ip: Ip) -> &'static [(u8, u8)] {
    match ip {
        Ip::V4 => &[
            (3, 0),
            (3, 1),
            (3, 3),
            (3, 4),
            (3, 13),
            (4, 0),
            (11, 0),
            (11, 1),
        ],
        Ip::V6 => &[(1, 0), (1, 3), (1, 4), (2, 0), (3, 0), (3, 1)],
    }
}

/// A world with a connection by NAT, and the first packet as the server got it.
fn world_with(ip: Ip, protocol: u8, method: Method) -> (World, Service, Server, Vec<u8>) {
    let world = World::new();
    let service = Service::new(ip, protocol);
    let server = Server::new(ip.server(1), method);
    world.add(&service, &[server]);
    let sent = world
        .request(world.first(ip.client(1), ip.vip(), protocol))
        .went();
    (world, service, server, sent.bytes)
}

#[test]
fn errors_about_requests_reach_the_client_as_if_about_its_own() {
    for ip in BOTH {
        for protocol in [TCP, UDP] {
            let (world, service, server, request) = world_with(ip, protocol, Method::Nat);
            for &kind in errors(ip) {
                for from in [server.at.ip(), ip.router()] {
                    let error = icmp(from, ip.client(1).ip(), kind, 1234, &request);
                    let accepted = world.forward(error).accepted();
                    assert_sound(&accepted.bytes);
                    let seen = parts(&accepted.bytes);
                    assert_eq!(seen.src.ip(), ip.vip().ip());
                    assert_eq!(seen.dst.ip(), ip.client(1).ip());
                    assert_eq!(seen.payload[..2], [kind.0, kind.1]);
                    assert_eq!(seen.payload[4..8], 1234u32.to_be_bytes());
                    let about = parts(&seen.payload[8..]);
                    assert_eq!((about.src, about.dst), (ip.client(1), ip.vip()));
                    assert!(accepted.ipvs_property);
                }
            }
            assert_eq!(
                world.counters(&service).outpkts,
                2 * errors(ip).len() as u64
            );
        }
    }
}

#[test]
fn errors_about_answers_reach_the_server_as_if_about_its_own() {
    for ip in BOTH {
        for protocol in [TCP, UDP] {
            let (world, service, server, _) = world_with(ip, protocol, Method::Nat);
            let answer = match protocol {
                TCP => tcp(server.at, ip.client(1), SYN | ACK),
                _ => udp(server.at, ip.client(1), b"an answer"),
            };
            let answer = world.forward(answer).accepted().bytes;
            for &kind in errors(ip) {
                let error = icmp(ip.client(1).ip(), ip.vip().ip(), kind, 1234, &answer);
                let sent = world.request(error).sent();
                assert_sound(&sent.bytes);
                let seen = parts(&sent.bytes);
                assert_eq!(
                    (seen.src.ip(), seen.dst.ip()),
                    (ip.client(1).ip(), server.at.ip())
                );
                assert_eq!(seen.payload[4..8], 1234u32.to_be_bytes());
                let about = parts(&seen.payload[8..]);
                assert_eq!((about.src, about.dst), (server.at, ip.client(1)));
            }
            assert_eq!(world.counters(&service).inpkts, 1 + errors(ip).len() as u64);
        }
    }
}

#[test]
fn without_translation_errors_about_answers_go_to_the_server_unchanged() {
    for ip in BOTH {
        for method in [Method::Direct, Method::Tunnel] {
            let (world, _, _, _) = world_with(ip, UDP, method);
            let answer = udp(ip.vip(), ip.client(1), b"an answer");
            let error = icmp(ip.client(1).ip(), ip.vip().ip(), errors(ip)[0], 0, &answer);
            let sent = world.request(error.clone()).went();
            let start = sent.bytes.len() - error.len();
            let payload = |bytes: &[u8]| parts(bytes).payload.to_vec();
            assert_eq!(payload(&sent.bytes[start..]), payload(&error), "{method:?}");
        }
    }
}

#[test]
fn messages_that_are_no_errors_go_on() {
    for ip in BOTH {
        let (world, _, _, request) = world_with(ip, UDP, Method::Nat);
        let kinds: &[u8] = if ip == Ip::V4 {
            &[0, 5, 8, 12, 13]
        } else {
            &[128, 129, 135, 136]
        };
        for &kind in kinds {
            let message = icmp(ip.client(1).ip(), ip.vip().ip(), (kind, 0), 0, &request);
            assert_eq!(
                world.request(message.clone()).accepted().bytes,
                message,
                "{kind}"
            );
        }
    }
}

#[test]
fn an_error_whose_checksum_is_wrong_is_dropped() {
    for ip in BOTH {
        let (world, service, server, request) = world_with(ip, UDP, Method::Nat);
        let mut error = icmp(
            server.at.ip(),
            ip.client(1).ip(),
            errors(ip)[0],
            0,
            &request,
        );
        *error.last_mut().unwrap() ^= 1;
        world.forward(error).assert_dropped();
        assert_eq!(world.counters(&service).outpkts, 0);
    }
}

#[test]
fn an_error_about_something_else_goes_on() {
    for ip in BOTH {
        let (world, _, server, _) = world_with(ip, UDP, Method::Nat);
        for about in [
            udp(ip.client(2), server.at, b"of another client"),
            udp(ip.client(1), ip.server(2), b"to another server"),
            tcp(ip.client(1), server.at, SYN),
            bare_ip(ip.client(1).ip(), server.at.ip(), 132, vec![0; 16]),
        ] {
            let error = icmp(server.at.ip(), ip.client(1).ip(), errors(ip)[0], 0, &about);
            assert_eq!(world.forward(error.clone()).accepted().bytes, error);
        }
    }
}

#[test]
fn an_error_begins_a_connection_if_so_set() {
    for ip in BOTH {
        let world = World::new();
        let service = Service::new(ip, UDP);
        let server = Server::new(ip.server(1), Method::Nat);
        world.add(&service, &[server]);
        let answer = udp(
            ip.vip(),
            ip.client(1),
            b"an answer that another director sent",
        );
        let error = icmp(ip.client(1).ip(), ip.vip().ip(), errors(ip)[0], 0, &answer);
        world.request(error.clone()).accepted();
        world.set(c"schedule_icmp", "1");
        let sent = world.request(error).sent();
        assert_eq!(parts(&sent.bytes).dst.ip(), server.at.ip());
        assert_eq!(world.load_of(&service, &server), (0, 1, 0));
        // One that says too little is dropped then.
        let cut = icmp(
            ip.client(1).ip(),
            ip.vip().ip(),
            errors(ip)[0],
            0,
            &answer[..ip.header_len()],
        );
        world.request(cut).assert_dropped();
    }
}

#[test]
fn cut_errors_harm_nobody_wherever_their_bytes_are() {
    for ip in BOTH {
        let (world, service, server, request) = world_with(ip, TCP, Method::Nat);
        let error = icmp(
            server.at.ip(),
            ip.client(1).ip(),
            errors(ip)[0],
            0,
            &request,
        );
        let payload = parts(&error).payload.to_vec();
        let protocol = if ip == Ip::V4 { ICMP } else { ICMPV6 };
        for len in 0..=payload.len() {
            let (src, dst) = (server.at.ip(), ip.client(1).ip());
            let cut = match len {
                0..4 => bare_ip(src, dst, protocol, payload[..len].to_vec()),
                _ => {
                    let mut payload = payload[..len].to_vec();
                    payload[2..4].fill(0);
                    ip_of(src, dst, protocol, payload)
                }
            };
            let mut fates = Vec::new();
            for linear in ip.header_len()..=cut.len() {
                let packet = Packet {
                    linear,
                    ..world.incoming(cut.clone(), world.inside)
                };
                let fate = match world.pass(HookNum::Forward, packet) {
                    Fate::Accepted(packet) => Some(packet.bytes),
                    Fate::Dropped => None,
                    other => panic!("{other:?}"),
                };
                fates.push(fate);
            }
            assert!(fates.iter().all(|fate| *fate == fates[0]), "of {len} bytes");
            let all = ip.header_len() + 8 + 4;
            match &fates[0] {
                Some(bytes) if len >= all => assert_sound(bytes),
                Some(bytes) => assert_eq!(*bytes, cut, "of {len} bytes"),
                None => assert!(len < 8, "of {len} bytes"),
            }
        }
        assert_eq!(world.load_of(&service, &server), (1, 0, 0));
    }
}

fn ip_of(src: std::net::IpAddr, dst: std::net::IpAddr, protocol: u8, payload: Vec<u8>) -> Vec<u8> {
    super::packet::ip(src, dst, protocol, payload)
}

#[test]
fn a_fragment_of_an_error_waits_for_the_others() {
    let ip = Ip::V4;
    let (world, _, server, request) = world_with(ip, UDP, Method::Nat);
    let whole = icmp(
        server.at.ip(),
        ip.client(1).ip(),
        errors(ip)[0],
        0,
        &request,
    );
    let mut fragment = whole.clone();
    fragment[6] = 0x20;
    sum_header(&mut fragment);
    world.forward(fragment.clone()).assert_gone();
    world.net.reassemble(world.incoming(whole, world.inside));
    assert_sound(&world.forward(fragment).accepted().bytes);
}

/// A tunnel's kind, and what is between its two headers.
const TUNNELS: [(u8, u32); 3] = [(0, 0), (1, 12), (2, 4)];

#[test]
fn what_is_too_big_for_a_tunnel_is_told_to_the_client() {
    for ip in BOTH {
        for (kind, between) in TUNNELS {
            let world = World::new();
            let server = Server::new(ip.server(1), Method::Tunnel).tunnel(kind, 6080, 0);
            world.add(&Service::new(ip, UDP), &[server]);
            let mut request = udp(ip.client(1), ip.vip(), &[0; 100]);
            if ip == Ip::V4 {
                request[6] |= 0x40;
                sum_header(&mut request);
            }
            let sent = world.request(request).tunnelled().bytes;
            let too_big = if ip == Ip::V4 { (3, 4) } else { (2, 0) };
            let error = icmp(ip.router(), ip.inside(), too_big, 1450, &sent);
            // What the route says now, and if there is none, what the error says.
            for (mtu, seen) in [(Some(1460), 1460), (None, 1450)] {
                if let Some(mtu) = mtu {
                    world.add_route(server.at.ip(), world.inside, mtu);
                }
                world.net.renew_routes();
                if mtu.is_some() {
                    world
                        .request(udp(ip.client(1), ip.vip(), &[0; 8]))
                        .tunnelled();
                }
                world.request(error.clone()).assert_gone();
                let events = world.events();
                let [Event::PathMtu(1450), Event::Icmp(told)] = &events[..] else {
                    panic!("{events:?}");
                };
                assert_eq!((told.kind, told.code), too_big);
                let overhead = ip.header_len() as u32 + between;
                assert_eq!(
                    u32::from_be_bytes(told.info),
                    seen - overhead,
                    "tunnel {kind}"
                );
                let about = parts(&told.about);
                assert_eq!((about.src, about.dst), (ip.client(1), ip.vip()));
            }
        }
    }
}

#[test]
fn other_errors_from_a_tunnel_are_told_to_the_client() {
    for ip in BOTH {
        for (kind, _) in TUNNELS {
            let world = World::new();
            let service = Service::new(ip, UDP);
            let server = Server::new(ip.server(1), Method::Tunnel).tunnel(kind, 6080, 0);
            world.add(&service, &[server]);
            let sent = world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .tunnelled()
                .bytes;
            let unreachable = errors(ip)[1];
            let error = icmp(ip.router(), ip.inside(), unreachable, 0, &sent);
            world.request(error.clone()).assert_gone();
            let told = world.icmp();
            assert_eq!((told.kind, told.code), unreachable);
            assert_eq!(parts(&told.about).src, ip.client(1));
            assert_eq!(world.counters(&service).outpkts, 1);
            // Of somebody else's tunnel it says nothing.
            let other = parts(&sent).src.ip();
            let other = bare_ip(
                other,
                ip.server(2).ip(),
                parts(&sent).protocol,
                parts(&sent).payload.to_vec(),
            );
            let error = icmp(ip.router(), ip.inside(), unreachable, 0, &other);
            world.request(error).accepted();
            assert!(world.events().is_empty());
        }
    }
}
