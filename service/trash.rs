// SPDX-License-Identifier: GPL-2.0

//! Servers that were removed while connections with them go on.
//!
//! They stay in the table of servers, which says that they are not available, so that one that comes
//! back is found, and taken up again with all it counts, which is what schedulers go by. One that has
//! been without connections for two minutes is let go. C: `dest_trash`.

use crate::{
    netns::services::ServiceTables, //
    service::dest::Dest,
};
use core::sync::atomic::Ordering::Relaxed;
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
    jiffies::HZ,
    rcu::Shared,
    sched::cond_resched,
    work::{
        Next,
        Run,
        Work, //
    },
};

/// How long an idle server is kept, in ticks (C: `IP_VS_DEST_TRASH_PERIOD`).
const PERIOD: usize = 120 * HZ as usize;

/// The servers that were removed. One that came back stays here until this is looked through.
#[pin_data]
struct Removed {
    service_tables: Arc<ServiceTables>,
    #[pin]
    dests: Mutex<KVVec<Shared<Dest>>>,
}

impl Removed {
    /// Whether nobody but the table and the trash holds a server: then it has no connections.
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

    /// Whether a server has to stay here. One that doesn't is in the trash no more. Sleeps.
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

/// Lets go of servers that have been idle for long enough.
struct Expiry(Arc<Removed>);

impl Run for Expiry {
    fn run(&self) -> Next {
        let next = self.0.look_through();
        let _ = self.0.service_tables.dests.resize();
        next
    }
}

/// The trash of a namespace. Process context; locks within the configuration lock.
pub(crate) struct Trash {
    expiry: Work<Expiry>,
    removed: Arc<Removed>,
}

impl Trash {
    /// For the servers in `model`.
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

    /// Opens it. Sleeps.
    pub(crate) fn open(&self) -> Open<'_> {
        Open {
            trash: self,
            dests: self.removed.dests.lock(),
        }
    }

    /// Keeps a server, as [`Open::put`] does. Sleeps.
    pub(crate) fn put(&self, dest: Shared<Dest>) {
        let mut trash = self.open();
        trash.reserve(1);
        trash.put(dest);
    }

    /// Lets all go.
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

/// The trash while servers are put there, or come back.
pub(crate) struct Open<'a> {
    trash: &'a Trash,
    dests: MutexGuard<'a, KVVec<Shared<Dest>>>,
}

impl Open<'_> {
    /// Takes a server that was removed out of the table, since it comes back.
    pub(crate) fn take(&self, dest: &Shared<Dest>) {
        // Nobody else holds it for a while, which must not look as if it were idle.
        dest.busy();
        // Nothing, if it was let go just now.
        self.trash.removed.service_tables.dests.remove(dest);
    }

    /// Makes room for so many more servers. Sleeps. What there is no memory for will be let go.
    pub(crate) fn reserve(&mut self, servers: usize) {
        let _ = self.dests.reserve(servers, GFP_KERNEL);
    }

    /// Keeps a server that has left its service and is in the table. Does not sleep. Without memory
    /// for that it is let go, with its connections still on it.
    pub(crate) fn put(&mut self, dest: Shared<Dest>) {
        // What the trash saw when it had it before does not count.
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
