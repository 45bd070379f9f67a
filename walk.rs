// SPDX-License-Identifier: GPL-2.0

//! Walks over all entries of a table, for those who take their time at each.
//!
//! A table is walked place by place, with packets shut out of the place's chain meanwhile. So what is
//! there is only noted down, a few entries at a time, and looked at afterwards: RCU keeps it.
//!
//! Entries have an order that no change to the table touches: that of their hashes with the lowest
//! bit first, which is the order of places in a table of any size, and of their addresses where hashes
//! are the same. A walk goes by that order and knows what it has passed, so that an entry which is
//! there all the time is met once, whatever comes, goes and is resized in between.

use core::ops::{
    ControlFlow,
    Deref, //
};
use kernel::prelude::*;
use linux::{
    expiring, //
    rcu::{
        self,
        Borrowed,
        ReadLocked,
        Shared, //
    },
    sched::cond_resched,
    table::{
        Linked,
        Table, //
    },
};

/// How many entries are noted down at a time.
pub(crate) const BATCH: usize = 16;

/// A table that can be walked over.
pub(crate) trait Walked {
    type Entry: 'static;
    /// An entry as a reader sees it.
    type Seen<'rcu>: Copy + Deref<Target = Self::Entry>;

    /// The hash that an entry has its place by.
    fn hash(&self, entry: &Self::Entry) -> u32;

    /// Visits the entries of one place, and says which place is next, 0 after the last.
    fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        place: usize,
        visit: impl FnMut(Self::Seen<'rcu>),
    ) -> usize;
}

impl<T: Linked> Walked for Table<T> {
    type Entry = T;
    type Seen<'rcu> = Borrowed<'rcu, T>;

    fn hash(&self, entry: &T) -> u32 {
        entry.hash(0, self.seed()).unwrap_or(0)
    }

    fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        place: usize,
        visit: impl FnMut(Borrowed<'rcu, T>),
    ) -> usize {
        Table::scan(self, rcu, place, visit)
    }
}

impl<T: expiring::Entry> Walked for expiring::Table<T> {
    type Entry = T;
    type Seen<'rcu> = &'rcu T;

    fn hash(&self, entry: &T) -> u32 {
        entry.hash(0, self.seed()).unwrap_or(0)
    }

    fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        place: usize,
        mut visit: impl FnMut(&'rcu T),
    ) -> usize {
        expiring::Table::scan(self, rcu, place, |entry| visit(entry))
    }
}

/// Where an entry is in the order of all. All zero is before the first one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Zeroable)]
struct Rank {
    reversed_hash: u32,
    address: usize,
}

/// Where a walk is. All zero is the beginning.
#[derive(Clone, Copy, Default, Zeroable)]
pub(crate) struct Cursor {
    /// What is up to here has been passed.
    passed: Rank,
    ended: bool,
}

/// The first entries of a place behind a rank, in their order.
struct Batch<E> {
    entries: [Option<(Rank, E)>; BATCH],
    /// Whether there are more.
    overflows: bool,
}

impl<E: Copy> Batch<E> {
    const fn new() -> Self {
        Self {
            entries: [None; BATCH],
            overflows: false,
        }
    }

    /// Takes an entry in, and lets go of the last one if there are too many.
    fn insert(&mut self, rank: Rank, entry: E) {
        let mut carried = (rank, entry);
        for place in &mut self.entries {
            match place {
                None => {
                    *place = Some(carried);
                    return;
                }
                Some(other) if carried.0 < other.0 => core::mem::swap(other, &mut carried),
                Some(_) => {}
            }
        }
        self.overflows = true;
    }
}

impl Cursor {
    /// Whether there is nothing left.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Visits the next entries, which may be none, and moves behind them; behind the last one before
    /// that at which `visit` breaks off, if it does.
    pub(crate) fn advance<'rcu, W: Walked>(
        &mut self,
        rcu: ReadLocked<'rcu>,
        table: &W,
        mut visit: impl FnMut(W::Seen<'rcu>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.ended {
            return ControlFlow::Continue(());
        }
        let mut batch = Batch::new();
        let passed = self.passed;
        let place = passed.reversed_hash.reverse_bits();
        let next = table.scan(rcu, place as usize, |entry| {
            let rank = Rank {
                reversed_hash: table.hash(&entry).reverse_bits(),
                address: core::ptr::from_ref(&*entry).addr(),
            };
            if rank > passed {
                batch.insert(rank, entry);
            }
        });
        for &(rank, entry) in batch.entries.iter().flatten() {
            visit(entry)?;
            self.passed = rank;
        }
        if !batch.overflows {
            // Places are no more than hashes.
            self.passed = Rank {
                reversed_hash: (next as u32).reverse_bits(),
                address: 0,
            };
            self.ended = next == 0;
        }
        ControlFlow::Continue(())
    }

    /// Visits all entries that are left, each batch under RCU; ends early once `visit` breaks off.
    /// Gives way after each batch, so that it must be free to sleep.
    pub(crate) fn for_each<W: Walked>(
        &mut self,
        table: &W,
        mut visit: impl for<'rcu> FnMut(W::Seen<'rcu>, ReadLocked<'rcu>) -> ControlFlow<()>,
    ) {
        while !self.ended {
            let step = rcu::read(|rcu| self.advance(rcu, table, |entry| visit(entry, rcu)));
            if step.is_break() {
                return;
            }
            cond_resched();
        }
    }
}

/// Visits all objects of a table, outside of RCU, so that `visit` may take its time and sleep; ends
/// early once it breaks off.
pub(crate) fn for_each_shared<T: Linked>(
    table: &Table<T>,
    mut visit: impl FnMut(&Shared<T>) -> ControlFlow<()>,
) {
    let mut cursor = Cursor::default();

    while !cursor.ended() {
        let mut found = [const { None::<Shared<T>> }; BATCH];
        let mut free = found.iter_mut();
        let _ = rcu::read(|rcu| {
            cursor.advance(rcu, table, |object| {
                // There is room for a batch. What nobody holds any more has left the table.
                if let (Some(place), Some(object)) = (free.next(), object.share()) {
                    *place = Some(object);
                }
                ControlFlow::Continue(())
            })
        });
        for object in found.iter().flatten() {
            if visit(object).is_break() {
                return;
            }
        }
        cond_resched();
    }
}
