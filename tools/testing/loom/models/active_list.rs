// SPDX-License-Identifier: GPL-2.0

//! Objects that are activated by whoever changes them, and visited (`linux/active_list.rs`).

use super::explore;
use crate::{
    linux::active_list::ActiveList,
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
        Atomic,
        Relaxed, //
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

/// The record of what happens to an object, for the assertions of the models.
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

/// An object that counts as statistics do: each thread has its own counter, without ordering.
struct Counter {
    counters: [Atomic<u32>; 2],
    /// The sum at the last visit.
    seen: AtomicUsize,
    log: Arc<Log>,
}

impl rcu::Object for Counter {
    type Links = crate::active_list::Link;
}

impl Counter {
    fn count(&self, thread: usize) {
        let counter = &self.counters[thread];
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }

    fn sum(&self) -> usize {
        memory::check(self);
        let counters = self.counters.iter();
        counters.map(|n| n.load(Relaxed) as usize).sum()
    }

    fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }

    fn visit(&self) {
        self.seen.store(self.sum(), SeqCst);
        self.log.visits.fetch_add(1, SeqCst);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.log.dropped.fetch_add(1, SeqCst);
    }
}

fn new_object() -> (Shared<Counter>, Arc<Log>) {
    let log = Arc::<Log>::default();
    let counted = Counter {
        counters: [0; 2].map(Atomic::new),
        seen: AtomicUsize::new(0),
        log: Arc::clone(&log),
    };
    // SAFETY: The closure initializes all of `slot`.
    let init = unsafe {
        pin_init::pin_init_from_closure::<_, Error>(move |slot: *mut Counter| {
            slot.write(counted);
            Ok(())
        })
    };
    (Shared::pin_init(init, GFP_KERNEL).unwrap(), log)
}

struct Shareable(Pin<KBox<ActiveList<Counter>>>);

