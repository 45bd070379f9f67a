// SPDX-License-Identifier: GPL-2.0

//! Hash tables that are searched while they change (`linux/table.rs`, `linux/table/chains.rs`).

use super::{
    explore,
    explore_keeping,
    new_object,
    Object, //
};
use crate::{
    prelude::*,
    rcu::{
        self,
        Shared, //
    },
    table::{
        Hashed,
        Linked,
        Seed,
        Sizing,
        Table, //
    },
};
use core::memory;
use loom::thread;
use std::{
    ops::Deref,
    sync::{
        atomic::{
            AtomicU32,
            Ordering::SeqCst, //
        },
        Arc, //
    },
};

/// A table that is shared by threads.
struct Shareable<T: Linked = Object>(Option<Pin<KBox<Table<T>>>>);

impl<T: Linked> Deref for Shareable<T> {
    type Target = Table<T>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().unwrap()
    }
}

/// Creates a table of two buckets that is to be resized to 2^`bits`.
fn table<T: Linked>(
    initial_bits: u32,
    wanted: fn(usize, Option<u32>, i32) -> Option<u32>,
) -> Arc<Shareable<T>> {
    let sizing = Sizing {
        initial_bits,
        wanted,
    };
    let table = KBox::try_pin_init(Table::new(sizing), GFP_KERNEL).unwrap();
    Arc::new(Shareable(Some(table)))
}

fn growing() -> Arc<Shareable> {
    table(1, |_, _, _| Some(2))
}

fn shrinking() -> Arc<Shareable> {
    table(2, |_, _, _| Some(1))
}

fn insert(table: &Table<Object>, number: u32) -> bool {
    let is = |other: &Object| other.number() == number;
    table.insert(new_object(number, None).0, is).is_ok()
}

fn finds(table: &Table<Object>, number: u32) -> bool {
    rcu::read(|rcu| {
        let found = table.find(rcu, number, |other, slot| {
            slot == 0 && other.number() == number
        });
        found
            .inspect(|found| assert_eq!(found.number(), number))
            .is_some()
    })
}

/// Numbers that are in the same bucket of a table of two, and in different ones of a table of four.
const SAME: [u32; 3] = [0, 2, 4];

#[test]
fn what_is_there_is_found_while_the_table_grows() {
    explore(3, || {
        let table = growing();
        assert!(insert(&table, SAME[0]) && insert(&table, SAME[1]));
        let other = Arc::clone(&table);
        let resizer = thread::spawn(move || other.resize().unwrap());
        assert!(finds(&table, SAME[0]));
        assert!(finds(&table, SAME[1]));
        resizer.join().unwrap();
        assert!(finds(&table, SAME[0]) && finds(&table, SAME[1]));
        assert_eq!(table.count(), 2);
    });
}

/// The end marker of the new chain has the number of the old bucket in this case. Only its
/// generation tells a reader that it got there by an object that was moved.
#[test]
fn what_keeps_its_bucket_is_found_while_the_table_grows() {
    explore(3, || {
        let table = growing();
        assert!(insert(&table, 0) && insert(&table, 4));
        let other = Arc::clone(&table);
        let resizer = thread::spawn(move || other.resize().unwrap());
        assert!(finds(&table, 0));
        assert!(finds(&table, 4));
        resizer.join().unwrap();
    });
}

#[test]
fn what_is_there_is_found_while_the_table_shrinks() {
    explore(3, || {
        let table = shrinking();
        assert!(insert(&table, SAME[0]) && insert(&table, SAME[1]));
        let other = Arc::clone(&table);
        let resizer = thread::spawn(move || other.resize().unwrap());
        assert!(finds(&table, SAME[0]));
        assert!(finds(&table, SAME[1]));
        resizer.join().unwrap();
        assert!(finds(&table, SAME[0]) && finds(&table, SAME[1]));
    });
}

#[test]
fn of_two_equal_objects_one_is_inserted() {
    explore(3, || {
        let table = table(1, |_, _, _| None);
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || insert(&other, 1));
        let mine = insert(&table, 1);
        let theirs = inserter.join().unwrap();
        assert_ne!(mine, theirs);
        assert_eq!(table.count(), 1);
        assert!(finds(&table, 1));
    });
}

#[test]
fn of_two_equal_objects_one_is_inserted_while_the_table_grows() {
    explore(2, || {
        let table = growing();
        let (first, second) = (Arc::clone(&table), Arc::clone(&table));
        let inserter = thread::spawn(move || insert(&first, SAME[1]));
        let resizer = thread::spawn(move || second.resize().unwrap());
        let mine = insert(&table, SAME[1]);
        let theirs = inserter.join().unwrap();
        resizer.join().unwrap();
        assert_ne!(mine, theirs);
        assert!(finds(&table, SAME[1]));
    });
}

