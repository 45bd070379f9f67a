// SPDX-License-Identifier: GPL-2.0

//! The table that entries are published in.

use super::{
    entry::{
        fired,
        free_after_readers,
        Expiring, //
    },
    Entry,
    Quota,
    Refused, //
};
use crate::{
    atomic::Refcount,
    bindings,
    rcu::{
        self,
        ReadLocked,
        Shared, //
    },
    sched::cond_resched,
    slab,
    table::{
        Chains,
        Seed,
        Sizing, //
    },
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// An object that was not published yet, so that only its maker knows it.
pub struct New<'a, T: Entry> {
    entry: NonNull<Expiring<T>>,
    // Keeps the table.
    _table: PhantomData<&'a TableRef<T>>,
}

impl<T: Entry> Deref for New<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Initialised in `Table::alloc`, and ours.
        unsafe { &self.entry.as_ref().value }
    }
}

impl<T: Entry> Drop for New<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The table outlives its objects.
        unsafe { self.entry.as_ref().table.as_ref() }
            .quota
            .give_back();
        // SAFETY: Never published, so that nobody else has seen it.
        unsafe {
            core::ptr::drop_in_place(&raw mut (*self.entry.as_ptr()).value);
            slab::free(self.entry);
        }
    }
}

impl<T: Entry> New<'_, T> {
    /// Puts the object into its table and arms its timer.
    ///
    /// # Context
    ///
    /// Any.
    ///
    /// # Errors
    ///
    /// Returns a published object that `same` says to be the equal of this one, which is dropped.
    pub fn publish<'rcu>(
        self,
        rcu: ReadLocked<'rcu>,
        same: impl Fn(&T) -> bool,
    ) -> Result<&'rcu Expiring<T>, &'rcu Expiring<T>> {
        self.publish_at(rcu, None, same)
    }

    /// Does the same as [`Self::publish`] for a caller who knows the hash of the first chain. With a
    /// wrong one, the object never leaves the table.
    ///
    /// # Context
    ///
    /// Any.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`].
    pub fn publish_hashed<'rcu>(
        self,
        rcu: ReadLocked<'rcu>,
        hash: u32,
        same: impl Fn(&T) -> bool,
    ) -> Result<&'rcu Expiring<T>, &'rcu Expiring<T>> {
        self.publish_at(rcu, Some(hash), same)
    }

    #[inline]
    fn publish_at<'rcu>(
        self,
        rcu: ReadLocked<'rcu>,
        hash: Option<u32>,
        same: impl Fn(&T) -> bool,
    ) -> Result<&'rcu Expiring<T>, &'rcu Expiring<T>> {
        let entry_ptr = ManuallyDrop::new(self).entry;
        // SAFETY: Initialised in `Table::alloc`; once readers can see it, RCU keeps it for `'rcu`.
        let entry: &'rcu Expiring<T> = unsafe { entry_ptr.as_ref() };
        // SAFETY: The table outlives its objects.
        let Table { chains, quota, .. } = unsafe { entry.table.as_ref() };
        // SAFETY: The timer belongs to this object, and nobody uses it yet.
        unsafe { bindings::linux_timer_setup(entry.timer.get(), Some(fired::<T>)) };

        // The first slot comes last: whoever unlinks it finds the other one in place.
        if let Some(hash) = entry.value.hash(1, chains.seed()) {
            // SAFETY: The object stays valid until a grace period after it was unlinked.
            let _ = unsafe { chains.link(rcu, entry_ptr, 1, hash, |_, _| false) };
        }
        if let Some(hash) = hash.or_else(|| entry.value.hash(0, chains.seed())) {
            debug_assert_eq!(entry.value.hash(0, chains.seed()), Some(hash));
            // SAFETY: As above.
            let linked = unsafe {
                chains.link(rcu, entry_ptr, 0, hash, |other, slot| {
                    slot == 0 && same(&other.value)
                })
            };
            if let Err(other) = linked {
                quota.give_back();
                if entry.leave_second(rcu, chains) {
                    // SAFETY: In no chain any more, and its timer was never armed; readers may have
                    // seen it in the other one.
                    unsafe { bindings::call_rcu(entry.rcu.get(), Some(free_after_readers::<T>)) };
                }
                return Err(other);
            }
        }
        // SAFETY: Set up above; without effect if `clear` has retired the object meanwhile.
        unsafe { entry.arm() };
        Ok(entry)
    }
}

