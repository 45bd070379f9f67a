// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::rcu_slots`]: lists that readers index.

use crate::ledger::{
    Ledger,
    Token, //
};
use core::convert::Infallible;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    rcu::{
        self,
        Shared, //
    },
    rcu_slots::{
        RcuSlots,
        Slots, //
    },
};

/// The numbers of the objects in the slots, as many as fit; `None` for an empty slot.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    len: usize,
    numbers: [Option<u32>; 20],
}

impl Shape {
    fn of(view: &Slots<'_, '_, Token>) -> Self {
        Self {
            len: view.len(),
            numbers: core::array::from_fn(|slot| view.get(slot).map(|token| token.number())),
        }
    }

    /// Returns `true` if the slots are exactly these.
    fn are(&self, slots: &[Option<u32>]) -> bool {
        self.len == slots.len()
            && self.numbers.get(..slots.len()) == Some(slots)
            && self.numbers.iter().skip(slots.len()).all(Option::is_none)
    }
}

fn rcu_slots() -> Result<Pin<KBox<RcuSlots<Token>>>> {
    KBox::pin_init(RcuSlots::new(), GFP_KERNEL)
}

/// Adds objects with these numbers. Returns how often the others were moved for that.
fn push(
    rcu_slots: &RcuSlots<Token>,
    ledger: &Arc<Ledger>,
    numbers: core::ops::Range<u32>,
) -> Result<usize> {
    let mut moves = 0;
    for number in numbers {
        let object = Shared::pin_init::<Infallible>(ledger.token(number), GFP_KERNEL)?;
        rcu_slots.reserve()?.push(object, |_| moves += 1);
    }
    Ok(moves)
}

fn slots(rcu_slots: &RcuSlots<Token>) -> Shape {
    rcu::read(|rcu| Shape::of(&rcu_slots.view(rcu)))
}

/// Removes the object with this number. Returns it, the slots that readers see then, and its slot.
fn remove(rcu_slots: &RcuSlots<Token>, number: u32) -> Option<(Shared<Token>, Shape, usize)> {
    let object = rcu::read(|rcu| {
        let view = rcu_slots.view(rcu);
        let mut objects = (0..view.len()).filter_map(|slot| view.get(slot));
        objects.find(|object| object.number() == number)?.share()
    })?;
    let mut left = None;
    let removed = rcu_slots.remove(&object, |view, slot| left = Some((Shape::of(view), slot)))?;
    left.map(|(slots, slot)| (removed, slots, slot))
}

#[kunit_tests(linux_rcu_slots)]
mod cases {
    use super::*;

    #[test]
    fn objects_are_in_the_order_in_which_they_were_added() -> Result {
        let ledger = Ledger::new(3)?;
        let rcu_slots = rcu_slots()?;
        assert!(rcu::read(|rcu| rcu_slots.view(rcu).is_empty()));
        assert!(push(&rcu_slots, &ledger, 0..3)? == 0);
        assert!(rcu_slots.count() == 3);
        assert!(slots(&rcu_slots).are(&[Some(0), Some(1), Some(2)]));
        drop(rcu_slots);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_removed_object_leaves_its_slot_empty() -> Result {
        let ledger = Ledger::new(4)?;
        let rcu_slots = rcu_slots()?;
        push(&rcu_slots, &ledger, 0..3)?;
        let removed = remove(&rcu_slots, 1);
        assert!(removed
            .as_ref()
            .is_some_and(|(object, left, slot)| object.number() == 1
                && *slot == 1
                && left.are(&[Some(0), None, Some(2)])));
        assert!(rcu_slots.count() == 2);
        push(&rcu_slots, &ledger, 3..4)?;
        assert!(slots(&rcu_slots).are(&[Some(0), None, Some(2), Some(3)]));
        rcu::drain();
        assert!(ledger.dropped() == 0);
        drop(removed);
        rcu::drain();
        assert!(ledger.order_is(&[1]));
        Ok(())
    }

    #[test]
    fn the_slots_behind_the_last_object_are_used_again() -> Result {
        let ledger = Ledger::new(4)?;
        let rcu_slots = rcu_slots()?;
        push(&rcu_slots, &ledger, 0..3)?;
        drop(remove(&rcu_slots, 1));
        drop(remove(&rcu_slots, 2));
        assert!(slots(&rcu_slots).are(&[Some(0)]));
        push(&rcu_slots, &ledger, 3..4)?;
        assert!(slots(&rcu_slots).are(&[Some(0), Some(3)]));
        Ok(())
    }

    #[test]
    fn a_cleared_list_gives_its_objects_away_the_last_one_first() -> Result {
        let ledger = Ledger::new(22)?;
        for (objects, last) in [(0..3, 20), (3..20, 21)] {
            let rcu_slots = rcu_slots()?;
            push(&rcu_slots, &ledger, objects.clone())?;
            drop(remove(&rcu_slots, objects.start));
            // A failing assertion sleeps, which is not allowed in there.
            let mut next = objects.end;
            let mut in_order = true;
            rcu_slots.clear(|object| {
                next -= 1;
                in_order &= object.number() == next;
            });
            assert!(in_order);
            assert!(next == objects.start + 1);
            assert!(rcu_slots.count() == 0 && slots(&rcu_slots).are(&[]));
            push(&rcu_slots, &ledger, last..last + 1)?;
            assert!(slots(&rcu_slots).are(&[Some(last)]));
        }
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn an_object_is_removed_once() -> Result {
        let ledger = Ledger::new(2)?;
        let rcu_slots = rcu_slots()?;
        push(&rcu_slots, &ledger, 0..2)?;
        let object = remove(&rcu_slots, 0)
            .map(|(object, _, _)| object)
            .ok_or(ENOENT)?;
        let mut called = false;
        assert!(rcu_slots.remove(&object, |_, _| called = true).is_none());
        assert!(!called);
        assert!(rcu_slots.count() == 1);
        assert!(object.references() == 1);
        Ok(())
    }

    #[test]
    fn a_full_list_moves_to_twice_the_room_without_its_gaps() -> Result {
        let ledger = Ledger::new(18)?;
        let rcu_slots = rcu_slots()?;
        let room = rcu_slots.room();
        assert!(room == 8 && rcu_slots.room_after_move().is_none());
        push(&rcu_slots, &ledger, 0..8)?;
        drop(remove(&rcu_slots, 3));
        assert!(rcu_slots.room_after_move() == Some(14));
        let mut before = None;
        let object = Shared::pin_init::<Infallible>(ledger.token(8), GFP_KERNEL)?;
        rcu_slots
            .reserve()?
            .push(object, |view| before = Some(Shape::of(view)));
        let with_gap = [0, 1, 2, 9, 4, 5, 6, 7].map(|number| (number != 9).then_some(number));
        assert!(before.is_some_and(|before| before.are(&with_gap)));
        assert!(slots(&rcu_slots).are(&[0, 1, 2, 4, 5, 6, 7, 8].map(Some)));
        assert!(rcu_slots.room() == 14 && rcu_slots.count() == 8);
        assert!(push(&rcu_slots, &ledger, 9..15)? == 0);
        assert!(push(&rcu_slots, &ledger, 15..18)? == 1);
        assert!(rcu_slots.count() == 17);
        drop(rcu_slots);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }
}
