// SPDX-License-Identifier: GPL-2.0

//! The slot in which a namespace keeps a module's value: set after the value is complete, and cleared a grace
//! period before it is dropped.

use crate::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    rcu::ReadLocked, //
};
use core::ptr;
use kernel::prelude::*;

/// A place for one pinned value that readers find under RCU. All bytes zero is an empty one.
///
/// Setting it, clearing it and taking the value out are for one thread at a time, which the lock of
/// pernet operations sees to.
///
/// # Invariants
///
/// `value` is null or owns a pinned box. `visible` is null or `value`.
pub(crate) struct Slot<T: 'static> {
    visible: Atomic<*mut T>,
    value: Atomic<*mut T>,
}

impl<T: 'static> Slot<T> {
    /// Creates an empty slot.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        // INVARIANT: Null.
        Self {
            visible: Atomic::new(ptr::null_mut()),
            value: Atomic::new(ptr::null_mut()),
        }
    }

    /// Publishes `value` to readers. The slot must be empty.
    pub(crate) fn publish(&self, value: Pin<KBox<T>>) {
        // SAFETY: It stays where it is: `take` pins it again.
        let value = KBox::into_raw(unsafe { Pin::into_inner_unchecked(value) });
        // INVARIANT: The box moves into the slot.
        self.value.store(value, Relaxed);
        // A reader who sees the address sees what was written to the value before.
        self.visible.store(value, Release);
    }

    /// Returns the value, unless it was not published yet or was withdrawn.
    #[inline]
    pub(crate) fn get<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<Pin<&'rcu T>> {
        // SAFETY: By the type invariant null or pinned; a value is withdrawn a grace period before
        // it can be dropped, by the requirement of `take`.
        unsafe {
            self.visible
                .load(Acquire)
                .as_ref()
                .map(|value| Pin::new_unchecked(value))
        }
    }

    /// Returns the value to its owner, until the next [`Self::take`].
    pub(crate) fn owned(&self) -> Option<Pin<&T>> {
        // SAFETY: By the type invariant.
        unsafe {
            self.value
                .load(Relaxed)
                .as_ref()
                .map(|value| Pin::new_unchecked(value))
        }
    }

    /// Withdraws the value from readers. Those that have found it may still use it.
    pub(crate) fn withdraw(&self) {
        self.visible.store(ptr::null_mut(), Relaxed);
    }

    /// Takes the value out, if there is one.
    ///
    /// # Safety
    ///
    /// A grace period must have passed since [`Self::withdraw`].
    pub(crate) unsafe fn take(&self) -> Option<Pin<KBox<T>>> {
        let value = self.value.load(Relaxed);
        if value.is_null() {
            return None;
        }
        // INVARIANT: The box moves out.
        self.value.store(ptr::null_mut(), Relaxed);
        // SAFETY: From `publish`; no reader is left, by the safety requirement, and it stays where
        // it is.
        Some(unsafe { Pin::new_unchecked(KBox::from_raw(value)) })
    }
}

/// Counts the references to a namespace that must be gone before the namespace is. All bytes zero
/// is a count of none.
pub(crate) struct Users(Atomic<usize>);

impl Users {
    /// Creates a count of none.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// The value at which the count saturates: references were leaked, and the namespace is kept
    /// for ever.
    const MANY: usize = usize::MAX / 2;

    /// Counts one more, while there is one or the namespace can't go yet.
    pub(crate) fn add(&self) {
        if self.0.fetch_add(1, Relaxed) >= Self::MANY {
            self.0.store(Self::MANY, Relaxed);
        }
    }

    /// Counts one less, which does not touch the count afterwards.
    pub(crate) fn remove(&self) {
        // Who sees that there is none sees all that was done with it.
        self.0.fetch_sub(1, Release);
    }

    /// Returns whether there is none.
    pub(crate) fn none(&self) -> bool {
        self.0.load(Acquire) == 0
    }
}
