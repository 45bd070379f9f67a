// SPDX-License-Identifier: GPL-2.0

//! AH and ESP packets, which follow the connection of UDP port 500 between the same hosts.

use super::{
    packet::*,
    world::*, //
};
use linux::{
    netfilter::HookNum,
    nf_conntrack::Tuple,
    skb::{
        Conntrack,
        Packet,
        Summed, //
    },
};
use std::net::{
    IpAddr,
    SocketAddr, //
};

const ESP: u8 = 50;
const AH: u8 = 51;
/// Both; with IPv6, AH is an extension header.
const PROTOCOLS: [(Ip, u8); 3] = [(Ip::V4, ESP), (Ip::V4, AH), (Ip::V6, ESP)];
const METHODS: [Method; 4] = [
    Method::Nat,
    Method::Direct,
    Method::Tunnel,
    Method::Local, //
];

fn isakmp(addr: IpAddr) -> SocketAddr {
    (addr, 500).into()
}

/// An IPsec packet: parameters that need not mean anything.
fn ipsec(src: IpAddr, dst: IpAddr, protocol: u8) -> Vec<u8> {
    bare_ip(src, dst, protocol, (0..40).collect())
}

struct Peers {
    world: World,
    service: Service,
    server: Server,
    client: IpAddr,
    vip: IpAddr,
}

/// A service of UDP port 500 with a server, to which a client has a connection.
fn peers(ip: Ip, method: Method) -> Peers {
    peers_by(ip, method, |_| ())
}

fn peers_by(ip: Ip, method: Method, prepare: impl FnOnce(&World)) -> Peers {
    let world = World::new();
    prepare(&world);
    let (client, vip) = (ip.client(1).ip(), ip.vip().ip());
    let service = Service::new(ip, UDP).at(isakmp(vip));
    let at = match method {
        Method::Local => isakmp(vip),
        _ => isakmp(ip.server(1).ip()),
    };
    let server = Server::new(at, method);
    world.add(&service, &[server]);
    let first = udp(isakmp(client), isakmp(vip), b"isakmp");
    let packet = Packet {
        reply: Some(Tuple {
            protocol: UDP,
            src: isakmp(vip),
            dst: isakmp(client),
        }),
        ..world.incoming(first, world.outside)
    };
    world.pass(HookNum::LocalIn, packet);
    assert_eq!(world.conns().len(), 1);
    Peers {
        world,
        service,
        server,
        client,
        vip,
    }
}

/// The packet without what a hop changes: the time to live and the header's checksum.
fn but_hops(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes[0] >> 4 == 4 {
        bytes[8] = TTL;
        sum_header(&mut bytes);
    } else {
        bytes[7] = TTL;
    }
    bytes
}

#[test]
fn requests_reach_the_server_by_each_method() {
    for (ip, protocol) in PROTOCOLS {
        for method in METHODS {
            let peers = peers(ip, method);
            let request = ipsec(peers.client, peers.vip, protocol);
            let fate = peers.world.request(request.clone());
            match method {
                Method::Nat => {
                    let sent = fate.sent().bytes;
                    assert_sound(&sent);
                    let wanted = ipsec(peers.client, peers.server.at.ip(), protocol);
                    assert_eq!(but_hops(sent), wanted);
                }
                Method::Direct => assert_eq!(but_hops(fate.sent().bytes), request),
                Method::Tunnel => {
                    let bytes = fate.tunnelled().bytes;
                    let inner = bytes[bytes.len() - request.len()..].to_vec();
                    assert_eq!(but_hops(inner), request);
                }
                Method::Local => {
                    let accepted = fate.accepted();
                    assert_eq!(accepted.bytes, request);
                    assert!(accepted.ipvs_property);
                }
            }
            let counters = peers.world.counters(&peers.service);
            assert_eq!((counters.conns, counters.inpkts), (1, 2), "{method:?}");
        }
    }
}

#[test]
fn answers_get_the_virtual_address_and_nothing_else() {
    for (ip, protocol) in PROTOCOLS {
        let peers = peers(ip, Method::Nat);
        for hook in [HookNum::Forward, HookNum::LocalOut] {
            let answer = ipsec(peers.server.at.ip(), peers.client, protocol);
            let accepted = match hook {
                HookNum::Forward => peers.world.forward(answer),
                _ => peers.world.local_out(answer),
            };
            let accepted = accepted.accepted();
            assert_eq!(
                accepted.bytes,
                ipsec(peers.vip, peers.client, protocol),
                "{protocol}"
            );
            assert!(accepted.ipvs_property);
        }
        assert_eq!(peers.world.counters(&peers.service).outpkts, 2);
    }
}

