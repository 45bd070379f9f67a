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
//! made by somebody who still found it enrolled. Such a look was taken after the change, in a
//! read-side critical section, so after a grace period the visitor sees the change. Who finds the object leaving enrols it again,
//! and the visitor finds that.

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
    sched::cond_resched, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// In no roll: who takes it out of this state may write its link.
const OUT: u32 = 0;
const ACTIVE: u32 = 1;
/// The visitor has it, and will let it go.
const LEAVING: u32 = 2;

/// What a roll keeps of an object, which can be in one at a time.
pub(crate) struct Place<T: 'static> {
    state: Atomic<u32>,
    next: Atomic<*mut SharedInner<T>>,
}

impl<T: 'static> Place<T> {
    /// In no roll.
    pub(crate) const fn new() -> Self {
        Self {
            state: Atomic::new(OUT),
            next: Atomic::new(ptr::null_mut()),
        }
    }
}

/// Objects in a row.
///
/// # Invariants
///
/// Null, or the first of some objects that lead to each other by `next`. The list alone uses their
/// links, and has a reference to each.
struct List<T: Send + Sync + 'static>(*mut SharedInner<T>);

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

    /// Adds an object that is in no list, and whose link nobody else uses.
    fn push(&mut self, object: Shared<T>) {
        object.memory().place.next.store(self.0, Relaxed);
        // INVARIANT: The reference moves into the list.
        self.0 = object.into_inner().as_ptr();
    }

    fn pop(&mut self) -> Option<Shared<T>> {
        let first = NonNull::new(self.0)?;
        // SAFETY: The list's reference, which is given up.
        let object = unsafe { Shared::from_inner(first) };
        // INVARIANT: The rest.
        self.0 = object.memory().place.next.load(Relaxed);
        Some(object)
    }
}

impl<T: Send + Sync> Drop for List<T> {
    fn drop(&mut self) {
        while let Some(object) = self.pop() {
            object.memory().place.state.store(OUT, Release);
        }
    }
}

/// The roll.
///
/// # Invariants
///
/// `arrived` is a [`List`], which who swaps in null takes over.
#[pin_data(PinnedDrop)]
pub struct ActiveList<T: Send + Sync + 'static> {
    /// Those that were enrolled since the last visit.
    arrived: Atomic<*mut SharedInner<T>>,
    open: Atomic<bool>,
    /// The other ones.
    #[pin]
    known: Mutex<List<T>>,
}

impl<T: Send + Sync> ActiveList<T> {
    /// An empty roll, which is closed.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Empty.
            arrived: Atomic::new(ptr::null_mut()),
            open: Atomic::new(false),
            known <- new_mutex!(List::empty(), "active_list"),
        }? Error)
    }

    /// Has an object visited from now on, unless the roll is closed. To be called after the change, in
    /// a read-side critical section. Any context.
    #[inline]
    pub fn activate(&self, object: Borrowed<'_, T>, _rcu: ReadLocked<'_>) {
        if object.memory().place.state.load(Relaxed) != ACTIVE {
            self.activate_slow(object);
        }
    }

    #[cold]
    fn activate_slow(&self, object: Borrowed<'_, T>) {
        if !self.open.load(Relaxed) {
            return;
        }
        let place = &object.memory().place;
        let mut state = place.state.load(Relaxed);
        while state != ACTIVE {
            match place.state.cmpxchg(state, ACTIVE, Acquire) {
                Ok(OUT) => break,
                // The visitor has it still, and will keep it.
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        if state == ACTIVE {
            return;
        }
        // If nobody holds it any more it needs no visit.
        let Some(object) = object.share() else {
            return;
        };
        let object = object.into_inner();
        let mut first = self.arrived.load(Relaxed);
        loop {
            place.next.store(first, Relaxed);
            // INVARIANT: The reference moves into the list.
            match self.arrived.cmpxchg(first, object.as_ptr(), Release) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    fn arrived(&self) -> List<T> {
        // INVARIANT: By that of `ActiveList`.
        List(self.arrived.xchg(ptr::null_mut(), Acquire))
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
            while let Some(object) = list.pop() {
                if stop() || object.references() != 1 && visit(&object) {
                    known.push(object);
                } else {
                    let state = &object.memory().place.state;
                    state.store(LEAVING, Relaxed);
                    leaving.push(object);
                }
                cond_resched();
            }
        }
        if leaving.is_empty() {
            return;
        }
        rcu::synchronize();
        while let Some(object) = leaving.pop() {
            // A reader that has taken a reference since then, and changed it, is seen now.
            let state = &object.memory().place.state;
            let leaves = (object.references() == 1 || !changed(&object))
                && state.cmpxchg(LEAVING, OUT, Release).is_ok();
            if !leaves {
                state.store(ACTIVE, Relaxed);
                known.push(object);
            }
        }
    }

    /// Lets objects be enrolled. What has changed before is not.
    pub fn open(&self) {
        self.open.store(true, Relaxed);
    }

    /// Lets all leave, and no others be enrolled. Waits for a grace period.
    pub fn close(&self) {
        self.open.store(false, Relaxed);
        // Who has found it open enrols before this returns.
        rcu::synchronize();
        self.clear();
    }

    /// Does the same without waiting, when nobody enrols objects any more. What somebody enrols
    /// nevertheless is kept until the roll is opened again or dropped. Sleeps.
    pub fn close_unused(&self) {
        self.open.store(false, Relaxed);
        self.clear();
    }

    fn clear(&self) {
        // A visitor, too, has both at a time.
        let mut known = self.known.lock();
        drop(core::mem::replace(&mut *known, List::empty()));
        drop(self.arrived());
    }
}

#[pinned_drop]
impl<T: Send + Sync> PinnedDrop for ActiveList<T> {
    fn drop(self: Pin<&mut Self>) {
        drop(self.arrived());
    }
}
