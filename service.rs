// SPDX-License-Identifier: GPL-2.0

//! Virtual services. C: `struct ip_vs_service`.

pub(crate) mod dest;
pub(crate) mod sched;
pub(crate) mod trash;

use crate::{
    log,
    service::dest::Dest,
    service::sched::Scheduler,
    settings::Settings,
    stats::Stats, //
};
use ipvs_core::{
    flow::ServiceKey,
    net::{
        Addr,
        Be16,
        Be32, //
    },
    netlink::{
        service::ServiceSpec,
        IP_VS_SVC_F_HASHED,
        IP_VS_SVC_F_ONEPACKET,
        IP_VS_SVC_F_PERSISTENT, //
    },
    pe::PeKind,
    sched::{
        SchedRequest,
        SchedulerKind,
        Server, //
    },
    text::ServiceLabel, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    active_list,
    atomic::{
        Atomic,
        InlineAtomic,
        Relaxed, //
    },
    jiffies::HZ,
    rcu::{
        Borrowed,
        ReadLocked, //
    },
    rcu_slots::RcuSlots,
    table::{
        self,
        Hashed,
        Seed, //
    },
};

/// A virtual service: what clients connect to, and the servers behind it.
///
/// Packets read it under RCU; settings change under the namespace's configuration lock, each by
/// itself.
#[pin_data]
pub(crate) struct Service {
    key: ServiceKey,
    /// Of `key`.
    hash: u32,
    protocol: u8,
    addr: Addr,
    port: Be16,
    flags: Atomic<u32>,
    /// In ticks.
    timeout: Atomic<u32>,
    netmask: Atomic<u32>,
    /// Its place in [`PeKind::ALL`], counted from 1; 0 for none.
    pe: Atomic<u8>,
    /// The servers.
    #[pin]
    pub(crate) dests: RcuSlots<Dest>,
    /// How many servers have come so far.
    arrivals: InlineAtomic<u64>,
    /// Who chooses among them.
    pub(crate) scheduler: Scheduler,
    /// The packets of its servers count here too.
    #[pin]
    stats: Stats,
}

impl linux::rcu::Object for Service {
    type Links = (table::Links, active_list::Link);
}

impl Hashed for Service {
    fn hash(&self, slot: usize, _seed: &Seed) -> Option<u32> {
        (slot == 0).then_some(self.hash)
    }
}

impl Service {
    /// A service without servers. `hash` is what its table hashes `key` to. `named` is what its user
    /// named beside a firewall mark: protocol, address and port. May sleep.
    pub(crate) fn new(
        key: ServiceKey,
        hash: u32,
        named: (u8, Addr, Be16),
        kind: Option<SchedulerKind>,
        settings: Arc<Settings>,
    ) -> Result<impl PinInit<Self, Error>> {
        let (protocol, addr, port) = match key {
            ServiceKey::Fwmark { .. } => named,
            ServiceKey::Addr {
                protocol,
                addr,
                port,
            } => (protocol, addr, port),
        };
        Ok(try_pin_init!(Self {
            key,
            hash,
            protocol,
            addr,
            port,
            flags: Atomic::new(0),
            timeout: Atomic::new(0),
            netmask: Atomic::new(0),
            pe: Atomic::new(0),
            dests <- RcuSlots::new(),
            arrivals: InlineAtomic::new(0),
            scheduler: Scheduler::new(kind, settings)?,
            stats <- Stats::new(),
        }? Error))
    }

    /// Takes over what a user asks for, but for the scheduler. Under the configuration lock.
    pub(crate) fn configure(&self, spec: &ServiceSpec<'_>, pe: Option<PeKind>) {
        let pe = pe.map_or(0, |kind| (kind as u8).wrapping_add(1));
        self.pe.store(pe, Relaxed);
        self.flags.store(spec.flags.apply(self.flags()), Relaxed);
        self.timeout.store(spec.timeout.wrapping_mul(HZ), Relaxed);
        self.netmask.store(spec.netmask.raw(), Relaxed);
    }

    pub(crate) fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// What its table hashes the key to.
    pub(crate) fn key_hash(&self) -> u32 {
        self.hash
    }

