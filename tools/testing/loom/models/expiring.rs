// SPDX-License-Identifier: GPL-2.0

//! Objects that expire (`linux/expiring.rs`).

use super::{
    explore,
    explore_keeping, //
};
use crate::{
    bindings::jiffies as NOW,
    expiring::{
        Entry,
        Expiring, //
        Quota,
        Refused,
        Table,
        TableRef,
    },
    prelude::*,
    rcu::{
        self,
        ReadLocked, //
    },
    slab,
    sync,
    table::{
        Hashed,
        Seed,
        Sizing, //
    },
    timer_model, //
};
use core::{
    memory,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};
use loom::thread;
use std::sync::{
    atomic::{
        AtomicUsize as Count,
        Ordering::SeqCst, //
    },
    Arc,
};

/// The number of times an object went through each step of its life.
#[derive(Default)]
struct Life {
    retired: Count,
    dropped: Count,
}

struct Mortal {
    number: u32,
    /// The difference of the number in the second chain.
    second: Count,
    deadline: Atomic<usize>,
    life: Arc<Life>,
}

impl Mortal {
    #[track_caller]
    fn number(&self) -> u32 {
        memory::check(self);
        assert_eq!(self.life.dropped.load(SeqCst), 0);
        self.number
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.life.dropped.fetch_add(1, SeqCst);
    }
}

impl Hashed for Mortal {
    fn hash(&self, slot: usize, _seed: &Seed) -> Option<u32> {
        // The second chain has the next number, unless a model changes it.
        let more = if slot == 0 {
            0
        } else {
            self.second.load(SeqCst)
        };
        Some(self.number() + more as u32)
    }
}

impl Entry for Mortal {
    type Holds = ();
    type Owner = ();

    fn deadline(&self) -> usize {
        self.deadline.load(Relaxed)
    }

    fn may_end(&self) -> bool {
        true
    }

    fn retired(&self, _table: &Table<Self>) {
        assert_eq!(self.life.retired.fetch_add(1, SeqCst), 0);
    }
}

type Mortals = TableRef<Mortal>;

fn table() -> Mortals {
    let sizing = Sizing {
        initial_bits: 1,
        wanted: |_, _, _| None,
    };
    let cache = sync::Arc::pin_init(slab::Cache::new(c"mortals"), GFP_KERNEL).unwrap();
    cache.prepare().unwrap();
    let quota = sync::Arc::new(Quota::new(), GFP_KERNEL).unwrap();
    TableRef::new(sizing, cache, quota, ()).unwrap()
}

fn mortal(number: u32, ticks: usize, life: &Arc<Life>) -> Mortal {
    Mortal {
        number,
        second: Count::new(1),
        deadline: Atomic::new(NOW + ticks),
        life: Arc::clone(life),
    }
}

/// Publishes an object that expires in `ticks`. Returns the other object with its number if there
/// is one.
fn publish<'rcu>(
    table: &Mortals,
    rcu: ReadLocked<'rcu>,
    number: u32,
    ticks: usize,
    life: &Arc<Life>,
) -> Result<&'rcu Expiring<Mortal>, &'rcu Expiring<Mortal>> {
    let new = Table::alloc(table, mortal(number, ticks, life), 9)
        .ok()
        .unwrap();
    new.publish(rcu, |other| other.number() == number)
}

fn find<'rcu>(
    table: &Mortals,
    rcu: ReadLocked<'rcu>,
    number: u32,
) -> Option<&'rcu Expiring<Mortal>> {
    table.find(rcu, number, |object, slot| {
        (slot == 0 && object.number() == number).then_some(object)
    })
}

/// Asserts that each of these objects has ended exactly once.
fn assert_ended(lives: &[&Life]) {
    rcu::drain();
    for life in lives {
        assert_eq!(life.dropped.load(SeqCst), 1);
    }
}

#[test]
fn a_reader_may_look_at_what_ends() {
    explore(3, || {
        let table = table();
        let life = Arc::default();
        rcu::read(|rcu| assert!(publish(&table, rcu, 1, 0, &life).is_ok()));
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        rcu::read(|rcu| {
            if let Some(found) = find(&table, rcu, 1) {
                found.number();
            }
        });
        timer.join().unwrap();
        assert_eq!(table.count(), 0);
        assert_ended(&[&life]);
        assert_eq!(life.retired.load(SeqCst), 1);
    });
}

