// SPDX-License-Identifier: GPL-2.0

//! What packets count for: their server, its service and the namespace. C: `ip_vs_in_stats()` and
//! its kin.

use crate::{
    conn::Conn,
    family::Family,
    service::dest::Dest,
    service::Service,
    stats::{
        CpuCounters,
        Stats,
        CONNS,
        INBYTES,
        INPKTS,
        OUTBYTES,
        OUTPKTS, //
    },
};
use kernel::prelude::*;
use linux::{
    active_list::ActiveList, //
    percpu::Section,
    rcu::{
        Borrowed,
        ReadLocked, //
    },
};

/// What counts for a whole namespace, and which of its servers and services have rates to estimate.
#[pin_data]
pub(crate) struct NetnsStats {
    #[pin]
    pub(crate) total: Stats,
    #[pin]
    pub(crate) dests: ActiveList<Dest>,
    #[pin]
    pub(crate) services: ActiveList<Service>,
}

impl NetnsStats {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            total <- Stats::new(),
            dests <- ActiveList::new(),
            services <- ActiveList::new(),
        }? Error)
    }
}

/// All that one packet counts for.
pub(crate) struct PacketStats<'a, 'rcu> {
    dest: Borrowed<'rcu, Dest>,
    service: Borrowed<'rcu, Service>,
    stats: &'a NetnsStats,
    rcu: ReadLocked<'rcu>,
}

impl<'a, 'rcu> PacketStats<'a, 'rcu> {
    /// Returns what the packets of a connection count for: its server and that one's service, while
    /// the server is available. C: `ip_vs_in_stats()`, `ip_vs_out_stats()`.
    #[inline]
    pub(crate) fn of_conn<F: Family>(
        conn: &Conn<F>,
        stats: &'a NetnsStats,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Self> {
        let dest = conn.borrow_dest(rcu).filter(|dest| dest.available())?;
        let service = dest.service(rcu)?;
        Some(Self {
            dest,
            service,
            stats,
            rcu,
        })
    }

    /// Returns what a new connection of `service` counts for; one without a server counts for nobody.
    /// C: `ip_vs_conn_stats()`.
    #[inline]
    pub(crate) fn of_new_conn<F: Family>(
        conn: &Conn<F>,
        service: Borrowed<'rcu, Service>,
        stats: &'a NetnsStats,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Self> {
        let dest = conn.borrow_dest(rcu)?;
        Some(Self {
            dest,
            service,
            stats,
            rcu,
        })
    }

    /// This CPU's shares of all of them.
    #[inline]
    fn shares<'s>(&'s self, section: &'s Section) -> [&'s CpuCounters; 3] {
        [
            section.get(&self.dest.stats().shares),
            section.get(&self.service.stats().shares),
            section.get(&self.stats.total.shares),
        ]
    }

    /// To be called once they have been counted for.
    #[inline]
    fn activate(&self) {
        self.stats.dests.activate(self.dest, self.rcu);
        self.stats.services.activate(self.service, self.rcu);
    }

    #[inline]
    fn add(&self, packets: usize, bytes: usize, len: usize) {
        let section = Section::enter();
        for share in self.shares(&section) {
            share[packets].add(1);
            share[bytes].add(len as u64);
        }
        self.activate();
    }

    /// Counts a request of `len` bytes.
    #[inline]
    pub(crate) fn request(&self, len: usize) {
        self.add(INPKTS, INBYTES, len);
    }

    /// Counts an answer of `len` bytes.
    #[inline]
    pub(crate) fn answer(&self, len: usize) {
        self.add(OUTPKTS, OUTBYTES, len);
    }

    /// Counts a new connection.
    pub(crate) fn connection(&self) {
        let section = Section::enter();
        for share in self.shares(&section) {
            share[CONNS].add(1);
        }
        self.activate();
    }
}
