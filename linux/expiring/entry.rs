// SPDX-License-Identifier: GPL-2.0

//! The memory of an entry, its timer and its end.

use super::{
    Entry,
    Holds,
    Table, //
};
use crate::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    bindings, jiffies,
    rcu::ReadLocked,
    slab,
    table::{
        Chains,
        Node, //
    },
};
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::types::Opaque;

/// The memory of an [`Entry`].
#[repr(C)]
pub struct Expiring<T: Entry> {
    links: [Atomic<usize>; 2],
    // Right behind the links: what a lookup compares is in the first cache line.
    pub(super) value: T,
    pub(super) holds: T::Holds,
    pub(super) table: NonNull<Table<T>>,
    pub(super) timer: Opaque<bindings::timer_list>,
    pub(super) rcu: Opaque<bindings::callback_head>,
}

// SAFETY: Readers of several CPUs see it at a time: its links are atomic, its value and its holds are
// `Sync`, the table does not change, and the timer and the callback's head are only passed to
// functions that allow calls on several CPUs, or by who has retired it.
unsafe impl<T: Entry> Sync for Expiring<T> {}

// SAFETY: Two slots, two words.
unsafe impl<T: Entry> Node for Expiring<T> {
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

impl<T: Entry> Deref for Expiring<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Entry> Expiring<T> {
    /// Creates an entry for `table`, whose timer is not set up yet.
    #[inline]
    pub(super) fn new(table: &Table<T>, value: T) -> Self {
        Self {
            links: [const { Atomic::new(0) }; 2],
            value,
            holds: T::Holds::new(),
            table: NonNull::from(table),
            timer: Opaque::uninit(),
            rcu: Opaque::uninit(),
        }
    }

    /// Moves the timer to the deadline, after that was moved to an earlier tick. Does nothing to an
    /// object that has been retired.
    ///
    /// # Context
    ///
    /// Any.
    ///
    /// C counterpart: `mod_timer_pending()`.
    pub fn mod_earlier(&self) {
        // SAFETY: The timer was set up before the object was published. Whoever can call this sees
        // the object, so that its memory is valid, and a retired one's timer ignores the call.
        unsafe { bindings::mod_timer_pending(self.timer.get(), self.value.deadline()) };
    }

    /// Arms the timer for the deadline. Does nothing if the timer has been shut down.
    ///
    /// # Safety
    ///
    /// The timer must be set up.
    pub(super) unsafe fn arm(&self) {
        loop {
            let deadline = self.value.deadline();
            // SAFETY: By the safety requirement.
            unsafe { bindings::mod_timer(self.timer.get(), deadline) };
            // `mod_earlier` passes over a timer that is not pending, as this one was until now.
            if self.value.deadline() == deadline {
                return;
            }
        }
    }

    /// Takes the object out of its chains. If it was in its first one, the caller has to retire it.
    pub(super) fn unlink(&self, rcu: ReadLocked<'_>) -> Option<Unlinked> {
        // SAFETY: The table outlives its objects.
        let table = unsafe { self.table.as_ref() };
        if !table.chains().unlink(rcu, self, 0) {
            return None;
        }
        table.quota().give_back();
        Some(Unlinked {
            wholly: self.leave_second(rcu, table.chains()),
        })
    }

    /// Takes the object out of its second chain; returns `false` if a chain still leads to it.
    pub(super) fn leave_second(&self, rcu: ReadLocked<'_>, chains: &Chains<Self>) -> bool {
        // A link is never 0 once it was used.
        self.links[1].load(Relaxed) == 0 || chains.unlink(rcu, self, 1)
    }

    /// Tells the object that it has left the table, and has its memory freed after the last reader.
    ///
    /// # Safety
    ///
    /// `unlinked` must be of this object, and the timer must not fire any more.
    pub(super) unsafe fn retire(&self, unlinked: Unlinked) {
        // SAFETY: The table outlives its objects.
        self.value.retired(unsafe { self.table.as_ref() });
        // If its hash has changed, a chain still leads to it, and it must never be freed.
        if unlinked.wholly {
            // SAFETY: The object was published, so it came from the slab; nobody else retires it.
            unsafe { bindings::call_rcu(self.rcu.get(), Some(free_after_readers::<T>)) };
        }
    }
}

/// Evidence that its owner has taken an object out of its first chain.
pub(super) struct Unlinked {
    /// Set if the object is in no second chain either.
    wholly: bool,
}

/// Drops the hold that the table had, after the last reader.
///
/// # Safety
///
/// `rcu` must be that field of a retired [`Expiring<T>`].
pub(super) unsafe extern "C" fn free_after_readers<T: Entry>(rcu: *mut bindings::callback_head) {
    let offset = core::mem::offset_of!(Expiring<T>, rcu);
    // SAFETY: By the safety requirement; a field's object is not at null.
    let entry = unsafe { NonNull::new_unchecked(rcu.byte_sub(offset).cast::<Expiring<T>>()) };
    // SAFETY: No reader is left that came by the table, which kept it until now.
    unsafe { put(entry) };
}

/// Drops one hold on an object, and for the last the object itself.
///
/// # Safety
///
/// The caller must have a hold, and not use the object afterwards.
pub(super) unsafe fn put<T: Entry>(entry: NonNull<Expiring<T>>) {
    // SAFETY: By the safety requirement it is still there.
    if !unsafe { entry.as_ref() }.holds.put() {
        return;
    }
    // SAFETY: Nobody keeps it and no reader is left, so that the memory is ours alone.
    unsafe {
        core::ptr::drop_in_place(&raw mut (*entry.as_ptr()).value);
        slab::free(entry);
    }
}

/// Ends an object whose deadline has passed, or arms its timer again: the function of the timer.
///
/// # Safety
///
/// `timer` must be that field of a published [`Expiring<T>`]; softirq context, which RCU waits for.
pub(super) unsafe extern "C" fn fired<T: Entry>(timer: *mut bindings::timer_list) {
    let offset = core::mem::offset_of!(Expiring<T>, timer);
    // SAFETY: By the safety requirement. An object whose timer runs has not been freed: `clear`
    // waits for the timer, and nobody else but the timer retires.
    let entry = unsafe { &*timer.byte_sub(offset).cast::<Expiring<T>>() };
    // SAFETY: Softirqs are read-side critical sections.
    let rcu = unsafe { ReadLocked::assume() };

    if !jiffies::after(entry.deadline(), jiffies::now()) && entry.may_end() {
        if let Some(unlinked) = entry.unlink(rcu) {
            // SAFETY: Unlinked just above; shut down, the timer is never armed again.
            unsafe {
                bindings::timer_shutdown(timer);
                entry.retire(unlinked);
            }
        }
        return;
    }
    // SAFETY: It has just fired.
    unsafe { entry.arm() };
}
