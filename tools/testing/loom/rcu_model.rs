// SPDX-License-Identifier: GPL-2.0

//! Read-copy-update as its definition has it, and nothing better: a grace period ends as soon as the
//! readers that were there at its beginning have left, and its callbacks run at that moment.
//!
//! Two atomics carry the ordering that RCU guarantees, and no more, so that a reader learns of a
//! store by RCU alone only if a grace period lies between: what came before the beginning of a grace
//! period is seen by readers that begin later, and what a reader or a callback did is seen by
//! the callbacks and waiters that waited for it.

use crate::bindings::callback_head;
use core::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use loom::thread::{
    self,
    ThreadId, //
};
use std::{
    cell::RefCell,
    collections::BTreeSet, //
};

type Callback = unsafe extern "C" fn(*mut callback_head);

#[derive(Default)]
struct State {
    next: u64,
    readers: BTreeSet<u64>,
    /// Callbacks, by their numbers, and the readers that they wait for.
    waiting: Vec<(BTreeSet<u64>, u64, *mut callback_head, Callback)>,
    /// The numbers of callbacks that have begun and not returned.
    running: BTreeSet<u64>,
    /// The threads whose sections and callbacks have begun and not ended.
    atomic: Vec<ThreadId>,
}

impl State {
    fn begin_atomic(&mut self) {
        self.atomic.push(thread::current().id());
    }

    fn end_atomic(&mut self) {
        let own = thread::current().id();
        let at = self.atomic.iter().position(|&thread| thread == own);
        self.atomic.swap_remove(at.unwrap());
    }
}

/// Returns whether this thread is in no read-side critical section and in no callback.
pub(crate) fn may_sleep() -> bool {
    let own = thread::current().id();
    STATE.with_borrow(|state| !state.atomic.contains(&own))
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

static BEGUN: Atomic<usize> = Atomic::new(0);
static LEFT: Atomic<usize> = Atomic::new(0);

/// For a new run. To be called before there are threads.
pub(crate) fn reset() {
    STATE.take();
    BEGUN.load(Relaxed);
    LEFT.load(Relaxed);
}

/// A read-side critical section.
pub struct Guard(u64);

pub fn read_lock() -> Guard {
    BEGUN.fetch_add(0, Acquire);
    STATE.with_borrow_mut(|state| {
        state.next += 1;
        let id = state.next;
        state.readers.insert(id);
        state.begin_atomic();
        Guard(id)
    })
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        LEFT.fetch_add(1, Release);
        STATE.with_borrow_mut(|state| {
            state.readers.remove(&self.0);
            state.end_atomic();
            for (readers, ..) in &mut state.waiting {
                readers.remove(&self.0);
            }
        });
        run_ready();
    }
}

fn run_ready() {
    loop {
        let ready = STATE.with_borrow_mut(|state| {
            let at = state
                .waiting
                .iter()
                .position(|(readers, ..)| readers.is_empty())?;
            let ready = state.waiting.remove(at);
            state.running.insert(ready.1);
            state.begin_atomic();
            Some(ready)
        });
        let Some((_, number, head, callback)) = ready else {
            break;
        };
        BEGUN.fetch_add(0, Acquire);
        LEFT.fetch_add(0, Acquire);
        // SAFETY: Once for each `call_rcu`, as that function promises.
        unsafe { callback(head) };
        LEFT.fetch_add(1, Release);
        STATE.with_borrow_mut(|state| {
            state.running.remove(&number);
            state.end_atomic();
        });
    }
}

pub(crate) fn call(head: *mut callback_head, callback: Callback) {
    if std::thread::panicking() {
        return;
    }
    BEGUN.fetch_add(1, Release);
    STATE.with_borrow_mut(|state| {
        let readers = state.readers.clone();
        state.next += 1;
        state.waiting.push((readers, state.next, head, callback));
    });
    run_ready();
}

pub(crate) fn synchronize() {
    BEGUN.fetch_add(1, Release);
    let before = STATE.with_borrow(|state| state.readers.clone());
    while STATE.with_borrow(|state| !state.readers.is_disjoint(&before)) {
        loom::thread::yield_now();
    }
    LEFT.fetch_add(0, Acquire);
}

/// Waits for the callbacks that there are now, but not for those that they make.
pub(crate) fn barrier() {
    let last = STATE.with_borrow(|state| state.next);
    let is_pending = |state: &State| {
        let waiting = state.waiting.iter().map(|&(_, number, ..)| number);
        waiting
            .chain(state.running.iter().copied())
            .any(|number| number <= last)
    };
    while STATE.with_borrow(is_pending) {
        loom::thread::yield_now();
    }
    LEFT.fetch_add(0, Acquire);
}
