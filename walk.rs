// SPDX-License-Identifier: GPL-2.0

//! Iterates over all entries of a table outside of the locks of the table.
//!
//! A table is walked bucket by bucket. While the lock of a bucket's chain is held, which keeps
//! packets from changing it, only references to a few entries are collected. They are visited
//! afterwards, protected by RCU.
//!
//! The entries have an order that does not depend on the table's size: that of their hashes with
//! the lowest bit first, which is also the order of buckets in a table of any size. Entries with
//! the same hash are ordered by address. A cursor remembers the last entry visited in this order.
//! So an entry that is in the table all the time is visited exactly once, even if entries are added
//! and removed or the table is resized during the walk.

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

/// The number of entries that are collected at a time.
pub(crate) const BATCH: usize = 16;

/// A table that can be walked.
pub(crate) trait Walked {
    type Entry: 'static;
    /// A reference to an entry under RCU.
    type Seen<'rcu>: Copy + Deref<Target = Self::Entry>;

    /// Returns the hash by which an entry is in the table.
    fn hash(&self, entry: &Self::Entry) -> u32;

    /// Visits the entries of one bucket. Returns the next bucket; 0 after the last.
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

/// The position of an entry in the order of all entries. All fields 0 is before the first one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Zeroable)]
struct Rank {
    reversed_hash: u32,
    address: usize,
}

/// The position of a walk. All fields 0 is the beginning.
#[derive(Clone, Copy, Default, Zeroable)]
pub(crate) struct Cursor {
    /// All entries up to this one have been visited.
    passed: Rank,
    ended: bool,
}

/// The first entries of a bucket behind a rank, in their order.
struct Batch<E> {
    entries: [Option<(Rank, E)>; BATCH],
    /// There are more entries behind them.
    overflows: bool,
}

impl<E: Copy> Batch<E> {
    const fn new() -> Self {
        Self {
            entries: [None; BATCH],
            overflows: false,
        }
    }

    /// Adds an entry, and drops the last one if there is no room for it.
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
    /// Returns `true` if the walk has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Visits the next entries, possibly none, and moves behind them. If `visit` breaks, moves
    /// behind the last entry before the one for which it broke.
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
            // There are no more buckets than hashes.
            self.passed = Rank {
                reversed_hash: (next as u32).reverse_bits(),
                address: 0,
            };
            self.ended = next == 0;
        }
        ControlFlow::Continue(())
    }

    /// Visits all remaining entries, each batch under RCU. Ends early if `visit` breaks.
    /// Reschedules after each batch, so it must be called where sleeping is allowed.
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

/// Visits all objects of a table outside of RCU, so that `visit` may sleep. Ends early if it
/// breaks.
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
                // There is room for a batch. An object without references has left the table.
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
