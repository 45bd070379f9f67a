// SPDX-License-Identifier: GPL-2.0

//! The services and servers of a namespace, how packets find them, and the work that fits their tables
//! to their load. C: `ip_vs_service_find()`, `svc_table`, `rs_table`.

use crate::{
    family::Family,
    service::{
        dest::Dest,
        Service, //
    },
    settings::Settings,
    stats::packet::NetnsStats, //
};
use ipvs_core::{
    flow::{
        Flow,
        HashKey,
        ServiceKey, //
    },
    ipv4::PROTO_TCP,
    net::Be16,
    resize::Limits, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    net::Net,
    rcu::{
        Borrowed,
        ReadLocked, //
    },
    table::{
        Sizing,
        Table, //
    },
    work::{
        Next,
        Run, //
    },
};

/// Where FTP servers send data from (C: `FTPDATA`).
pub(crate) const FTPDATA: Be16 = Be16::new(20);

/// Where FTP servers listen (C: `FTPPORT`).
pub(crate) const FTPPORT: Be16 = Be16::new(21);

/// How many services of a family there are of each kind: lets packets skip a search.
#[derive(Default)]
pub(crate) struct ServiceCounts {
    /// By firewall mark.
    fwmark: Atomic<u32>,
    /// By address.
    addr: Atomic<u32>,
    /// By address, with port 0.
    any_port: Atomic<u32>,
    /// By address, with the port of FTP, whose data connections go to others.
    ftp: Atomic<u32>,
    /// With a persistence engine, which makes connections of servers' packets.
    conn_out: Atomic<u32>,
}

impl ServiceCounts {
    /// Returns whether there is none.
    pub(crate) fn none(&self) -> bool {
        self.fwmark.load(Relaxed) == 0 && self.addr.load(Relaxed) == 0
    }

    /// Returns whether servers' packets may make connections.
    #[inline]
    pub(crate) fn any_conn_out(&self) -> bool {
        self.conn_out.load(Relaxed) != 0
    }

    /// Returns the counters that a service with this key counts for.
    fn counters(&self, key: &ServiceKey) -> (&Atomic<u32>, Option<&Atomic<u32>>) {
        match *key {
            ServiceKey::Fwmark { .. } => (&self.fwmark, None),
            ServiceKey::Addr { port, .. } => {
                let also = match port {
                    Be16::ZERO => Some(&self.any_port),
                    FTPPORT => Some(&self.ftp),
                    _ => None,
                };
                (&self.addr, also)
            }
        }
    }

    /// Counts a service in; `has_pe` says whether it has a persistence engine.
    pub(crate) fn add(&self, key: &ServiceKey, has_pe: bool) {
        let (counter, also) = self.counters(key);
        counter.fetch_add(1, Relaxed);
        if let Some(counter) = also {
            counter.fetch_add(1, Relaxed);
        }
        self.change_pe(false, has_pe);
    }

    /// Counts a service out.
    pub(crate) fn remove(&self, key: &ServiceKey, had_pe: bool) {
        let (counter, also) = self.counters(key);
        counter.fetch_sub(1, Relaxed);
        if let Some(counter) = also {
            counter.fetch_sub(1, Relaxed);
        }
        self.change_pe(had_pe, false);
    }

    /// Counts a service that may have got or lost its persistence engine.
    pub(crate) fn change_pe(&self, had_pe: bool, has_pe: bool) {
        match (had_pe, has_pe) {
            (false, true) => _ = self.conn_out.fetch_add(1, Relaxed),
            (true, false) => _ = self.conn_out.fetch_sub(1, Relaxed),
            (false, false) | (true, true) => (),
        }
    }
}

/// Services and servers, and what all of them count for.
#[pin_data]
pub(crate) struct ServiceTables {
    /// The services.
    #[pin]
    pub(crate) services: Table<Service>,
    /// The servers of all services, to be found without a walk, and those in the trash.
    #[pin]
    pub(crate) dests: Table<Dest>,
    /// What they all count for.
    #[pin]
    pub(crate) stats: NetnsStats,
    /// What services are hashed with.
    key: HashKey,
}

/// The largest table of services or servers, as a power of two (C: `IP_VS_SVC_TAB_MAX_BITS`).
const MAX_BITS: u32 = 20;

const fn limits(min_bits: u32) -> Limits {
    Limits {
        min_bits,
        max_sparse_bits: MAX_BITS,
        max_bits: MAX_BITS,
    }
}

