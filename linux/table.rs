// SPDX-License-Identifier: GPL-2.0

//! Hash tables that readers search under RCU and that grow and shrink with what they hold.
//!
//! Entries are chained through links of their own, so adding one allocates nothing. A chain ends in
//! a mark that names its bucket; a reader whose entry is moved to another bucket under its eyes
//! arrives at a wrong mark and starts over, so it never misses an entry.
//!
//! # Locks
//!
//! Writers of a chain hold one of a fixed number of locks, chosen by the low bits of the hash. A
//! hash has the same lock in a table and in the one that replaces it, so the lock covers both
//! places where an entry may be during a resize. These locks are innermost. One resize runs at a
//! time, under a mutex.
//!
//! C counterpart: `struct ip_vs_rht`, and `rhashtable`.

mod chains;

pub(crate) use chains::{
    Chains,
    Node, //
};

use crate::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    rcu::{
        self,
        Borrowed,
        ReadLocked,
        Shared,
        SharedInner, //
    },
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// The secret that hashes are keyed with.
pub type Seed = [u64; 2];

/// What tables are made of.
pub trait Hashed: Send + Sync + 'static {
    /// The hash of the key for chain `slot`, or `None` if the object is in no such chain. Must not
    /// change while the object is in a table. If it does, the object can't be removed any more: it is
    /// never freed, and a table that has it can't be dropped. No chain leads to freed memory.
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32>;
}

/// The memory that each bucket of a table takes.
pub const BUCKET_BYTES: usize = size_of::<Atomic<usize>>();

/// Which chains an object is in, which has links for one table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Chained {
    None,
    First,
    Both,
}

/// [`Chained`] of an object that several may want to insert.
pub(crate) struct AtomicChained(Atomic<u32>);

impl AtomicChained {
    /// In no table.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(Chained::None as u32))
    }

    /// It is going to be in these chains, unless it is in a table already.
    fn begin(&self, chains: Chained) -> bool {
        self.0
            .cmpxchg(Chained::None as u32, chains as u32, Acquire)
            .is_ok()
    }

    /// Whether it is in these, as the one knows who takes it out.
    fn is(&self, chains: Chained) -> bool {
        self.0.load(Relaxed) == chains as u32
    }

    /// It is in no chain any more.
    fn end(&self) {
        self.0.store(Chained::None as u32, Release);
    }
}

/// How large a table is, as powers of two. It has never fewer buckets than at the start, or than 64
/// if that is less.
#[derive(Clone, Copy)]
pub struct Sizing {
    /// The size at the start.
    pub initial_bits: u32,
    /// The size for so many objects, if it isn't the present one, with this load factor: 0, unless
    /// the table's user has set one. Without a present size, the table is to be sized anew, since
    /// the load factor is another one.
    pub wanted: fn(objects: usize, bits: Option<u32>, load_factor: i32) -> Option<u32>,
}

// SAFETY: Two slots, two words.
unsafe impl<T: Hashed> Node for SharedInner<T> {
    type Value = T;

    #[inline]
    fn link(&self, slot: usize) -> &Atomic<usize> {
        // Links carry one bit for the slot, so that the index is in range.
        &self.links[slot & 1]
    }

    #[inline]
    fn value(&self) -> &T {
        &self.value
    }
}

/// A table that holds a reference to each of its objects. It may be dropped in softirq context, for
/// instance as part of a [`Shared`] object; a large one is to be cleared before, which sleeps.
#[pin_data(PinnedDrop)]
pub struct Table<T: Hashed> {
    #[pin]
    chains: Chains<SharedInner<T>>,
}

