// SPDX-License-Identifier: GPL-2.0

//! A word that owns a pointer, and more from when it is needed.

use kernel::prelude::*;
use linux::extensible::Extensible;
use std::{
    cell::Cell,
    rc::Rc, //
};

/// Counts its drops by a weight of its own.
struct Dropped(Rc<Cell<u32>>, u32);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + self.1);
    }
}

type Word = Extensible<KBox<Dropped>, Dropped>;

fn base(drops: &Rc<Cell<u32>>) -> Option<KBox<Dropped>> {
    Some(KBox::new(Dropped(drops.clone(), 1), GFP_KERNEL).unwrap())
}

#[test]
fn it_is_one_word() {
    assert_eq!(size_of::<Word>(), size_of::<usize>());
}

#[test]
fn what_is_in_it_stays_when_more_is_added_and_all_is_dropped_once() {
    // No other test lets allocations fail meanwhile.
    let _world = super::world::World::without_module();
    let drops = Rc::new(Cell::new(0));
    let word = Word::new(base(&drops));
    let before = word.base().unwrap();
    assert!(word.extra().is_none());
    assert_eq!(word.extend(Dropped(drops.clone(), 10)).unwrap().1, 10);
    assert!(core::ptr::eq(before, word.base().unwrap()));
    assert_eq!(drops.get(), 0);

    // The second finds the first, and is dropped.
    assert_eq!(word.extend(Dropped(drops.clone(), 100)).unwrap().1, 10);
    assert_eq!(drops.get(), 100);
    assert_eq!(word.extra().unwrap().1, 10);
    drop(word);
    assert_eq!(drops.get(), 111);
}

#[test]
fn an_empty_one_may_get_more_and_one_may_begin_with_both() {
    let _world = super::world::World::without_module();
    let drops = Rc::new(Cell::new(0));
    let empty = Word::new(None);
    assert!(empty.base().is_none() && empty.extra().is_none());
    empty.extend(Dropped(drops.clone(), 10)).unwrap();
    assert!(empty.base().is_none());
    drop(empty);
    assert_eq!(drops.get(), 10);
    drop(Word::new(None));

    let both = Word::extended(base(&drops), Dropped(drops.clone(), 100)).unwrap();
    assert_eq!((both.base().unwrap().1, both.extra().unwrap().1), (1, 100));
    drop(both);
    assert_eq!(drops.get(), 111);
}
