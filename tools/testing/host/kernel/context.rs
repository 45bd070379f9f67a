// SPDX-License-Identifier: GPL-2.0

//! The context of the running code: atomic, or one that may sleep.
//!
//! The host runs one thread of the module at a time (`linux::kthread`), so one count is enough.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::SeqCst, //
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
