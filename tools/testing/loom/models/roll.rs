// SPDX-License-Identifier: GPL-2.0

//! Objects that are enrolled by who changes them, and visited (`linux/roll.rs`).

use super::explore;
use crate::{
    linux::roll::Roll,
    prelude::*,
    rcu::{
        self,
        ReadLocked,
        Shared,
        SharedCell, //
    },
};
use core::{
    memory,
    sync::atomic::{
        AtomicU32,
        Ordering, //
    },
};
use loom::thread;
use std::{
    ops::Deref,
    sync::{
        atomic::{
            AtomicUsize,
            Ordering::SeqCst, //
        },
        Arc, //
    },
};

/// What happens to an object, which the models alone look at.
#[derive(Default)]
struct Log {
    visits: AtomicUsize,
    dropped: AtomicUsize,
}

impl Log {
    fn visits(&self) -> usize {
        self.visits.load(SeqCst)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(SeqCst)
    }
}

/// Counts as statistics do: each thread has its own counter, without order.
struct Counted {
    counters: [AtomicU32; 2],
    /// The sum that the last visit saw.
    seen: AtomicUsize,
    log: Arc<Log>,
}

impl Counted {
    fn count(&self, thread: usize) {
        let counter = &self.counters[thread];
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn sum(&self) -> usize {
        memory::check(self);
        let counters = self.counters.iter();
        counters.map(|n| n.load(Ordering::Relaxed) as usize).sum()
    }

    fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }

    fn visit(&self) {
        self.seen.store(self.sum(), SeqCst);
        self.log.visits.fetch_add(1, SeqCst);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.log.dropped.fetch_add(1, SeqCst);
    }
}

fn new_object() -> (Shared<Counted>, Arc<Log>) {
    let log = Arc::<Log>::default();
    let counted = Counted {
        counters: [0; 2].map(AtomicU32::new),
        seen: AtomicUsize::new(0),
        log: Arc::clone(&log),
    };
    // SAFETY: Writes all of it.
    let init = unsafe {
        pin_init::pin_init_from_closure::<_, Error>(move |slot: *mut Counted| {
            slot.write(counted);
            Ok(())
        })
    };
    (Shared::pin_init(init, GFP_KERNEL).unwrap(), log)
}

struct Shareable(Pin<KBox<Roll<Counted>>>);

