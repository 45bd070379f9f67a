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

use crate::rcu::{
    self,
    Borrowed,
    Reader,
    Shared,
    SharedInner, //
};
use crate::sched::cond_resched;
use core::sync::atomic::AtomicUsize;
use kernel::prelude::*;

/// The secret that hashes are keyed with.
pub type Seed = [u64; 2];

/// What tables are made of.
pub trait Hashed: Send + Sync + 'static {
    /// The hash of the key for chain `slot`, or `None` if the object is in no such chain. Must not
    /// change while the object is in a table: an object that is not found again is never freed.
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32>;
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
    fn link(&self, slot: usize) -> &AtomicUsize {
        // Links carry one bit for the slot, so that the index is in range.
        &self.links[slot & 1]
    }

    #[inline]
    fn value(&self) -> &T {
        &self.value
    }
}

/// A table that holds a reference to each of its objects.
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
        rcu: Reader<'rcu>,
        hash: u32,
        is: impl Fn(&T, usize) -> bool,
    ) -> Option<Borrowed<'rcu, T>> {
        self.chains.find(rcu, hash, |node, slot| {
            is(&node.value, slot).then(|| Borrowed::new(node, rcu))
        })
    }

    /// Adds `object`, unless there is one that `same` accepts: then it is given back.
    pub fn insert(&self, object: Shared<T>, same: impl Fn(&T) -> bool) -> Result<(), Shared<T>> {
        let Some(hash) = object.hash(0, self.seed()) else {
            return Err(object);
        };
        let second = object.hash(1, self.seed());
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
                // SAFETY: The reference is still ours, and keeps the object valid.
                self.chains.unlink(rcu, unsafe { node.as_ref() }, 1);
                // SAFETY: In no chain any more.
                unsafe { Shared::from_inner(node) }
            })
        })
    }

    /// Removes `object`; the table's reference to it, if it was there.
    pub fn remove(&self, object: &Shared<T>) -> Option<Shared<T>> {
        let node = object.as_inner();
        let found = rcu::read(|rcu| {
            // SAFETY: `object` keeps it valid.
            let node = unsafe { node.as_ref() };
            self.chains.unlink(rcu, node, 0) && {
                self.chains.unlink(rcu, node, 1);
                true
            }
        });
        // SAFETY: The chain's reference, given up in `insert`; one caller alone gets `true`.
        found.then(|| unsafe { Shared::from_inner(node) })
    }

    /// Whether [`Table::resize`] has something to do: a look at a counter.
    #[inline]
    pub fn unbalanced(&self, rcu: Reader<'_>) -> bool {
        self.chains.unbalanced(rcu)
    }

    /// Removes all objects, and gives each to `removed`, which may sleep, but not resize the table.
    /// Objects that are inserted meanwhile may stay. Sleeps.
    pub fn clear(&self, mut removed: impl FnMut(Shared<T>)) {
        self.chains.clear(|node| {
            // SAFETY: The chain's reference, given up in `insert`; it was taken out just now.
            let object = unsafe { Shared::from_inner(node) };
            rcu::read(|rcu| self.chains.unlink(rcu, object.memory(), 1));
            removed(object);
        });
    }

    /// Visits the objects of one bucket; see the cursor's rules at [`crate::timed::Table::scan`].
    pub fn scan<'rcu>(
        &self,
        rcu: Reader<'rcu>,
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
            cond_resched();
            match found {
                Some(object) => drop(self.remove(&object)),
                None if cursor == 0 => break,
                None => {}
            }
        }
    }
}
