// SPDX-License-Identifier: GPL-2.0

//! Lists that are read while a single writer changes them (`linux/rcu_slots.rs`).

use super::{
    explore,
    new_object,
    Object, //
};
use crate::{linux::rcu_slots::RcuSlots, prelude::*, rcu};
use loom::thread;
use std::{
    ops::Deref,
    sync::Arc, //
};

struct Shareable(Pin<KBox<RcuSlots<Object>>>);

impl Deref for Shareable {
    type Target = RcuSlots<Object>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Creates a list with `count` objects.
fn rcu_slots(count: u32) -> Arc<Shareable> {
    let rcu_slots = KBox::try_pin_init(RcuSlots::new(), GFP_KERNEL).unwrap();
    for number in 0..count {
        rcu_slots
            .reserve()
            .unwrap()
            .push(new_object(number, None).0, |_| ());
    }
    Arc::new(Shareable(rcu_slots))
}

/// Returns the numbers of the objects that a reader sees.
fn numbers(rcu_slots: &RcuSlots<Object>) -> Vec<u32> {
    rcu::read(|rcu| {
        let view = rcu_slots.view(rcu);
        let all = (0..view.len()).filter_map(|slot| view.get(slot));
        all.map(|object| object.number()).collect()
    })
}

/// The number of slots of a new list.
const FULL: u32 = 8;
/// The number of slots after the list was full.
const FULL_AGAIN: u32 = 16;

#[test]
fn readers_see_every_object_while_all_move() {
    for (full, preemptions) in [(FULL, 3), (FULL_AGAIN, 2)] {
        explore(preemptions, move || {
            let rcu_slots = rcu_slots(full);
            let other = Arc::clone(&rcu_slots);
            let last = new_object(full, None).0;
            let writer = thread::spawn(move || other.reserve().unwrap().push(last, |_| ()));
            let seen = numbers(&rcu_slots);
            assert!(seen.iter().copied().eq(0..seen.len() as u32));
            assert!(seen.len() as u32 >= full);
            writer.join().unwrap();
            assert!(numbers(&rcu_slots).into_iter().eq(0..=full));
        });
    }
}

#[test]
fn readers_may_look_at_what_is_cleared() {
    explore(3, || {
        let rcu_slots = rcu_slots(0);
        let objects = [0, 1].map(|number| new_object(number, None));
        let dropped = objects.map(|(object, dropped)| {
            rcu_slots.reserve().unwrap().push(object, |_| ());
            dropped
        });
        let other = Arc::clone(&rcu_slots);
        let writer = thread::spawn(move || other.clear(drop));
        let seen = numbers(&rcu_slots);
        assert!(matches!(*seen, [0, 1] | [0] | [1] | []), "{seen:?}");
        writer.join().unwrap();
        rcu::drain();
        assert_eq!(dropped.map(|dropped| dropped.times()), [1, 1]);
        assert_eq!((numbers(&rcu_slots).len(), rcu_slots.count()), (0, 0));
    });
}

#[test]
fn readers_see_the_rest_while_one_is_removed() {
    explore(3, || {
        let rcu_slots = rcu_slots(2);
        let (third, dropped) = new_object(2, None);
        rcu_slots.reserve().unwrap().push(third.clone(), |_| ());
        let other = Arc::clone(&rcu_slots);
        let writer = thread::spawn(move || {
            assert!(other.remove(&third, |_, _| ()).is_some());
            assert!(other.remove(&third, |_, _| ()).is_none());
        });
        let seen = numbers(&rcu_slots);
        assert!(seen == [0, 1] || seen == [0, 1, 2], "{seen:?}");
        writer.join().unwrap();
        rcu::drain();
        assert_eq!((dropped.times(), rcu_slots.count()), (1, 2));
    });
}

#[test]
fn two_writers_lose_nothing() {
    explore(2, || {
        let rcu_slots = rcu_slots(FULL - 1);
        let other = Arc::clone(&rcu_slots);
        let writer = thread::spawn(move || {
            other
                .reserve()
                .unwrap()
                .push(new_object(100, None).0, |_| ())
        });
        rcu_slots
            .reserve()
            .unwrap()
            .push(new_object(101, None).0, |_| ());
        writer.join().unwrap();
        let mut seen = numbers(&rcu_slots);
        seen.sort_unstable();
        assert!(seen.into_iter().eq((0..FULL - 1).chain([100, 101])));
    });
}
