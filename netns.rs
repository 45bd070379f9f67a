// SPDX-License-Identifier: GPL-2.0

//! The state of a network namespace. C: `struct netns_ipvs`.
//!
//! [`crate::pernet`] creates it when the namespace is created, and drops it when that is destroyed.
//!
//! # Locks
//!
//! [`Netns::config`] is the outermost lock: it is held during each change of the configuration.
//! Packets take no sleeping lock: they read services, servers and connections under RCU.
//! `Documentation/locking.rst` lists all locks and their order.

pub(crate) mod services;
pub(crate) mod sync;
pub(crate) mod tables;
pub(crate) mod timeouts;

use crate::{
    app,
    conn::expire_nodest,
    family::{
        Family,
        V4,
        V6, //
    },
    service::{
        sched::sweep::{
            self,
            LblcExpiry, //
        },
        trash::Trash,
        Service, //
    },
    settings::Settings,
    stats::{
        est::Estimation,
        Stats, //
    },
};
use ipvs_core::netlink::AF_INET6;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use linux::{
    expiring::Quota,
    module::ModuleRef,
    net::{
        Net,
        OwnNet,
        WeakNet, //
    },
    netfilter::{
        self,
        Protocol, //
    },
    nf_conntrack::Tracking,
    rcu::{
        self,
        ReadLocked, //
    },
    seq_file::ProcEntry,
    work::Work, //
};
use services::{
    ServiceTables,
    ServiceTablesResize, //
};
use sync::SyncState;
use tables::{
    conn_buckets,
    ConnTables,
    EachFamily,
    PerFamily, //
};
use timeouts::Timeouts;

/// The proc and sysctl files of the namespace. Dropping removes them, after waiting for their
/// readers and writers. Fields are dropped in this order.
pub(crate) struct Files {
    _proc: [ProcEntry; 7],
    _sysctls: KBox<dyn Send + Sync>,
}

impl Files {
    /// Takes ownership of the files in `/proc/net`, and of those in `/proc/sys/net/ipv4/vs` with
    /// the settings and work items that they refer to. The type of the latter is erased, so that
    /// this module does not depend on [`crate::ctl`].
    pub(crate) fn new(proc: [ProcEntry; 7], sysctls: KBox<dyn Send + Sync>) -> Self {
        Self {
            _proc: proc,
            _sysctls: sysctls,
        }
    }
}

/// The state that changes with the configuration, besides the services and servers themselves.
pub(crate) struct Config {
    /// The hooks for IPv4, registered while there are IPv4 services.
    pub(crate) hooks4: Option<netfilter::Registration>,
    /// The hooks for IPv6, and netfilter's defragmentation before them; registered while there are
    /// IPv6 services.
    pub(crate) hooks6: Option<(netfilter::Registration, netfilter::Defrag6)>,
    /// Connection tracking for IPv4, and for IPv6, while there are FTP services that need it.
    pub(crate) tracking4: ServiceTracking,
    pub(crate) tracking6: ServiceTracking,
    /// One reference to the module for each service (C: `ip_vs_use_count_inc()`).
    pub(crate) uses: KVec<ModuleRef>,
    /// Set when the namespace is being destroyed: nothing can be added any more.
    pub(crate) closed: bool,
}

impl Config {
    /// Returns the connection tracking of `AF_INET` or `AF_INET6`.
    pub(crate) fn tracking(&mut self, family: u16) -> (&mut ServiceTracking, Protocol) {
        match family {
            AF_INET6 => (&mut self.tracking6, Protocol::Ipv6),
            _ => (&mut self.tracking4, Protocol::Ipv4),
        }
    }
}

/// Connection tracking of a family, which works while services ask for it.
#[derive(Default)]
pub(crate) struct ServiceTracking {
    services: usize,
    tracking: Option<Tracking>,
}

impl ServiceTracking {
    /// Adds a service. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Tracking::new`].
    pub(crate) fn add(&mut self, net: &OwnNet, protocol: Protocol) -> Result {
        if self.tracking.is_none() {
            self.tracking = Some(Tracking::new(net, protocol)?);
        }
        self.services = self.services.saturating_add(1);
        Ok(())
    }

    /// Removes a service that was added. May sleep.
    pub(crate) fn remove(&mut self) {
        self.services = self.services.saturating_sub(1);
        if self.services == 0 {
            self.tracking = None;
        }
    }
}

