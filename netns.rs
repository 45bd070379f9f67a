// SPDX-License-Identifier: GPL-2.0

//! What there is for each network namespace: state only. C: `struct netns_ipvs`.
//!
//! [`crate::pernet`] makes it when the namespace is born, and drops it when that dies.
//!
//! # Locks
//!
//! [`Netns::config`] is the outermost of all that is taken here: users hold it while they change
//! anything. Packets take none of those that sleep: they read services, servers and connections under
//! RCU. `Documentation/locking.rst` has all locks and their order.

pub(crate) mod services;
pub(crate) mod tables;
pub(crate) mod timeouts;

use crate::{
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
        OwnNet, //
    },
    netfilter,
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
use tables::{
    conn_buckets,
    ConnTables,
    EachFamily,
    PerFamily, //
};
use timeouts::Timeouts;

/// The files through which users see and change the namespace; removed when dropped, which waits for
/// those who read and write them. Fields are dropped in this order.
pub(crate) struct Files {
    _proc: [ProcEntry; 5],
    _sysctls: KBox<dyn Send + Sync>,
}

impl Files {
    /// Takes those in `/proc/net`, and those in `/proc/sys/net/ipv4/vs` with the settings and the work
    /// that they refer to. Nothing here needs to know of which type these are.
    pub(crate) fn new(proc: [ProcEntry; 5], sysctls: KBox<dyn Send + Sync>) -> Self {
        Self {
            _proc: proc,
            _sysctls: sysctls,
        }
    }
}

/// What users change, besides services and servers themselves.
pub(crate) struct Config {
    /// While there are services for IPv4.
    pub(crate) hooks4: Option<netfilter::Registration>,
    /// While there are services for IPv6, whose packets are whole when they come to the hooks.
    pub(crate) hooks6: Option<(netfilter::Registration, netfilter::Defrag6)>,
    /// One for each service (C: `ip_vs_use_count_inc()`).
    pub(crate) uses: KVec<ModuleRef>,
    /// The namespace dies: nothing can be added any more.
    pub(crate) closed: bool,
}

/// The state of a network namespace.
///
/// Fields are dropped in this order: what users and packets come in by is gone first, then what
/// runs by itself, then what it runs on.
#[pin_data]
pub(crate) struct Netns {
    pub(crate) files: Files,
    /// What users change.
    #[pin]
    pub(crate) config: Mutex<Config>,
    /// Lets rates go on, from the first service on.
    pub(crate) estimation: Arc<Estimation>,
    /// Resizes the tables of services and servers.
    pub(crate) service_tables_resize: Arc<Work<ServiceTablesResize>>,
    /// Lets schedulers forget, while there are such as remember.
    pub(crate) sweeper: Work<LblcExpiry>,
    /// Ends the connections of removed servers.
    pub(crate) nodest_expiry: Work<expire_nodest::Expiry>,
    /// Servers that were removed while connections were left.
    pub(crate) trash: Trash,
    pub(crate) v4: PerFamily<V4>,
    pub(crate) v6: PerFamily<V6>,
    /// Counts the connections of both, so that there are no more than `conn_max`.
    pub(crate) conn_quota: Arc<Quota>,
    /// Services and servers.
    pub(crate) service_tables: Arc<ServiceTables>,
    /// How long connections last.
    pub(crate) timeouts: Arc<Timeouts>,
    /// What users set for all of it.
    pub(crate) settings: Arc<Settings>,
    pub(crate) net: OwnNet,
}

impl Netns {
    /// The state of `net`, or `None` while the namespace is being made or has gone.
    pub(crate) fn of<'rcu>(net: &Net, rcu: ReadLocked<'rcu>) -> Option<Pin<&'rcu Self>> {
        net.get(rcu)
    }

    /// The namespace.
    #[inline]
    pub(crate) fn net(&self) -> &OwnNet {
        &self.net
    }

    /// Services and servers.
    #[inline]
    pub(crate) fn service_tables(&self) -> &ServiceTables {
        &self.service_tables
    }

    /// Returns what there is for a family.
    #[inline]
    pub(crate) fn state<F: Family>(&self) -> &PerFamily<F> {
        F::select::<EachFamily>(&self.v4, &self.v6)
    }

    /// Has the tables of services and servers resized, if their load asks for it.
    pub(crate) fn resize_later(&self) {
        let ServiceTables {
            services, dests, ..
        } = &*self.service_tables;
        if rcu::read(|rcu| services.unbalanced(rcu) || dests.unbalanced(rcu)) {
            self.service_tables_resize.schedule(0);
        }
    }

    /// Lets a service's scheduler forget from time to time, if it remembers.
    pub(crate) fn sweep_later(&self, service: &Service) {
        if service.scheduler.needs_sweeps() {
            self.sweeper.schedule(sweep::PERIOD);
        }
    }

    /// The statistics of the namespace.
    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.service_tables.stats.total
    }

    /// The tables of connections, to be kept.
    pub(crate) fn conn_tables(&self) -> ConnTables {
        ConnTables {
            v4: self.v4.tables(),
            v6: self.v6.tables(),
        }
    }

    /// Whether there may be one more connection, or template, at this moment.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.conn_quota.taken() < self.conn_max()
    }

    /// How many connections there may be, with templates.
    #[inline]
    pub(crate) fn conn_max(&self) -> usize {
        usize::try_from(self.settings.conn_max.get()).unwrap_or(0)
    }

    /// Returns the number of buckets for connections, as users are told.
    pub(crate) fn conn_table_size(&self) -> u32 {
        u32::try_from(conn_buckets(&self.v4.conns, &self.v6.conns)).unwrap_or(u32::MAX)
    }
}
