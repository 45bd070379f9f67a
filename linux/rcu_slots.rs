// SPDX-License-Identifier: GPL-2.0

//! A list of shared objects that readers index under RCU while one writer at a time changes it.
//!
//! Objects take slots in the order in which they are added; a removed one leaves an empty slot.
//! Adding costs the same however many there are: only when all slots are in use are the objects
//! moved, to twice as many, with the empty slots closed up.

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

/// Reserved for one object: null, or an object that is valid for as long as readers may see it.
type Slot<T> = Atomic<*mut SharedInner<T>>;

/// A generation of slots with memory of its own.
struct Slots<T: Send + Sync + 'static> {
    len: Atomic<usize>,
    slots: KVVec<Slot<T>>,
}

impl<T: Send + Sync> Slots<T> {
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

    fn view<'a, 'rcu: 'a>(&'a self, rcu: ReadLocked<'rcu>) -> View<'a, 'rcu, T> {
        View {
            len: &self.len,
            slots: &self.slots,
            rcu,
        }
    }
}

/// How many slots are looked at under RCU at a time, but for those that `removed` of
/// [`RcuSlots::remove`] looks at.
const BATCH: usize = 64;

/// So many slots are part of the list.
const FEW: usize = 8;

/// The list.
///
/// # Invariants
///
/// `slots` is null, or points to a generation that this list holds a reference to; until then, `few`
/// is the generation. Each object in a slot of it is held by one reference that the slot owns. `slots`
/// and `count` change under `writer` only.
#[pin_data(PinnedDrop)]
pub struct RcuSlots<T: Send + Sync + 'static> {
    slots: Atomic<*mut SharedInner<Slots<T>>>,
    few_len: Atomic<usize>,
    few: [Slot<T>; FEW],
    /// How many objects there are.
    count: Atomic<usize>,
    #[pin]
    writer: Mutex<()>,
}

/// The slots of a [`RcuSlots`] as a reader sees them: one generation, of which the first `len` slots
/// were used.
pub struct View<'a, 'rcu, T: Send + Sync + 'static> {
    len: &'a Atomic<usize>,
    slots: &'a [Slot<T>],
    rcu: ReadLocked<'rcu>,
}

impl<'rcu, T: Send + Sync> View<'_, 'rcu, T> {
    /// How many slots there are, empty ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object in `slot`; `None` if it is empty or beyond the last.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<Borrowed<'rcu, T>> {
        let object = self.slots.get(slot)?.load(Acquire);
        // SAFETY: Null or valid for `'rcu`, as slots are.
        unsafe { object.as_ref() }.map(|object| Borrowed::new(object, self.rcu))
    }

    /// Puts an object into the slot behind the last used one. For the writer, who has made sure that
    /// there is one.
    fn push(&self, object: NonNull<SharedInner<T>>) {
        let len = self.len.load(Relaxed);
        if let Some(slot) = self.slots.get(len) {
            slot.store(object.as_ptr(), Release);
            self.len.store(len.wrapping_add(1), Release);
        }
    }

    /// Empties a slot. For the writer, who gets the reference.
    fn take(&self, slot: usize) -> Option<Shared<T>> {
        let object = self.slots.get(slot)?.xchg(core::ptr::null_mut(), Full);
        // SAFETY: The slot's reference; the slot is empty now.
        NonNull::new(object).map(|object| unsafe { Shared::from_inner(object) })
    }

    /// Lets up to [`BATCH`] empty slots behind the last object be used again; returns whether there
    /// may be more. For the writer.
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

/// Reserved for one more object in a list that has no other writer.
pub struct Reserved<'a, T: Send + Sync + 'static> {
    rcu_slots: &'a RcuSlots<T>,
    /// If all slots are in use.
    new: Option<Shared<Slots<T>>>,
    _writer: MutexGuard<'a, ()>,
}

impl<T: Send + Sync> Reserved<'_, T> {
    /// Adds `object`, whose reference the list keeps. `moved`, which must not sleep, is called with
    /// the former slots if the objects are about to move. Sleeps.
    pub fn push(self, object: Shared<T>, moved: impl FnOnce(&View<'_, '_, T>)) {
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

impl<T: Send + Sync> RcuSlots<T> {
    /// An empty list.
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

    /// The objects, for a reader.
    #[inline]
    pub fn view<'a, 'rcu: 'a>(&'a self, rcu: ReadLocked<'rcu>) -> View<'a, 'rcu, T> {
        // SAFETY: Null or, by the type invariant, valid; a replaced generation is dropped after a
        // grace period.
        match unsafe { self.slots.load(Acquire).as_ref() } {
            Some(slots) => slots.value.view(rcu),
            None => View {
                len: &self.few_len,
                slots: &self.few,
                rcu,
            },
        }
    }

    /// Lets `new` take the place of the slots, with the objects that there are, and `object` behind
    /// them. For the writer.
    fn move_to(
        &self,
        new: Shared<Slots<T>>,
        object: Shared<T>,
        moved: impl FnOnce(&View<'_, '_, T>),
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
            // SAFETY: The list's own reference.
            drop(unsafe { Shared::from_inner(old) });
        }
    }

    /// Visits the objects with their slots, the last one added first, some at a time under RCU, and
    /// gives way in between. Sleeps.
    ///
    /// What is there all the time is visited, if others are added and removed meanwhile; once, unless
    /// the objects move.
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

    /// How many slots there is room for.
    pub fn room(&self) -> usize {
        crate::rcu::read(|rcu| self.view(rcu).slots.len())
    }

    /// How many slots there will be room for after the next object, if that makes the others move.
    /// Exact if nothing is added or removed meanwhile.
    pub fn room_after_move(&self) -> Option<usize> {
        let full = crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            view.len() >= view.slots.len()
        });
        full.then(|| self.count().saturating_mul(2).max(FEW))
    }

    /// Makes room for one more object, and keeps other writers out until it is there. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub fn reserve(&self) -> Result<Reserved<'_, T>> {
        let writer = self.writer.lock();
        let new = self.room_after_move().map(Slots::new).transpose()?;
        Ok(Reserved {
            rcu_slots: self,
            new,
            _writer: writer,
        })
    }

    /// Removes `object`: the list's reference to it and its slot, if it was there. `removed` is
    /// called with what is left. Sleeps.
    pub fn remove(
        &self,
        object: &T,
        removed: impl FnOnce(&View<'_, '_, T>, usize),
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

    /// The slot of `object`, if it is there. For the writer.
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

    /// Removes all objects, the last one added first, and gives each to `removed`, which must not
    /// sleep. Sleeps.
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

    /// How many objects there are. Any context.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

#[pinned_drop]
impl<T: Send + Sync> PinnedDrop for RcuSlots<T> {
    fn drop(self: Pin<&mut Self>) {
        // Nobody reads the list any more.
        crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            (0..view.len()).for_each(|slot| drop(view.take(slot)));
        });
        if let Some(slots) = NonNull::new(self.slots.load(Relaxed)) {
            // SAFETY: The list's own reference.
            drop(unsafe { Shared::from_inner(slots) });
        }
    }
}
