// SPDX-License-Identifier: GPL-2.0

//! Servers that were removed while they still had connections. C: `dest_trash`.
//!
//! They stay in the table of servers, marked as not available, so that a server that is added again
//! is found and reused with its counters, by which schedulers choose. A server that has been
//! without connections for two minutes is dropped.

use crate::{
    netns::services::ServiceTables, //
    service::dest::Dest,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        MutexGuard, //
    },
};
use linux::{
    atomic::Relaxed,
    jiffies::HZ,
    rcu::Shared,
    sched::cond_resched,
    work::{
        Next,
        Run,
        Work, //
    },
};

/// The ticks for which an idle server is kept (C: `IP_VS_DEST_TRASH_PERIOD`).
const PERIOD: usize = 120 * HZ as usize;

/// The servers that were removed. One that was added again stays here until the next run of
/// [`Expiry`].
#[pin_data]
struct Removed {
    service_tables: Arc<ServiceTables>,
    #[pin]
    dests: Mutex<KVVec<Shared<Dest>>>,
}

impl Removed {
    /// Returns `true` if only the table and the trash refer to a server: then it has no
    /// connections.
    fn is_idle(dest: &Shared<Dest>) -> bool {
        dest.references() <= 2
    }

    fn look_through(&self) -> Next {
        let mut dests = self.dests.lock();
        dests.retain(|dest| self.keeps(dest));
        if dests.is_empty() {
            *dests = KVVec::new();
            Next::Done
        } else {
            Next::After(PERIOD / 2)
        }
    }

    /// Returns `true` if a server has to stay in the trash. If not, it is marked as not in the
    /// trash any more. Sleeps.
    fn keeps(&self, dest: &Shared<Dest>) -> bool {
        cond_resched();
        if !dest.available() {
            if !Self::is_idle(dest) || dest.idle_for() < PERIOD {
                return true;
            }
            self.service_tables.dests.remove(dest);
        }
        dest.in_trash.store(false, Relaxed);
        false
    }
}

/// The work that drops servers which have been idle for long enough.
struct Expiry(Arc<Removed>);

impl Run for Expiry {
    fn run(&self) -> Next {
        let next = self.0.look_through();
        let _ = self.0.service_tables.dests.resize();
        next
    }
}

/// The trash of a namespace.
///
/// # Context
///
/// Process context. Its locks are taken inside the configuration lock.
pub(crate) struct Trash {
    expiry: Work<Expiry>,
    removed: Arc<Removed>,
}

impl Trash {
    /// Creates the trash for the servers in `service_tables`.
    pub(crate) fn new(service_tables: Arc<ServiceTables>) -> Result<Self> {
        let removed = Arc::pin_init(
            pin_init!(Removed {
                service_tables,
                dests <- new_mutex!(KVVec::new(), "dest_trash"),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            expiry: Work::new(
                Expiry(removed.clone()),
                c"ipvs_dest_trash",
                kernel::static_lock_class!(),
            )?,
            removed,
        })
    }

    /// Locks the trash. Sleeps.
    pub(crate) fn open(&self) -> Open<'_> {
        Open {
            trash: self,
            dests: self.removed.dests.lock(),
        }
    }

    /// Adds a server; see [`Open::put`]. Sleeps.
    pub(crate) fn put(&self, dest: Shared<Dest>) {
        let mut trash = self.open();
        trash.reserve(1);
        trash.put(dest);
    }

    /// Drops all servers.
    pub(crate) fn empty(&self) {
        self.expiry.cancel();
        for dest in core::mem::take(&mut *self.removed.dests.lock()) {
            cond_resched();
            dest.in_trash.store(false, Relaxed);
            if !dest.available() {
                self.removed.service_tables.dests.remove(&dest);
            }
        }
    }
}

/// The locked trash, to which servers are added, or from which they are taken.
pub(crate) struct Open<'a> {
    trash: &'a Trash,
    dests: MutexGuard<'a, KVVec<Shared<Dest>>>,
}

impl Open<'_> {
    /// Removes a server from the table in order to add it again.
    pub(crate) fn take(&self, dest: &Shared<Dest>) {
        // There are no other references for a while, which must not count as idle.
        dest.busy();
        // Does nothing if the server was dropped just now.
        self.trash.removed.service_tables.dests.remove(dest);
    }

    /// Allocates memory for this number of additional servers. Servers for which there is no memory
    /// will be dropped. Sleeps.
    pub(crate) fn reserve(&mut self, servers: usize) {
        let _ = self.dests.reserve(servers, GFP_KERNEL);
    }

    /// Adds a server that has left its service and is still in the table. Does not sleep. If there
    /// is no memory for it, the server is removed from the table at once: its connections keep it,
    /// but it can't be reused.
    pub(crate) fn put(&mut self, dest: Shared<Dest>) {
        // Times from an earlier stay in the trash do not count.
        dest.busy();
        if dest.in_trash.load(Relaxed) {
            return;
        }
        if self.dests.len() == self.dests.capacity() {
            self.trash.removed.service_tables.dests.remove(&dest);
            return;
        }
        dest.in_trash.store(true, Relaxed);
        let _ = self.dests.push_within_capacity(dest);
        if self.dests.len() == 1 {
            self.trash.expiry.schedule(PERIOD / 2);
        }
    }
}
