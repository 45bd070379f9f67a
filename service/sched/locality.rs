// SPDX-License-Identifier: GPL-2.0

//! The table in which `lblc` and `lblcr` remember the servers of destination addresses.
//! [`ipvs_core::sched::locality`] has the decisions about it.

use super::dests_view::{
    DestView,
    DestsView, //
};
use crate::{
    service::dest::Dest,
    settings::Settings, //
};
use ipvs_core::{
    flow::HashKey,
    net::Addr,
    sched::{
        lblc,
        lblcr,
        locality::{
            self,
            is_crowded,
            Sweep,
            SweepSchedule,
            MAX_ENTRIES,
            STALE_SECS, //
        },
        Locality, //
    },
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
    jiffies::{
        self,
        HZ, //
    },
    new_spinlock_bh,
    rcu::{
        Borrowed,
        ReadLocked,
        Shared,
        SharedCell, //
    },
    sched::cond_resched,
    spinlock::SpinLockBh,
    table::{
        Hashed,
        Seed,
        Sizing,
        Table, //
    },
};

/// The servers of an address. Immutable; replaced as a whole.
struct DestSet {
    /// The servers; the one added last is at the end.
    dests: KVec<SharedCell<Dest>>,
    /// The tick at which the set was created.
    since: usize,
}

impl linux::rcu::Object for DestSet {
    type Links = ();
}

impl DestSet {
    /// Creates a set. Any context.
    fn new(dests: impl Iterator<Item = Shared<Dest>>, len: usize) -> Option<Shared<Self>> {
        let mut set = KVec::with_capacity(len, GFP_ATOMIC).ok()?;
        for dest in dests {
            set.push(SharedCell::new(dest), GFP_ATOMIC).ok()?;
        }
        let since = jiffies::now();
        Shared::pin_init(try_init!(Self { dests: set, since }? Error), GFP_ATOMIC).ok()
    }

    /// Iterates over the servers, the one added last first.
    fn iter<'a, 'rcu: 'a>(
        &'a self,
        rcu: ReadLocked<'rcu>,
    ) -> impl Iterator<Item = DestView<'rcu>> + 'a {
        self.dests
            .iter()
            .rev()
            .filter_map(move |dest| dest.get(rcu).map(DestView))
    }

    /// Creates a set of the same servers without `out`, and with `new`.
    fn with(
        &self,
        out: Option<DestView<'_>>,
        new: Option<DestView<'_>>,
        rcu: ReadLocked<'_>,
    ) -> Option<Shared<Self>> {
        let is_out = |dest: &Borrowed<'_, Dest>| out.is_some_and(|out| same(out.0, *dest));
        let kept = self
            .dests
            .iter()
            .filter_map(|dest| dest.get(rcu))
            .filter(|dest| !is_out(dest));
        let dests = Iterator::chain(kept, new.map(|new| new.0)).filter_map(|dest| dest.share());
        Self::new(dests, self.dests.len().saturating_add(1))
    }
}

fn same(one: Borrowed<'_, Dest>, other: Borrowed<'_, Dest>) -> bool {
    core::ptr::eq(one.get(), other.get())
}

/// The entry of an address.
struct Entry {
    target: Addr,
    /// The tick of the last use.
    used: Atomic<usize>,
    set: SharedCell<DestSet>,
}

impl Entry {
    fn age(&self) -> usize {
        // Read in this order, since another CPU may write a later tick in between.
        let used = self.used.load(Relaxed);
        jiffies::now().wrapping_sub(used)
    }
}

impl linux::rcu::Object for Entry {
    type Links = linux::table::Links;
}

impl Hashed for Entry {
    fn hash(&self, _slot: usize, seed: &Seed) -> Option<u32> {
        Some(locality::hash(self.target, &HashKey::new(*seed)))
    }
}

/// A few entries per bucket when the table is full.
const SIZING: Sizing = Sizing {
    initial_bits: 12,
    wanted: |_, _, _| None,
};

/// The state of sweeping.
struct Sweeping {
    sweeps: SweepSchedule,
    /// The bucket to continue with.
    cursor: usize,
}

/// The table.
#[pin_data]
pub(super) struct LblcTable {
    kind: Locality,
    /// The settings with the expiration time.
    settings: Arc<Settings>,
    #[pin]
    entries: Table<Entry>,
    /// Held while entries are added, removed or get another set. The locks of the table are taken
    /// inside.
    #[pin]
    writer: SpinLockBh<Sweeping>,
}

impl LblcTable {
    /// Creates an empty table. Sleeps.
    pub(super) fn new(kind: Locality, settings: Arc<Settings>) -> Result<Pin<KBox<Self>>> {
        KBox::try_pin_init(
            try_pin_init!(Self {
                kind,
                settings,
                entries <- Table::new(SIZING),
                writer <- new_spinlock_bh!(
                    Sweeping {
                        sweeps: SweepSchedule::new(),
                        cursor: 0,
                    },
                    "sched_memories"
                ),
            }? Error),
            GFP_KERNEL,
        )
    }

