// SPDX-License-Identifier: GPL-2.0

//! The daemons that synchronise connections: what the master sends, and what a backup takes.

use super::{
    packet::*,
    world::*, //
};
use ipvs_core::{
    net::Be16,
    netlink::{
        daemon::DaemonSpec,
        CONN_F_TEMPLATE, //
    },
    sync::{
        Datagram,
        Received,
        GROUP,
        PORT, //
    },
};
use kernel::{
    memory,
    prelude::*, //
};
use linux::{
    events::{
        self,
        Event, //
    },
    socket, //
};
use std::net::SocketAddr;

const MASTER: u32 = 1;
const BACKUP: u32 = 2;

fn spec(state: u32) -> DaemonSpec<'static> {
    DaemonSpec {
        state,
        interface: b"sync",
        sync_id: 9,
        max_len: 0,
        group: None,
        port: 0,
        ttl: 0,
    }
}

fn start(world: &World, state: u32) -> Result {
    world.netns(|netns| netns.start_daemon(&spec(state)))
}

fn stop(world: &World, state: u32) -> Result {
    world.netns(|netns| netns.stop_daemon(state))
}

fn group(number: u16) -> SocketAddr {
    (GROUP, PORT + number).into()
}

/// The datagrams that were sent since the last time.
fn datagrams() -> Vec<Vec<u8>> {
    let sent = events::take().into_iter().filter_map(|event| match event {
        Event::Datagram(to, bytes) => {
            assert_eq!(to.ip(), group(0).ip());
            Some(bytes)
        }
        _ => None,
    });
    sent.collect()
}

/// Each entry of datagrams: the client's port, flags, state and timeout.
fn told(datagrams: &[Vec<u8>]) -> Vec<(Be16, u32, u16, u32)> {
    let mut found = Vec::new();
    for bytes in datagrams {
        for entry in Datagram::parse(bytes, 9).unwrap().entries() {
            found.push(match entry.unwrap() {
                Received::V4(entry) => (entry.cport, entry.flags, entry.state, entry.timeout),
                Received::V6(entry) => (entry.cport, entry.flags, entry.state, entry.timeout),
            });
        }
    }
    found
}

fn service(ip: Ip) -> Service {
    Service::new(ip, UDP)
}

#[test]
fn a_connection_is_sent_with_its_third_packet_and_each_fiftieth_after_it() {
    for ip in BOTH {
        let world = World::new();
        world.add(&service(ip), &[Server::new(ip.server(1), Method::Nat)]);
        start(&world, MASTER).unwrap();
        let mut sent = Vec::new();
        for number in 1..=120 {
            world.request(udp(ip.client(1), ip.vip(), b"again")).went();
            world.wait(3);
            let entries = told(&datagrams());
            for (cport, _, _, timeout) in entries {
                assert_eq!(cport.host(), ip.client(1).port());
                assert_eq!(timeout, 300);
                sent.push(number);
            }
        }
        assert_eq!(sent, [3, 53, 103]);
    }
}

#[test]
fn a_template_is_sent_at_each_use_unless_its_end_has_hardly_moved() {
    let world = World::new();
    let service = service(Ip::V4).persistent(360);
    world.add(&service, &[Server::new(Ip::V4.server(1), Method::Nat)]);
    start(&world, MASTER).unwrap();
    world.set(c"sync_persist_mode", "1");
    let uses = || {
        for _ in 0..3 {
            let packet = udp(Ip::V4.client(1), Ip::V4.vip(), b"again");
            world.request(packet).went();
        }
        world.wait(3);
        told(&datagrams())
    };
    let entries = uses();
    assert_eq!(entries.len(), 3);
    for (cport, flags, _, timeout) in entries {
        assert_eq!((cport, timeout), (Be16::ZERO, 360));
        assert_ne!(flags & CONN_F_TEMPLATE, 0);
    }
    world.set(c"sync_refresh_period", "60");
    assert_eq!(uses(), []);
    world.wait(60);
    assert_eq!(uses().len(), 1);
}

