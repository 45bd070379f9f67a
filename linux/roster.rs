// SPDX-License-Identifier: GPL-2.0

//! A list of shared objects that readers index under RCU while one writer at a time changes it.
//!
//! Objects take slots in the order in which they are added; a removed one leaves an empty slot.
//! Adding costs the same however many there are: only when all slots are in use are the objects
//! moved, to twice as many, with the empty slots closed up.

use crate::rcu::{
    Borrowed,
    Reader,
    Shared,
    SharedInner, //
};
use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        AtomicUsize,
        Ordering, //
    },
};
use kernel::{
    alloc::flags::GFP_KERNEL,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// One generation of slots.
///
/// # Invariants
///
/// A pointer in a slot is valid for as long as readers may see it. The first `len` slots were used.
struct Slots<T: Send + Sync + 'static> {
    len: AtomicUsize,
    slots: KVVec<AtomicPtr<SharedInner<T>>>,
}

impl<T: Send + Sync> Slots<T> {
    fn new(size: usize) -> Result<Shared<Self>> {
        let mut slots = KVVec::with_capacity(size, GFP_KERNEL)?;
        for _ in 0..size {
            slots.push_within_capacity(AtomicPtr::new(core::ptr::null_mut()))?;
        }
        Shared::pin_init(
            try_init!(Self {
                len: AtomicUsize::new(0),
                slots,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Puts an object into the slot behind the last used one; its slot, or `None` if all are used.
    fn push(&self, object: NonNull<SharedInner<T>>) -> Option<usize> {
        let len = self.len.load(Ordering::Relaxed);
        self.slots
            .get(len)?
            .store(object.as_ptr(), Ordering::Release);
        self.len.store(len.wrapping_add(1), Ordering::Release);
        Some(len)
    }

    /// Lets the empty slots behind the last object be used again.
    fn trim(&self) {
        let is_used = |slot: &AtomicPtr<SharedInner<T>>| !slot.load(Ordering::Relaxed).is_null();
        let mut len = self.len.load(Ordering::Relaxed);
        while let Some(last) = len.checked_sub(1) {
            if self.slots.get(last).is_some_and(is_used) {
                break;
            }
            len = last;
        }
        self.len.store(len, Ordering::Release);
    }
}

/// The list.
///
/// # Invariants
///
/// `slots` points to a generation that this list holds a reference to. Each object in a slot of it
/// is held by one reference that the slot owns. Both, and `count`, change under `writer` only.
#[pin_data(PinnedDrop)]
pub struct Roster<T: Send + Sync + 'static> {
    slots: AtomicPtr<SharedInner<Slots<T>>>,
    /// How many objects there are.
    count: AtomicUsize,
    #[pin]
    writer: Mutex<()>,
}

/// The slots of a [`Roster`] as a reader sees them.
pub struct View<'rcu, T: Send + Sync + 'static> {
    slots: &'rcu Slots<T>,
    rcu: Reader<'rcu>,
}

impl<'rcu, T: Send + Sync> View<'rcu, T> {
    /// How many slots there are, empty ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.slots.len.load(Ordering::Acquire)
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object in `slot`; `None` if it is empty or beyond the last.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<Borrowed<'rcu, T>> {
        let object = self.slots.slots.get(slot)?.load(Ordering::Acquire);
        // SAFETY: Null or valid for `'rcu`, by the invariant of `Slots`.
        unsafe { object.as_ref() }.map(|object| Borrowed::new(object, self.rcu))
    }
}

impl<T: Send + Sync> Roster<T> {
    const INITIAL: usize = 8;

    /// An empty list.
    pub fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let slots = Slots::new(Self::INITIAL)?;
            Ok::<_, Error>(try_pin_init!(Self {
                // INVARIANT: The new generation, without objects.
                slots: AtomicPtr::new(slots.into_inner().as_ptr()),
                count: AtomicUsize::new(0),
                writer <- new_mutex!((), "roster"),
            }? Error))
        })
    }

    /// The objects, for a reader.
    #[inline]
    pub fn view<'rcu>(&self, rcu: Reader<'rcu>) -> View<'rcu, T> {
        // SAFETY: By the type invariant; a replaced generation is dropped after a grace period.
        let slots = unsafe { &(*self.slots.load(Ordering::Acquire)).value };
        View { slots, rcu }
    }

    /// How many slots there is room for.
    pub fn room(&self) -> usize {
        crate::rcu::read(|rcu| self.view(rcu).slots.slots.len())
    }

    /// How many slots there will be room for after the next object, if that makes the others move.
    /// Exact if nothing is added or removed meanwhile.
    pub fn room_after_move(&self) -> Option<usize> {
        let full = crate::rcu::read(|rcu| {
            let slots = self.view(rcu).slots;
            slots.len.load(Ordering::Relaxed) >= slots.slots.len()
        });
        full.then(|| self.room_when_full())
    }

    fn room_when_full(&self) -> usize {
        self.count().saturating_mul(2).max(Self::INITIAL)
    }

    /// Adds `object`, whose reference the list keeps. `moved` is called with the former slots if
    /// the objects are about to move. Sleeps. On error nothing has changed.
    pub fn push(&self, object: Shared<T>, moved: impl FnOnce(&View<'_, T>)) -> Result {
        let _writer = self.writer.lock();
        let count = self.count();
        let pushed = crate::rcu::read(|rcu| self.view(rcu).slots.push(object.as_inner()));
        if pushed.is_some() {
            // The slot owns the reference now.
            let _ = object.into_inner();
            self.count.store(count.wrapping_add(1), Ordering::Relaxed);
            return Ok(());
        }

        let new = Slots::new(self.room_when_full())?;
        crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            moved(&view);
            for slot in 0..view.len() {
                if let Some(object) = view.get(slot) {
                    new.push(object.as_inner());
                }
            }
        });
        new.push(object.into_inner());
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
        let old = self.slots.swap(new.into_inner().as_ptr(), Ordering::AcqRel);
        if let Some(old) = NonNull::new(old) {
            // SAFETY: The list's own reference. The slots' references have gone over to the new
            // generation.
            drop(unsafe { Shared::from_inner(old) });
        }
        Ok(())
    }

    /// Removes `object`: the list's reference to it and its slot, if it was there. `removed` is
    /// called with what is left. Sleeps.
    pub fn remove(
        &self,
        object: &T,
        removed: impl FnOnce(&View<'_, T>, usize),
    ) -> Option<Shared<T>> {
        let _writer = self.writer.lock();
        let found = crate::rcu::read(|rcu| {
            let view = self.view(rcu);
            let slot = (0..view.len()).rev().find(|&slot| {
                view.get(slot)
                    .is_some_and(|other| core::ptr::eq(other.get(), object))
            })?;
            let inner = view
                .slots
                .slots
                .get(slot)?
                .swap(core::ptr::null_mut(), Ordering::AcqRel);
            removed(&view, slot);
            view.slots.trim();
            NonNull::new(inner)
        })?;
        self.count
            .store(self.count().saturating_sub(1), Ordering::Relaxed);
        // SAFETY: The slot's reference; the slot is empty now.
        Some(unsafe { Shared::from_inner(found) })
    }

    /// How many objects there are. Any context.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

#[pinned_drop]
impl<T: Send + Sync> PinnedDrop for Roster<T> {
    fn drop(self: Pin<&mut Self>) {
        let Some(slots) = NonNull::new(self.slots.load(Ordering::Relaxed)) else {
            return;
        };
        // SAFETY: The list's own reference.
        let slots = unsafe { Shared::from_inner(slots) };
        for slot in &slots.slots {
            if let Some(object) = NonNull::new(slot.load(Ordering::Relaxed)) {
                // SAFETY: The slot's reference; nobody reads the list any more.
                drop(unsafe { Shared::from_inner(object) });
            }
        }
    }
}
