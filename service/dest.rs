// SPDX-License-Identifier: GPL-2.0

//! Real servers. C: `struct ip_vs_dest`.

use crate::{
    family::RouteCaches,
    service::sched::dirty_slots::DestNotifier,
    service::Service,
    stats::Stats, //
};
use ipvs_core::{
    flow::{
        hash_endpoint,
        HashKey,
        ServiceKey, //
    },
    forward::{
        FwdMethod,
        PROTO_IPIP, //
    },
    net::{
        Addr,
        Be16, //
    },
    netlink::{
        dest::DestSpec,
        CONN_F_NFCT,
        CONN_F_ONE_PACKET, //
    },
    sched::{
        LoadInput,
        Server, //
    },
    threshold::Thresholds,
    tunnel::Tunnel, //
};
use kernel::prelude::*;
use linux::{
    active_list,
    atomic::{
        Atomic,
        Full,
        InlineAtomic,
        Relaxed, //
    },
    jiffies,
    net::Net,
    netdevice::Device,
    new_spinlock_bh,
    rcu::{
        Borrowed,
        ReadLocked,
        Shared,
        SharedCell, //
    },
    spinlock::SpinLockBh,
    table::{
        self,
        Hashed,
        Seed,
        Table, //
    },
};

/// The lookup key of a server: its service, and its own address and port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DestKey {
    /// The hash of the other fields.
    hash: u32,
    /// The hash of the server's address and port only.
    own_hash: u32,
    pub(crate) service: ServiceKey,
    pub(crate) addr: Addr,
    pub(crate) port: Be16,
}

impl DestKey {
    /// Creates a key for a table with this seed.
    pub(crate) fn new(service: &Service, addr: Addr, port: Be16, seed: &Seed) -> Self {
        let own_hash = masq_hash(addr, port, seed);
        Self {
            hash: service.key_hash().rotate_left(16) ^ own_hash,
            own_hash,
            service: *service.key(),
            addr,
            port,
        }
    }

    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }
}

/// A real server of a service.
///
/// Packets read it under RCU. Its settings change under the namespace's configuration lock, each of
/// them independently: a connection created in the middle of a change may see a part of it.
/// Connections hold references, so a server that was removed exists until its last connection has
/// ended. The trash (see [`crate::service::trash`]) keeps it longer, for the case that it is added
/// again.
#[pin_data]
pub(crate) struct Dest {
    key: DestKey,
    /// `IP_VS_CONN_F_FWD_MASK` and the other flags of its connections.
    conn_flags: Atomic<u32>,
    /// Type, flags and port of the tunnel as set by users.
    tunnel: Atomic<u64>,
    weight: Atomic<i32>,
    /// The weight; while it is 0, the last weight other than 0.
    last_weight: Atomic<i32>,
    upper: Atomic<u32>,
    lower: Atomic<u32>,
    overloaded: Atomic<bool>,
    /// Held while `overloaded` is computed and set. No other lock is taken inside.
    #[pin]
    overload: SpinLockBh<()>,
    /// The server belongs to its service at present.
    available: Atomic<bool>,
    /// See [`Dest::serial`].
    serial: Atomic<u64>,
    active: InlineAtomic<u32>,
    total: InlineAtomic<u32>,
    templates: InlineAtomic<u32>,
    /// The recipient of notifications about changes that schedulers are interested in.
    pub(crate) notifier: DestNotifier,
    /// The tick at which the trash found the server without connections; 0 for none.
    idle_since: Atomic<usize>,
    /// The server is in the trash, or was when it was added again. Under the lock of the trash.
    pub(crate) in_trash: Atomic<bool>,
    /// The cached routes of its packets.
    pub(crate) routes: RouteCaches,
    #[pin]
    stats: Stats,
    /// The service that it belongs or belonged to.
    service: SharedCell<Service>,
}

/// The slot of the table in which servers are found by their own address, independently of the
/// service (C: `rs_table`): tunnel servers by address only, NAT servers by address and port.
const OWN_SLOT: usize = 1;

