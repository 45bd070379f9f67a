// SPDX-License-Identifier: GPL-2.0

//! Packets, edits and time by chance, against the simplest model: what the servers count is what
//! the table of connections has.

#[path = "../../../../ipvs_core/tests/common/mod.rs"]
mod common;

use super::{
    packet::*,
    world::*, //
};
use proptest::prelude::*;
use std::net::{
    IpAddr,
    SocketAddr, //
};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A packet of a client to a service.
    Request {
        client: u8,
        service: usize,
        flags: u8,
    },
    /// A packet of a server to a client.
    Answer {
        server: u8,
        client: u8,
        service: usize,
        flags: u8,
    },
    /// An error about the answers to a client.
    Error {
        client: u8,
        service: usize,
    },
    AddServer {
        service: usize,
        server: u8,
        weight: i32,
    },
    EditServer {
        service: usize,
        server: u8,
        weight: i32,
    },
    DeleteServer {
        service: usize,
        server: u8,
    },
    /// Deletes a service, or adds it again.
    Service {
        service: usize,
    },
    Set {
        expire_nodest: bool,
        quiescent: bool,
    },
    Wait {
        seconds: u32,
    },
}

const SERVICES: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let (service, server, client) = (0..SERVICES, 1..5u8, 1..6u8);
    let flags = prop_oneof![
        Just(SYN),
        Just(ACK),
        Just(FIN | ACK),
        Just(RST),
        Just(SYN | ACK)
    ];
    let weight = 0..4;
    prop_oneof![
        8 => (client.clone(), service.clone(), flags.clone())
            .prop_map(|(client, service, flags)| Step::Request { client, service, flags }),
        4 => (server.clone(), client.clone(), service.clone(), flags).prop_map(
            |(server, client, service, flags)| Step::Answer { server, client, service, flags }
        ),
        1 => (client, service.clone())
            .prop_map(|(client, service)| Step::Error { client, service }),
        2 => (service.clone(), server.clone(), weight.clone()).prop_map(
            |(service, server, weight)| Step::AddServer { service, server, weight }
        ),
        1 => (service.clone(), server.clone(), weight).prop_map(
            |(service, server, weight)| Step::EditServer { service, server, weight }
        ),
        1 => (service.clone(), server)
            .prop_map(|(service, server)| Step::DeleteServer { service, server }),
        1 => service.prop_map(|service| Step::Service { service }),
        1 => any::<(bool, bool)>()
            .prop_map(|(expire_nodest, quiescent)| Step::Set { expire_nodest, quiescent }),
        2 => (0..400u32).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// TCP and UDP, with and without persistence; of the last one each server has another method.
fn service(ip: Ip, number: usize) -> Service {
    let service = Service::new(ip, if number % 2 == 0 { TCP } else { UDP });
    let mut at = ip.vip();
    at.set_port(80 + number as u16);
    let service = service
        .at(at)
        .scheduler(["wrr", "wlc", "sh", "lblcr"][number]);
    match number {
        0 | 1 => service,
        _ => service.persistent(200),
    }
}

fn server(ip: Ip, service: usize, number: u8) -> Server {
    let method = match (service, number) {
        (3, 1) => Method::Direct,
        (3, 2) => Method::Tunnel,
        _ => Method::Nat,
    };
    // Each of another port, so that a line of the table is of one service.
    let mut at = ip.server(number);
    at.set_port(8080 + service as u16);
    Server::new(at, method)
}

/// An address as the table of connections shows it.
fn shown(at: SocketAddr) -> String {
    let addr = match at.ip() {
        IpAddr::V4(addr) => format!("{:08X}", addr.to_bits()),
        IpAddr::V6(addr) => {
            let words = addr.segments().map(|word| format!("{word:04x}"));
            words.join(":")
        }
    };
    format!("{addr} {:04X}", at.port())
}

struct Run {
    world: World,
    ip: Ip,
    there: [bool; SERVICES],
}

impl Run {
    fn new(ip: Ip) -> Self {
        let world = World::new();
        for number in 0..SERVICES {
            world.add(
                &service(ip, number),
                &[server(ip, number, 1), server(ip, number, 2)],
            );
        }
        Self {
            world,
            ip,
            there: [true; SERVICES],
        }
    }

    fn packet(&self, src: SocketAddr, dst: SocketAddr, number: usize, flags: u8) -> Vec<u8> {
        match number % 2 {
            0 => tcp(src, dst, flags),
            _ => udp(src, dst, b"some data"),
        }
    }

    fn vip(&self, number: usize) -> SocketAddr {
        let mut vip = self.ip.vip();
        vip.set_port(80 + number as u16);
        vip
    }

    fn step(&mut self, step: Step) {
        let (world, ip) = (&self.world, self.ip);
        match step {
            Step::Request {
                client,
                service,
                flags,
            } => {
                let request = self.packet(ip.client(client), self.vip(service), service, flags);
                match world.request(request) {
                    Fate::Sent(packet) => assert_sound(&packet.bytes),
                    Fate::Accepted(packet) => assert_sound(&packet.bytes),
                    _ => {}
                }
            }
            Step::Answer {
                server: number,
                client,
                service,
                flags,
            } => {
                let from = server(ip, service, number).at;
                let answer = self.packet(from, ip.client(client), service, flags);
                assert_sound(&world.forward(answer).accepted().bytes);
            }
            Step::Error { client, service } => {
                let answer = self.packet(self.vip(service), ip.client(client), service, ACK);
                let kind = if ip == Ip::V4 { (3, 3) } else { (1, 4) };
                let error = icmp(ip.client(client).ip(), ip.vip().ip(), kind, 0, &answer);
                if let Fate::Sent(packet) = world.request(error) {
                    assert_sound(&packet.bytes);
                }
            }
            Step::AddServer {
                service: number,
                server: at,
                weight,
            } => {
                let server = server(ip, number, at).weight(weight);
                let _ = world.add_server(&service(ip, number), &server);
            }
            Step::EditServer {
                service: number,
                server: at,
                weight,
            } => {
                let server = server(ip, number, at).weight(weight);
                let _ = world.edit_server(&service(ip, number), &server);
            }
            Step::DeleteServer {
                service: number,
                server: at,
            } => {
                let _ = world.delete_server(&service(ip, number), &server(ip, number, at));
            }
            Step::Service { service: number } => {
                let there = &mut self.there[number];
                let service = service(ip, number);
                if *there {
                    ok(world.netns(|netns| netns.delete_service(&service.id())));
                } else {
                    world.add(&service, &[server(ip, number, 1)]);
                }
                *there = !*there;
            }
            Step::Set {
                expire_nodest,
                quiescent,
            } => {
                world.set(c"expire_nodest_conn", if expire_nodest { "1" } else { "0" });
                world.set(
                    c"expire_quiescent_template",
                    if quiescent { "1" } else { "0" },
                );
            }
            Step::Wait { seconds } => world.wait(seconds),
        }
        world.events();
    }

    /// Checks that the counts of servers are those of the connections that exist.
    fn check(&self) -> Result<(), TestCaseError> {
        // What has just been ended goes with the next tick.
        linux::clock::advance(1);
        let lines = self.world.conns();
        for number in (0..SERVICES).filter(|&number| self.there[number]) {
            for (at, (active, inactive, templates)) in self.world.loads(&service(self.ip, number)) {
                let wanted = format!(" {} ", shown(at));
                let of_server = lines.iter().filter(|line| line.contains(&wanted));
                let is_template =
                    |line: &&String| line.contains("NONE") || line.contains("ASSURED");
                let count = of_server.clone().count() as u32;
                // A template that is not used any more shows another port.
                let shown = of_server.filter(is_template).count() as u32;
                prop_assert!(shown <= templates, "{at}: {templates} templates, {lines:?}");
                prop_assert_eq!(count - shown, active + inactive, "{}: {:?}", at, lines);
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), TestCaseError> {
        self.world.netns(|netns| netns.flush());
        self.there = [false; SERVICES];
        self.world.wait(4000);
        prop_assert!(self.world.conns().is_empty(), "{:?}", self.world.conns());
        let known = self
            .world
            .netns(|netns| netns.service_tables().dests.count());
        prop_assert_eq!(known, 0, "servers are left");
        Ok(())
    }
}

#[test]
fn servers_count_their_connections_whatever_happens() {
    for ip in BOTH {
        common::holds(40, prop::collection::vec(step(), 1..80), |steps| {
            let mut run = Run::new(ip);
            for step in steps {
                run.step(step);
                run.check()?;
            }
            run.end()
        });
    }
}
