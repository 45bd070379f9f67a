// SPDX-License-Identifier: GPL-2.0

//! The services and servers of a namespace, their look-up for packets, and the work item that
//! resizes their tables. C: `ip_vs_service_find()`, `svc_table`, `rs_table`.

use crate::{
    family::Family,
    service::{
        dest::{
            Dest,
            DestKey, //
        },
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
    forward::FwdMethod,
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

/// The source port of active FTP data connections (C: `FTPDATA`).
pub(crate) const FTPDATA: Be16 = Be16::new(20);

/// The port of FTP control connections (C: `FTPPORT`).
pub(crate) const FTPPORT: Be16 = Be16::new(21);

/// The numbers of services of an address family, by kind. A packet skips the look-up of a kind of
/// which there is none.
#[derive(Default)]
pub(crate) struct ServiceCounts {
    /// Services by firewall mark (C: `ipvs->fwm_services`).
    fwmark: Atomic<u32>,
    /// All services by address (C: `ipvs->nonfwm_services`).
    addr: Atomic<u32>,
    /// Services by address with port 0, which take all ports (C: `ipvs->nullsvc_counter`).
    any_port: Atomic<u32>,
    /// Services by address with the port of FTP, whose data connections use other ports (C:
    /// `ipvs->ftpsvc_counter`).
    ftp: Atomic<u32>,
    /// Services with a persistence engine, which makes connections for packets from servers (C:
    /// `ipvs->conn_out_counter`).
    conn_out: Atomic<u32>,
}

impl ServiceCounts {
    /// Returns whether the family has no service.
    pub(crate) fn none(&self) -> bool {
        self.fwmark.load(Relaxed) == 0 && self.addr.load(Relaxed) == 0
    }

    /// Returns whether packets from servers may make connections.
    #[inline]
    pub(crate) fn any_conn_out(&self) -> bool {
        self.conn_out.load(Relaxed) != 0
    }

    /// Returns the counters that include a service with this key.
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

    /// Adds a service to the counters; `has_pe` says whether it has a persistence engine.
    pub(crate) fn add(&self, key: &ServiceKey, has_pe: bool) {
        let (counter, also) = self.counters(key);
        counter.fetch_add(1, Relaxed);
        if let Some(counter) = also {
            counter.fetch_add(1, Relaxed);
        }
        self.change_pe(false, has_pe);
    }

    /// Removes a service from the counters; `had_pe` says whether it has a persistence engine.
    pub(crate) fn remove(&self, key: &ServiceKey, had_pe: bool) {
        let (counter, also) = self.counters(key);
        counter.fetch_sub(1, Relaxed);
        if let Some(counter) = also {
            counter.fetch_sub(1, Relaxed);
        }
        self.change_pe(had_pe, false);
    }

    /// Updates the counters for a service that may have gained or lost its persistence engine.
    pub(crate) fn change_pe(&self, had_pe: bool, has_pe: bool) {
        match (had_pe, has_pe) {
            (false, true) => _ = self.conn_out.fetch_add(1, Relaxed),
            (true, false) => _ = self.conn_out.fetch_sub(1, Relaxed),
            (false, false) | (true, true) => (),
        }
    }
}

/// The services and servers of a namespace, and its statistics.
#[pin_data]
pub(crate) struct ServiceTables {
    /// The services.
    #[pin]
    pub(crate) services: Table<Service>,
    /// The servers of all services, hashed for look-up, and those in the trash.
    #[pin]
    pub(crate) dests: Table<Dest>,
    /// The statistics of the namespace.
    #[pin]
    pub(crate) stats: NetnsStats,
    /// The key of the hash function for services.
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

/// The sizes of the service table. Without services it returns to its initial size, as the C module
/// frees its table then.
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

    /// Finds the service with exactly this key. C: `__ip_vs_service_find()`,
    /// `__ip_vs_svc_fwm_find()`.
    #[inline]
    pub(crate) fn find_service<'rcu>(
        &self,
        key: &ServiceKey,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Service>> {
        self.find_hashed(key, self.hash(key), rcu)
    }

    /// Finds the service with exactly this key, whose `hash` is already known.
    pub(crate) fn find_hashed<'rcu>(
        &self,
        key: &ServiceKey,
        hash: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Service>> {
        self.services
            .find(rcu, hash, |service, _| service.key() == key)
    }

    /// Finds the service for a packet of an address family with `counts` services. Tries, in this
    /// order:
    ///
    /// - the packet's firewall mark,
    /// - its destination address and port,
    /// - its destination address and the port of FTP, for TCP to the FTP data port or to an
    ///   unprivileged port: it may be an FTP data connection,
    /// - its destination address with port 0.
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

/// The server of a connection or template that another director has told of.
pub(crate) struct Sought<F: Family> {
    /// The protocol, and what the service is for as destination.
    pub(crate) flow: Flow<F::Addr>,
    /// The mark of the service; 0 for none.
    pub(crate) fwmark: u32,
    pub(crate) server: (F::Addr, Be16),
    pub(crate) method: FwdMethod,
}

impl ServiceTables {
    /// Finds a server by its own address and port and the service that it belongs to. The port may be
    /// that of the server or 0: for a firewall mark service without NAT 0 is tried first. C:
    /// `ip_vs_find_dest()`.
    pub(crate) fn find_dest<'rcu, F: Family>(
        &self,
        counts: &ServiceCounts,
        net: &Net,
        sought: &Sought<F>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<(Borrowed<'rcu, Service>, Borrowed<'rcu, Dest>)> {
        let Sought {
            flow,
            fwmark,
            server: (addr, port),
            method,
        } = sought;
        let service = self.find_for_packet::<F>(counts, net, *fwmark, flow, rcu)?;
        let at = |port| {
            let key = DestKey::new(&service, (*addr).into(), port, self.dests.seed());
            self.dests.find(rcu, key.hash(), |dest, slot| {
                slot == 0 && dest.key() == &key && dest.available()
            })
        };
        let [first, second] = match *fwmark != 0 && *method != FwdMethod::Masq {
            true => [Be16::ZERO, *port],
            false => [*port, Be16::ZERO],
        };
        Some((service, at(first).or_else(|| at(second))?))
    }
}

/// The work item that resizes the tables of services and servers by their load and the sysctl
/// `svc_lfactor`. C: `svc_resize_work_handler()`.
pub(crate) struct ServiceTablesResize {
    service_tables: Arc<ServiceTables>,
    settings: Arc<Settings>,
}

impl ServiceTablesResize {
    /// Makes the work item for `service_tables`.
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
        // Without memory the table keeps its size, and its chains grow longer.
        let _ = self.service_tables.services.resize();
        let _ = self.service_tables.dests.resize();
        Next::Done
    }
}