impl Deref for Shareable {
    type Target = Roll<Counted>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A roll that is open.
fn roll() -> Arc<Shareable> {
    let roll = KBox::try_pin_init(Roll::new(), GFP_KERNEL).unwrap();
    roll.open();
    Arc::new(Shareable(roll))
}

fn enrol(roll: &Roll<Counted>, entry: &Shared<Counted>) {
    rcu::read(|rcu| roll.enrol(entry.borrow(rcu), rcu));
}

/// A packet of that thread.
fn count(roll: &Roll<Counted>, entry: &Shared<Counted>, thread: usize) {
    rcu::read(|rcu| {
        entry.count(thread);
        roll.enrol(entry.borrow(rcu), rcu);
    });
}

/// Visits all, which want to be visited `again` or not.
fn visit(roll: &Roll<Counted>, again: bool) {
    let visit = |counted: &Counted| {
        counted.visit();
        again
    };
    roll.visit(visit, |counted| counted.sum() != counted.seen(), || false);
}

#[test]
fn what_two_enrol_is_visited_once() {
    explore(3, || {
        let roll = roll();
        let (entry, log) = new_object();
        let (other, clone) = (Arc::clone(&roll), entry.clone());
        let enroller = thread::spawn(move || enrol(&other, &clone));
        enrol(&roll, &entry);
        enroller.join().unwrap();
        assert_eq!(entry.references(), 2);
        visit(&roll, true);
        visit(&roll, false);
        assert_eq!((log.visits(), entry.references()), (2, 1));
        visit(&roll, false);
        assert_eq!(log.visits(), 2);
    });
}

#[test]
fn what_is_enrolled_during_a_visit_is_visited_then_or_next_time() {
    explore(2, || {
        let roll = roll();
        let ((first, first_log), (second, second_log)) = (new_object(), new_object());
        let (other, clones) = (Arc::clone(&roll), [first.clone(), second.clone()]);
        let enroller = thread::spawn(move || clones.iter().for_each(|entry| enrol(&other, entry)));
        visit(&roll, false);
        enroller.join().unwrap();
        visit(&roll, false);
        assert_eq!((first_log.visits(), second_log.visits()), (1, 1));
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

/// Its link still leads to what was behind it before, for who has not seen that it left.
#[test]
fn what_is_enrolled_again_as_it_leaves_leads_to_the_next() {
    explore(3, || {
        let roll = roll();
        let ((first, first_log), (second, second_log)) = (new_object(), new_object());
        enrol(&roll, &first);
        let (other, clones) = (Arc::clone(&roll), [second.clone(), first.clone()]);
        let enroller = thread::spawn(move || clones.iter().for_each(|entry| enrol(&other, entry)));
        visit(&roll, false);
        enroller.join().unwrap();
        visit(&roll, false);
        assert!(first_log.visits() <= 2);
        assert_eq!(second_log.visits(), 1);
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

#[test]
fn two_who_enrol_lose_neither_object() {
    explore(3, || {
        let roll = roll();
        let ((first, first_log), (second, second_log)) = (new_object(), new_object());
        let (other, clone) = (Arc::clone(&roll), second.clone());
        let enroller = thread::spawn(move || enrol(&other, &clone));
        enrol(&roll, &first);
        enroller.join().unwrap();
        visit(&roll, false);
        assert_eq!((first_log.visits(), second_log.visits()), (1, 1));
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

#[test]
fn a_change_of_what_leaves_is_seen_by_a_later_visit() {
    explore(3, || {
        let roll = roll();
        let (entry, _) = new_object();
        enrol(&roll, &entry);
        let (other, clone) = (Arc::clone(&roll), entry.clone());
        let packets = thread::spawn(move || count(&other, &clone, 0));
        visit(&roll, false);
        packets.join().unwrap();
        if entry.seen() != 1 {
            visit(&roll, false);
        }
        assert_eq!(entry.seen(), 1);
    });
}

#[test]
fn changes_by_two_of_what_leaves_are_seen_by_a_later_visit() {
    explore(2, || {
        let roll = roll();
        let (entry, _) = new_object();
        enrol(&roll, &entry);
        let packets = [0, 1].map(|thread| {
            let (other, clone) = (Arc::clone(&roll), entry.clone());
            thread::spawn(move || count(&other, &clone, thread))
        });
        visit(&roll, false);
        packets.map(|packets| packets.join().unwrap());
        if entry.seen() != 2 {
            visit(&roll, false);
        }
        assert_eq!(entry.seen(), 2);
    });
}

#[test]
fn a_change_is_seen_although_the_object_leaves_again_and_again() {
    explore(2, || {
        let roll = roll();
        let (entry, _) = new_object();
        let (other, clone) = (Arc::clone(&roll), entry.clone());
        let packets = thread::spawn(move || {
            count(&other, &clone, 0);
            count(&other, &clone, 0);
        });
        visit(&roll, false);
        visit(&roll, false);
        packets.join().unwrap();
        if entry.seen() != 2 {
            visit(&roll, false);
        }
        assert_eq!(entry.seen(), 2);
    });
}

#[test]
fn a_closed_roll_holds_nothing() {
    explore(3, || {
        let roll = roll();
        let ((entry, log), (known, known_log)) = (new_object(), new_object());
        enrol(&roll, &known);
        visit(&roll, true);
        let (other, clone) = (Arc::clone(&roll), entry.clone());
        let enroller = thread::spawn(move || enrol(&other, &clone));
        roll.close();
        enroller.join().unwrap();
        enrol(&roll, &known);
        assert_eq!((entry.references(), known.references()), (1, 1));
        visit(&roll, true);
        assert_eq!((log.visits(), known_log.visits()), (0, 1));
        roll.open();
        [&entry, &known].map(|entry| enrol(&roll, entry));
        visit(&roll, true);
        assert_eq!((log.visits(), known_log.visits()), (1, 2));
    });
}

#[test]
fn a_roll_is_closed_while_it_is_visited() {
    explore(3, || {
        let roll = roll();
        let (entry, _) = new_object();
        enrol(&roll, &entry);
        let other = Arc::clone(&roll);
        let visitor = thread::spawn(move || visit(&other, false));
        roll.close();
        assert_eq!(entry.references(), 1);
        visitor.join().unwrap();
        roll.open();
        enrol(&roll, &entry);
        assert_eq!(entry.references(), 2);
    });
}

/// Who enrols it writes its link, and the one roll has to be done with that by then.
#[test]
fn an_object_goes_from_one_roll_to_another() {
    explore(3, || {
        let (old, new) = (roll(), roll());
        let ((first, _), (second, log)) = (new_object(), new_object());
        enrol(&old, &first);
        let (other, clones) = (Arc::clone(&new), [second.clone(), first.clone()]);
        let enroller = thread::spawn(move || clones.iter().for_each(|entry| enrol(&other, entry)));
        visit(&old, true);
        drop(old);
        enroller.join().unwrap();
        visit(&new, false);
        assert_eq!(log.visits(), 1);
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

/// An object in a cell, and enrolled.
fn in_cell(roll: &Roll<Counted>) -> (Arc<SharedCell<Counted>>, Arc<Log>) {
    let (entry, log) = new_object();
    enrol(roll, &entry);
    (Arc::new(SharedCell::new(entry)), log)
}

/// A packet that finds its object in a cell, if it is there, and has `f` look at it.
fn count_in_cell<R>(
    roll: &Roll<Counted>,
    cell: &SharedCell<Counted>,
    f: impl Fn(rcu::Borrowed<'_, Counted>, ReadLocked<'_>) -> R,
) -> Option<R> {
    rcu::read(|rcu| {
        let entry = cell.get(rcu)?;
        entry.count(0);
        let result = f(entry, rcu);
        roll.enrol(entry, rcu);
        Some(result)
    })
}

#[test]
fn what_nobody_else_has_is_dropped_once_and_not_used_then() {
    explore(3, || {
        let roll = roll();
        let (cell, log) = in_cell(&roll);
        let (other, place) = (Arc::clone(&roll), Arc::clone(&cell));
        let packets = thread::spawn(move || {
            count_in_cell(&other, &place, |_, _| ());
        });
        drop(cell.exchange(None));
        visit(&roll, true);
        packets.join().unwrap();
        // It may have been enrolled while it left.
        visit(&roll, true);
        rcu::drain();
        assert_eq!((log.visits(), log.dropped()), (0, 1));
    });
}

#[test]
fn a_change_of_what_a_reader_keeps_is_seen() {
    explore(3, || {
        let roll = roll();
        let (cell, log) = in_cell(&roll);
        let (other, place) = (Arc::clone(&roll), Arc::clone(&cell));
        let packets = thread::spawn(move || {
            count_in_cell(&other, &place, |entry, _| entry.share()).flatten()
        });
        drop(cell.exchange(None));
        visit(&roll, false);
        if let Some(entry) = packets.join().unwrap() {
            if entry.seen() != 1 {
                visit(&roll, false);
            }
            assert_eq!((entry.seen(), log.dropped()), (1, 0));
        }
        // A visit may have kept it for the change.
        visit(&roll, true);
        rcu::drain();
        assert_eq!(log.dropped(), 1);
    });
}