#[test]
fn what_is_inserted_while_the_table_grows_is_found() {
    explore(3, || {
        let table = growing();
        assert!(insert(&table, SAME[0]));
        let other = Arc::clone(&table);
        let resizer = thread::spawn(move || other.resize().unwrap());
        assert!(insert(&table, SAME[1]));
        assert!(finds(&table, SAME[1]));
        assert!(finds(&table, SAME[0]));
        resizer.join().unwrap();
        assert!(finds(&table, SAME[1]) && finds(&table, SAME[0]));
    });
}

#[test]
fn a_reader_comes_by_an_object_that_is_just_inserted() {
    explore(3, || {
        let table = table(1, |_, _, _| None);
        assert!(insert(&table, SAME[0]));
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || assert!(insert(&other, SAME[1])));
        assert!(finds(&table, SAME[0]));
        inserter.join().unwrap();
        assert!(finds(&table, SAME[1]));
    });
}

#[test]
fn of_two_who_remove_an_object_one_has_it() {
    explore(3, || {
        let table = table(1, |_, _, _| None);
        let (object, dropped) = new_object(1, Some(3));
        assert!(table.insert(object.clone(), |_| false).is_ok());
        let (other, clone) = (Arc::clone(&table), object.clone());
        let remover = thread::spawn(move || other.remove(&clone).is_some());
        let mine = table.remove(&object).is_some();
        assert_ne!(mine, remover.join().unwrap());
        assert_eq!(table.count(), 0);
        assert!(!finds(&table, 1));
        drop(object);
        rcu::drain();
        assert_eq!(dropped.times(), 1);
    });
}

#[test]
fn a_reader_may_look_at_what_is_removed() {
    explore(3, || {
        let table = table(1, |_, _, _| None);
        assert!(insert(&table, SAME[0]));
        let (object, dropped) = new_object(SAME[1], Some(SAME[2]));
        assert!(table.insert(object.clone(), |_| false).is_ok());
        let other = Arc::clone(&table);
        let reader = thread::spawn(move || {
            // It comes before the other one in the chain.
            assert!(finds(&other, SAME[0]));
            finds(&other, SAME[1]);
        });
        drop(table.remove(&object).unwrap());
        drop(object);
        reader.join().unwrap();
        rcu::drain();
        assert_eq!(dropped.times(), 1);
        assert!(!finds(&table, SAME[1]));
    });
}

#[test]
fn what_is_removed_while_the_table_grows_is_gone_and_the_rest_is_there() {
    explore(3, || {
        let table = growing();
        let (object, dropped) = new_object(SAME[0], None);
        assert!(table.insert(object.clone(), |_| false).is_ok());
        assert!(insert(&table, SAME[1]));
        let other = Arc::clone(&table);
        let resizer = thread::spawn(move || other.resize().unwrap());
        assert!(table.remove(&object).is_some());
        drop(object);
        assert!(!finds(&table, SAME[0]));
        assert!(finds(&table, SAME[1]));
        resizer.join().unwrap();
        assert!(!finds(&table, SAME[0]));
        rcu::drain();
        assert_eq!(dropped.times(), 1);
    });
}

#[test]
fn what_is_cleared_is_given_away_once_while_others_remove_and_look() {
    explore(3, || {
        let table = growing();
        let (object, dropped) = new_object(1, Some(2));
        table.insert(object.clone(), |_| false).ok().unwrap();
        assert!(insert(&table, 0));
        let other = Arc::clone(&table);
        let remover = thread::spawn(move || {
            finds(&other, 0);
            other.remove(&object).is_some()
        });
        let mut cleared = Vec::new();
        table.clear(|object| cleared.push(object.number()));
        let removed = remover.join().unwrap();
        assert_eq!(
            cleared.iter().filter(|&&number| number == 1).count(),
            usize::from(!removed)
        );
        assert!(cleared.contains(&0));
        assert!(!finds(&table, 0) && !finds(&table, 1));
        assert_eq!(table.count(), 0);
        rcu::drain();
        assert_eq!(dropped.times(), 1);
    });
}

#[test]
fn a_scan_meets_everything_while_the_table_is_resized() {
    for make in [growing, shrinking] {
        explore(2, move || {
            let table = make();
            assert!((0..3).all(|number| insert(&table, number)));
            let other = Arc::clone(&table);
            let resizer = thread::spawn(move || other.resize().unwrap());
            let (mut seen, mut cursor) = ([false; 3], 0);
            loop {
                cursor = rcu::read(|rcu| {
                    table.scan(rcu, cursor, |object| seen[object.number() as usize] = true)
                });
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen, [true; 3]);
            resizer.join().unwrap();
        });
    }
}

