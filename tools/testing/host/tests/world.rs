// SPDX-License-Identifier: GPL-2.0

//! A host with the module loaded: a client side, a server side, and addresses of its own.

use super::packet::{
    parts,
    tcp,
    udp,
    TCP,
    UDP, //
};
use crate::{
    control::ControlResult,
    netns::Netns, //
};
use ipvs_core::{
    net::{
        Be16,
        Be32, //
    },
    netlink::{
        dest::{
            DestId,
            DestSpec, //
        },
        service::{
            FlagsUpdate,
            ServiceId,
            ServiceSpec, //
        },
        AF_INET,
        AF_INET6,
        FWD_DROUTE,
        FWD_LOCALNODE,
        FWD_MASQ,
        FWD_TUNNEL,
        IP_VS_SVC_F_ONEPACKET,
        IP_VS_SVC_F_PERSISTENT, //
    },
    stats::Counters,
};
use kernel::{
    memory,
    prelude::*, //
};
use linux::{
    clock,
    events::{
        self,
        Event,
        Icmp, //
    },
    jiffies::HZ,
    net::{
        self,
        Net, //
    },
    netdevice::Device,
    netfilter::{
        HookNum,
        Verdict, //
    },
    percpu, printk, random,
    route::{
        self,
        Rt6Info,
        Rtable,
        Way, //
    },
    skb::{
        self,
        Packet,
        PacketRoute,
        Skb, //
    },
};
use std::{
    cell::RefCell,
    net::{
        IpAddr,
        SocketAddr, //
    },
    sync::{
        Mutex,
        MutexGuard,
        PoisonError, //
    },
};

/// The kernel that the stand-ins are is one, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// IPv4 or IPv6, for tests that hold for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ip {
    V4,
    V6,
}

pub(super) const BOTH: [Ip; 2] = [Ip::V4, Ip::V6];

impl Ip {
    fn at(self, subnet: u8, host: u8, port: u16) -> SocketAddr {
        let addr: IpAddr = match self {
            Self::V4 => [10, 0, subnet, host].into(),
            Self::V6 => [0xfd00, 0, 0, subnet.into(), 0, 0, 0, host.into()].into(),
        };
        (addr, port).into()
    }

    /// An address of the host, with a service.
    pub(super) fn vip(self) -> SocketAddr {
        self.at(0, 1, 80)
    }

    pub(super) fn client(self, number: u8) -> SocketAddr {
        self.at(1, number, 40_000)
    }

    pub(super) fn server(self, number: u8) -> SocketAddr {
        self.at(2, number, 8080)
    }

    /// The host's address on the side of the servers.
    pub(super) fn inside(self) -> IpAddr {
        self.at(2, 254, 0).ip()
    }

    pub(super) fn router(self) -> IpAddr {
        self.at(3, 1, 0).ip()
    }

    fn af(self) -> u16 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }

    pub(super) fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

fn bytes_of(addr: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match addr {
        IpAddr::V4(addr) => bytes[..4].copy_from_slice(&addr.octets()),
        IpAddr::V6(addr) => bytes = addr.octets(),
    }
    bytes
}

/// A service, as ipvsadm would name it.
#[derive(Clone, Copy)]
pub(super) struct Service {
    ip: Ip,
    protocol: u8,
    pub(super) at: SocketAddr,
    fwmark: u32,
    scheduler: &'static str,
    pe: Option<&'static str>,
    flags: u32,
    timeout: u32,
}

impl Service {
    pub(super) fn new(ip: Ip, protocol: u8) -> Self {
        Self {
            ip,
            protocol,
            at: ip.vip(),
            fwmark: 0,
            scheduler: "rr",
            pe: None,
            flags: 0,
            timeout: 0,
        }
    }

    pub(super) fn at(self, at: SocketAddr) -> Self {
        Self { at, ..self }
    }

    pub(super) fn fwmark(self, fwmark: u32) -> Self {
        Self { fwmark, ..self }
    }

    pub(super) fn scheduler(self, scheduler: &'static str) -> Self {
        Self { scheduler, ..self }
    }

    pub(super) fn persistent(self, timeout: u32) -> Self {
        Self {
            flags: self.flags | IP_VS_SVC_F_PERSISTENT,
            timeout,
            ..self
        }
    }

    pub(super) fn pe(self, pe: &'static str) -> Self {
        Self {
            pe: Some(pe),
            ..self
        }
    }

    pub(super) fn one_packet(self) -> Self {
        Self {
            flags: self.flags | IP_VS_SVC_F_ONEPACKET,
            ..self
        }
    }