#[test]
fn a_server_with_another_port_gets_requests_but_its_answers_are_not_known() {
    let world = World::new();
    let (client, vip) = (Ip::V4.client(1).ip(), Ip::V4.vip().ip());
    let server = Server::new((Ip::V4.server(1).ip(), 4500).into(), Method::Nat);
    world.add(&Service::new(Ip::V4, UDP).at(isakmp(vip)), &[server]);
    world
        .request(udp(isakmp(client), isakmp(vip), b"isakmp"))
        .sent();
    world.request(ipsec(client, vip, ESP)).sent();
    let answer = ipsec(server.at.ip(), client, ESP);
    let accepted = world.forward(answer.clone()).accepted();
    assert_eq!(accepted.bytes, answer);
    assert!(!accepted.ipvs_property);
}

#[test]
fn those_of_no_connection_pass_and_are_never_scheduled() {
    for (ip, protocol) in PROTOCOLS {
        for persistent in [false, true] {
            let world = World::new();
            world.set(c"schedule_icmp", "1");
            // It marks what is of no known protocol; these are known.
            world.set(c"ignore_tunneled", "1");
            let (client, vip) = (ip.client(1).ip(), ip.vip().ip());
            let server = Server::new(isakmp(ip.server(1).ip()), Method::Nat);
            let service = Service::new(ip, UDP).at(isakmp(vip));
            let service = if persistent {
                service.persistent(100)
            } else {
                service
            };
            world.add(&service, &[server]);
            let request = ipsec(client, vip, protocol);
            let error = icmp(
                client,
                vip,
                if ip == Ip::V4 { (3, 1) } else { (1, 0) },
                0,
                &ipsec(vip, client, protocol),
            );
            for bytes in [request, error] {
                for hook in [HookNum::LocalIn, HookNum::LocalOut, HookNum::Forward] {
                    let fate = match hook {
                        HookNum::LocalIn => world.request(bytes.clone()),
                        HookNum::LocalOut => world.local_out(bytes.clone()),
                        HookNum::Forward => world.forward(bytes.clone()),
                    };
                    let accepted = fate.accepted();
                    assert_eq!(accepted.bytes, bytes);
                    assert!(!accepted.ipvs_property);
                }
            }
            assert_eq!(world.conns(), [""; 0]);
            assert_eq!(world.counters(&service).inpkts, 0);
        }
    }
}

#[test]
fn a_client_that_has_no_port_500_has_no_ipsec() {
    let world = World::new();
    let (client, vip) = (Ip::V4.client(1).ip(), Ip::V4.vip().ip());
    let server = Server::new(isakmp(Ip::V4.server(1).ip()), Method::Nat);
    world.add(&Service::new(Ip::V4, UDP).at(isakmp(vip)), &[server]);
    world
        .request(udp((client, 1024).into(), isakmp(vip), b"isakmp"))
        .sent();
    let request = ipsec(client, vip, ESP);
    assert_eq!(world.request(request.clone()).accepted().bytes, request);
}

#[test]
fn each_packet_restarts_the_timer_of_the_connection() {
    for (ip, protocol) in PROTOCOLS {
        let peers = peers(ip, Method::Nat);
        for n in 0..4 {
            peers.world.wait(200);
            if n % 2 == 0 {
                peers
                    .world
                    .request(ipsec(peers.client, peers.vip, protocol))
                    .sent();
            } else {
                let answer = ipsec(peers.server.at.ip(), peers.client, protocol);
                peers.world.forward(answer).accepted();
            }
            assert_eq!(peers.world.conn(), ("UDP".into(), 300));
        }
        peers.world.wait(301);
        assert_eq!(peers.world.conns(), [""; 0]);
    }
}

#[test]
fn only_a_datagram_assures_the_template() {
    // An entry of the server that is assured is not dropped for new ones.
    let world = World::new();
    let (client, vip) = (Ip::V4.client(1).ip(), Ip::V4.vip().ip());
    let server = Server::new(isakmp(Ip::V4.server(1).ip()), Method::Nat);
    let service = Service::new(Ip::V4, UDP).at(isakmp(vip)).persistent(100);
    world.add(&service, &[server]);
    world
        .request(udp(isakmp(client), isakmp(vip), b"isakmp"))
        .sent();
    let assured = |world: &World| world.conns().iter().any(|line| line.contains("ASSURED"));
    let answer = ipsec(server.at.ip(), client, ESP);
    world.forward(answer).accepted();
    assert!(!assured(&world));
    world
        .forward(udp(server.at, isakmp(client), b"isakmp"))
        .accepted();
    assert!(assured(&world));
}