fn tunnel_hash(addr: Addr, port: Be16, seed: &Seed) -> u32 {
    hash_endpoint(&HashKey::new(*seed), addr, port, PROTO_IPIP)
}

fn masq_hash(addr: Addr, port: Be16, seed: &Seed) -> u32 {
    hash_endpoint(&HashKey::new(*seed), addr, port, 0)
}

impl linux::rcu::Object for Dest {
    type Links = (table::Links, active_list::Link);
}

impl Hashed for Dest {
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32> {
        match slot {
            OWN_SLOT => match FwdMethod::from_flags(self.conn_flags()) {
                FwdMethod::Tunnel => Some(tunnel_hash(self.key.addr, self.tunnel().port(), seed)),
                FwdMethod::Masq => Some(self.key.own_hash),
                _ => None,
            },
            _ => Some(self.key.hash()),
        }
    }
}

/// Returns `true` if there is a server at `addr` with a tunnel for which `like` returns `true`; GUE
/// also has a port. Under RCU. C: `ip_vs_find_tunnel()`.
pub(crate) fn is_tunnel_end(
    dests: &Table<Dest>,
    addr: Addr,
    port: Be16,
    like: impl Fn(Tunnel) -> bool,
    rcu: ReadLocked<'_>,
) -> bool {
    dests
        .find(rcu, tunnel_hash(addr, port, dests.seed()), |dest, slot| {
            slot == OWN_SLOT
                && dest.available()
                && dest.is_tunnelled_to()
                && dest.addr() == addr
                && dest.tunnel().port() == port
                && like(dest.tunnel())
        })
        .is_some()
}

/// Returns the NAT server for `protocol` at `addr` and `port`, if there is one. Under RCU. C:
/// `ip_vs_find_real_service()`, `ip_vs_has_real_service()`.
pub(crate) fn translated<'rcu>(
    dests: &Table<Dest>,
    protocol: u8,
    addr: Addr,
    port: Be16,
    rcu: ReadLocked<'rcu>,
) -> Option<Borrowed<'rcu, Dest>> {
    let serves = |dest: &Dest| match dest.key.service {
        ServiceKey::Fwmark { .. } => true,
        ServiceKey::Addr { protocol: own, .. } => own == protocol,
    };
    dests.find(rcu, masq_hash(addr, port, dests.seed()), |dest, slot| {
        slot == OWN_SLOT
            && dest.available()
            && FwdMethod::from_flags(dest.conn_flags()) == FwdMethod::Masq
            && dest.addr() == addr
            && dest.port() == port
            && serves(dest)
    })
}