#[test]
fn a_backup_that_is_stopped_has_nothing_to_complain_of() {
    let world = World::new();
    start(&world, BACKUP).unwrap();
    world.wait(1);
    stop(&world, BACKUP).unwrap();
    let lines = linux::printk::take_lines();
    assert!(
        !lines.iter().any(|line| line.contains("ignored")),
        "{lines:?}"
    );
}

#[test]
fn what_a_master_sends_makes_the_same_connection_in_a_backup() {
    for ip in BOTH {
        let server = Server::new(ip.server(1), Method::Direct);
        let sent = {
            let world = World::new();
            world.add(&service(ip), &[server]);
            start(&world, MASTER).unwrap();
            for _ in 0..3 {
                world.request(udp(ip.client(1), ip.vip(), b"again")).went();
            }
            world.wait(3);
            datagrams()
        };
        assert_eq!(sent.len(), 1);

        let world = World::new();
        world.add(&service(ip), &[server]);
        start(&world, BACKUP).unwrap();
        world.wait(1);
        assert_eq!(socket::deliver(group(0), &sent[0]), 1);
        world.wait(1);
        let (state, left) = world.conn();
        assert_eq!(state, "UDP");
        assert!((297..=300).contains(&left), "{left}");
        assert_eq!(world.load_of(&service(ip), &server), (0, 1, 0));
    }
}

#[test]
fn a_backup_only_leaves_requests_alone_while_it_is_a_backup() {
    let world = World::new();
    let ip = Ip::V4;
    world.add(&service(ip), &[Server::new(ip.server(1), Method::Direct)]);
    world.set(c"backup_only", "1");
    let request = || world.request(udp(ip.client(1), ip.vip(), b"again"));
    request().went();
    start(&world, BACKUP).unwrap();
    request().accepted();
    stop(&world, BACKUP).unwrap();
    request().went();
}

#[test]
fn daemons_are_started_and_stopped_once() {
    let world = World::new();
    for state in [MASTER, BACKUP] {
        assert_eq!(stop(&world, state), Err(ESRCH));
        start(&world, state).unwrap();
        assert_eq!(start(&world, state), Err(EEXIST));
    }
    for state in [MASTER, BACKUP] {
        stop(&world, state).unwrap();
        assert_eq!(stop(&world, state), Err(ESRCH));
    }
    assert_eq!(stop(&world, 3), Err(EINVAL));
    assert_eq!(start(&world, 3), Err(EINVAL));
    let elsewhere = DaemonSpec {
        interface: b"nowhere",
        ..spec(3)
    };
    let refused = world.netns(|netns| netns.start_daemon(&elsewhere));
    assert_eq!(refused, Err(ENODEV));
}

#[test]
fn a_daemon_that_runs_goes_with_the_module() {
    let world = World::new();
    world.set(c"sync_ports", "4");
    for state in [MASTER, BACKUP] {
        start(&world, state).unwrap();
    }
    world.wait(5);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    for state in [MASTER, BACKUP] {
        for allowed in 0.. {
            let world = World::new();
            memory::fail_after(allowed);
            let started = start(&world, state);
            let failed = memory::fail_no_more();
            match started {
                Ok(()) if !failed => break,
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, ENOMEM);
                    assert_eq!(stop(&world, state), Err(ESRCH));
                    start(&world, state).unwrap();
                }
            }
        }
    }
}

#[test]
fn entries_are_lost_and_memory_is_not_when_nobody_sends_them() {
    let world = World::new();
    let ip = Ip::V4;
    world.add(&service(ip), &[Server::new(ip.server(1), Method::Direct)]);
    world.set(c"sync_qlen_max", "2");
    world.set(c"sync_threshold", "0 1");
    start(&world, MASTER).unwrap();
    // The clock stands still, and with it the thread.
    for _ in 0..1000 {
        world.request(udp(ip.client(1), ip.vip(), b"again")).went();
    }
    world.wait(1);
    let entries = told(&datagrams()).len();
    assert!((70..=90).contains(&entries), "{entries}");
}