#[test]
fn fragments_go_as_they_are_first_or_not() {
    for method in [Method::Nat, Method::Direct, Method::Tunnel] {
        let peers = peers(Ip::V4, method);
        for flags in [0x2000u16, 0x2007, 0x0005] {
            let fragment = |src, dst| {
                let mut bytes = ipsec(src, dst, ESP);
                bytes[6..8].copy_from_slice(&flags.to_be_bytes());
                sum_header(&mut bytes);
                bytes
            };
            let request = fragment(peers.client, peers.vip);
            let sent = peers.world.request(request.clone()).went().bytes;
            let inner = but_hops(sent[sent.len() - request.len()..].to_vec());
            let wanted = match method {
                Method::Nat => fragment(peers.client, peers.server.at.ip()),
                _ => request,
            };
            assert_eq!(inner, wanted, "{method:?}");
            if method == Method::Nat {
                let answer = fragment(peers.server.at.ip(), peers.client);
                let accepted = peers.world.forward(answer).accepted();
                assert_eq!(accepted.bytes, fragment(peers.vip, peers.client));
            }
        }
    }
}

#[test]
fn errors_are_translated_by_their_addresses_whatever_part_they_quote() {
    for (ip, protocol) in PROTOCOLS {
        let peers = peers(ip, Method::Nat);
        let kind = if ip == Ip::V4 { (3, 1) } else { (1, 0) };
        let (client, vip, server) = (peers.client, peers.vip, peers.server.at.ip());
        let quote = |src, dst| {
            let whole = ipsec(src, dst, protocol);
            let mut later = whole.clone();
            if ip == Ip::V4 {
                later[7] = 3;
                sum_header(&mut later);
            } else {
                // A fragment header before the rest.
                later[6] = 44;
                later[40..48].copy_from_slice(&[protocol, 0, 0, 8, 0, 0, 0, 1]);
            }
            let header = whole[..ip.header_len()].to_vec();
            [whole, later, header]
        };
        let requests = quote(client, server).into_iter().zip(quote(client, vip));
        for (sent, seen) in requests {
            let accepted = peers
                .world
                .forward(icmp(ip.router(), client, kind, 7, &sent));
            let wanted = icmp(vip, client, kind, 7, &seen);
            assert_eq!(accepted.accepted().bytes, wanted);
        }
        let answers = quote(vip, client).into_iter().zip(quote(server, client));
        for (seen, sent) in answers {
            let error = peers
                .world
                .request(icmp(client, vip, kind, 7, &seen))
                .sent();
            assert_eq!(but_hops(error.bytes), icmp(client, server, kind, 7, &sent));
        }
    }
}

#[test]
fn a_server_that_is_gone_gets_nothing() {
    for expire in [false, true] {
        for confirmed in [false, true] {
            let peers = peers(Ip::V4, Method::Nat);
            let world = &peers.world;
            world.set(c"expire_nodest_conn", if expire { "1" } else { "0" });
            ok(world.delete_server(&peers.service, &peers.server));
            let request = ipsec(peers.client, peers.vip, ESP);
            let packet = Packet {
                conntrack: if confirmed {
                    Conntrack::Confirmed
                } else {
                    Conntrack::None
                },
                ..world.incoming(request.clone(), world.outside)
            };
            let fate = world.pass(HookNum::LocalIn, packet);
            if expire && !confirmed {
                assert_eq!(fate.accepted().bytes, request);
            } else {
                fate.assert_dropped();
            }
        }
    }
}

#[test]
fn tracked_connections_know_who_replies_by_address_alone() {
    let peers = peers_by(Ip::V4, Method::Nat, |world| world.set(c"conntrack", "1"));
    let request = ipsec(peers.client, peers.vip, ESP);
    let tuple = |src, dst| {
        Some(Tuple {
            protocol: ESP,
            src: SocketAddr::from((src, 0)),
            dst: SocketAddr::from((dst, 0)),
        })
    };
    let packet = Packet {
        reply: tuple(peers.vip, peers.client),
        ..peers.world.incoming(request, peers.world.outside)
    };
    let sent = peers.world.pass(HookNum::LocalIn, packet).sent();
    assert_eq!(sent.reply, tuple(peers.server.at.ip(), peers.client));
}

#[test]
fn a_devices_sum_is_no_longer_trusted() {
    let peers = peers(Ip::V6, Method::Nat);
    let packet = Packet {
        summed: Summed::Complete,
        ..peers.world.incoming(
            ipsec(peers.client, peers.vip, ESP),
            peers.world.outside, //
        )
    };
    let sent = peers.world.pass(HookNum::LocalIn, packet).sent();
    assert_eq!(sent.summed, Summed::None);
}