/// The smallest table of services, as a power of two (C: `IP_VS_SVC_TAB_MIN_BITS`).
const SERVICE_BITS: u32 = 4;

/// Without services the table starts over: the C module has none then.
const SERVICE_SIZING: Sizing = Sizing {
    initial_bits: SERVICE_BITS,
    wanted: |services, bits, load_factor| match services {
        0 => Some(SERVICE_BITS),
        _ => limits(SERVICE_BITS).wanted(services as u64, bits, load_factor),
    },
};

/// The smallest table of servers, as a power of two.
const DEST_BITS: u32 = 6;

const DEST_SIZING: Sizing = Sizing {
    initial_bits: DEST_BITS,
    wanted: |dests, bits, load_factor| limits(DEST_BITS).wanted(dests as u64, bits, load_factor),
};

impl ServiceTables {
    /// Makes empty tables.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            services <- Table::new(SERVICE_SIZING),
            dests <- Table::new(DEST_SIZING),
            stats <- NetnsStats::new(),
            key: HashKey::new(*services.seed()),
        }? Error)
    }

    /// Returns the hash of a service's key.
    #[inline]
    pub(crate) fn hash(&self, key: &ServiceKey) -> u32 {
        key.hash(&self.key)
    }

    /// Returns the service with exactly this key. Under RCU.
    #[inline]
    pub(crate) fn find_service<'rcu>(
        &self,
        key: &ServiceKey,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Service>> {
        self.find_hashed(key, self.hash(key), rcu)
    }

    /// Returns the service with exactly this key, whose hash is known. Under RCU.
    pub(crate) fn find_hashed<'rcu>(
        &self,
        key: &ServiceKey,
        hash: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Service>> {
        self.services
            .find(rcu, hash, |service, _| service.key() == key)
    }

    /// Finds the service for a packet of a family with `counts` services: by its firewall mark, by
    /// its address and port, by its address and the port of FTP, whose data connections may go to
    /// any that needs no privilege, by its address alone. Under RCU.
    ///
    /// C: `ip_vs_service_find()`.
    #[inline]
    pub(crate) fn find_for_packet<'rcu, F: Family>(
        &self,
        counts: &ServiceCounts,
        net: &Net,
        mark: u32,
        flow: &Flow<F::Addr>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Service>> {
        if mark != 0 && counts.fwmark.load(Relaxed) != 0 {
            let key = ServiceKey::Fwmark {
                family: F::AF as u8,
                mark,
            };
            if let Some(service) = self.find_service(&key, rcu) {
                return Some(service);
            }
        }
        if counts.addr.load(Relaxed) == 0 {
            return None;
        }
        let by_port = |port| {
            let key = ServiceKey::Addr {
                protocol: flow.protocol,
                addr: flow.dst.into(),
                port,
            };
            self.find_service(&key, rcu)
        };
        let port = flow.dst_port;
        if let Some(service) = by_port(port) {
            return Some(service);
        }
        if counts.ftp.load(Relaxed) != 0
            && flow.protocol == PROTO_TCP
            && (port == FTPDATA || port.host() >= net.first_unprivileged_port())
        {
            if let Some(service) = by_port(FTPPORT) {
                return Some(service);
            }
        }
        (counts.any_port.load(Relaxed) != 0)
            .then(|| by_port(Be16::ZERO))
            .flatten()
    }
}

/// Fits the tables of services and servers to their load, and to the load factor that is set.
pub(crate) struct ServiceTablesResize {
    service_tables: Arc<ServiceTables>,
    settings: Arc<Settings>,
}

impl ServiceTablesResize {
    /// Makes the work of `service_tables`.
    pub(crate) fn new(service_tables: Arc<ServiceTables>, settings: Arc<Settings>) -> Self {
        let new = Self {
            service_tables,
            settings,
        };
        new.take_load_factor();
        new
    }

    fn take_load_factor(&self) {
        let load_factor = self.settings.svc_lfactor.get();
        self.service_tables.services.set_load_factor(load_factor);
    }
}

impl Run for ServiceTablesResize {
    fn run(&self) -> Next {
        self.take_load_factor();
        // Without memory a table stays as it is, longer chains and all.
        let _ = self.service_tables.services.resize();
        let _ = self.service_tables.dests.resize();
        Next::Done
    }
}
