// SPDX-License-Identifier: GPL-2.0

//! Hash tables that readers search under RCU and that grow and shrink with what they hold.
//!
//! Entries are chained through links of their own, so adding one allocates nothing. A chain ends in
//! a mark that names its bucket. A reader whose entry is moved to another bucket meanwhile arrives at
//! a wrong mark and starts over, so it never misses an entry.
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
        Object,
        ReadLocked,
        Shared,
        SharedInner, //
    },
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// The secret that hashes are keyed with.
pub type Seed = [u64; 2];

/// An object with hashes, for tables.
pub trait Hashed: Send + Sync + 'static {
    /// Returns the hash of the key for chain `slot`, or `None` if the object is in no such chain.
    ///
    /// Must not change while the object is in a table. If it does, the object can't be removed any
    /// more: it is never freed, and the table can't be dropped. No chain leads to freed memory, though.
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32>;
}

/// The memory that each bucket of a table takes.
pub const BUCKET_BYTES: usize = size_of::<Atomic<usize>>();

/// The chains that an object is in; it has links for one table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Chained {
    None,
    First,
    Both,
}

/// [`Chained`] of an object that several may want to insert.
struct AtomicChained(Atomic<u32>);

impl AtomicChained {
    /// Creates the state of an object in no table.
    const fn new() -> Self {
        Self(Atomic::new(Chained::None as u32))
    }

    /// Claims the object for these chains; returns `false` if it is in a table already.
    fn begin(&self, chains: Chained) -> bool {
        self.0
            .cmpxchg(Chained::None as u32, chains as u32, Acquire)
            .is_ok()
    }

    /// Returns whether the object is in these chains. For the context that takes it out.
    fn is(&self, chains: Chained) -> bool {
        self.0.load(Relaxed) == chains as u32
    }

    /// Releases the object, which is in no chain any more.
    fn end(&self) {
        self.0.store(Chained::None as u32, Release);
    }
}

/// The size of a table, as powers of two. It never has fewer buckets than initially, or than 64 if
/// that is less.
#[derive(Clone, Copy)]
pub struct Sizing {
    /// The size at the start.
    pub initial_bits: u32,
    /// Returns the size for `objects` objects, or `None` to keep the present one; for more objects,
    /// never a smaller size. `load_factor` is 0 unless the table's user has set one; without `bits`,
    /// it was changed, and the size is to be computed anew.
    pub wanted: fn(objects: usize, bits: Option<u32>, load_factor: i32) -> Option<u32>,
}

/// The links of an object that may be in a [`Table`], in one at a time.
pub struct Links {
    /// The next entries of the chains.
    next: [Atomic<usize>; 2],
    /// The chains that the object is in.
    chained: AtomicChained,
}

impl rcu::Links for Links {
    fn new() -> Self {
        Self {
            next: [const { Atomic::new(0) }; 2],
            chained: AtomicChained::new(),
        }
    }
}

/// Links of an object among which there are [`Links`].
///
/// # Safety
///
/// `links` must return the same part of `self` each time.
pub unsafe trait HasLinks: rcu::Links {
    /// Returns the links.
    #[doc(hidden)]
    fn links(&self) -> &Links;
}

// SAFETY: All of it.
unsafe impl HasLinks for Links {
    #[inline]
    fn links(&self) -> &Links {
        self
    }
}

// SAFETY: A field.
unsafe impl<L: rcu::Links> HasLinks for (Links, L) {
    #[inline]
    fn links(&self) -> &Links {
        &self.0
    }
}

/// An object that can be in a [`Table`].
pub trait Linked: Hashed + Object<Links: HasLinks> {}

impl<T: Hashed + Object<Links: HasLinks>> Linked for T {}

// SAFETY: Two slots, two words.
unsafe impl<T: Linked> Node for SharedInner<T> {
    type Value = T;

    #[inline]
    fn link(&self, slot: usize) -> &Atomic<usize> {
        // Links carry one bit for the slot, so that the index is in range.
        &self.links.links().next[slot & 1]
    }

    #[inline]
    fn value(&self) -> &T {
        &self.value
    }
}