    fn find<'rcu>(&self, target: Addr, rcu: ReadLocked<'rcu>) -> Option<Borrowed<'rcu, Entry>> {
        let hash = locality::hash(target, &HashKey::new(*self.entries.seed()));
        self.entries
            .find(rcu, hash, |entry, _| entry.target == target)
    }

    /// Picks the server for a new connection to `target`. `least` picks one among all servers.
    pub(super) fn pick<'rcu>(
        &self,
        target: Addr,
        servers: &DestsView<'_, 'rcu>,
        least: impl Fn() -> Option<DestView<'rcu>>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<DestView<'rcu>> {
        let entry = self.find(target, rcu);
        let known = entry.and_then(|entry| {
            entry.used.store(jiffies::now(), Relaxed);
            self.known(entry.get(), servers, rcu)
        });
        if known.is_some() {
            return known;
        }
        let picked = least()?;
        // If there is no memory, it is not remembered.
        let _ = self.remember(target, picked, rcu);
        Some(picked)
    }

    /// Returns the server that is remembered for an address, if it may get the connection.
    fn known<'rcu>(
        &self,
        entry: &'rcu Entry,
        servers: &DestsView<'_, 'rcu>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<DestView<'rcu>> {
        let set = entry.set.get(rcu)?.get();
        match self.kind {
            Locality::Lblc => set
                .iter(rcu)
                .next()
                .filter(|server| lblc::is_usable(server, servers)),
            Locality::Lblcr => {
                let least = lblcr::least_loaded(set.iter(rcu));
                if self.shrinks(set) {
                    self.shrink(entry, rcu);
                }
                least.filter(|server| !is_crowded(server, servers))
            }
        }
    }

    fn shrinks(&self, set: &DestSet) -> bool {
        let age = jiffies::now().wrapping_sub(set.since);
        lblcr::should_shrink(set.dests.len(), age, self.settings.expiration(self.kind))
    }

    /// Removes the most loaded server from a set that has not changed for a long time.
    fn shrink(&self, entry: &Entry, rcu: ReadLocked<'_>) {
        let _writer = self.writer.lock();
        // Another packet may have done so already.
        let Some(set) = entry.set.get(rcu).filter(|set| self.shrinks(set)) else {
            return;
        };
        if let Some(most) = lblcr::most_loaded(set.iter(rcu)) {
            if let Some(smaller) = set.with(Some(most), None, rcu) {
                entry.set.replace(smaller);
            }
        }
    }

    /// Remembers a server for an address. `None` if there is no memory, or if the table is full.
    fn remember(&self, target: Addr, picked: DestView<'_>, rcu: ReadLocked<'_>) -> Option<()> {
        let _writer = self.writer.lock();
        let Some(entry) = self.find(target, rcu) else {
            if self.entries.count() >= MAX_ENTRIES {
                return None;
            }
            let set = DestSet::new(picked.0.share().into_iter(), 1)?;
            let entry = try_init!(Entry {
                target,
                used: Atomic::new(jiffies::now()),
                set: SharedCell::new(set),
            }? Error);
            let entry = Shared::pin_init(entry, GFP_ATOMIC).ok()?;
            return self.entries.insert(entry, |_| false).ok();
        };
        let set = entry.set.get(rcu)?;
        if set.iter(rcu).any(|server| same(server.0, picked.0)) {
            return Some(());
        }
        let new = match self.kind {
            Locality::Lblc => DestSet::new(picked.0.share().into_iter(), 1)?,
            Locality::Lblcr => set.with(None, Some(picked), rcu)?,
        };
        entry.set.replace(new);
        Some(())
    }

    /// Removes entries that have not been used for a long time. To be called every
    /// [`locality::SWEEP_SECS`]. Sleeps.
    pub(super) fn sweep(&self) {
        let due = self.writer.lock().sweeps.due(self.entries.count());
        match due {
            Sweep::Nothing => {}
            Sweep::Stale(goal) => self.forget(STALE_SECS as usize * HZ as usize, goal),
            Sweep::Expired => self.forget(self.settings.expiration(self.kind), usize::MAX),
        }
    }

    /// Removes all entries.
    ///
    /// # Context
    ///
    /// Process context, when no packet uses the table any more.
    pub(super) fn clear(&self) {
        self.forget(0, usize::MAX);
    }

    /// Removes up to `goal` entries that have not been used for `age` ticks, beginning where the
    /// last sweep ended.
    fn forget(&self, age: usize, goal: usize) {
        let start = self.writer.lock().cursor;
        let (mut cursor, mut gone) = (start, 0usize);
        while gone < goal {
            let mut old = None;
            let next = linux::rcu::read(|rcu| {
                self.entries.scan(rcu, cursor, |entry| {
                    if old.is_none() && entry.age() >= age {
                        old = entry.share();
                    }
                })
            });
            cond_resched();
            // The same bucket again, until it has none.
            if let Some(entry) = old {
                self.entries.remove(&entry);
                gone = gone.wrapping_add(1);
                continue;
            }
            cursor = next;
            if cursor == start {
                break;
            }
        }
        self.writer.lock().cursor = cursor;
    }
}