#[test]
fn of_the_timer_and_a_clearing_one_retires_an_object() {
    explore(3, || {
        let table = table();
        let lives = [Arc::default(), Arc::default()];
        rcu::read(|rcu| {
            assert!(publish(&table, rcu, 1, 0, &lives[0]).is_ok());
            assert!(publish(&table, rcu, 3, 9, &lives[1]).is_ok());
        });
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        table.clear();
        timer.join().unwrap();
        assert_eq!(table.count(), 0);
        assert_ended(&[&lives[0], &lives[1]]);
    });
}

#[test]
fn a_table_goes_only_after_its_timers() {
    explore(3, || {
        let table = table();
        let life = Arc::default();
        rcu::read(|rcu| assert!(publish(&table, rcu, 1, 0, &life).is_ok()));
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        drop(table);
        timer.join().unwrap();
        assert_ended(&[&life]);
    });
}

#[test]
fn an_earlier_deadline_is_not_lost_to_a_timer_that_fires() {
    explore(4, || {
        let table = table();
        let life = Arc::default();
        // The timer fires early, as after packets that have moved the deadline.
        rcu::read(|rcu| {
            let object = publish(&table, rcu, 1, 0, &life).ok().unwrap();
            object.deadline.store(NOW + 9, Relaxed);
        });
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        rcu::read(|rcu| {
            let object = find(&table, rcu, 1).unwrap();
            object.deadline.store(NOW + 5, Relaxed);
            object.mod_earlier();
        });
        timer.join().unwrap();
        assert!(timer_model::earliest().is_some_and(|tick| tick <= NOW + 5));
        drop(table);
        assert_ended(&[&life]);
    });
}

#[test]
fn an_earlier_deadline_is_not_lost_to_who_publishes() {
    explore(3, || {
        let table = table();
        let life = Arc::<Life>::default();
        let (other, its) = (table.clone(), Arc::clone(&life));
        let publisher = thread::spawn(move || {
            rcu::read(|rcu| assert!(publish(&other, rcu, 1, 9, &its).is_ok()));
        });
        let moved = rcu::read(|rcu| {
            find(&table, rcu, 1).is_some_and(|object| {
                object.deadline.store(NOW + 5, Relaxed);
                object.mod_earlier();
                true
            })
        });
        publisher.join().unwrap();
        let latest = if moved { NOW + 5 } else { NOW + 9 };
        assert!(timer_model::earliest().is_some_and(|tick| tick <= latest));
        drop(table);
        assert_ended(&[&life]);
    });
}

#[test]
fn moving_the_deadline_of_what_has_ended_does_nothing() {
    explore(3, || {
        let table = table();
        let life = Arc::default();
        rcu::read(|rcu| assert!(publish(&table, rcu, 1, 0, &life).is_ok()));
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        rcu::read(|rcu| {
            if let Some(found) = find(&table, rcu, 1) {
                found.mod_earlier();
            }
        });
        timer.join().unwrap();
        assert_ended(&[&life]);
        assert!(!timer_model::any_pending());
    });
}

#[test]
fn what_is_cleared_while_it_is_published_never_gets_a_timer() {
    explore(4, || {
        let table = table();
        let life = Arc::<Life>::default();
        let (other, its) = (table.clone(), Arc::clone(&life));
        let publisher = thread::spawn(move || {
            rcu::read(|rcu| assert!(publish(&other, rcu, 1, 0, &its).is_ok()));
        });
        table.clear();
        publisher.join().unwrap();
        if table.count() == 0 {
            assert!(!timer_model::any_pending());
            assert_ended(&[&life]);
        }
    });
}

#[test]
fn a_timer_that_fires_again_while_it_runs_arms_nothing_that_has_ended() {
    explore(3, || {
        let table = table();
        let life = Arc::default();
        rcu::read(|rcu| {
            let object = publish(&table, rcu, 1, 0, &life).ok().unwrap();
            object.deadline.store(NOW + 9, Relaxed);
        });
        let timers = [(); 2].map(|()| thread::spawn(|| timer_model::interrupt(NOW)));
        rcu::read(|rcu| {
            let object = find(&table, rcu, 1).unwrap();
            object.deadline.store(NOW, Relaxed);
            object.mod_earlier();
        });
        for timer in timers {
            timer.join().unwrap();
        }
        drop(table);
        assert_ended(&[&life]);
    });
}