/// A table of objects that end when their deadline has passed. [`TableRef`]s keep its memory.
#[pin_data]
pub struct Table<T: Entry> {
    #[pin]
    chains: Chains<Expiring<T>>,
    quota: Arc<Quota>,
    owner: T::Owner,
    /// Counts the [`TableRef`]s.
    refs: Refcount,
}

/// A counted reference to a [`Table`].
///
/// The last one to go retires all objects that are left. The memory of the table is freed a grace
/// period later, since a timer that has just unlinked its object still uses the chains.
///
/// # Context
///
/// Must be dropped in process context.
///
/// # Invariants
///
/// Counted in `refs` of the table.
pub struct TableRef<T: Entry> {
    table: Shared<Table<T>>,
    // Not in the table, whose fields are dropped in softirq context.
    cache: Arc<slab::Cache<Expiring<T>>>,
}

impl<T: Entry> TableRef<T> {
    /// Creates an empty table of `owner`, whose objects come from `cache` and count in `quota`. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(
        sizing: Sizing,
        cache: Arc<slab::Cache<Expiring<T>>>,
        quota: Arc<Quota>,
        owner: T::Owner,
    ) -> Result<Self> {
        let table = try_pin_init!(Table {
            chains <- Chains::new(sizing),
            quota,
            owner,
            refs: Refcount::new(1),
        }? Error);
        // INVARIANT: The count is 1.
        Ok(Self {
            table: Shared::pin_init(table, GFP_KERNEL)?,
            cache,
        })
    }

    /// Creates what [`Table::alloc`] takes memory from, unless it was created before. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn prepare(&self) -> Result {
        self.cache.prepare()
    }
}

impl<T: Entry> Deref for TableRef<T> {
    type Target = Table<T>;

    #[inline]
    fn deref(&self) -> &Table<T> {
        &self.table
    }
}

impl<T: Entry> Clone for TableRef<T> {
    fn clone(&self) -> Self {
        self.refs.inc();
        // INVARIANT: Just counted.
        Self {
            table: self.table.clone(),
            cache: self.cache.clone(),
        }
    }
}

impl<T: Entry> Drop for TableRef<T> {
    fn drop(&mut self) {
        if !self.refs.dec_and_test() {
            return;
        }
        // Nobody publishes any more: who has a new object has a reference too.
        while self.count() != 0 {
            self.clear();
            // A timer that has unlinked the last object may be about to count it out.
            core::hint::spin_loop();
        }
    }
}

impl<T: Entry> rcu::Object for Table<T> {
    type Links = ();
}

impl<T: Entry> Table<T> {
    /// Returns the chains that entries are in.
    #[inline]
    pub(super) fn chains(&self) -> &Chains<Expiring<T>> {
        &self.chains
    }

    /// Returns what entries count in.
    #[inline]
    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Returns what the table belongs to.
    #[inline]
    pub fn owner(&self) -> &T::Owner {
        &self.owner
    }

    /// Returns the secret to hash keys with.
    #[inline]
    pub fn seed(&self) -> &Seed {
        self.chains.seed()
    }

    /// Returns the number of objects.
    #[inline]
    pub fn count(&self) -> usize {
        self.chains.count()
    }

    /// Returns the number of buckets.
    pub fn size(&self) -> usize {
        self.chains.size()
    }

