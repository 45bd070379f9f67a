// SPDX-License-Identifier: GPL-2.0

//! The value of a namespace, from its creation to its drop (`linux/net/slot.rs`).

use super::explore;
use crate::{
    pernet_slot::{
        Slot,
        Users, //
    },
    prelude::*,
    rcu, //
};
use core::sync::atomic::{
    Atomic,
    Relaxed, //
};
use loom::thread;
use std::sync::Arc;

/// A value with a field that is not synchronized: a reader that finds the value must see the field
/// written.
struct Value {
    field: Atomic<usize>,
}

const WRITTEN: usize = 7;

fn value() -> Pin<KBox<Value>> {
    let value = Value {
        field: Atomic::new(0),
    };
    let value = KBox::new(value, GFP_KERNEL).unwrap();
    value.field.store(WRITTEN, Relaxed);
    KBox::into_pin(value)
}

/// Returns what a reader finds.
fn look(slot: &Slot<Value>) -> Option<usize> {
    rcu::read(|rcu| slot.get(rcu).map(|value| value.field.load(Relaxed)))
}

/// Sharable, since only one thread at a time publishes, withdraws and takes.
struct Shareable(Slot<Value>);

// SAFETY: As the kernel module's registry, which is `Sync`.
unsafe impl Sync for Shareable {}
// SAFETY: As above.
unsafe impl Send for Shareable {}

#[test]
fn a_reader_finds_a_value_that_is_complete_or_none() {
    explore(3, || {
        let slot = Arc::new(Shareable(Slot::new()));
        let other = Arc::clone(&slot);
        let reader = thread::spawn(move || assert!(matches!(look(&other.0), None | Some(WRITTEN))));
        slot.0.publish(value());
        reader.join().unwrap();
        assert_eq!(look(&slot.0), Some(WRITTEN));
        slot.0.withdraw();
        rcu::synchronize();
        // SAFETY: It was withdrawn, and a grace period has passed since.
        assert!(unsafe { slot.0.take() }.is_some());
        // SAFETY: As above.
        assert!(unsafe { slot.0.take() }.is_none());
    });
}

#[test]
fn a_value_is_dropped_when_no_reader_has_it() {
    explore(3, || {
        let slot = Arc::new(Shareable(Slot::new()));
        slot.0.publish(value());
        let other = Arc::clone(&slot);
        let reader = thread::spawn(move || assert!(matches!(look(&other.0), None | Some(WRITTEN))));
        slot.0.withdraw();
        assert!(slot.0.owned().is_some());
        rcu::synchronize();
        // SAFETY: It was withdrawn, and a grace period has passed since.
        drop(unsafe { slot.0.take() });
        assert_eq!(look(&slot.0), None);
        reader.join().unwrap();
    });
}

#[test]
fn who_sees_no_user_sees_what_they_did() {
    explore(3, || {
        let shared = Arc::new((Users::new(), Atomic::new(0)));
        shared.0.add();
        let other = Arc::clone(&shared);
        let user = thread::spawn(move || {
            other.1.store(WRITTEN, Relaxed);
            other.0.remove();
        });
        if shared.0.none() {
            assert_eq!(shared.1.load(Relaxed), WRITTEN);
        }
        user.join().unwrap();
        assert!(shared.0.none());
    });
}
