// SPDX-License-Identifier: GPL-2.0

//! Objects that want to be visited, again and again until there is nothing more to do for them.
//!
//! Who changes an object enrols it: any context, no lock, and a look at one word if it is enrolled
//! already. One visitor at a time goes through all that are enrolled, so that those at rest cost
//! nothing. What is enrolled is kept.
//!
//! # Leaving
//!
//! A visitor that has nothing to do for an object lets it leave, and must not miss a change that was
//! made by somebody who still found it enrolled. Such a change was made in a read-side critical
//! section, so after a grace period the visitor sees it. Who finds the object leaving enrols it again,
//! and the visitor finds that.

use crate::{
    bindings,
    rcu::{
        self,
        Borrowed,
        Reader,
        Shared,
        SharedInner, //
    },
};
use core::{
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicBool,
        AtomicPtr,
        AtomicU32,
        Ordering, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// In no roll: who takes it out of this state may write its link.
const OUT: u32 = 0;
const ENROLLED: u32 = 1;
/// The visitor has it, and will let it go.
const LEAVING: u32 = 2;

/// An object that can be in one [`Roll`].
#[pin_data]
pub struct Entry<T: 'static> {
    state: AtomicU32,
    next: AtomicPtr<SharedInner<Entry<T>>>,
    #[pin]
    value: T,
}

impl<T: 'static> Entry<T> {
    /// In no roll.
    pub fn new(value: impl PinInit<T, Error>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            state: AtomicU32::new(OUT),
            next: AtomicPtr::new(ptr::null_mut()),
            value <- value,
        }? Error)
    }
}

impl<T: 'static> Deref for Entry<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Entries in a row.
///
/// # Invariants
///
/// Null, or the first of some entries that lead to each other by `next`. The list alone uses their
/// links, and has a reference to each.
struct List<T: Send + Sync + 'static>(*mut SharedInner<Entry<T>>);

// SAFETY: It gives out only references that could be sent themselves.
unsafe impl<T: Send + Sync> Send for List<T> {}

impl<T: Send + Sync> List<T> {
    const fn empty() -> Self {
        // INVARIANT: Null.
        Self(ptr::null_mut())
    }

    fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// Adds an entry that is in no list, and whose link nobody else uses.
    fn push(&mut self, entry: Shared<Entry<T>>) {
        entry.next.store(self.0, Ordering::Relaxed);
        // INVARIANT: The reference moves into the list.
        self.0 = entry.into_inner().as_ptr();
    }

    fn pop(&mut self) -> Option<Shared<Entry<T>>> {
        let first = NonNull::new(self.0)?;
        // SAFETY: The list's reference, which is given up.
        let entry = unsafe { Shared::from_inner(first) };
        // INVARIANT: The rest.
        self.0 = entry.next.load(Ordering::Relaxed);
        Some(entry)
    }
}

impl<T: Send + Sync> Drop for List<T> {
    fn drop(&mut self) {
        while let Some(entry) = self.pop() {
            entry.state.store(OUT, Ordering::Release);
        }
    }
}

/// The roll.
///
/// # Invariants
///
/// `arrived` is a [`List`], which who swaps in null takes over.
#[pin_data(PinnedDrop)]
pub struct Roll<T: Send + Sync + 'static> {
    /// Those that were enrolled since the last visit.
    arrived: AtomicPtr<SharedInner<Entry<T>>>,
    open: AtomicBool,
    /// The other ones.
    #[pin]
    known: Mutex<List<T>>,
}

impl<T: Send + Sync> Roll<T> {
    /// An empty roll, which is closed.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Empty.
            arrived: AtomicPtr::new(ptr::null_mut()),
            open: AtomicBool::new(false),
            known <- new_mutex!(List::empty(), "roll"),
        }? Error)
    }

    /// Has an object visited from now on, unless the roll is closed. To be called after the change
    /// and in the same read-side critical section. Any context.
    #[inline]
    pub fn enrol(&self, entry: Borrowed<'_, Entry<T>>, _rcu: Reader<'_>) {
        if entry.state.load(Ordering::Relaxed) != ENROLLED {
            self.enrol_other(entry);
        }
    }

    #[cold]
    fn enrol_other(&self, entry: Borrowed<'_, Entry<T>>) {
        if !self.open.load(Ordering::Relaxed) {
            return;
        }
        let mut state = entry.state.load(Ordering::Relaxed);
        while state != ENROLLED {
            match entry.state.compare_exchange(
                state,
                ENROLLED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(OUT) => break,
                // The visitor has it still, and will keep it.
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        if state == ENROLLED {
            return;
        }
        // If nobody holds it any more it needs no visit.
        let Some(object) = entry.share() else {
            return;
        };
        let object = object.into_inner();
        let mut first = self.arrived.load(Ordering::Relaxed);
        loop {
            entry.next.store(first, Ordering::Relaxed);
            // INVARIANT: The reference moves into the list.
            match self.arrived.compare_exchange_weak(
                first,
                object.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    fn arrived(&self) -> List<T> {
        // INVARIANT: By that of `Roll`.
        List(self.arrived.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Visits all that are enrolled, until `stop` says to. `visit` says whether the object wants to
    /// be visited again, whatever happens; if not, and it has not `changed` since, it leaves. What
    /// only the roll has a reference to leaves without a visit: nobody is left to ask for what a
    /// visit finds. Sleeps.
    pub fn visit(
        &self,
        mut visit: impl FnMut(&T) -> bool,
        changed: impl Fn(&T) -> bool,
        stop: impl Fn() -> bool,
    ) {
        let mut known = self.known.lock();
        let mut leaving = List::empty();
        for mut list in [
            core::mem::replace(&mut *known, List::empty()),
            self.arrived(),
        ] {
            while let Some(entry) = list.pop() {
                if stop() || entry.references() != 1 && visit(&entry) {
                    known.push(entry);
                } else {
                    entry.state.store(LEAVING, Ordering::Relaxed);
                    leaving.push(entry);
                }
                // SAFETY: No spinlock is held, and no read-side critical section open.
                unsafe { bindings::ipvs_cond_resched() };
            }
        }
        if leaving.is_empty() {
            return;
        }
        rcu::synchronize();
        while let Some(entry) = leaving.pop() {
            // A reader that has taken a reference since then, and changed it, is seen now.
            let leaves = (entry.references() == 1 || !changed(&entry))
                && entry
                    .state
                    .compare_exchange(LEAVING, OUT, Ordering::Release, Ordering::Relaxed)
                    .is_ok();
            if !leaves {
                entry.state.store(ENROLLED, Ordering::Relaxed);
                known.push(entry);
            }
        }
    }

    /// Lets objects be enrolled. What has changed before is not.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Lets all leave, and no others be enrolled. Sleeps.
    pub fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
        // Who has found it open enrols before this returns.
        rcu::synchronize();
        // A visitor, too, has both at a time.
        let mut known = self.known.lock();
        drop(core::mem::replace(&mut *known, List::empty()));
        drop(self.arrived());
    }
}

#[pinned_drop]
impl<T: Send + Sync> PinnedDrop for Roll<T> {
    fn drop(self: Pin<&mut Self>) {
        drop(self.arrived());
    }
}