impl<T: Hashed> Table<T> {
    /// An empty table.
    pub fn new(sizing: Sizing) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            chains <- Chains::new(sizing),
        }? Error)
    }

    /// The secret to hash a key with that is looked for.
    #[inline]
    pub fn seed(&self) -> &Seed {
        self.chains.seed()
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.chains.count()
    }

    /// How many buckets there are.
    pub fn size(&self) -> usize {
        self.chains.size()
    }

    /// The object with this hash that `is` accepts, which gets the chain's slot too.
    #[inline]
    pub fn find<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        hash: u32,
        is: impl Fn(&T, usize) -> bool,
    ) -> Option<Borrowed<'rcu, T>> {
        self.chains.find(rcu, hash, |node, slot| {
            is(&node.value, slot).then(|| Borrowed::new(node, rcu))
        })
    }

    /// Adds `object`, unless there is one that `same` accepts, or the object is in a table already:
    /// then it is given back.
    pub fn insert(&self, object: Shared<T>, same: impl Fn(&T) -> bool) -> Result<(), Shared<T>> {
        let Some(hash) = object.hash(0, self.seed()) else {
            return Err(object);
        };
        let second = object.hash(1, self.seed());
        let chained = match second {
            Some(_) => Chained::Both,
            None => Chained::First,
        };
        // It has one link for each slot.
        if !object.memory().chained.begin(chained) {
            return Err(object);
        }
        let node = object.into_inner();
        rcu::read(|rcu| {
            // The first slot comes last: who unlinks it finds the other one in place.
            if let Some(hash) = second {
                // SAFETY: The reference just given up keeps the object until it is unlinked; then
                // it is dropped, which waits for a grace period.
                let _ = unsafe { self.chains.link(rcu, node, 1, hash, |_, _| false) };
            }
            // SAFETY: As above.
            let linked = unsafe {
                self.chains.link(rcu, node, 0, hash, |other, slot| {
                    slot == 0 && same(&other.value)
                })
            };
            linked.map_err(|_| {
                // SAFETY: The reference just given up keeps the object valid.
                let node = unsafe { node.as_ref() };
                self.leave_second(rcu, node)
            })
        })
    }

    /// Removes `object`; the table's reference to it, if it was there.
    pub fn remove(&self, object: &Shared<T>) -> Option<Shared<T>> {
        let node = object.memory();
        rcu::read(|rcu| {
            let found = self.chains.unlink(rcu, node, 0);
            found.then(|| self.leave_second(rcu, node))
        })
    }

    /// Takes an object out of its second chain, if it is in one; the table's reference. To be called
    /// by the one who has taken it out of the first one, or has not put it there.
    fn leave_second(&self, rcu: ReadLocked<'_>, node: &SharedInner<T>) -> Shared<T> {
        // SAFETY: The chain's reference, given up in `insert`; one caller alone comes here.
        let object = unsafe { Shared::from_inner(NonNull::from(node)) };
        if node.chained.is(Chained::Both) && !self.chains.unlink(rcu, node, 1) {
            // Its hash has changed, and the chain still leads to it: that has a reference for good.
            core::mem::forget(object.clone());
        } else {
            node.chained.end();
        }
        object
    }

    /// Whether [`Table::resize`] has something to do: a look at a counter.
    #[inline]
    pub fn unbalanced(&self, rcu: ReadLocked<'_>) -> bool {
        self.chains.unbalanced(rcu)
    }

    /// Removes all objects, and gives each to `removed`, which may sleep, but not resize the table.
    /// Objects that are inserted meanwhile may stay. Sleeps.
    pub fn clear(&self, mut removed: impl FnMut(Shared<T>)) {
        self.chains.clear(|node| {
            // SAFETY: The chain's reference, given up in `insert`, keeps it valid.
            let node = unsafe { node.as_ref() };
            removed(rcu::read(|rcu| self.leave_second(rcu, node)));
        });
    }

    /// Visits the objects of one bucket; see the cursor's rules at [`crate::expiring::Table::scan`].
    pub fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        cursor: usize,
        mut visit: impl FnMut(Borrowed<'rcu, T>),
    ) -> usize {
        self.chains
            .scan(rcu, cursor, |node| visit(Borrowed::new(node, rcu)))
    }

    /// How many buckets have chains of each length; the last number stands for longer ones too. May
    /// sleep. What is resized meanwhile is counted as it is by then.
    pub fn chain_lengths<const L: usize>(&self) -> [usize; L] {
        self.chains.chain_lengths()
    }

    /// Has the next resize go by that load factor.
    pub fn set_load_factor(&self, load_factor: i32) {
        self.chains.set_load_factor(load_factor);
    }

    /// Grows or shrinks the table if its load asks for it. Sleeps.
    pub fn resize(&self) -> Result {
        self.chains.resize()
    }
}

#[pinned_drop]
impl<T: Hashed> PinnedDrop for Table<T> {
    fn drop(self: Pin<&mut Self>) {
        let mut cursor = 0;
        // Nobody else changes it any more, and a table that was cleared has not to be walked over.
        while self.count() != 0 {
            let mut found: Option<Shared<T>> = None;
            cursor = rcu::read(|rcu| {
                let next = self.chains.scan(rcu, cursor, |node| {
                    if found.is_none() {
                        found = Borrowed::new(node, rcu).share();
                    }
                });
                // The same bucket again, until it is empty.
                if found.is_some() {
                    cursor
                } else {
                    next
                }
            });
            match found {
                Some(object) => drop(self.remove(&object)),
                None if cursor == 0 => break,
                None => {}
            }
        }
    }
}