impl Deref for Shareable {
    type Target = ActiveList<Counter>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Creates an open list.
fn active_list() -> Arc<Shareable> {
    let active_list = KBox::try_pin_init(ActiveList::new(), GFP_KERNEL).unwrap();
    active_list.open();
    Arc::new(Shareable(active_list))
}

fn activate(active_list: &ActiveList<Counter>, entry: &Shared<Counter>) {
    rcu::read(|rcu| active_list.activate(entry.borrow(rcu), rcu));
}

/// Counts a packet of a thread.
fn count(active_list: &ActiveList<Counter>, entry: &Shared<Counter>, thread: usize) {
    rcu::read(|rcu| {
        entry.count(thread);
        active_list.activate(entry.borrow(rcu), rcu);
    });
}

/// Visits all objects. `again` tells whether they ask to be visited again.
fn visit(active_list: &ActiveList<Counter>, again: bool) {
    let visit = |counted: &Counter| {
        counted.visit();
        again
    };
    active_list.visit(visit, |counted| counted.sum() != counted.seen(), || false);
}

#[test]
fn what_two_activate_is_visited_once() {
    explore(3, || {
        let active_list = active_list();
        let (entry, log) = new_object();
        let (other, clone) = (Arc::clone(&active_list), entry.clone());
        let other_one = thread::spawn(move || activate(&other, &clone));
        activate(&active_list, &entry);
        other_one.join().unwrap();
        assert_eq!(entry.references(), 2);
        visit(&active_list, true);
        visit(&active_list, false);
        assert_eq!((log.visits(), entry.references()), (2, 1));
        visit(&active_list, false);
        assert_eq!(log.visits(), 2);
    });
}

#[test]
fn what_is_active_during_a_visit_is_visited_then_or_next_time() {
    explore(2, || {
        let active_list = active_list();
        let ((first, first_log), (second, second_log)) = (new_object(), new_object());
        let (other, clones) = (Arc::clone(&active_list), [first.clone(), second.clone()]);
        let other_one =
            thread::spawn(move || clones.iter().for_each(|entry| activate(&other, entry)));
        visit(&active_list, false);
        other_one.join().unwrap();
        visit(&active_list, false);
        assert_eq!((first_log.visits(), second_log.visits()), (1, 1));
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

/// For a thread that has not seen that the object left, its link still leads to the object behind
/// it.
#[test]
fn what_is_active_again_as_it_leaves_leads_to_the_next() {
    explore(3, || {
        let active_list = active_list();
        let ((first, first_log), (second, second_log)) = (new_object(), new_object());
        activate(&active_list, &first);
        let (other, clones) = (Arc::clone(&active_list), [second.clone(), first.clone()]);
        let other_one =
            thread::spawn(move || clones.iter().for_each(|entry| activate(&other, entry)));
        visit(&active_list, false);
        other_one.join().unwrap();
        visit(&active_list, false);
        assert!(first_log.visits() <= 2);
        assert_eq!(second_log.visits(), 1);
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

#[test]
fn two_who_activate_lose_neither_object() {
    explore(3, || {
        let active_list = active_list();
        let ((first, first_log), (second, second_log)) = (new_object(), new_object());
        let (other, clone) = (Arc::clone(&active_list), second.clone());
        let other_one = thread::spawn(move || activate(&other, &clone));
        activate(&active_list, &first);
        other_one.join().unwrap();
        visit(&active_list, false);
        assert_eq!((first_log.visits(), second_log.visits()), (1, 1));
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

#[test]
fn a_change_of_what_leaves_is_seen_by_a_later_visit() {
    explore(3, || {
        let active_list = active_list();
        let (entry, _) = new_object();
        activate(&active_list, &entry);
        let (other, clone) = (Arc::clone(&active_list), entry.clone());
        let packets = thread::spawn(move || count(&other, &clone, 0));
        visit(&active_list, false);
        packets.join().unwrap();
        if entry.seen() != 1 {
            visit(&active_list, false);
        }
        assert_eq!(entry.seen(), 1);
    });
}

#[test]
fn changes_by_two_of_what_leaves_are_seen_by_a_later_visit() {
    explore(2, || {
        let active_list = active_list();
        let (entry, _) = new_object();
        activate(&active_list, &entry);
        let packets = [0, 1].map(|thread| {
            let (other, clone) = (Arc::clone(&active_list), entry.clone());
            thread::spawn(move || count(&other, &clone, thread))
        });
        visit(&active_list, false);
        packets.map(|packets| packets.join().unwrap());
        if entry.seen() != 2 {
            visit(&active_list, false);
        }
        assert_eq!(entry.seen(), 2);
    });
}

#[test]
fn a_change_is_seen_although_the_object_leaves_again_and_again() {
    explore(2, || {
        let active_list = active_list();
        let (entry, _) = new_object();
        let (other, clone) = (Arc::clone(&active_list), entry.clone());
        let packets = thread::spawn(move || {
            count(&other, &clone, 0);
            count(&other, &clone, 0);
        });
        visit(&active_list, false);
        visit(&active_list, false);
        packets.join().unwrap();
        if entry.seen() != 2 {
            visit(&active_list, false);
        }
        assert_eq!(entry.seen(), 2);
    });
}

#[test]
fn a_closed_list_holds_nothing() {
    explore(3, || {
        let active_list = active_list();
        let ((entry, log), (known, known_log)) = (new_object(), new_object());
        activate(&active_list, &known);
        visit(&active_list, true);
        let (other, clone) = (Arc::clone(&active_list), entry.clone());
        let other_one = thread::spawn(move || activate(&other, &clone));
        active_list.close();
        other_one.join().unwrap();
        activate(&active_list, &known);
        assert_eq!((entry.references(), known.references()), (1, 1));
        visit(&active_list, true);
        assert_eq!((log.visits(), known_log.visits()), (0, 1));
        active_list.open();
        [&entry, &known].map(|entry| activate(&active_list, entry));
        visit(&active_list, true);
        assert_eq!((log.visits(), known_log.visits()), (1, 2));
    });
}

#[test]
fn a_list_is_closed_while_it_is_visited() {
    explore(3, || {
        let active_list = active_list();
        let (entry, _) = new_object();
        activate(&active_list, &entry);
        let other = Arc::clone(&active_list);
        let visitor = thread::spawn(move || visit(&other, false));
        active_list.close();
        assert_eq!(entry.references(), 1);
        visitor.join().unwrap();
        active_list.open();
        activate(&active_list, &entry);
        assert_eq!(entry.references(), 2);
    });
}

/// The thread that activates the object writes its link, which the old list must not use any more
/// by then.
#[test]
fn an_object_goes_from_one_list_to_another() {
    explore(3, || {
        let (old, new) = (active_list(), active_list());
        let ((first, _), (second, log)) = (new_object(), new_object());
        activate(&old, &first);
        let (other, clones) = (Arc::clone(&new), [second.clone(), first.clone()]);
        let other_one =
            thread::spawn(move || clones.iter().for_each(|entry| activate(&other, entry)));
        visit(&old, true);
        drop(old);
        other_one.join().unwrap();
        visit(&new, false);
        assert_eq!(log.visits(), 1);
        assert_eq!((first.references(), second.references()), (1, 1));
    });
}

/// Creates an active object in a cell.
fn in_cell(active_list: &ActiveList<Counter>) -> (Arc<SharedCell<Counter>>, Arc<Log>) {
    let (entry, log) = new_object();
    activate(active_list, &entry);
    (Arc::new(SharedCell::new(entry)), log)
}

/// Finds an object in a cell, if there is one, and calls `f` with it.
fn count_in_cell<R>(
    active_list: &ActiveList<Counter>,
    cell: &SharedCell<Counter>,
    f: impl Fn(rcu::Borrowed<'_, Counter>, ReadLocked<'_>) -> R,
) -> Option<R> {
    rcu::read(|rcu| {
        let entry = cell.get(rcu)?;
        entry.count(0);
        let result = f(entry, rcu);
        active_list.activate(entry, rcu);
        Some(result)
    })
}

#[test]
fn what_nobody_else_has_is_dropped_once_and_not_used_then() {
    explore(3, || {
        let active_list = active_list();
        let (cell, log) = in_cell(&active_list);
        let (other, place) = (Arc::clone(&active_list), Arc::clone(&cell));
        let packets = thread::spawn(move || {
            count_in_cell(&other, &place, |_, _| ());
        });
        drop(cell.exchange(None));
        visit(&active_list, true);
        packets.join().unwrap();
        // It may have been activated while it left.
        visit(&active_list, true);
        rcu::drain();
        assert_eq!((log.visits(), log.dropped()), (0, 1));
    });
}

#[test]
fn a_change_of_what_a_reader_keeps_is_seen() {
    explore(3, || {
        let active_list = active_list();
        let (cell, log) = in_cell(&active_list);
        let (other, place) = (Arc::clone(&active_list), Arc::clone(&cell));
        let packets = thread::spawn(move || {
            count_in_cell(&other, &place, |entry, _| entry.share()).flatten()
        });
        drop(cell.exchange(None));
        visit(&active_list, false);
        if let Some(entry) = packets.join().unwrap() {
            if entry.seen() != 1 {
                visit(&active_list, false);
            }
            assert_eq!((entry.seen(), log.dropped()), (1, 0));
        }
        // The visit may have deferred it because of the change.
        visit(&active_list, true);
        rcu::drain();
        assert_eq!(log.dropped(), 1);
    });
}