/// The state of a network namespace.
///
/// Fields are dropped in this order: first the entry points of users and packets, then the work
/// items, then the data that those work on.
#[pin_data]
pub(crate) struct Netns {
    pub(crate) files: Files,
    /// The configuration lock, and the state that it alone protects.
    #[pin]
    pub(crate) config: Mutex<Config>,
    /// The estimator of rates, which runs from the first service on.
    pub(crate) estimation: Arc<Estimation>,
    /// The work item that resizes the tables of services and servers.
    pub(crate) service_tables_resize: Arc<Work<ServiceTablesResize>>,
    /// The work item that expires entries of LBLC and LBLCR schedulers, while there are any.
    pub(crate) sweeper: Work<LblcExpiry>,
    /// The work item that ends the connections of removed servers.
    pub(crate) nodest_expiry: Work<expire_nodest::Expiry>,
    /// Removed servers that still have connections.
    pub(crate) trash: Trash,
    pub(crate) v4: PerFamily<V4>,
    pub(crate) v6: PerFamily<V6>,
    /// The number of connections and templates of both families, which `conn_max` limits.
    pub(crate) conn_quota: Arc<Quota>,
    /// The services and servers.
    pub(crate) service_tables: Arc<ServiceTables>,
    /// The timeouts of connections by protocol and state.
    pub(crate) timeouts: Arc<Timeouts>,
    /// The numbers of connections that are bound to an application.
    pub(crate) app_uses: Arc<app::Uses>,
    /// The daemons that synchronise connections with other directors.
    pub(crate) sync: Arc<SyncState>,
    /// The values of the sysctls.
    pub(crate) settings: Arc<Settings>,
    /// A way here for what may outlive the namespace.
    pub(crate) weak: WeakNet,
    pub(crate) net: OwnNet,
}

impl Netns {
    /// Returns the state of `net`; `None` while the namespace is being created, and once its state
    /// is gone. C: `net_ipvs()`.
    pub(crate) fn of<'rcu>(net: &Net, rcu: ReadLocked<'rcu>) -> Option<Pin<&'rcu Self>> {
        net.get(rcu)
    }

    /// Returns the namespace.
    #[inline]
    pub(crate) fn net(&self) -> &OwnNet {
        &self.net
    }

    /// Returns the services and servers.
    #[inline]
    pub(crate) fn service_tables(&self) -> &ServiceTables {
        &self.service_tables
    }

    /// Returns the state of an address family.
    #[inline]
    pub(crate) fn state<F: Family>(&self) -> &PerFamily<F> {
        F::select::<EachFamily>(&self.v4, &self.v6)
    }

    /// Schedules a resize of the tables of services and servers if their load requires it.
    pub(crate) fn resize_later(&self) {
        let ServiceTables {
            services, dests, ..
        } = &*self.service_tables;
        if rcu::read(|rcu| services.unbalanced(rcu) || dests.unbalanced(rcu)) {
            self.service_tables_resize.schedule(0);
        }
    }

    /// Schedules the periodic expiry of entries if the scheduler of `service` has any (LBLC,
    /// LBLCR).
    pub(crate) fn sweep_later(&self, service: &Service) {
        if service.scheduler.needs_sweeps() {
            self.sweeper.schedule(sweep::PERIOD);
        }
    }

    /// Returns the statistics of the namespace. C: `ipvs->tot_stats`.
    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.service_tables.stats.total
    }

    /// Returns counted references to the tables of connections.
    pub(crate) fn conn_tables(&self) -> ConnTables {
        ConnTables {
            v4: self.v4.tables(),
            v6: self.v6.tables(),
        }
    }

    /// Returns whether the namespace currently has fewer connections and templates than `conn_max`.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.conn_quota.taken() < self.conn_max()
    }

    /// Returns the largest number of connections and templates together (sysctl `conn_max`).
    #[inline]
    pub(crate) fn conn_max(&self) -> usize {
        usize::try_from(self.settings.conn_max.get()).unwrap_or(0)
    }

    /// Returns the number of buckets for connections, as shown to users.
    pub(crate) fn conn_table_size(&self) -> u32 {
        u32::try_from(conn_buckets(&self.v4.conns, &self.v6.conns)).unwrap_or(u32::MAX)
    }
}