/// A table that holds a reference to each of its objects. It may be dropped in softirq context, for
/// instance as part of a [`Shared`] object; a large one is to be cleared before, which sleeps.
#[pin_data(PinnedDrop)]
pub struct Table<T: Linked> {
    #[pin]
    chains: Chains<SharedInner<T>>,
}

impl<T: Linked> Table<T> {
    /// Returns an initialiser of an empty table.
    pub fn new(sizing: Sizing) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            chains <- Chains::new(sizing),
        }? Error)
    }

    /// Returns the secret to hash keys with.
    #[inline]
    pub fn seed(&self) -> &Seed {
        self.chains.seed()
    }

    /// Returns the number of objects.
    pub fn count(&self) -> usize {
        self.chains.count()
    }

    /// Returns the number of buckets.
    pub fn size(&self) -> usize {
        self.chains.size()
    }

    /// Returns the object with this hash that `is` accepts. `is` also gets the slot of the chain.
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

    /// Adds `object`.
    ///
    /// # Errors
    ///
    /// Returns `object` if the table has one that `same` accepts, or if it is in a table already.
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
        if !object.memory().links.links().chained.begin(chained) {
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

    /// Removes `object` and returns the table's reference to it, if it was there.
    pub fn remove(&self, object: &Shared<T>) -> Option<Shared<T>> {
        let node = object.memory();
        rcu::read(|rcu| {
            let found = self.chains.unlink(rcu, node, 0);
            found.then(|| self.leave_second(rcu, node))
        })
    }

    /// Takes an object out of its second chain, if it is in one, and returns the table's reference.
    /// For the context that has taken it out of the first chain, or has not put it there.
    fn leave_second(&self, rcu: ReadLocked<'_>, node: &SharedInner<T>) -> Shared<T> {
        // SAFETY: The chain's reference, given up in `insert`; one caller alone comes here.
        let object = unsafe { Shared::from_inner(NonNull::from(node)) };
        if node.links.links().chained.is(Chained::Both) && !self.chains.unlink(rcu, node, 1) {
            // Its hash has changed, and the chain still leads to it: that has a reference for good.
            core::mem::forget(object.clone());
        } else {
            node.links.links().chained.end();
        }
        object
    }

    /// Returns whether [`Table::resize`] has something to do. Reads a counter only.
    #[inline]
    pub fn unbalanced(&self, rcu: ReadLocked<'_>) -> bool {
        self.chains.unbalanced(rcu)
    }

    /// Removes all objects and calls `removed` with each; it may sleep, but must not resize the
    /// table. Objects that are added meanwhile may stay. Sleeps.
    pub fn clear(&self, mut removed: impl FnMut(Shared<T>)) {
        self.chains.clear(|node| {
            // SAFETY: The chain's reference, given up in `insert`, keeps it valid.
            let node = unsafe { node.as_ref() };
            removed(rcu::read(|rcu| self.leave_second(rcu, node)));
        });
    }

    /// Visits the objects of one bucket and returns the cursor of the next one; see
    /// [`crate::expiring::Table::scan`] for the rules.
    pub fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        cursor: usize,
        mut visit: impl FnMut(Borrowed<'rcu, T>),
    ) -> usize {
        self.chains
            .scan(rcu, cursor, |node| visit(Borrowed::new(node, rcu)))
    }

    /// Counts the buckets by the lengths of their chains; the last number includes longer ones. If
    /// the table is resized meanwhile, some buckets are counted before and some after. May sleep.
    pub fn chain_lengths<const L: usize>(&self) -> [usize; L] {
        self.chains.chain_lengths()
    }

    /// Sets the load factor that the next resize gets, see [`Sizing::wanted`].
    pub fn set_load_factor(&self, load_factor: i32) {
        self.chains.set_load_factor(load_factor);
    }

    /// Grows or shrinks the table if its load asks for that. Sleeps.
    pub fn resize(&self) -> Result {
        self.chains.resize()
    }
}

#[pinned_drop]
impl<T: Linked> PinnedDrop for Table<T> {
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
