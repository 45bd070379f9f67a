// SPDX-License-Identifier: GPL-2.0

//! The passing of time: connections end, servers leave the trash, rates follow, and namespaces
//! come and go.

use super::{
    packet::*,
    world::*, //
};
use ipvs_core::netlink::timeout::TimeoutConfig;
use kernel::prelude::*;
use linux::{
    jiffies::HZ,
    net::Net,
    percpu, //
};

fn world_with(ip: Ip, protocol: u8) -> (World, Service, Server) {
    let world = World::new();
    let service = Service::new(ip, protocol);
    let server = Server::new(ip.server(1), Method::Nat);
    world.add(&service, &[server]);
    (world, service, server)
}

#[test]
fn a_connection_of_udp_ends_after_five_silent_minutes() {
    // The counter of ticks passes zero meanwhile.
    for ip in BOTH {
        let (world, service, server) = world_with(ip, UDP);
        world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        assert_eq!(world.conn(), ("UDP".to_owned(), 300));
        world.wait(299);
        assert_eq!(world.conn().1, 1);
        world
            .forward(udp(server.at, ip.client(1), b"an answer"))
            .accepted();
        world.wait(299);
        assert_eq!(world.load_of(&service, &server), (0, 1, 0));
        world.wait(2);
        assert!(world.conns().is_empty());
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn a_packet_before_a_late_timer_keeps_its_connection() {
    for ip in BOTH {
        let (world, service, server) = world_with(ip, UDP);
        for _ in 0..3 {
            world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .sent();
            linux::clock::fall_behind(301 * HZ as usize);
        }
        // The last one is not too late, either.
        world
            .forward(udp(server.at, ip.client(1), b"an answer"))
            .accepted();
        world.wait(299);
        assert_eq!(world.load_of(&service, &server), (0, 1, 0));
        assert_eq!(world.counters(&service).conns, 1);
        world.wait(2);
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn each_state_of_tcp_has_its_time() {
    for ip in BOTH {
        let (world, service, server) = world_with(ip, TCP);
        let request = |flags| world.request(tcp(ip.client(1), ip.vip(), flags));
        let answer = |flags| {
            world
                .forward(tcp(server.at, ip.client(1), flags))
                .accepted()
        };
        let inactive = (0, 1, 0);
        request(SYN).sent();
        assert_eq!(world.conn(), ("SYN_RECV".to_owned(), 60));
        assert_eq!(world.load_of(&service, &server), (1, 0, 0));
        answer(SYN | ACK);
        request(ACK).sent();
        assert_eq!(world.conn(), ("ESTABLISHED".to_owned(), 900));
        assert_eq!(world.load_of(&service, &server), (1, 0, 0));
        answer(FIN | ACK);
        assert_eq!(world.conn(), ("FIN_WAIT".to_owned(), 120));
        assert_eq!(world.load_of(&service, &server), inactive);
        request(FIN | ACK).sent();
        assert_eq!(world.conn(), ("TIME_WAIT".to_owned(), 120));
        request(RST).sent();
        assert_eq!(world.conn(), ("CLOSE".to_owned(), 10));
        world.wait(11);
        assert!(world.conns().is_empty());
        assert_eq!(world.load_of(&service, &server), (0, 0, 0));
    }
}

#[test]
fn times_can_be_set() {
    let ip = Ip::V4;
    let (world, _, _) = world_with(ip, UDP);
    let timeouts = TimeoutConfig {
        tcp: None,
        tcp_fin: None,
        udp: Some(7),
    };
    world.netns(|netns| netns.set_timeouts(&timeouts));
    world
        .request(udp(ip.client(1), ip.vip(), b"request"))
        .sent();
    assert_eq!(world.conn().1, 7);
    world.wait(8);
    assert!(world.conns().is_empty());
}

#[test]
fn half_open_connections_are_dropped_under_pressure() {
    let ip = Ip::V4;
    let (world, service, server) = world_with(ip, TCP);
    for port in 1000..1200 {
        let mut client = ip.client(1);
        client.set_port(port);
        world.request(tcp(client, ip.vip(), SYN)).sent();
    }
    world.set(c"drop_entry", "3");
    world.wait(50);
    let left = world.load_of(&service, &server).0;
    assert!(
        left < 150,
        "{left} of 200 are left, without their time being over"
    );
    world.set(c"drop_entry", "0");
}

#[test]
fn rates_follow_and_come_to_rest() {
    let ip = Ip::V4;
    let (world, service, _) = world_with(ip, UDP);
    world.wait(4);
    for second in 0..20 {
        // Each on another CPU.
        percpu::run_on(second % percpu::CPUS);
        for _ in 0..100 {
            world
                .request(udp(ip.client(1), ip.vip(), b"request"))
                .sent();
        }
        world.wait(1);
    }
    let read = || {
        let read = |service: &crate::service::Service| service.stats().read();
        ok(world.netns(|netns| netns.with_service(&service.id(), read)))
    };
    let rates = read().rates;
    assert!((50..=110).contains(&rates.inpps), "{rates:?}");
    assert_eq!(read().counters.inpkts, 2000);
    world.wait(300);
    assert_eq!(read().rates.inpps, 0);
    // Its counters can begin anew.
    ok(world.netns(|netns| netns.zero_service(&service.id())));
    assert_eq!(read().counters.inpkts, 0);
}

#[test]
fn a_device_that_goes_takes_its_routes_along() {
    for ip in BOTH {
        let (world, _, server) = world_with(ip, UDP);
        world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        let before = linux::route::live();
        world.inside.take_down(world.net);
        assert_eq!(
            linux::route::live(),
            before - 1,
            "the server's cached route is gone"
        );
        world.add_route(server.at.ip(), world.outside, 1500);
        let sent = world
            .request(udp(ip.client(1), ip.vip(), b"request"))
            .sent();
        assert_eq!(parts(&sent.bytes).dst, server.at);
    }
}

#[test]
fn wrong_values_change_nothing() {
    let world = World::new();
    for (name, wrong) in [
        (c"drop_entry", "4"),
        (c"drop_packet", "-1"),
        (c"secure_tcp", "9"),
        (c"conn_lfactor", "100"),
        (c"svc_lfactor", "-100"),
        (c"conn_max", "-1"),
        (c"est_nice", "20"),
        (c"est_cpulist", "nonsense"),
    ] {
        let before = world.net.sysctl(name).unwrap();
        assert!(world.net.set_sysctl(name, wrong).is_err(), "{name:?}");
        assert_eq!(world.net.sysctl(name).unwrap(), before, "{name:?}");
    }
}

#[test]
fn each_service_keeps_the_module_loaded() {
    let module = kernel::module::this_module::<crate::LocalModule>();
    let world = World::new();
    let services = [Service::new(Ip::V4, TCP), Service::new(Ip::V6, UDP)];
    for (count, service) in services.iter().enumerate() {
        assert_eq!(module.users(), count as isize);
        world.add(service, &[]);
        assert_eq!(world.net.hooks(), 3 * (count + 1));
    }
    let error = refused(world.netns(|netns| netns.add_service(&services[0].spec())));
    assert_eq!(error, EEXIST);
    assert_eq!(module.users(), 2);
    // No service, no hooks.
    for service in &services {
        ok(world.netns(|netns| netns.delete_service(&service.id())));
    }
    assert_eq!((module.users(), world.net.hooks()), (0, 0));
    module.set_going(true);
    assert!(world
        .netns(|netns| netns.add_service(&services[0].spec()))
        .is_err());
    module.set_going(false);
    assert_eq!(world.net.hooks(), 0);
}

#[test]
fn a_namespace_ends_with_its_connections_and_no_other() {
    let ip = Ip::V4;
    let (mut world, service, server) = world_with(ip, UDP);
    world
        .request(udp(ip.client(1), ip.vip(), b"request"))
        .sent();

    let first = world.net;
    let second = Net::create().unwrap();
    world.net = second;
    for addr in [ip.vip().ip(), ip.inside()] {
        world.add_address(addr);
    }
    world.add_route(server.at.ip(), world.inside, 1500);
    world.add(&service.persistent(300), &[server]);
    for client in 1..=9 {
        world
            .request(udp(ip.client(client), ip.vip(), b"request"))
            .sent();
    }
    assert_eq!(world.conns().len(), 18);
    second.end();
    assert_eq!((second.users(), second.hooks()), (0, 0));
    assert!(second.read_file(c"ip_vs_conn").is_none());

    world.net = first;
    assert_eq!(world.conns().len(), 1);
    world
        .request(udp(ip.client(1), ip.vip(), b"request"))
        .sent();
}

#[test]
fn a_removed_server_is_forgotten_once_nothing_refers_to_it() {
    let (world, service, server) = world_with(Ip::V4, UDP);
    world
        .request(udp(Ip::V4.client(1), Ip::V4.vip(), b"request"))
        .sent();
    let known = || world.netns(|netns| netns.service_tables().dests.count());
    ok(world.delete_server(&service, &server));
    world.wait(290);
    assert_eq!(known(), 1, "its connection is still there");
    world.wait(400);
    assert_eq!(known(), 0);
}