    pub(super) fn id(&self) -> ServiceId {
        match self.fwmark {
            0 => ServiceId {
                family: self.ip.af(),
                protocol: self.protocol.into(),
                addr: bytes_of(self.at.ip()),
                port: Be16::new(self.at.port()),
                fwmark: 0,
            },
            fwmark => ServiceId {
                family: self.ip.af(),
                protocol: 0,
                addr: [0; 16],
                port: Be16::ZERO,
                fwmark,
            },
        }
    }

    pub(super) fn spec(&self) -> ServiceSpec<'static> {
        ServiceSpec {
            id: self.id(),
            sched_name: self.scheduler.as_bytes(),
            pe_name: self.pe.map(str::as_bytes),
            flags: FlagsUpdate {
                value: self.flags,
                mask: !0,
            },
            timeout: self.timeout,
            netmask: match self.ip {
                Ip::V4 => Be32::new(0xffff_ffff),
                Ip::V6 => Be32::from_raw(128),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Nat,
    Tunnel,
    Direct,
    Local,
}

/// A server.
#[derive(Clone, Copy)]
pub(super) struct Server {
    pub(super) at: SocketAddr,
    method: Method,
    weight: i32,
    tunnel: (u8, u16, u16),
    thresholds: (u32, u32),
}

impl Server {
    pub(super) fn new(at: SocketAddr, method: Method) -> Self {
        Self {
            at,
            method,
            weight: 1,
            tunnel: (0, 0, 0),
            thresholds: (0, 0),
        }
    }

    pub(super) fn weight(self, weight: i32) -> Self {
        Self { weight, ..self }
    }

    /// By a tunnel of a type, to a port, with flags.
    pub(super) fn tunnel(self, kind: u8, port: u16, flags: u16) -> Self {
        Self {
            tunnel: (kind, port, flags),
            ..self
        }
    }

    pub(super) fn thresholds(self, upper: u32, lower: u32) -> Self {
        Self {
            thresholds: (upper, lower),
            ..self
        }
    }

    fn id(&self) -> DestId {
        DestId {
            family: if self.at.is_ipv4() { AF_INET } else { AF_INET6 },
            addr: bytes_of(self.at.ip()),
            port: Be16::new(self.at.port()),
        }
    }

    fn spec(&self) -> DestSpec {
        DestSpec {
            id: self.id(),
            fwd_method: match self.method {
                Method::Nat => FWD_MASQ,
                Method::Tunnel => FWD_TUNNEL,
                Method::Direct => FWD_DROUTE,
                Method::Local => FWD_LOCALNODE,
            },
            one_packet: false,
            nfct: false,
            weight: self.weight,
            upper: self.thresholds.0,
            lower: self.thresholds.1,
            tun_type: self.tunnel.0,
            tun_port: Be16::new(self.tunnel.1),
            tun_flags: self.tunnel.2,
        }
    }
}

/// The fate of a packet.
#[derive(Debug)]
pub(super) enum Fate {
    /// It goes on where it was going.
    Accepted(Packet),
    Dropped,
    /// Dropped, and the sender is told that nobody is there.
    Refused,
    /// Sent to where its route leads.
    Sent(Packet),
    Tunnelled(Packet),
    /// Freed, or kept.
    Gone,
}

impl Fate {
    #[track_caller]
    pub(super) fn accepted(self) -> Packet {
        match self {
            Self::Accepted(packet) => packet,
            other => panic!("not accepted, but {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn sent(self) -> Packet {
        match self {
            Self::Sent(packet) => packet,
            other => panic!("not sent, but {other:?}"),
        }
    }

    /// Sent in whatever way.
    #[track_caller]
    pub(super) fn went(self) -> Packet {
        match self {
            Self::Sent(packet) | Self::Tunnelled(packet) => packet,
            other => panic!("went nowhere, but {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn tunnelled(self) -> Packet {
        match self {
            Self::Tunnelled(packet) => packet,
            other => panic!("not put into a tunnel, but {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn assert_dropped(self) {
        assert!(matches!(self, Self::Dropped), "not dropped, but {self:?}");
    }

    #[track_caller]
    pub(super) fn assert_gone(self) {
        assert!(matches!(self, Self::Gone), "not gone, but {self:?}");
    }
}

/// Connections of a server: active, inactive, and templates.
pub(super) type Load = (u32, u32, u32);

pub(super) struct World {
    pub(super) net: &'static Net,
    pub(super) outside: &'static Device,
    pub(super) inside: &'static Device,
    pub(super) loopback: &'static Device,
    module: Option<crate::IpVs>,
    events: RefCell<Vec<Event>>,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self::without_module();
        world.load().unwrap();
        world
    }

    pub(super) fn without_module() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        memory::fail_no_more();
        kernel::module::this_module::<crate::LocalModule>().reset();
        clock::reset();
        random::reset();
        percpu::run_on(0);
        linux::capability::set_net_admin(true);
        linux::memory::set_available_pages(1 << 20);
        events::take();
        printk::take_lines();
        let world = Self {
            net: net::reset(),
            outside: Device::make("outside", false),
            inside: Device::make("inside", false),
            loopback: Device::make("lo", true),
            module: None,
            events: RefCell::new(Vec::new()),
            _turn: turn,
        };
        for ip in BOTH {
            world.add_address(ip.vip().ip());
            world.add_address(ip.inside());
            world.add_route(ip.router(), world.inside, 1500);
            for number in 1..=9 {
                world.add_route(ip.client(number).ip(), world.outside, 1500);
                world.add_route(ip.server(number).ip(), world.inside, 1500);
            }
        }
        world
    }

    pub(super) fn load(&mut self) -> Result {
        self.module = Some(crate::load()?);
        Ok(())
    }

    /// Unloads the module and looks for what it left behind.
    #[track_caller]
    pub(super) fn unload(&mut self) {
        self.module = None;
        self.events.take();
        events::take();
        assert_eq!(memory::live(), 0, "memory is leaked");
        assert_eq!(skb::live(), 0, "packets are leaked");
        assert_eq!(route::live(), 0, "routes are leaked");
        assert_eq!(
            clock::waiting(),
            (0, 0),
            "timers and works outlive the module"
        );
        assert_eq!(self.net.hooks(), 0);
        assert_eq!(
            self.net.tracking.load(std::sync::atomic::Ordering::SeqCst),
            0
        );
        let module = kernel::module::this_module::<crate::LocalModule>();
        assert_eq!(module.users(), 0, "the module has users");
    }

    pub(super) fn add_address(&self, addr: IpAddr) {
        self.add_way(addr, self.loopback, 65_535, true);
    }

    pub(super) fn add_route(&self, addr: IpAddr, device: &'static Device, mtu: u32) {
        self.add_way(addr, device, mtu, false);
    }

    fn add_way(&self, addr: IpAddr, device: &'static Device, mtu: u32, is_local: bool) {
        let ip = if addr.is_ipv4() { Ip::V4 } else { Ip::V6 };
        let way = Way {
            device,
            mtu,
            source: ip.inside(),
            is_local,
        };
        self.net.add_route(addr, way);
    }

    pub(super) fn set(&self, name: &CStr, text: &str) {
        self.net.set_sysctl(name, text).unwrap();
    }

    pub(super) fn netns<R>(&self, f: impl FnOnce(Pin<&Netns>) -> R) -> R {
        self.net.with(f)
    }

    #[track_caller]
    pub(super) fn add(&self, service: &Service, servers: &[Server]) {
        ok(self.netns(|netns| netns.add_service(&service.spec())));
        for server in servers {
            ok(self.add_server(service, server));
        }
    }

    pub(super) fn add_server(&self, service: &Service, server: &Server) -> ControlResult {
        self.netns(|netns| netns.add_dest(&service.id(), &server.spec()))
    }

    pub(super) fn edit_server(&self, service: &Service, server: &Server) -> ControlResult {
        self.netns(|netns| netns.edit_dest(&service.id(), &server.spec()))
    }

    pub(super) fn delete_server(&self, service: &Service, server: &Server) -> ControlResult {
        self.netns(|netns| netns.delete_dest(&service.id(), &server.id()))
    }

    pub(super) fn counters(&self, service: &Service) -> Counters {
        let read = |service: &crate::service::Service| service.stats().read().counters;
        ok(self.netns(|netns| netns.with_service(&service.id(), read)))
    }

    /// The connections of each server, by its address.
    pub(super) fn loads(&self, service: &Service) -> Vec<(SocketAddr, Load)> {
        let show = |dest: &crate::service::dest::Dest| {
            let addr = match dest.addr() {
                ipvs_core::net::Addr::V4(addr) => IpAddr::from(addr.to_bytes()),
                ipvs_core::net::Addr::V6(addr) => IpAddr::from(addr.to_bytes()),
            };
            let load = (
                dest.active_conns(),
                dest.inactive_conns(),
                dest.persist_conns(),
            );
            Some(((addr, dest.port().host()).into(), load))
        };
        let listed = self.netns(|netns| netns.list_dests(&service.id(), usize::MAX, show));
        let mut loads: Vec<_> = ok(listed).into_iter().collect();
        loads.sort();
        loads
    }

    pub(super) fn load_of(&self, service: &Service, server: &Server) -> Load {
        let loads = self.loads(service).into_iter();
        loads
            .into_iter()
            .find(|(at, _)| *at == server.at)
            .expect("the server is there")
            .1
    }

    /// The lines of /proc/net/ip_vs_conn.
    pub(super) fn conns(&self) -> Vec<String> {
        let text = self.net.read_file(c"ip_vs_conn").unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    /// The only connection, and its state and remaining seconds.
    #[track_caller]
    pub(super) fn conn(&self) -> (String, u32) {
        let lines = self.conns();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let mut words = lines[0].split_whitespace().rev();
        let left = words.next().unwrap().parse().unwrap();
        (words.next().unwrap().to_owned(), left)
    }

    /// A packet as it comes in by a device, with the route for where it goes.
    pub(super) fn incoming(&self, bytes: Vec<u8>, device: &'static Device) -> Packet {
        self.packet(bytes, Some(device))
    }

    fn packet(&self, bytes: Vec<u8>, device: Option<&'static Device>) -> Packet {
        let dst = parts(&bytes).dst.ip();
        let is_input = device.is_some();
        Packet {
            device,
            has_socket: !is_input,
            route: Some(match dst {
                IpAddr::V4(_) => PacketRoute::V4(self.net.route_to::<Rtable>(dst, is_input)),
                IpAddr::V6(_) => PacketRoute::V6(self.net.route_to::<Rt6Info>(dst, is_input)),
            }),
            ..Packet::new(bytes)
        }
    }

    /// Passes a client's packet to an address of this host through the hooks.
    pub(super) fn request(&self, bytes: Vec<u8>) -> Fate {
        self.pass(HookNum::LocalIn, self.incoming(bytes, self.outside))
    }

    /// Passes a packet from the servers' side to other hosts through the hooks.
    pub(super) fn forward(&self, bytes: Vec<u8>) -> Fate {
        self.pass(HookNum::Forward, self.incoming(bytes, self.inside))
    }

    /// Passes a packet of this host through the hooks.
    pub(super) fn local_out(&self, bytes: Vec<u8>) -> Fate {
        self.pass(HookNum::LocalOut, self.packet(bytes, None))
    }

    pub(super) fn pass(&self, hook: HookNum, packet: Packet) -> Fate {
        let verdict = self.net.pass(hook, Skb::new(packet));
        let mut fate = match verdict {
            Verdict::Accept(skb) => Fate::Accepted(skb.into_packet()),
            Verdict::Drop(_) => Fate::Dropped,
            Verdict::Refuse(_) => Fate::Refused,
            Verdict::Stolen => Fate::Gone,
        };
        for event in events::take() {
            match event {
                Event::Sent(packet) => fate = Fate::Sent(packet),
                Event::Tunnelled(packet) => fate = Fate::Tunnelled(packet),
                other => self.events.borrow_mut().push(other),
            }
        }
        fate
    }

    /// Takes the events other than packets that were sent.
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.take()
    }

    /// The only ICMP message that the host has sent since the last time.
    #[track_caller]
    pub(super) fn icmp(&self) -> Icmp {
        let events = self.events.take();
        let mut sent = events.into_iter().filter_map(|event| match event {
            Event::Icmp(icmp) => Some(icmp),
            _ => None,
        });
        let icmp = sent.next().expect("an ICMP message was sent");
        assert!(sent.next().is_none(), "more than one ICMP message was sent");
        icmp
    }

    /// A request of a client of this protocol that begins a connection.
    pub(super) fn first(&self, client: SocketAddr, to: SocketAddr, protocol: u8) -> Vec<u8> {
        match protocol {
            TCP => tcp(client, to, super::packet::SYN),
            UDP => udp(client, to, b"request"),
            _ => panic!("no such protocol"),
        }
    }

    /// Advances the clock by seconds.
    #[track_caller]
    pub(super) fn wait(&self, seconds: u32) {
        clock::advance(seconds as usize * HZ as usize);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            memory::fail_no_more();
            self.module = None;
        } else {
            self.unload();
        }
    }
}

/// The result of what can't fail.
#[track_caller]
pub(super) fn ok<T>(result: ControlResult<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{:?}: {}", error.errno, error.message),
    }
}

/// The error of what must fail.
#[track_caller]
pub(super) fn refused<T>(result: ControlResult<T>) -> Error {
    match result {
        Ok(_) => panic!("not refused"),
        Err(error) => error.errno,
    }
}
