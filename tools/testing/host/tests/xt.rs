// SPDX-License-Identifier: GPL-2.0

//! Rules with `-m ipvs` of iptables: which packets are found to have which connection. What the
//! options mean is tested in `ipvs_core`.

use super::{
    packet::*,
    world::*, //
};
use crate::xt::{
    ip_vs_xt_check,
    ip_vs_xt_match, //
};
use kernel::prelude::*;
use linux::{
    net::Net,
    printk,
    skb::{
        Conntrack,
        Packet, //
    },
};
use std::net::{
    IpAddr,
    SocketAddr, //
};

const PROPERTY: u8 = 1;
const PROTO: u8 = 1 << 1;
const VADDR: u8 = 1 << 2;
const VPORT: u8 = 1 << 3;
const DIR: u8 = 1 << 4;
const METHOD: u8 = 1 << 5;
const VPORTCTL: u8 = 1 << 6;

/// The options of a rule.
#[derive(Clone, Copy)]
struct Rule {
    vaddr: IpAddr,
    vport: u16,
    protocol: u8,
    method: u8,
    control: u16,
    given: u8,
    inverted: u8,
}

impl Rule {
    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        match self.vaddr {
            IpAddr::V4(addr) => bytes[..4].copy_from_slice(&addr.octets()),
            IpAddr::V6(addr) => bytes[..16].copy_from_slice(&addr.octets()),
        }
        bytes[16..32].fill(0xff);
        bytes[32..34].copy_from_slice(&self.vport.to_be_bytes());
        bytes[34..36].copy_from_slice(&[self.protocol, self.method]);
        bytes[36..38].copy_from_slice(&self.control.to_be_bytes());
        bytes[38..].copy_from_slice(&[self.inverted, self.given]);
        bytes
    }

    fn given(self, given: u8) -> Self {
        Self { given, ..self }
    }

    fn inverted(self, inverted: u8) -> Self {
        Self { inverted, ..self }
    }

    fn matches(&self, packet: &Packet, world: &World) -> bool {
        self.matches_in(packet, world.net)
    }

    fn matches_in(&self, packet: &Packet, net: &Net) -> bool {
        ip_vs_xt_match(packet, &self.bytes(), net)
    }
}

/// Options that the connections of a service at this address meet, by NAT.
fn rule(vip: SocketAddr, protocol: u8) -> Rule {
    Rule {
        vaddr: vip.ip(),
        vport: vip.port(),
        protocol,
        method: 0,
        control: vip.port(),
        given: PROTO | VADDR | VPORT | METHOD,
        inverted: 0,
    }
}

/// A rule that anything with a connection matches.
fn any(ip: Ip) -> Rule {
    rule(ip.vip(), 0).given(VPORT)
}

/// No rule that asks for a connection matches, nor does its inversion.
#[track_caller]
fn assert_no_conn(world: &World, packet: &Packet, rule: Rule) {
    for given in [PROTO, VADDR, VPORT, DIR, METHOD, VPORTCTL] {
        for inverted in [0, given] {
            let rule = rule.given(given).inverted(inverted);
            assert!(!rule.matches(packet, world), "{given:#x} {inverted:#x}");
        }
    }
}

fn world_with(ip: Ip, protocol: u8, method: Method) -> (World, Server) {
    let world = World::new();
    let server = Server::new(ip.server(1), method);
    world.add(&Service::new(ip, protocol), &[server]);
    (world, server)
}

#[test]
fn a_request_has_its_connection_once_it_is_on_its_way() {
    for ip in BOTH {
        for protocol in [TCP, UDP] {
            for (method, number) in [(Method::Nat, 0), (Method::Direct, 3)] {
                let (world, _) = world_with(ip, protocol, method);
                let first = world.first(ip.client(1), ip.vip(), protocol);
                let rule = Rule {
                    method: number,
                    ..rule(ip.vip(), protocol)
                };
                let before = Packet::new(first.clone());
                assert_no_conn(&world, &before, rule);
                assert!(!rule.given(PROPERTY).matches(&before, &world));

                let sent = world.request(first).sent();
                assert!(rule.given(PROPERTY).matches(&sent, &world));
                assert!(rule.matches(&sent, &world));
                for option in [PROTO, VADDR, VPORT, METHOD] {
                    assert!(!rule.inverted(option).matches(&sent, &world));
                }
                assert!(!rule.given(VPORTCTL).matches(&sent, &world));
            }
        }
    }
}

#[test]
fn an_answer_has_none() {
    for ip in BOTH {
        let (world, server) = world_with(ip, UDP, Method::Nat);
        world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        let answer = world.forward(udp(server.at, ip.client(1), b"answer"));
        let answer = answer.accepted();
        let rule = rule(ip.vip(), UDP);
        assert!(rule.given(PROPERTY).matches(&answer, &world));
        assert_no_conn(&world, &answer, rule);
    }
}

