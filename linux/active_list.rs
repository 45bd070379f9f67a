// SPDX-License-Identifier: GPL-2.0

//! A list of objects that have changed and are to be visited periodically, until they are at rest.
//!
//! A context that changes an object activates it. That takes no lock, and reads one word if the object
//! is active already. One visitor at a time walks over the active objects, so objects at rest cost
//! nothing. The list holds a reference to each of its objects.
//!
//! # Leaving the list
//!
//! A visitor takes objects that have not changed off the list. It must not miss a change by a context
//! that still found the object active. That context looked at the state after the change, in a
//! read-side critical section, so after a grace period the visitor sees the change. A context that
//! finds the object leaving activates it again, which the visitor notices.

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
        Links,
        Object,
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

/// In no list. The context that takes it out of this state may write its link.
const OUT: u32 = 0;
/// In a list.
const ACTIVE: u32 = 1;
/// Held by the visitor, which is about to take it off the list.
const LEAVING: u32 = 2;

/// The link of an object that may be in an [`ActiveList`], in one at a time.
pub struct Link {
    state: Atomic<u32>,
    /// The [`SharedInner`] of the next object.
    next: Atomic<*mut ()>,
}

impl Links for Link {
    fn new() -> Self {
        Self {
            state: Atomic::new(OUT),
            next: Atomic::new(ptr::null_mut()),
        }
    }
}

/// [`Links`] with a [`Link`].
///
/// # Safety
///
/// `link` must return the same part of `self` each time.
pub unsafe trait HasLink: Links {
    /// Returns the link.
    #[doc(hidden)]
    fn link(&self) -> &Link;
}

// SAFETY: All of it.
unsafe impl HasLink for Link {
    #[inline]
    fn link(&self) -> &Link {
        self
    }
}

// SAFETY: A field.
unsafe impl<L: Links> HasLink for (L, Link) {
    #[inline]
    fn link(&self) -> &Link {
        &self.1
    }
}

/// An object that can be in an [`ActiveList`].
pub trait Activatable: Object<Links: HasLink> {}

impl<T: Object<Links: HasLink>> Activatable for T {}

/// Returns the link of an object.
fn link_of<T: Activatable>(object: &Shared<T>) -> &Link {
    object.memory().links.link()
}

/// A singly linked list.
///
/// # Invariants
///
/// The pointer is null, or leads to the first of some objects that are linked by `next`. This list
/// alone uses their links, and it owns a reference to each.
struct List<T: Activatable>(*mut SharedInner<T>);

// SAFETY: It gives out only references that could be sent themselves.
unsafe impl<T: Activatable> Send for List<T> {}

impl<T: Activatable> List<T> {
    const fn empty() -> Self {
        // INVARIANT: Null.
        Self(ptr::null_mut())
    }

    fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// Adds an object that is in no list, and whose link nobody else uses.
    fn push(&mut self, object: Shared<T>) {
        link_of(&object).next.store(self.0.cast(), Relaxed);
        // INVARIANT: The reference moves into the list.
        self.0 = object.into_inner().as_ptr();
    }

    fn pop(&mut self) -> Option<Shared<T>> {
        let first = NonNull::new(self.0)?;
        // SAFETY: The list's reference, which is given up.
        let object = unsafe { Shared::from_inner(first) };
        // INVARIANT: The rest.
        self.0 = link_of(&object).next.load(Relaxed).cast();
        Some(object)
    }
}

impl<T: Activatable> Drop for List<T> {
    fn drop(&mut self) {
        while let Some(object) = self.pop() {
            link_of(&object).state.store(OUT, Release);
        }
    }
}

/// A list of active objects.
///
/// # Invariants
///
/// `arrived` is a [`List`]. The context that exchanges it for null owns it.
#[pin_data(PinnedDrop)]
pub struct ActiveList<T: Activatable> {
    /// The objects that were activated since the last visit.
    arrived: Atomic<*mut SharedInner<T>>,
    open: Atomic<bool>,
    /// The other objects.
    #[pin]
    known: Mutex<List<T>>,
}

impl<T: Activatable> ActiveList<T> {
    /// Returns an initialiser of an empty list, which is closed.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Empty.
            arrived: Atomic::new(ptr::null_mut()),
            open: Atomic::new(false),
            known <- new_mutex!(List::empty(), "active_list"),
        }? Error)
    }

    /// Adds an object that has just been changed, unless the list is closed.
    ///
    /// # Context
    ///
    /// Any, in the read-side critical section in which the object was found.
    #[inline]
    pub fn activate(&self, object: Borrowed<'_, T>, _rcu: ReadLocked<'_>) {
        if object.memory().links.link().state.load(Relaxed) != ACTIVE {
            self.activate_slow(object);
        }
    }

    #[cold]
    fn activate_slow(&self, object: Borrowed<'_, T>) {
        if !self.open.load(Relaxed) {
            return;
        }
        let link = object.memory().links.link();
        let mut state = link.state.load(Relaxed);
        while state != ACTIVE {
            match link.state.cmpxchg(state, ACTIVE, Acquire) {
                Ok(OUT) => break,
                // The visitor still has it, and will put it back.
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        if state == ACTIVE {
            return;
        }
        // If the last reference is gone it needs no visit.
        let Some(object) = object.share() else {
            return;
        };
        let object = object.into_inner();
        let mut first = self.arrived.load(Relaxed);
        loop {
            link.next.store(first.cast(), Relaxed);
            // INVARIANT: The reference moves into the list.
            match self.arrived.cmpxchg(first, object.as_ptr(), Release) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Takes the objects that were activated since the last visit.
    fn arrived(&self) -> List<T> {
        // INVARIANT: By that of `ActiveList`.
        List(self.arrived.xchg(ptr::null_mut(), Acquire))
    }

    /// Visits all active objects, until `stop` returns `true`.
    ///
    /// `visit` returns whether the object is to stay in the list in any case. If not, it leaves the list
    /// unless `changed` returns `true` a grace period later. An object that only the list has a
    /// reference to leaves without a visit: nobody can ask for the result.
    ///
    /// # Context
    ///
    /// Process context. Sleeps.
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
                    let state = &link_of(&object).state;
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
            // If a reader has taken a reference since then and changed the object, that is seen now.
            let state = &link_of(&object).state;
            let leaves = (object.references() == 1 || !changed(&object))
                && state.cmpxchg(LEAVING, OUT, Release).is_ok();
            if !leaves {
                state.store(ACTIVE, Relaxed);
                known.push(object);
            }
        }
    }

    /// Opens the list. Objects that have changed before are not added.
    pub fn open(&self) {
        self.open.store(true, Relaxed);
    }

    /// Closes the list and removes all objects. Waits for a grace period.
    pub fn close(&self) {
        self.open.store(false, Relaxed);
        // A context that has found the list open has added its object when this returns.
        rcu::synchronize();
        self.clear();
    }

    /// Does what [`Self::close`] does without waiting, for when no more objects are activated. An object
    /// that is activated nevertheless stays in the list until that is opened again or dropped. Sleeps.
    pub fn close_unused(&self) {
        self.open.store(false, Relaxed);
        self.clear();
    }

    /// Removes all objects.
    fn clear(&self) {
        // Under the lock for both parts, as a visitor has them.
        let mut known = self.known.lock();
        drop(core::mem::replace(&mut *known, List::empty()));
        drop(self.arrived());
    }
}

#[pinned_drop]
impl<T: Activatable> PinnedDrop for ActiveList<T> {
    fn drop(self: Pin<&mut Self>) {
        drop(self.arrived());
    }
}
