// SPDX-License-Identifier: GPL-2.0

//! An array of shared objects that readers index under RCU while one writer at a time changes it.
//!
//! Objects take slots in the order in which they are added; a removed object leaves an empty slot.
//! Adding takes constant time on average: when all slots are in use, the objects move to an array of
//! twice their number, without the empty slots.

use crate::{
    atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
    rcu::{
        Borrowed,
        Object,
        ReadLocked,
        Shared,
        SharedInner, //
    },
    sched::cond_resched, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::flags::GFP_KERNEL,
    new_mutex,
    prelude::*,
    sync::{
        Mutex,
        MutexGuard, //
    }, //
};

/// A slot: null, or an object that is valid for as long as readers may see it.
type Slot<T> = Atomic<*mut SharedInner<T>>;

/// Slots with memory of their own.
struct Generation<T: Object> {
    len: Atomic<usize>,
    slots: KVVec<Slot<T>>,
}

impl<T: Object> Object for Generation<T> {
    type Links = ();
}

impl<T: Object> Generation<T> {
    fn new(size: usize) -> Result<Shared<Self>> {
        let mut slots = KVVec::with_capacity(size, GFP_KERNEL)?;
        for slot in 0..size {
            slots.push_within_capacity(Slot::new(core::ptr::null_mut()))?;
            if slot % 4096 == 4095 {
                cond_resched();
            }
        }
        Shared::pin_init(
            try_init!(Self {
                len: Atomic::new(0),
                slots,
            }? Error),
            GFP_KERNEL,
        )
    }

    fn view<'a, 'rcu: 'a>(&'a self, rcu: ReadLocked<'rcu>) -> Slots<'a, 'rcu, T> {
        Slots {
            len: &self.len,
            slots: &self.slots,
            rcu,
        }
    }
}

/// The number of slots that are looked at in one read-side critical section, but for those that
/// `removed` of [`RcuSlots::remove`] looks at.
const BATCH: usize = 64;

/// The number of slots that are part of [`RcuSlots`].
const FEW: usize = 8;

/// An array of shared objects.
///
/// # Invariants
///
/// `slots` is null, and `few` has the slots; or it points to a [`Generation`] which has them, and owns
/// a reference to that. Each slot owns a reference to its object. `slots` and `count` change under
/// `writer` only.
#[pin_data(PinnedDrop)]
pub struct RcuSlots<T: Object> {
    slots: Atomic<*mut SharedInner<Generation<T>>>,
    few_len: Atomic<usize>,
    few: [Slot<T>; FEW],
    /// The number of objects.
    count: Atomic<usize>,
    #[pin]
    writer: Mutex<()>,
}

/// The slots of an [`RcuSlots`] as a reader sees them, of which the first `len` are in use or empty.
pub struct Slots<'a, 'rcu, T: Object> {
    len: &'a Atomic<usize>,
    slots: &'a [Slot<T>],
    rcu: ReadLocked<'rcu>,
}

impl<'rcu, T: Object> Slots<'_, 'rcu, T> {
    /// Returns the number of slots, empty ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// Returns whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the object in `slot`, or `None` if that is empty or beyond the last.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<Borrowed<'rcu, T>> {
        let object = self.slots.get(slot)?.load(Acquire);
        // SAFETY: Null or valid for `'rcu`, as slots are.
        unsafe { object.as_ref() }.map(|object| Borrowed::new(object, self.rcu))
    }

    /// Puts an object into the slot behind the last used one. For the writer, who has made sure that
    /// there is such a slot.
    fn push(&self, object: NonNull<SharedInner<T>>) {
        let len = self.len.load(Relaxed);
        if let Some(slot) = self.slots.get(len) {
            slot.store(object.as_ptr(), Release);
            self.len.store(len.wrapping_add(1), Release);
        }
    }

    /// Empties a slot and returns its reference. For the writer.
    fn take(&self, slot: usize) -> Option<Shared<T>> {
        let object = self.slots.get(slot)?.xchg(core::ptr::null_mut(), Full);
        // SAFETY: The slot's reference; the slot is empty now.
        NonNull::new(object).map(|object| unsafe { Shared::from_inner(object) })
    }

    /// Gives up to [`BATCH`] empty slots behind the last object back, and returns whether there may be
    /// more. For the writer.
    fn trim(&self) -> bool {
        let is_used = |slot: &Slot<T>| !slot.load(Relaxed).is_null();
        let len = self.len.load(Relaxed);
        let start = len.saturating_sub(BATCH);
        let used = (start..len)
            .rev()
            .find(|&slot| self.slots.get(slot).is_some_and(is_used));
        let kept = used.map_or(start, |slot| slot.wrapping_add(1));
        self.len.store(kept, Release);
        used.is_none() && start != 0
    }
}

