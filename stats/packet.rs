// SPDX-License-Identifier: GPL-2.0

//! Counts packets and connections in the statistics of the server, its service and the namespace.
//! C: `ip_vs_in_stats()`, `ip_vs_out_stats()`, `ip_vs_conn_stats()`.

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

/// The statistics of a namespace, and the lists of servers and services whose rates must be
/// estimated.
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

/// The statistics that a packet is counted in.
pub(crate) struct PacketStats<'a, 'rcu> {
    dest: Borrowed<'rcu, Dest>,
    service: Borrowed<'rcu, Service>,
    stats: &'a NetnsStats,
    rcu: ReadLocked<'rcu>,
}

impl<'a, 'rcu> PacketStats<'a, 'rcu> {
    /// Returns the statistics for the packets of a connection: those of its server, the server's
    /// service and the namespace. `None` if there is no server or it is not available. C:
    /// `ip_vs_in_stats()`, `ip_vs_out_stats()`.
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

    /// Returns the statistics for a new connection of `service`. `None` if it has no server. C:
    /// `ip_vs_conn_stats()`.
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

    /// Returns this CPU's counters of all of them.
    #[inline]
    fn counters<'s>(&'s self, section: &'s Section) -> [&'s CpuCounters; 3] {
        [
            section.get(&self.dest.stats().counters),
            section.get(&self.service.stats().counters),
            section.get(&self.stats.total.counters),
        ]
    }

    /// Marks the server and the service as having rates to estimate. Must be called after their
    /// counters changed.
    #[inline]
    fn activate(&self) {
        self.stats.dests.activate(self.dest, self.rcu);
        self.stats.services.activate(self.service, self.rcu);
    }

    #[inline]
    fn add(&self, packets: usize, bytes: usize, len: usize) {
        let section = Section::enter();
        for counters in self.counters(&section) {
            counters[packets].add(1);
            counters[bytes].add(len as u64);
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
        for counters in self.counters(&section) {
            counters[CONNS].add(1);
        }
        self.activate();
    }
}