#[test]
fn of_two_equal_objects_one_is_published() {
    explore(2, || {
        let table = table();
        let lives = [Arc::<Life>::default(), Arc::<Life>::default()];
        let (other, its) = (table.clone(), Arc::clone(&lives[0]));
        let publisher =
            thread::spawn(move || rcu::read(|rcu| publish(&other, rcu, 1, 9, &its).is_ok()));
        // Its walk of the second chain passes both.
        let third = table.clone();
        let reader = thread::spawn(move || rcu::read(|rcu| find(&third, rcu, 2).is_none()));
        let mine = rcu::read(|rcu| match publish(&table, rcu, 1, 9, &lives[1]) {
            Ok(_) => true,
            Err(other) => {
                // Readers find this one.
                assert_eq!(other.number(), 1);
                false
            }
        });
        assert_ne!(mine, publisher.join().unwrap());
        assert!(reader.join().unwrap());
        assert_eq!(table.count(), 1);
        rcu::read(|rcu| assert!(find(&table, rcu, 1).is_some()));
        drop(table);
        assert_ended(&[&lives[0], &lives[1]]);
    });
}

/// Publishes an object if there are fewer than two. Returns `true` if it did.
fn publish_within_two(table: &Mortals, number: u32, life: &Arc<Life>) -> bool {
    match Table::alloc(table, mortal(number, 9, life), 2) {
        Ok(new) => rcu::read(|rcu| {
            assert!(new.publish(rcu, |_| false).is_ok());
            assert!(table.count() <= 2);
            true
        }),
        Err(refused) => {
            assert_eq!(refused, Refused::Full);
            false
        }
    }
}

#[test]
fn of_two_who_want_the_last_place_one_gets_it() {
    explore(2, || {
        let table = table();
        let lives = [(); 3].map(|()| Arc::<Life>::default());
        rcu::read(|rcu| assert!(publish(&table, rcu, 1, 9, &lives[0]).is_ok()));
        let (other, its) = (table.clone(), Arc::clone(&lives[1]));
        let publisher = thread::spawn(move || publish_within_two(&other, 3, &its));
        let mine = publish_within_two(&table, 5, &lives[2]);
        assert_ne!(mine, publisher.join().unwrap());
        drop(table);
        assert_ended(&[&lives[0], &lives[1], &lives[2]]);
    });
}

#[test]
fn a_place_is_free_once_its_object_has_ended() {
    explore(2, || {
        let table = table();
        let lives = [(); 3].map(|()| Arc::<Life>::default());
        rcu::read(|rcu| {
            assert!(publish(&table, rcu, 1, 0, &lives[0]).is_ok());
            assert!(publish(&table, rcu, 3, 9, &lives[1]).is_ok());
        });
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        let early = publish_within_two(&table, 5, &lives[2]);
        timer.join().unwrap();
        let late = Arc::default();
        assert_ne!(early, publish_within_two(&table, 7, &late));
        drop(table);
        assert_ended(&[&lives[0], &lives[1], &lives[2], &late]);
    });
}

#[test]
fn what_a_chain_still_leads_to_ends_but_is_not_freed() {
    explore_keeping(1, 3, || {
        let table = table();
        let life = Arc::default();
        rcu::read(|rcu| {
            let object = publish(&table, rcu, 1, 0, &life).ok().unwrap();
            object.second.store(0, SeqCst);
        });
        let timer = thread::spawn(|| timer_model::interrupt(NOW));
        rcu::read(|rcu| assert!(find(&table, rcu, 2).is_none()));
        timer.join().unwrap();
        rcu::drain();
        rcu::read(|rcu| assert!(find(&table, rcu, 2).is_none()));
        assert_eq!(table.count(), 0);
        assert_eq!(life.retired.load(SeqCst), 1);
        assert_eq!(life.dropped.load(SeqCst), 0);
    });
}
