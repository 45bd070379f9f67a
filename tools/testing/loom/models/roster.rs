// SPDX-License-Identifier: GPL-2.0

//! Lists that are read while one writer at a time changes them (`linux/roster.rs`).

use super::{
    explore,
    new_object,
    Object, //
};
use crate::{linux::roster::Roster, prelude::*, rcu};
use loom::thread;
use std::{
    ops::Deref,
    sync::Arc, //
};

struct Shareable(Pin<KBox<Roster<Object>>>);

impl Deref for Shareable {
    type Target = Roster<Object>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A list with that many objects.
fn roster(count: u32) -> Arc<Shareable> {
    let roster = KBox::try_pin_init(Roster::new(), GFP_KERNEL).unwrap();
    for number in 0..count {
        roster
            .make_room()
            .unwrap()
            .push(new_object(number, None).0, |_| ());
    }
    Arc::new(Shareable(roster))
}

/// The numbers of those that a reader sees.
fn numbers(roster: &Roster<Object>) -> Vec<u32> {
    rcu::read(|rcu| {
        let view = roster.view(rcu);
        let all = (0..view.len()).filter_map(|slot| view.get(slot));
        all.map(|object| object.number()).collect()
    })
}

/// As many as a new list has slots.
const FULL: u32 = 8;
/// As many as it has slots after it was full.
const FULL_AGAIN: u32 = 16;

#[test]
fn readers_see_every_object_while_all_move() {
    for (full, preemptions) in [(FULL, 3), (FULL_AGAIN, 2)] {
        explore(preemptions, move || {
            let roster = roster(full);
            let other = Arc::clone(&roster);
            let last = new_object(full, None).0;
            let writer = thread::spawn(move || other.make_room().unwrap().push(last, |_| ()));
            let seen = numbers(&roster);
            assert!(seen.iter().copied().eq(0..seen.len() as u32));
            assert!(seen.len() as u32 >= full);
            writer.join().unwrap();
            assert!(numbers(&roster).into_iter().eq(0..=full));
        });
    }
}

#[test]
fn readers_may_look_at_what_is_cleared() {
    explore(3, || {
        let roster = roster(0);
        let objects = [0, 1].map(|number| new_object(number, None));
        let dropped = objects.map(|(object, dropped)| {
            roster.make_room().unwrap().push(object, |_| ());
            dropped
        });
        let other = Arc::clone(&roster);
        let writer = thread::spawn(move || other.clear(drop));
        let seen = numbers(&roster);
        assert!(matches!(*seen, [0, 1] | [0] | [1] | []), "{seen:?}");
        writer.join().unwrap();
        rcu::drain();
        assert_eq!(dropped.map(|dropped| dropped.times()), [1, 1]);
        assert_eq!((numbers(&roster).len(), roster.count()), (0, 0));
    });
}

#[test]
fn readers_see_the_rest_while_one_is_removed() {
    explore(3, || {
        let roster = roster(2);
        let (third, dropped) = new_object(2, None);
        roster.make_room().unwrap().push(third.clone(), |_| ());
        let other = Arc::clone(&roster);
        let writer = thread::spawn(move || {
            assert!(other.remove(&third, |_, _| ()).is_some());
            assert!(other.remove(&third, |_, _| ()).is_none());
        });
        let seen = numbers(&roster);
        assert!(seen == [0, 1] || seen == [0, 1, 2], "{seen:?}");
        writer.join().unwrap();
        rcu::drain();
        assert_eq!((dropped.times(), roster.count()), (1, 2));
    });
}

#[test]
fn two_writers_lose_nothing() {
    explore(2, || {
        let roster = roster(FULL - 1);
        let other = Arc::clone(&roster);
        let writer = thread::spawn(move || {
            other
                .make_room()
                .unwrap()
                .push(new_object(100, None).0, |_| ())
        });
        roster
            .make_room()
            .unwrap()
            .push(new_object(101, None).0, |_| ());
        writer.join().unwrap();
        let mut seen = numbers(&roster);
        seen.sort_unstable();
        assert!(seen.into_iter().eq((0..FULL - 1).chain([100, 101])));
    });
}
