// SPDX-License-Identifier: GPL-2.0

//! SCTP: associations through their life, and checksums whoever has to compute them.

use super::{
    packet::*,
    world::*, //
};
use linux::skb::{
    Packet,
    Summed, //
};
use std::sync::atomic::Ordering::SeqCst;

const DATA: [u8; 8] = [0, 3, 0, 8, 1, 2, 3, 4];
const INIT: [u8; 4] = [1, 0, 0, 4];
const INIT_ACK: [u8; 4] = [2, 0, 0, 4];
const ABORT: [u8; 4] = [6, 0, 0, 4];
const COOKIE_ECHO: [u8; 8] = [10, 0, 0, 5, 9, 0, 0, 0];
const COOKIE_ACK: [u8; 4] = [11, 0, 0, 4];

fn world_with(ip: Ip, method: Method) -> (World, Service, Server) {
    let world = World::new();
    let service = Service::new(ip, SCTP);
    let server = Server::new(ip.server(1), method);
    world.add(&service, &[server]);
    (world, service, server)
}

fn request(ip: Ip, chunks: &[u8]) -> Vec<u8> {
    sctp(ip.client(1), ip.vip(), chunks)
}

#[test]
fn an_association_lives_and_ends() {
    for ip in BOTH {
        let (world, service, server) = world_with(ip, Method::Nat);
        let ask = |chunks: &[u8]| {
            let sent = world.request(request(ip, chunks)).sent();
            assert_sound(&sent.bytes);
            let seen = parts(&sent.bytes);
            assert_eq!((seen.src, seen.dst), (ip.client(1), server.at));
            world.conn()
        };
        let answer = |chunks: &[u8]| {
            let bytes = sctp(server.at, ip.client(1), chunks);
            let accepted = world.forward(bytes).accepted();
            assert_sound(&accepted.bytes);
            let seen = parts(&accepted.bytes);
            assert_eq!((seen.src, seen.dst), (ip.vip(), ip.client(1)));
            world.conn()
        };
        let is = |state: &str, seconds| (state.to_owned(), seconds);
        assert_eq!(ask(&INIT), is("INIT1", 4));
        assert_eq!(ask(&INIT), is("INIT", 61));
        assert_eq!(answer(&INIT_ACK), is("C-SENT", 61));
        assert_eq!(ask(&COOKIE_ECHO), is("C-REPLIED", 61));
        assert_eq!(world.load_of(&service, &server), (0, 1, 0));
        assert_eq!(answer(&COOKIE_ACK), is("ESTABLISHED", 900));
        assert_eq!(world.load_of(&service, &server), (1, 0, 0));
        assert_eq!(ask(&DATA), is("ESTABLISHED", 900));
        assert_eq!(answer(&[COOKIE_ACK, ABORT].concat()), is("CLOSED", 61));
        assert_eq!(world.load_of(&service, &server), (0, 1, 0));
        assert_eq!(world.counters(&service).conns, 1);
        // Of the same ports, a new one.
        world.request(request(ip, &INIT)).sent();
        assert_eq!(world.counters(&service).conns, 2);
        world.wait(1);
        assert_eq!(world.conn(), is("INIT1", 3));
        world.wait(5);
        assert!(world.conns().is_empty());
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn only_an_init_begins_unless_set_otherwise() {
    for ip in BOTH {
        let (world, service, _) = world_with(ip, Method::Direct);
        for chunks in [&DATA[..], &ABORT, &COOKIE_ECHO] {
            world.request(request(ip, chunks)).accepted();
        }
        // No chunk, and no port.
        for len in [4, 12, 15] {
            let bytes = bare_ip(ip.client(1).ip(), ip.vip().ip(), SCTP, vec![0; len]);
            world.request(bytes).assert_dropped();
        }
        assert_eq!(world.counters(&service).conns, 0);
        world.set(c"sloppy_sctp", "1");
        world.request(request(ip, &ABORT)).accepted();
        assert!(world.conns().is_empty());
        world.request(request(ip, &DATA)).sent();
        assert_eq!(world.conn(), ("ESTABLISHED".to_owned(), 900));
    }
}

#[test]
fn an_incomplete_header_restarts_the_timer() {
    for ip in BOTH {
        let (world, _, _) = world_with(ip, Method::Direct);
        world.request(request(ip, &INIT)).sent();
        world.request(request(ip, &COOKIE_ECHO)).sent();
        world.wait(100);
        assert_eq!(world.conn(), ("ESTABLISHED".to_owned(), 800));
        let cut = request(ip, &[]);
        world.request(cut).sent();
        assert_eq!(world.conn(), ("ESTABLISHED".to_owned(), 900));
    }
}

/// Makes an association, and returns the packet of `make` as its server got it.
fn through(world: &World, ip: Ip, make: impl FnOnce(&mut Packet)) -> Packet {
    world.request(request(ip, &INIT)).sent();
    let mut packet = world.incoming(request(ip, &DATA), world.outside);
    make(&mut packet);
    world
        .pass(linux::netfilter::HookNum::LocalIn, packet)
        .sent()
}

fn check_of(ip: Ip, packet: &Packet) -> Vec<u8> {
    packet.bytes[ip.header_len()..][8..12].to_vec()
}

#[test]
fn a_checksum_is_computed_here_if_the_device_does_not() {
    for ip in BOTH {
        for (other_port, device, gso, computed) in [
            (false, false, false, true),
            (false, true, false, false),
            (true, true, false, true),
            (true, false, true, false),
            (false, false, true, false),
        ] {
            let world = World::new();
            let mut at = ip.server(1);
            if other_port {
                at.set_port(8080);
            } else {
                at.set_port(ip.vip().port());
            }
            world.add(&Service::new(ip, SCTP), &[Server::new(at, Method::Nat)]);
            world.inside.sctp_crc.store(device, SeqCst);
            let sent = through(&world, ip, |packet| {
                packet.summed = Summed::Partial;
                packet.bytes[ip.header_len()..][8..12].fill(0x5a);
                packet.segment_len = gso.then_some(1400);
            });
            assert_eq!(parts(&sent.bytes).dst, at);
            if computed {
                assert_sound(&sent.bytes);
                assert_eq!(sent.summed, Summed::Unnecessary);
            } else {
                assert_eq!(check_of(ip, &sent), [0x5a; 4]);
                assert_eq!(sent.summed, Summed::Partial);
            }
        }
    }
}

#[test]
fn a_damaged_packet_whose_port_stays_is_not_said_to_be_sound() {
    for ip in BOTH {
        let world = World::new();
        let mut at = ip.server(1);
        at.set_port(ip.vip().port());
        world.add(&Service::new(ip, SCTP), &[Server::new(at, Method::Nat)]);
        for summed in [Summed::None, Summed::Complete] {
            let sent = through(&world, ip, |packet| {
                packet.summed = summed;
                packet.bytes[ip.header_len()..][8..12].fill(0x5a);
            });
            assert_eq!(check_of(ip, &sent), [0x5a; 4]);
            assert_eq!(sent.summed, Summed::None);
        }
    }
}