#[test]
fn the_port_of_control_is_the_templates() {
    for ip in BOTH {
        for (at, control) in [(ip.vip().port(), ip.vip().port()), (0, 0)] {
            let world = World::new();
            let service = Service::new(ip, UDP).at((ip.vip().ip(), at).into());
            let server = Server::new((ip.server(1).ip(), at).into(), Method::Nat);
            world.add(&service.persistent(60), &[server]);
            let sent = world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .sent();
            let rule = rule(ip.vip(), UDP).given(VPORTCTL);
            let with = |control| Rule { control, ..rule };
            assert!(with(control).matches(&sent, &world));
            assert!(!with(control ^ 1).matches(&sent, &world));
            assert!(!with(control).inverted(VPORTCTL).matches(&sent, &world));
        }
    }
}

#[test]
fn the_direction_is_that_of_conntrack() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Method::Nat);
        let sent = world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        let rule = rule(ip.vip(), UDP).given(DIR);
        for (conntrack, is_tracked) in [
            (Conntrack::None, false),
            (Conntrack::Untracked, false),
            (Conntrack::New, true),
            (Conntrack::Confirmed, true),
        ] {
            for is_original in [false, true] {
                let packet = Packet {
                    conntrack,
                    is_original,
                    ..sent.clone()
                };
                let original = rule.matches(&packet, &world);
                assert_eq!(original, is_tracked && is_original);
                let reply = rule.inverted(DIR).matches(&packet, &world);
                assert_eq!(reply, is_tracked && !is_original);
            }
        }
    }
}

#[test]
fn no_truncated_packet_has_a_connection() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Method::Nat);
        let sent = world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        for len in 0..sent.bytes.len() {
            let mut packet = sent.clone();
            packet.bytes.truncate(len);
            packet.linear = len;
            // The ports are enough.
            let has_ports = len >= ip.header_len() + 4;
            assert_eq!(any(ip).matches(&packet, &world), has_ports, "{len} bytes");
        }
    }
}

#[test]
fn later_fragments_have_none_whatever_they_carry() {
    let (world, _) = world_with(Ip::V4, UDP, Method::Nat);
    let sent = world
        .request(udp(Ip::V4.client(1), Ip::V4.vip(), b"request"))
        .sent();
    let mut fragment = sent.clone();
    // More follow: the first one.
    fragment.bytes[6] = 0x20;
    assert!(any(Ip::V4).matches(&fragment, &world));
    fragment.bytes[7] = 1;
    assert_no_conn(&world, &fragment, any(Ip::V4));
}

#[test]
fn packets_of_ipsec_have_that_of_their_isakmp_dialogue() {
    for ip in BOTH {
        let world = World::new();
        let vip = SocketAddr::from((ip.vip().ip(), 500));
        let server = SocketAddr::from((ip.server(1).ip(), 500));
        let client = SocketAddr::from((ip.client(1).ip(), 500));
        let service = Service::new(ip, UDP).at(vip);
        world.add(&service, &[Server::new(server, Method::Nat)]);
        world.request(udp(client, vip, b"isakmp")).sent();
        for protocol in 0..=u8::MAX {
            let payload = vec![0; 24];
            let packet = Packet {
                ipvs_property: true,
                ..Packet::new(ip_packet(client, server, protocol, payload))
            };
            // With IPv6, AH is an extension header, before something that C can't know either.
            let is_ipsec = protocol == 50 || protocol == 51 && ip == Ip::V4;
            let rule = rule(vip, protocol);
            assert_eq!(rule.matches(&packet, &world), is_ipsec, "{protocol}");
        }
    }
}

fn ip_packet(src: SocketAddr, dst: SocketAddr, protocol: u8, payload: Vec<u8>) -> Vec<u8> {
    bare_ip(src.ip(), dst.ip(), protocol, payload)
}

#[test]
fn a_connection_is_one_of_its_own_namespace() {
    for ip in BOTH {
        let (world, _) = world_with(ip, UDP, Method::Nat);
        let sent = world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        let other = Net::create().unwrap();
        assert!(!any(ip).matches_in(&sent, other));
        assert!(any(ip).given(PROPERTY).matches_in(&sent, other));
        other.end();
        assert!(!any(ip).matches_in(&sent, other));
        assert!(any(ip).given(PROPERTY).matches_in(&sent, other));
        assert!(any(ip).matches(&sent, &world));
    }
}

#[test]
fn other_families_are_refused() {
    let world = World::new();
    printk::take_lines();
    for family in 0..=u8::MAX {
        let result = ip_vs_xt_check(world.net, family);
        match family {
            2 | 10 => assert!(result.is_ok()),
            _ => assert_eq!(result, Err(EINVAL)),
        }
    }
    let lines = printk::take_lines();
    assert!(
        lines[0].contains("xt_ipvs: protocol family 0 not supported"),
        "{lines:?}"
    );
}
