// SPDX-License-Identifier: GPL-2.0

//! A word that owns one of two pointers.

use kernel::prelude::*;
use linux::either::{
    Either,
    EitherRef, //
};
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

struct Left(Dropped);
struct Right(Dropped);

type Word = Either<KBox<Left>, KBox<Right>>;

#[test]
fn it_is_one_word_even_if_it_may_be_absent() {
    assert_eq!(size_of::<Option<Word>>(), size_of::<usize>());
}

#[test]
fn it_leads_to_what_was_put_in_and_drops_that_once() {
    // No other test lets allocations fail meanwhile.
    let _world = super::world::World::without_module();
    let drops = Rc::new(Cell::new(0));
    let left = Left(Dropped(drops.clone(), 1));
    let left = Word::left(KBox::new(left, GFP_KERNEL).unwrap());
    let right = Right(Dropped(drops.clone(), 10));
    let right = Word::right(KBox::new(right, GFP_KERNEL).unwrap());
    for _ in 0..2 {
        assert!(matches!(left.get(), EitherRef::Left(Left(Dropped(_, 1)))));
        assert!(matches!(
            right.get(),
            EitherRef::Right(Right(Dropped(_, 10)))
        ));
    }
    assert_eq!(drops.get(), 0);
    drop(right);
    assert_eq!(drops.get(), 10);
    drop(left);
    assert_eq!(drops.get(), 11);
}
