// SPDX-License-Identifier: GPL-2.0

//! References to the memory of an entry.

use super::{
    entry::{
        put,
        Expiring, //
    },
    Entry, //
};
use crate::atomic::{
    Full,
    InlineAtomic,
    Relaxed, //
};
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

mod sealed {
    pub trait Sealed {}
}

/// Counts the holders of an entry's memory. The table is the first.
///
/// # Safety
///
/// `put` must return `true` exactly once, for the call that follows as many calls as `get` had.
pub unsafe trait Holds: sealed::Sealed + Send + Sync + 'static {
    /// Creates a count of one.
    #[doc(hidden)]
    fn new() -> Self;

    /// Drops one hold; returns `true` for the last.
    #[doc(hidden)]
    fn put(&self) -> bool;
}

impl sealed::Sealed for () {}

// SAFETY: The table puts once, and there is no `get`.
unsafe impl Holds for () {
    #[inline]
    fn new() -> Self {}

    #[inline]
    fn put(&self) -> bool {
        true
    }
}

/// A count of the table and the [`EntryRef`]s that keep an entry's memory. Inline, since each new
/// connection of a persistent service takes a reference to its template.
pub struct RefCounted(InlineAtomic<u32>);

impl RefCounted {
    /// Adds one hold, for a caller to whom another one keeps the memory.
    fn get(&self) {
        // 2^32 holders do not fit in memory.
        self.0.fetch_add(1, Relaxed);
    }
}

impl sealed::Sealed for RefCounted {}

// SAFETY: The count gets to 0 once, after as many calls.
unsafe impl Holds for RefCounted {
    fn new() -> Self {
        Self(InlineAtomic::new(1))
    }

    fn put(&self) -> bool {
        self.0.fetch_sub(1, Full) == 1
    }
}

/// A counted reference to an entry, which may have been retired meanwhile.
///
/// The last one to go frees the memory, so the destructor of `T` must not sleep. All must be gone, or
/// be on their way by RCU callbacks, when the [`crate::slab::Cache`] of the memory is dropped.
///
/// # Invariants
///
/// `entry` is valid, and its count has one hold for this.
pub struct EntryRef<T: Entry<Holds = RefCounted>> {
    entry: NonNull<Expiring<T>>,
}

// SAFETY: It gives out only `&Expiring<T>`, and may drop `T`, which is `Send + Sync`, on another CPU.
unsafe impl<T: Entry<Holds = RefCounted>> Send for EntryRef<T> {}
// SAFETY: As above.
unsafe impl<T: Entry<Holds = RefCounted>> Sync for EntryRef<T> {}

impl<T: Entry<Holds = RefCounted>> EntryRef<T> {
    /// Takes a reference to a published entry.
    ///
    /// # Context
    ///
    /// Any.
    pub fn new(entry: &Expiring<T>) -> Self {
        // Whoever sees it does so while its table keeps it, or another holder.
        entry.holds.get();
        // INVARIANT: Just counted.
        Self {
            entry: NonNull::from(entry),
        }
    }
}

impl<T: Entry<Holds = RefCounted>> EntryRef<T> {
    /// Gives the reference away, for [`Self::from_raw`].
    pub(crate) fn into_raw(self) -> NonNull<Expiring<T>> {
        ManuallyDrop::new(self).entry
    }

    /// Takes a reference back.
    ///
    /// # Safety
    ///
    /// `entry` must be from [`Self::into_raw`], and be turned back once.
    pub(crate) unsafe fn from_raw(entry: NonNull<Expiring<T>>) -> Self {
        // INVARIANT: The reference that was counted for the value that was turned into `entry`.
        Self { entry }
    }
}

impl<T: Entry<Holds = RefCounted>> Deref for EntryRef<T> {
    type Target = Expiring<T>;

    #[inline]
    fn deref(&self) -> &Expiring<T> {
        // SAFETY: By the type invariant.
        unsafe { self.entry.as_ref() }
    }
}

impl<T: Entry<Holds = RefCounted>> Drop for EntryRef<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { put(self.entry) };
    }
}