#[test]
fn of_two_who_insert_an_object_one_does() {
    explore(3, || {
        let tables = [(); 2].map(|()| table(1, |_, _, _| None));
        let (object, dropped) = new_object(1, Some(2));
        let (other, clone) = (Arc::clone(&tables[0]), object.clone());
        let inserter = thread::spawn(move || other.insert(clone, |_| false).is_ok());
        let mine = tables[1].insert(object.clone(), |_| false).is_ok();
        assert_ne!(mine, inserter.join().unwrap());
        let (with, without) = (usize::from(mine), usize::from(!mine));
        assert!(finds(&tables[with], 1) && !finds(&tables[without], 1));
        // After it was removed from one table, it can be inserted into the other.
        assert!(tables[without].insert(object.clone(), |_| false).is_err());
        assert!(tables[with].remove(&object).is_some());
        assert!(tables[without].insert(object.clone(), |_| false).is_ok());
        assert!(finds(&tables[without], 1));
        drop((object, tables));
        rcu::drain();
        assert_eq!(dropped.times(), 1);
    });
}

/// An object whose hash changes arbitrarily, which must not harm the table.
struct Fickle([AtomicU32; 2]);

impl linux::rcu::Object for Fickle {
    type Links = crate::table::Links;
}

impl Hashed for Fickle {
    fn hash(&self, slot: usize, _seed: &Seed) -> Option<u32> {
        memory::check(self);
        Some(self.0[slot].load(SeqCst))
    }
}

fn fickle(hashes: [u32; 2]) -> Shared<Fickle> {
    let object = Fickle(hashes.map(AtomicU32::new));
    // SAFETY: The closure initializes all of `slot`.
    let init = unsafe {
        pin_init::pin_init_from_closure::<_, Error>(move |slot: *mut Fickle| {
            slot.write(object);
            Ok(())
        })
    };
    Shared::pin_init(init, GFP_KERNEL).unwrap()
}

/// Returns `true` if an object whose hash in the first chain is `hash` by now is found.
fn finds_fickle(table: &Table<Fickle>, hash: u32) -> bool {
    let is = |object: &Fickle, slot| slot == 0 && object.hash(0, table.seed()) == Some(hash);
    rcu::read(|rcu| table.find(rcu, hash, is).is_some())
}

#[test]
fn what_says_another_hash_is_moved_under_its_own_lock() {
    explore(3, || {
        let table = table(1, |_, _, _| Some(2));
        let object = fickle([0, 2]);
        table.insert(object.clone(), |_| false).ok().unwrap();
        object.0[0].store(1, SeqCst);
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || other.insert(fickle([3, 3]), |_| false).ok().unwrap());
        table.resize().unwrap();
        inserter.join().unwrap();
        assert!(finds_fickle(&table, 3));
        object.0[0].store(0, SeqCst);
        assert!(finds_fickle(&table, 0));
        assert!(table.remove(&object).is_some());
        assert!(!finds_fickle(&table, 0));
    });
}

#[test]
fn what_a_chain_still_leads_to_is_not_freed() {
    explore_keeping(1, 3, || {
        let table = table(1, |_, _, _| None);
        let object = fickle([0, 1]);
        table.insert(object.clone(), |_| false).ok().unwrap();
        object.0[1].store(0, SeqCst);
        let other = Arc::clone(&table);
        let remover = thread::spawn(move || assert!(other.remove(&object).is_some()));
        assert!(!finds_fickle(&table, 1));
        remover.join().unwrap();
        rcu::drain();
        assert!(!finds_fickle(&table, 1));
        assert_eq!(table.count(), 0);
    });
}

impl rcu::Object for Owner {
    type Links = ();
}

/// An object that owns a table, as the state of a scheduler.
#[pin_data]
struct Owner {
    #[pin]
    table: Table<Object>,
}

#[test]
fn a_table_with_objects_goes_without_sleep_after_a_grace_period() {
    explore(3, || {
        let sizing = Sizing {
            initial_bits: 1,
            wanted: |_, _, _| None,
        };
        let owner = try_pin_init!(Owner { table <- Table::new(sizing) }? Error);
        let owner = Shared::pin_init(owner, GFP_KERNEL).unwrap();
        assert!(insert(&owner.table, 0));
        let reader = {
            let owner = owner.clone();
            thread::spawn(move || assert!(finds(&owner.table, 0)))
        };
        drop(owner);
        reader.join().unwrap();
    });
}