impl Dest {
    pub(crate) fn new(key: DestKey) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            key,
            conn_flags: Atomic::new(0),
            tunnel: Atomic::new(0),
            weight: Atomic::new(0),
            last_weight: Atomic::new(0),
            upper: Atomic::new(0),
            lower: Atomic::new(0),
            overloaded: Atomic::new(false),
            overload <- new_spinlock_bh!((), "dest_overload"),
            available: Atomic::new(false),
            serial: Atomic::new(0),
            active: InlineAtomic::new(0),
            total: InlineAtomic::new(0),
            templates: InlineAtomic::new(0),
            notifier: DestNotifier::new(),
            idle_since: Atomic::new(0),
            in_trash: Atomic::new(false),
            routes: RouteCaches::new(),
            stats <- Stats::new(),
            service: SharedCell::empty(),
        }? Error)
    }

    pub(crate) fn key(&self) -> &DestKey {
        &self.key
    }

    /// Returns the address, which never changes.
    #[inline]
    pub(crate) fn addr(&self) -> Addr {
        self.key.addr
    }

    /// Returns the port, which never changes; 0 for "the port that the client asked for".
    pub(crate) fn port(&self) -> Be16 {
        self.key.port
    }

    /// Returns the flags of new connections, `IP_VS_CONN_F_*`.
    pub(crate) fn conn_flags(&self) -> u32 {
        self.conn_flags.load(Relaxed)
    }

    /// Returns `true` if each datagram to it is a connection of its own.
    pub(crate) fn is_one_packet(&self) -> bool {
        self.conn_flags() & CONN_F_ONE_PACKET != 0
    }

    /// Returns the tunnel of its packets, if it is reached through one.
    #[inline]
    pub(crate) fn tunnel(&self) -> Tunnel {
        let (kind, port, flags) = self.tunnel_numbers();
        // There are no other types.
        Tunnel::new(kind, port, flags).unwrap_or(Tunnel::Ipip)
    }

    /// Returns the tunnel as users set it: type, port, flags.
    #[inline]
    pub(crate) fn tunnel_numbers(&self) -> (u8, Be16, u16) {
        let [kind, _, p0, p1, f0, f1, ..] = self.tunnel.load(Relaxed).to_le_bytes();
        (
            kind,
            Be16::from_bytes([p0, p1]),
            u16::from_le_bytes([f0, f1]),
        )
    }

    fn is_tunnelled_to(&self) -> bool {
        FwdMethod::from_flags(self.conn_flags()) == FwdMethod::Tunnel
    }

    pub(crate) fn u_threshold(&self) -> u32 {
        self.upper.load(Relaxed)
    }

    pub(crate) fn l_threshold(&self) -> u32 {
        self.lower.load(Relaxed)
    }

    /// Returns the number of active connections as shown to users.
    pub(crate) fn active_conns(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Returns the number of inactive connections.
    pub(crate) fn inactive_conns(&self) -> u32 {
        self.total
            .load(Relaxed)
            .saturating_sub(self.active.load(Relaxed))
    }

    /// Returns the number of templates.
    pub(crate) fn persist_conns(&self) -> u32 {
        self.templates.load(Relaxed)
    }

    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the service that it belongs to, or belonged to if it is not [`Self::available`].
    #[inline]
    pub(crate) fn service<'rcu>(&self, rcu: ReadLocked<'rcu>) -> Option<Borrowed<'rcu, Service>> {
        self.service.get(rcu)
    }

    /// Returns `true` if it belongs to its service at present.
    #[inline]
    pub(crate) fn available(&self) -> bool {
        self.available.load(Relaxed)
    }

    /// Returns the number of the server among those added to its service. It orders servers as
    /// their slots do, but never changes.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.load(Relaxed)
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds::new(self.upper.load(Relaxed), self.lower.load(Relaxed))
    }

    fn update_overload(&self, decide: impl FnOnce(Thresholds, u32, bool) -> bool) {
        let _lock = self.overload.lock();
        let overloaded = decide(
            self.thresholds(),
            self.total.load(Relaxed),
            self.overloaded.load(Relaxed),
        );
        self.overloaded.xchg(overloaded, Full);
        self.notifier.changed(LoadInput::Weight);
    }

    /// Returns the weight; while it is 0, the last weight other than 0.
    pub(crate) fn last_weight(&self) -> i32 {
        self.last_weight.load(Relaxed)
    }

    /// Returns `true` if the server is still found in the tables after being configured by `spec`.
    pub(crate) fn keeps_place(&self, spec: &DestSpec) -> bool {
        let tunnel = Tunnel::new(spec.tun_type, spec.tun_port, spec.tun_flags);
        FwdMethod::from_flags(self.conn_flags()) == FwdMethod::from_flags(spec.fwd_method)
            && tunnel.is_some_and(|tunnel| tunnel.port() == self.tunnel().port())
    }

    /// Sets what the user configures. Under the configuration lock; the server must be in no table
    /// unless [`Self::keeps_place`] returns `true`.
    pub(crate) fn configure(&self, spec: &DestSpec) {
        self.weight.xchg(spec.weight, Full);
        if spec.weight != 0 {
            self.last_weight.store(spec.weight, Relaxed);
        }
        let one_packet = match spec.one_packet {
            true => CONN_F_ONE_PACKET,
            false => 0,
        };
        let nfct = match spec.nfct {
            true => CONN_F_NFCT,
            false => 0,
        };
        let flags = FwdMethod::from_flags(spec.fwd_method).conn_flags();
        self.conn_flags.store(flags | one_packet | nfct, Relaxed);
        let ([p0, p1], [f0, f1]) = (spec.tun_port.to_bytes(), spec.tun_flags.to_le_bytes());
        let tunnel = u64::from_le_bytes([spec.tun_type, 0, p0, p1, f0, f1, 0, 0]);
        self.tunnel.store(tunnel, Relaxed);
        self.upper.store(spec.upper, Relaxed);
        self.lower.store(spec.lower, Relaxed);
        self.update_overload(|thresholds, conns, before| thresholds.after_set(conns, before));
        self.reset_route();
    }

    /// Adds the server to a service. Under the configuration lock.
    pub(crate) fn join(&self, service: &Shared<Service>) {
        self.serial.store(service.next_serial(), Relaxed);
        let same =
            linux::rcu::read(|rcu| self.service(rcu).is_some_and(|other| service.same(&other)));
        if !same && self.service.replace(service.clone()).is_some() {
            self.stats.zero();
        }
        self.last_weight.store(self.weight.load(Relaxed), Relaxed);
        self.available.store(true, Relaxed);
    }

    /// Removes the server from its service: packets of its connections are dropped from then on,
    /// and it refers to no device. Under the configuration lock.
    pub(crate) fn leave(&self) {
        self.available.store(false, Relaxed);
        self.notifier.forget();
        self.reset_route();
    }

    /// Resets the cached routes. Any context.
    pub(crate) fn reset_route(&self) {
        self.routes.reset();
    }

    /// Resets the cached routes if they refer to `device` or are out of date in `net`. Any context.
    pub(crate) fn reset_route_by(&self, device: &Device, net: &Net, rcu: ReadLocked<'_>) {
        self.routes.reset_if_uses(device, net, rcu);
    }

    /// Counts a new connection, which is not active yet. Any context.
    pub(crate) fn bind(&self) {
        let conns = self.total.fetch_add(1, Full).wrapping_add(1);
        self.notifier.changed(LoadInput::Connections);
        if self.thresholds().reached_upper(conns) {
            self.update_overload(|thresholds, conns, _| thresholds.after_add(conns));
        }
    }

    /// Counts the end of a connection. Any context.
    pub(crate) fn unbind(&self, was_active: bool) {
        if was_active {
            self.active.fetch_sub(1, Full);
        }
        let conns = self.total.fetch_sub(1, Full).wrapping_sub(1);
        self.notifier.changed(if was_active {
            LoadInput::Active
        } else {
            LoadInput::Connections
        });
        if self.thresholds().fell_below_lower(conns) {
            self.update_overload(|thresholds, conns, _| thresholds.after_remove(conns));
        }
    }

    /// Counts a new template, which schedulers and thresholds ignore. Any context.
    pub(crate) fn bind_template(&self) {
        self.templates.fetch_add(1, Relaxed);
    }

    /// Counts the end of a template. Any context.
    pub(crate) fn unbind_template(&self) {
        self.templates.fetch_sub(1, Relaxed);
    }

    /// Counts a connection as active or inactive.
    pub(crate) fn set_active(&self, active: bool) {
        if active {
            self.active.fetch_add(1, Full);
        } else {
            self.active.fetch_sub(1, Full);
        }
        self.notifier.changed(LoadInput::Active);
    }

    /// Tells the trash that the server is not idle.
    pub(crate) fn busy(&self) {
        self.idle_since.store(0, Relaxed);
    }

    /// Returns how long the server has been without connections, in ticks, from the first call on.
    /// For the trash.
    pub(crate) fn idle_for(&self) -> usize {
        let now = jiffies::now();
        match self.idle_since.load(Relaxed) {
            0 => {
                self.idle_since.store(now.max(1), Relaxed);
                0
            }
            since => now.wrapping_sub(since),
        }
    }
}

impl Server for Dest {
    #[inline]
    fn weight(&self) -> i32 {
        self.weight.load(Relaxed)
    }

    #[inline]
    fn active(&self) -> u32 {
        self.active_conns()
    }

    #[inline]
    fn inactive(&self) -> u32 {
        self.inactive_conns()
    }

    #[inline]
    fn overloaded(&self) -> bool {
        self.overloaded.load(Relaxed)
    }
}