    /// Makes a new object for `table`, which nobody else sees yet.
    ///
    /// # Context
    ///
    /// Any, after [`TableRef::prepare`].
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] if there are `most` objects in the quota; [`Refused::NoMemory`].
    pub fn alloc(table: &TableRef<T>, value: T, most: usize) -> Result<New<'_, T>, Refused> {
        if !table.quota.take(most) {
            return Err(Refused::Full);
        }
        let Some(memory) = table.cache.alloc() else {
            table.quota.give_back();
            return Err(Refused::NoMemory);
        };
        let entry = memory.cast::<Expiring<T>>();
        // SAFETY: The cache gives memory of this layout, and it is ours.
        unsafe { entry.write(Expiring::new(table, value)) };
        Ok(New {
            entry,
            _table: PhantomData,
        })
    }

    /// Calls `visit` with the objects that may have this hash, newest first, and with the slots of
    /// their chains, until it returns an answer; returns that. `visit` may get an object twice, and
    /// objects that only share the bucket.
    #[inline]
    pub fn find<'rcu, R>(
        &self,
        rcu: ReadLocked<'rcu>,
        hash: u32,
        visit: impl FnMut(&'rcu Expiring<T>, usize) -> Option<R>,
    ) -> Option<R> {
        self.chains.find(rcu, hash, visit)
    }

    /// Visits the objects of one bucket and returns the cursor of the next bucket, 0 after the last.
    ///
    /// A walk starts with the cursor 0. Objects that are in the table from the first call to the last
    /// are visited at least once, even if the table is resized in between. `visit` runs with bottom
    /// halves disabled, and must not change the table.
    pub fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        cursor: usize,
        visit: impl FnMut(&'rcu Expiring<T>),
    ) -> usize {
        self.chains.scan(rcu, cursor, visit)
    }

    /// Retires all objects. Objects that are published meanwhile may stay.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
    pub fn clear(&self) {
        const BATCH: usize = 16;
        // Most buckets have one object or none.
        const BUCKETS: usize = 64;
        let mut cursor = 0;
        let mut ended = false;
        while !ended {
            rcu::read(|rcu| {
                let mut batch = [const { None::<&Expiring<T>> }; BATCH];
                let mut found = 0;
                for _ in 0..BUCKETS {
                    let next = self.chains.scan(rcu, cursor, |entry| {
                        if let Some(free) = batch.get_mut(found) {
                            *free = Some(entry);
                        }
                        found = found.saturating_add(1);
                    });
                    // The same bucket again, for objects that did not fit into the batch.
                    if found > BATCH {
                        break;
                    }
                    cursor = next;
                    ended = next == 0;
                    if ended {
                        break;
                    }
                }
                for entry in batch.into_iter().flatten() {
                    if let Some(unlinked) = entry.unlink(rcu) {
                        // SAFETY: Unlinked just above. The timer is waited for; it waits for nothing
                        // that is held here.
                        unsafe {
                            bindings::timer_shutdown_sync(entry.timer.get());
                            entry.retire(unlinked);
                        }
                    }
                }
            });
            cond_resched();
        }
    }

    /// Returns whether [`Table::resize`] has something to do. Reads a counter only.
    #[inline]
    pub fn unbalanced(&self, rcu: ReadLocked<'_>) -> bool {
        self.chains.unbalanced(rcu)
    }

    /// Counts the buckets by the lengths of their chains; the last number includes longer ones. If the
    /// table is resized meanwhile, some buckets are counted before and some after. May sleep.
    pub fn chain_lengths<const L: usize>(&self) -> [usize; L] {
        self.chains.chain_lengths()
    }

    /// Sets the load factor that the next resize gets, see [`Sizing::wanted`].
    pub fn set_load_factor(&self, load_factor: i32) {
        self.chains.set_load_factor(load_factor);
    }

    /// Grows or shrinks the table if its load asks for that. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the table has the size then that it had got to.
    pub fn resize(&self) -> Result {
        self.chains.resize()
    }
}