    /// Firewall mark, or 0.
    pub(crate) fn fwmark(&self) -> u32 {
        match self.key {
            ServiceKey::Fwmark { mark, .. } => mark,
            ServiceKey::Addr { .. } => 0,
        }
    }

    /// Transport protocol. That of a service by firewall mark is shown, but it takes packets of any.
    pub(crate) fn protocol(&self) -> u8 {
        self.protocol
    }

    /// `AF_INET` or `AF_INET6`.
    pub(crate) fn family(&self) -> u16 {
        self.key.family()
    }

    /// Virtual address. That of a service by firewall mark is shown by socket options, but it takes
    /// packets to any; 0 if its user named none.
    pub(crate) fn addr(&self) -> Addr {
        self.addr
    }

    /// Virtual port, or 0. A service by firewall mark takes packets to any port; those to the one
    /// that its user named, if any, have templates and server ports as those of a service by address.
    pub(crate) fn port(&self) -> Be16 {
        self.port
    }

    /// `IP_VS_SVC_F_*`, as set by users, and `IP_VS_SVC_F_HASHED`, which C shows too.
    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Relaxed) | IP_VS_SVC_F_HASHED
    }

    /// Whether the clients of a network stay with a server.
    #[inline]
    pub(crate) fn is_persistent(&self) -> bool {
        self.flags.load(Relaxed) & IP_VS_SVC_F_PERSISTENT != 0
    }

    /// Whether datagrams are scheduled one by one.
    #[inline]
    pub(crate) fn is_one_packet(&self) -> bool {
        self.flags.load(Relaxed) & IP_VS_SVC_F_ONEPACKET != 0
    }

    /// The persistence engine.
    #[inline]
    pub(crate) fn pe(&self) -> Option<PeKind> {
        let place = usize::from(self.pe.load(Relaxed)).checked_sub(1)?;
        PeKind::ALL.get(place).copied()
    }

    /// Timeout of persistence in ticks.
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.load(Relaxed)
    }

    /// Timeout of persistence in seconds, as set by users: of more than 32 bits of ticks, what is
    /// left of them, as with C.
    pub(crate) fn timeout_secs(&self) -> u32 {
        self.timeout().checked_div(HZ).unwrap_or(0)
    }

    /// Netmask of persistence, as set by users.
    pub(crate) fn netmask(&self) -> Be32 {
        Be32::from_raw(self.netmask.load(Relaxed))
    }

    /// What tells it from others, as it is shown.
    pub(crate) fn label(&self) -> ServiceLabel {
        ServiceLabel::from(&self.key)
    }

    /// Name of the scheduler.
    pub(crate) fn scheduler_name(&self) -> &'static str {
        self.scheduler.kind().map_or("none", SchedulerKind::name)
    }

    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The server for a new connection.
    pub(crate) fn schedule<'rcu>(
        &self,
        arrival: &SchedRequest,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Dest>> {
        let flags = self.flags.load(Relaxed);
        let dest = self.scheduler.pick(&self.dests, arrival, flags, rcu);
        if dest.is_none() {
            if let Some(scheduler) = self.scheduler.kind() {
                log::no_destination(scheduler, self.label(), || self.has_weight(rcu));
            }
        }
        dest
    }

    /// Whether any server has a weight above 0. Walks over them.
    fn has_weight(&self, rcu: ReadLocked<'_>) -> bool {
        let view = self.dests.view(rcu);
        (0..view.len()).any(|slot| view.get(slot).is_some_and(|dest| dest.weight() > 0))
    }

    /// The number of a server that comes now, from 0 on. Under the configuration lock.
    pub(crate) fn next_serial(&self) -> u64 {
        self.arrivals.fetch_add(1, Relaxed)
    }

    /// Visits the servers, in the order in which C lists them: the last one added first.
    pub(crate) fn for_each_dest<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        mut visit: impl FnMut(Borrowed<'rcu, Dest>),
    ) {
        let view = self.dests.view(rcu);
        for slot in (0..view.len()).rev() {
            if let Some(dest) = view.get(slot) {
                visit(dest);
            }
        }
    }
}
