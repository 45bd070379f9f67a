// SPDX-License-Identifier: GPL-2.0

//! Servers that were removed while connections with them go on.
//!
//! One that comes back is taken up again with all it counts, which is what schedulers go by. One
//! that has been without connections for two minutes is let go. C: `dest_trash`.

use crate::dest::{
    Dest,
    DestKey, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use linux::{
    jiffies::HZ,
    rcu::Shared,
    work::{
        Next,
        Run,
        Work, //
    },
};

/// How long an idle server is kept, in ticks (C: `IP_VS_DEST_TRASH_PERIOD`).
const PERIOD: usize = 120 * HZ as usize;

/// The servers themselves.
#[pin_data]
struct Removed {
    #[pin]
    dests: Mutex<KVec<Shared<Dest>>>,
}

/// Lets go of servers that have been idle for long enough.
struct Expiry(Arc<Removed>);

impl Run for Expiry {
    fn run(&self) -> Next {
        let mut dests = self.0.dests.lock();
        // A server that nobody else holds has no connections, and readers can't reach it.
        dests.retain(|dest| !dest.is_unique() || dest.idle_for() < PERIOD);
        if dests.is_empty() {
            Next::Done
        } else {
            Next::After(PERIOD / 2)
        }
    }
}

/// The trash of a namespace. Process context; locks within the configuration lock.
pub(crate) struct Trash {
    expiry: Work<Expiry>,
    removed: Arc<Removed>,
}

impl Trash {
    pub(crate) fn new() -> Result<Self> {
        let removed = Arc::pin_init(
            pin_init!(Removed {
                dests <- new_mutex!(KVec::new(), "dest_trash"),
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

    /// Keeps a server that was removed. Without memory for that it is let go, with its connections
    /// still on it.
    pub(crate) fn put(&self, dest: Shared<Dest>) {
        let kept = self.removed.dests.lock().push(dest, GFP_KERNEL);
        if kept.is_ok() {
            self.expiry.schedule(PERIOD / 2);
        }
    }

    /// Takes out the server with this key, if it is there.
    pub(crate) fn take(&self, key: &DestKey) -> Option<Shared<Dest>> {
        let mut dests = self.removed.dests.lock();
        let place = dests.iter().position(|dest| dest.key() == key)?;
        dests.remove(place).ok()
    }

    /// Lets all go.
    pub(crate) fn empty(&self) {
        self.expiry.cancel();
        self.removed.dests.lock().clear();
    }
}
