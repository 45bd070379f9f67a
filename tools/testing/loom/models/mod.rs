// SPDX-License-Identifier: GPL-2.0

//! The loom models. Each explores the interleavings of a few threads that use one of the kernel
//! crate's files.

mod active_list;
mod conn_bits;
mod expiring;
mod rcu_slots;
mod route_cache;
mod shared;
mod slot;
mod table;

use crate::{
    prelude::*,
    rcu::Shared,
    rcu_model,
    table::{
        Hashed,
        Seed, //
    },
    timer_model, //
};
use core::memory;
use std::sync::Arc;

/// Explores `run` in every interleaving of its threads with at most `preemptions` involuntary
/// switches. All memory must have been freed at the end of each.
fn explore(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    explore_keeping(0, preemptions, run);
}

/// As [`explore`], for a model that keeps `kept` allocations for good.
fn explore_keeping(kept: usize, preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(move || {
        memory::reset();
        rcu_model::reset();
        timer_model::reset();
        crate::rcu::drain();
        run();
        crate::rcu::drain();
        assert_eq!(memory::live(), kept, "leaked");
        assert!(!timer_model::any_pending(), "a timer outlives its object");
    });
}

/// An object that asserts that it was not dropped, in tables by its number.
struct Object {
    number: u32,
    /// The number in the second chain.
    second: Option<u32>,
    dropped: Arc<std::sync::atomic::AtomicUsize>,
}

/// Creates an object with one reference, and a counter of how often it is dropped.
fn new_object(number: u32, second: Option<u32>) -> (Shared<Object>, Dropped) {
    let dropped = Arc::default();
    let object = Object {
        number,
        second,
        dropped: Arc::clone(&dropped),
    };
    // SAFETY: The closure initializes all of `slot`.
    let init = unsafe {
        pin_init::pin_init_from_closure::<_, Error>(move |slot: *mut Object| {
            slot.write(object);
            Ok(())
        })
    };
    (
        Shared::pin_init(init, GFP_KERNEL).unwrap(),
        Dropped(dropped),
    )
}

impl Object {
    /// Returns the number. The object must not have been dropped.
    #[track_caller]
    fn number(&self) -> u32 {
        memory::check(self);
        assert_eq!(self.dropped.load(std::sync::atomic::Ordering::SeqCst), 0);
        self.number
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.dropped
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl linux::rcu::Object for Object {
    type Links = crate::table::Links;
}

impl Hashed for Object {
    fn hash(&self, slot: usize, _seed: &Seed) -> Option<u32> {
        match slot {
            0 => Some(self.number()),
            _ => self.second,
        }
    }
}

/// Counts how often an object was dropped.
struct Dropped(Arc<std::sync::atomic::AtomicUsize>);

impl Dropped {
    fn times(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
