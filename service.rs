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
        Acquire,
        Atomic,
        InlineAtomic,
        Relaxed,
        Release, //
    },
    jiffies::HZ,
    net::Net,
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
/// Packets read it under RCU. Its settings change under the namespace's configuration lock, each of
/// them independently.
#[pin_data]
pub(crate) struct Service {
    key: ServiceKey,
    /// The hash of `key`.
    hash: u32,
    protocol: u8,
    addr: Addr,
    port: Be16,
    flags: Atomic<u32>,
    /// The persistence timeout in ticks.
    timeout: Atomic<u32>,
    netmask: Atomic<u32>,
    /// The index of the engine in [`PeKind::ALL`] plus 1; 0 for none.
    pe: Atomic<u8>,
    /// See [`Service::is_tracked`].
    tracked: Atomic<bool>,
    /// The servers.
    #[pin]
    pub(crate) dests: RcuSlots<Dest>,
    /// The number of servers that have been added so far.
    arrivals: InlineAtomic<u64>,
    /// The scheduler.
    pub(crate) scheduler: Scheduler,
    /// Statistics, which include the packets of its servers.
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
    /// Creates a service without servers. `hash` is the hash of `key` in its table. `named` are the
    /// protocol, address and port that the user gave in addition to a firewall mark. May sleep.
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
            tracked: Atomic::new(false),
            dests <- RcuSlots::new(),
            arrivals: InlineAtomic::new(0),
            scheduler: Scheduler::new(kind, settings)?,
            stats <- Stats::new(),
        }? Error))
    }

    /// Sets what the user configures, except the scheduler. Under the configuration lock.
    pub(crate) fn configure(&self, spec: &ServiceSpec<'_>, pe: Option<PeKind>) {
        let pe = pe.map_or(0, |kind| (kind as u8).wrapping_add(1));
        self.pe.store(pe, Relaxed);
        self.flags.store(spec.flags.apply(self.flags()), Release);
        self.timeout.store(spec.timeout.wrapping_mul(HZ), Relaxed);
        self.netmask.store(spec.netmask.raw(), Relaxed);
    }

    /// Returns whether the service has asked connection tracking to work. Under the configuration lock.
    /// C: `conntrack_afmask`.
    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked.load(Relaxed)
    }

    /// Sets what [`Self::is_tracked`] returns. Under the configuration lock.
    pub(crate) fn set_tracked(&self) {
        self.tracked.store(true, Relaxed);
    }

    pub(crate) fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// Returns the hash of the key in the service's table.
    pub(crate) fn key_hash(&self) -> u32 {
        self.hash
    }

    /// Returns the firewall mark; 0 for none.
    pub(crate) fn fwmark(&self) -> u32 {
        match self.key {
            ServiceKey::Fwmark { mark, .. } => mark,
            ServiceKey::Addr { .. } => 0,
        }
    }

    /// Returns the transport protocol. A firewall mark service shows it, but takes packets of any
    /// protocol.
    pub(crate) fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Returns `AF_INET` or `AF_INET6`.
    pub(crate) fn family(&self) -> u16 {
        self.key.family()
    }

    /// Returns the virtual address. A firewall mark service shows it in socket options, but takes
    /// packets to any address; it is 0 if its user gave none.
    pub(crate) fn addr(&self) -> Addr {
        self.addr
    }

    /// Returns the virtual port; 0 for none. A firewall mark service takes packets to any port.
    /// Packets to the port that its user gave, if any, have templates and server ports like those of
    /// a service by address.
    pub(crate) fn port(&self) -> Be16 {
        self.port
    }

    /// Returns `IP_VS_SVC_F_*` as set by users, and `IP_VS_SVC_F_HASHED`, which C shows, too.
    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Relaxed) | IP_VS_SVC_F_HASHED
    }

    /// Returns `true` if the service is persistent.
    #[inline]
    pub(crate) fn is_persistent(&self) -> bool {
        // Whoever sees it sees the cache of templates, which was created before.
        self.flags.load(Acquire) & IP_VS_SVC_F_PERSISTENT != 0
    }

    /// Returns `true` for one-packet scheduling.
    #[inline]
    pub(crate) fn is_one_packet(&self) -> bool {
        self.flags.load(Relaxed) & IP_VS_SVC_F_ONEPACKET != 0
    }

    /// Returns the persistence engine.
    #[inline]
    pub(crate) fn pe(&self) -> Option<PeKind> {
        let place = usize::from(self.pe.load(Relaxed)).checked_sub(1)?;
        PeKind::ALL.get(place).copied()
    }

    /// Returns the persistence timeout in ticks.
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.load(Relaxed)
    }

    /// Returns the persistence timeout in seconds as set by users, except that its ticks are
    /// truncated to 32 bits, as with C.
    pub(crate) fn timeout_secs(&self) -> u32 {
        self.timeout().checked_div(HZ).unwrap_or(0)
    }

    /// Returns the persistence netmask as set by users.
    pub(crate) fn netmask(&self) -> Be32 {
        Be32::from_raw(self.netmask.load(Relaxed))
    }

    /// Returns the service's identification as it is shown.
    pub(crate) fn label(&self) -> ServiceLabel {
        ServiceLabel::from(&self.key)
    }

    /// Returns the name of the scheduler.
    pub(crate) fn scheduler_name(&self) -> &'static str {
        self.scheduler.kind().map_or("none", SchedulerKind::name)
    }

    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the server for a new connection in `net`, which is the service's namespace.
    pub(crate) fn schedule<'rcu>(
        &self,
        net: &Net,
        request: &SchedRequest,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Dest>> {
        let flags = self.flags.load(Relaxed);
        let dest = self.scheduler.pick(&self.dests, request, flags, rcu);
        if dest.is_none() {
            if let Some(scheduler) = self.scheduler.kind() {
                log::no_destination(net, scheduler, self.label(), || self.has_weight(rcu));
            }
        }
        dest
    }

    /// Returns `true` if any server has a weight above 0. Looks at all of them.
    fn has_weight(&self, rcu: ReadLocked<'_>) -> bool {
        let view = self.dests.view(rcu);
        (0..view.len()).any(|slot| view.get(slot).is_some_and(|dest| dest.weight() > 0))
    }

    /// Returns the number for a server that is added now, counted from 0. Under the configuration
    /// lock.
    pub(crate) fn next_serial(&self) -> u64 {
        self.arrivals.fetch_add(1, Relaxed)
    }

    /// Visits the servers in the order in which C lists them: the one added last first.
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
