// SPDX-License-Identifier: GPL-2.0

//! The context of the running code: atomic, or one that may sleep.
//!
//! The host runs one thread of the module at a time (`linux::kthread`), so one count is enough.

use std::{
    cell::RefCell,
    sync::atomic::{
        AtomicUsize,
        Ordering::SeqCst, //
    },
};

static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// A part that must not sleep: under a spinlock, in a section of a CPU, in a read-side critical
/// section, in a timer.
#[must_use]
pub struct Atomic(());

impl Atomic {
    pub fn enter() -> Self {
        DEPTH.fetch_add(1, SeqCst);
        Self(())
    }
}

impl Drop for Atomic {
    fn drop(&mut self) {
        DEPTH.fetch_sub(1, SeqCst);
    }
}

/// Panics in atomic context.
#[track_caller]
pub fn might_sleep() {
    let atomic = DEPTH.load(SeqCst) != 0;
    // A destructor that runs because of a panic is not to be blamed.
    assert!(
        !atomic || std::thread::panicking(),
        "sleeps in atomic context"
    );
}

thread_local! {
    static OTHER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Has another task do something whenever this one gives way, or nothing any more.
pub fn set_other_task(other: Option<Box<dyn FnMut()>>) {
    OTHER.set(other);
}

/// Gives way to the other task. Panics in atomic context.
#[track_caller]
pub fn give_way() {
    might_sleep();
    // Not while it runs already.
    if let Some(mut other) = OTHER.take() {
        other();
        OTHER.set(Some(other));
    }
}