/// A reservation for one more object. Keeps other writers out.
pub struct Reserved<'a, T: Object> {
    rcu_slots: &'a RcuSlots<T>,
    /// The slots that take the place of the present ones, if all of those are in use.
    new: Option<Shared<Generation<T>>>,
    _writer: MutexGuard<'a, ()>,
}

impl<T: Object> Reserved<'_, T> {
    /// Adds `object`. If the objects are about to move to other slots, calls `moved` with the former
    /// ones; it must not sleep.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
    pub fn push(self, object: Shared<T>, moved: impl FnOnce(&Slots<'_, '_, T>)) {
        let Self {
            rcu_slots,
            new,
            _writer,
        } = self;
        match new {
            Some(new) => rcu_slots.move_to(new, object, moved),
            None => crate::rcu::read(|rcu| rcu_slots.view(rcu).push(object.into_inner())),
        }
        let count = rcu_slots.count().wrapping_add(1);
        rcu_slots.count.store(count, Relaxed);
    }
}

impl<T: Object> RcuSlots<T> {
    /// Returns an initialiser of an empty array.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Null; no object is in `few`.
            slots: Atomic::new(core::ptr::null_mut()),
            few_len: Atomic::new(0),
            few: [const { Slot::new(core::ptr::null_mut()) }; FEW],
            count: Atomic::new(0),
            writer <- new_mutex!((), "rcu_slots"),
        }? Error)
    }

    /// Returns the slots.
    #[inline]
    pub fn view<'a, 'rcu: 'a>(&'a self, rcu: ReadLocked<'rcu>) -> Slots<'a, 'rcu, T> {
        // SAFETY: Null or, by the type invariant, valid; a replaced generation is dropped after a
        // grace period.
        match unsafe { self.slots.load(Acquire).as_ref() } {
            Some(slots) => slots.value.view(rcu),
            None => Slots {
                len: &self.few_len,
                slots: &self.few,
                rcu,
            },
        }
    }

    /// Replaces the slots by `new`, with the objects that there are and `object` behind them. For the
    /// writer.
    fn move_to(
        &self,
        new: Shared<Generation<T>>,
        object: Shared<T>,
        moved: impl FnOnce(&Slots<'_, '_, T>),
    ) {
        let mut copied = 0usize;
        let mut done = false;
        while !done {
            crate::rcu::read(|rcu| {
                let (from, to) = (self.view(rcu), new.view(rcu));
                let end = from.len().min(copied.wrapping_add(BATCH));
                for object in (copied..end).filter_map(|slot| from.get(slot)) {
                    to.push(object.as_inner());
                }
                done = end == from.len();
                copied = end;
            });
            cond_resched();
        }
        crate::rcu::read(|rcu| {
            moved(&self.view(rcu));
            new.view(rcu).push(object.into_inner());
        });
        // INVARIANT: The references of the former slots have gone over to the new ones.
        let old = self.slots.xchg(new.into_inner().as_ptr(), Full);
        if let Some(old) = NonNull::new(old) {
            // SAFETY: The array's own reference.
            drop(unsafe { Shared::from_inner(old) });
        }
    }

    /// Visits the objects with their slots, the last one added first.
    ///
    /// An object that is there all the time is visited even if others are added or removed meanwhile:
    /// once, or more often if the objects move. `visit` must not sleep.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
    pub fn for_each(
        &self,
        mut visit: impl for<'rcu> FnMut(usize, Borrowed<'rcu, T>, ReadLocked<'rcu>),
    ) {
        let mut end = usize::MAX;

        while end != 0 {
            end = crate::rcu::read(|rcu| {
                let view = self.view(rcu);
                // Objects move to lower slots only, where they are still met.
                let end = end.min(view.len());
                let start = end.saturating_sub(BATCH);
                for slot in (start..end).rev() {
                    if let Some(object) = view.get(slot) {
                        visit(slot, object, rcu);
                    }
                }
                start
            });
            cond_resched();
        }
    }

    /// Returns the number of slots that there is memory for.
    pub fn room(&self) -> usize {
        crate::rcu::read(|rcu| self.view(rcu).slots.len())
    }

    /// Returns the number of slots that there will be memory for after the next object, if that makes
    /// the others move. Exact unless objects are added or removed meanwhile.
    pub fn room_after_move(&self) -> Option<usize> {
        let full = crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            view.len() >= view.slots.len()
        });
        full.then(|| self.count().saturating_mul(2).max(FEW))
    }

    /// Reserves a slot for one more object, and keeps other writers out until that is used.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn reserve(&self) -> Result<Reserved<'_, T>> {
        let writer = self.writer.lock();
        let new = self.room_after_move().map(Generation::new).transpose()?;
        Ok(Reserved {
            rcu_slots: self,
            new,
            _writer: writer,
        })
    }

    /// Removes `object` and returns the array's reference to it, if it was there. Calls `removed` with
    /// the slots that are left and the number of the one that was emptied.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
    pub fn remove(
        &self,
        object: &T,
        removed: impl FnOnce(&Slots<'_, '_, T>, usize),
    ) -> Option<Shared<T>> {
        let _writer = self.writer.lock();
        let slot = self.slot_of(object)?;
        let found = crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            let found = view.take(slot);
            removed(&view, slot);
            found
        })?;
        while crate::rcu::read(|rcu| self.view(rcu).trim()) {
            cond_resched();
        }
        self.count.store(self.count().saturating_sub(1), Relaxed);
        Some(found)
    }

    /// Returns the slot of `object`, if it is there. For the writer.
    fn slot_of(&self, object: &T) -> Option<usize> {
        let mut end = usize::MAX;
        while end != 0 {
            let (found, start) = crate::rcu::read(|rcu| {
                let view = self.view(rcu);
                let end = end.min(view.len());
                let start = end.saturating_sub(BATCH);
                let is = |other: Borrowed<'_, T>| core::ptr::eq(other.get(), object);
                let found = (start..end)
                    .rev()
                    .find(|&slot| view.get(slot).is_some_and(is));
                (found, start)
            });
            if found.is_some() {
                return found;
            }
            end = start;
            cond_resched();
        }
        None
    }

    /// Removes all objects, the last one added first, and calls `removed` with each; it must not sleep.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
    pub fn clear(&self, mut removed: impl FnMut(Shared<T>)) {
        let _writer = self.writer.lock();
        let mut end = usize::MAX;
        while end != 0 {
            end = crate::rcu::read(|rcu| {
                let view = self.view(rcu);
                let end = end.min(view.len());
                let start = end.saturating_sub(BATCH);
                for object in (start..end).rev().filter_map(|slot| view.take(slot)) {
                    removed(object);
                }
                view.len.store(start, Release);
                start
            });
            cond_resched();
        }
        self.count.store(0, Relaxed);
    }

    /// Returns the number of objects. Any context.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

#[pinned_drop]
impl<T: Object> PinnedDrop for RcuSlots<T> {
    fn drop(self: Pin<&mut Self>) {
        // No reader is left.
        crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            (0..view.len()).for_each(|slot| drop(view.take(slot)));
        });
        if let Some(slots) = NonNull::new(self.slots.load(Relaxed)) {
            // SAFETY: The array's own reference.
            drop(unsafe { Shared::from_inner(slots) });
        }
    }
}
