// SPDX-License-Identifier: GPL-2.0

//! Each allocation fails once: what it was for is refused, nothing else changes, and all comes back.

use super::{
    packet::*,
    world::*, //
};
use kernel::memory;

/// The services and servers that there are.
fn shape(world: &World, services: &[Service]) -> Vec<Option<usize>> {
    let count = |service: &Service| {
        let count = |service: &crate::service::Service| service.dests.count();
        world
            .netns(|netns| netns.with_service(&service.id(), count))
            .ok()
    };
    services.iter().map(count).collect()
}

/// A life of the module, in which anything may fail.
fn live(world: &mut World) {
    if world.load().is_err() {
        return;
    }
    let mut services = Vec::new();
    for ip in BOTH {
        for (number, scheduler) in (0..).zip(["wlc", "mh"]) {
            let mut at = ip.vip();
            at.set_port(80 + number);
            let service = Service::new(ip, UDP).at(at).scheduler(scheduler);
            services.push(if number == 0 {
                service.persistent(100)
            } else {
                service
            });
        }
    }
    for at in 0..services.len() {
        let service = services[at];
        let before = shape(world, &services);
        let added = world
            .netns(|netns| netns.add_service(&service.spec()))
            .is_ok();
        let mut expected = before;
        if added {
            expected[at] = Some(0);
        }
        assert_eq!(shape(world, &services), expected);
        // As many as need a tree, and are more than have room at first.
        for number in 1..=if at % 2 == 0 { 40 } else { 3 } {
            let ip = if at < 2 { Ip::V4 } else { Ip::V6 };
            let mut server = Server::new(ip.server(1), Method::Nat);
            server.at.set_port(number);
            if world.add_server(&service, &server).is_ok() {
                expected[at] = expected[at].map(|count| count + 1);
            }
            assert_eq!(shape(world, &services), expected);
            let _ = world.edit_server(&service, &server.weight(3));
            if number % 10 == 0 && world.delete_server(&service, &server).is_ok() {
                expected[at] = expected[at].map(|count| count - 1);
            }
            assert_eq!(shape(world, &services), expected);
        }
        for scheduler in ["wrr", "lblcr", "sh", "none"] {
            let edited = service.scheduler(scheduler).spec();
            let _ = world.netns(|netns| netns.edit_service(&edited));
        }
    }
    world.wait(1);
    let _ = world.net.set_sysctl(c"run_estimation", "0");
    let _ = world.net.set_sysctl(c"run_estimation", "1");
    world.netns(|netns| netns.flush());
}

#[test]
fn each_failure_is_an_error_and_nothing_more() {
    // Every allocation of the first ones, and then some of the many.
    let mut after = 0;
    loop {
        let mut world = World::without_module();
        memory::fail_after(after);
        live(&mut world);
        let failed = memory::fail_no_more();
        world.unload();
        if !failed {
            assert!(after > 300, "{after} allocations only");
            break;
        }
        after += if after < 150 { 1 } else { 11 };
    }
}

#[test]
fn each_failure_of_a_packet_is_its_own() {
    for ip in BOTH {
        for method in [Method::Nat, Method::Direct, Method::Tunnel] {
            let world = World::new();
            let service = Service::new(ip, UDP);
            let server = Server::new(ip.server(1), method);
            world.add(&service, &[server]);
            for after in 0.. {
                let mut client = ip.client(1);
                client.set_port(1000 + after);
                let mut packet = world.incoming(udp(client, ip.vip(), b"request"), world.outside);
                (packet.is_cloned, packet.headroom) = (true, 0);
                world.net.renew_routes();
                memory::fail_after(after.into());
                let fate = world.pass(linux::netfilter::HookNum::LocalIn, packet);
                if !memory::fail_no_more() {
                    fate.went();
                    assert!(after > 1);
                    break;
                }
                assert!(matches!(fate, Fate::Dropped | Fate::Gone), "{fate:?}");
                assert_eq!(
                    world.conns().len(),
                    world.load_of(&service, &server).1 as usize
                );
            }
            world.wait(301);
            assert_eq!(world.load_of(&service, &server), (0, 0, 0));
        }
    }
}
