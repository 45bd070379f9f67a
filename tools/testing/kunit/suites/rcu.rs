// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::rcu`]: references that are shared with readers.

use crate::{
    ledger::{
        Ledger,
        Token, //
    },
    wait,
};
use kernel::{
    alloc::flags::*,
    prelude::*,
    sync::Arc, //
};
use linux::rcu::{
    self,
    Shared,
    SharedCell, //
};

/// An object that holds a reference to the next one.
struct Chained {
    token: Token,
    next: Option<Shared<Chained>>,
}

impl rcu::Object for Chained {
    type Links = ();
}

/// An object that is larger than any allocation.
#[pin_data]
struct Huge {
    token: Token,
    bytes: [u8; 1 << 30],
}

impl rcu::Object for Huge {
    type Links = ();
}

/// An object that is initialized in two steps.
#[pin_data]
struct Pair {
    first: Token,
    second: Token,
}

impl rcu::Object for Pair {
    type Links = ();
}

fn object(ledger: &Arc<Ledger>, number: u32) -> Result<Shared<Token>> {
    let token = ledger.token(number);
    Shared::pin_init::<core::convert::Infallible>(token, GFP_KERNEL)
}

#[kunit_tests(linux_rcu)]
mod cases {
    use super::*;

    #[test]
    fn the_last_reference_drops_the_object_once() -> Result {
        let ledger = Ledger::new(1)?;
        let first = object(&ledger, 0)?;
        let second = first.clone();
        let third = second.clone();
        drop(second);
        drop(first);
        rcu::drain();
        assert!(ledger.dropped() == 0);
        assert!(third.number() == 0);
        drop(third);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn unique_is_who_has_the_only_reference() -> Result {
        let ledger = Ledger::new(2)?;
        let first = object(&ledger, 0)?;
        let other = object(&ledger, 1)?;
        assert!(first.references() == 1);
        let second = first.clone();
        assert!(first.references() != 1 && second.references() != 1);
        assert!(first.same(&second) && !first.same(&other));
        drop(second);
        assert!(first.references() == 1);
        drop((first, other));
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_reader_keeps_what_lost_its_last_reference() -> Result {
        let ledger = Ledger::new(1)?;
        let cell = SharedCell::new(object(&ledger, 0)?);
        let (number, dropped) = rcu::read(|rcu| {
            let seen = cell.get(rcu);
            drop(cell.exchange(None));
            wait::some_ticks();
            (seen.map(|object| object.get().number()), ledger.dropped())
        });
        assert!(number == Some(0));
        assert!(dropped == 0);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_reader_can_share_what_has_a_reference_and_nothing_else() -> Result {
        let ledger = Ledger::new(1)?;
        let cell = SharedCell::new(object(&ledger, 0)?);
        let shared = rcu::read(|rcu| cell.get(rcu)?.share());
        assert!(shared
            .as_ref()
            .is_some_and(|shared| shared.references() != 1));
        let (while_shared, when_gone) = rcu::read(|rcu| {
            let seen = cell.get(rcu);
            drop(cell.exchange(None));
            let while_shared = seen.and_then(|seen| seen.share()).is_some();
            drop(shared);
            (while_shared, seen.and_then(|seen| seen.share()).is_some())
        });
        assert!(while_shared);
        assert!(!when_gone);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_cell_gives_back_what_is_replaced_and_keeps_what_is_there() -> Result {
        let ledger = Ledger::new(2)?;
        let cell = SharedCell::empty();
        assert!(rcu::read(|rcu| cell.get(rcu).is_none()));
        assert!(cell.replace(object(&ledger, 0)?).is_none());
        let old = cell.replace(object(&ledger, 1)?);
        assert!(old
            .as_ref()
            .is_some_and(|old| old.number() == 0 && old.references() == 1));
        assert!(rcu::read(|rcu| cell.get(rcu).map(|object| object.number())) == Some(1));
        drop(old);
        rcu::drain();
        assert!(ledger.order_is(&[0]));
        drop(cell);
        rcu::drain();
        assert!(ledger.order_is(&[0, 1]));
        Ok(())
    }

    #[test]
    fn an_emptied_cell_releases_nothing_more() -> Result {
        let ledger = Ledger::new(1)?;
        let cell = SharedCell::new(object(&ledger, 0)?);
        let old = cell.exchange(None);
        assert!(cell.exchange(None).is_none());
        drop(cell);
        rcu::drain();
        assert!(ledger.dropped() == 0);
        drop(old);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn drain_waits_for_what_freed_objects_release_in_turn() -> Result {
        const DEPTH: u32 = 12;
        let ledger = Ledger::new(DEPTH as usize)?;
        let mut head: Option<Shared<Chained>> = None;
        for number in (0..DEPTH).rev() {
            let chained = Chained {
                token: ledger.token(number),
                next: head.take(),
            };
            head = Some(Shared::pin_init::<core::convert::Infallible>(
                chained, GFP_KERNEL,
            )?);
        }
        let second = head.as_ref().and_then(|head| head.next.as_ref());
        assert!(second.is_some_and(|second| second.token.number() == 1));
        drop(head);
        rcu::drain();
        assert!(ledger.order_is(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
        Ok(())
    }

    #[test]
    fn what_cannot_be_allocated_is_given_back() -> Result {
        let ledger = Ledger::new(1)?;
        let token = ledger.token(0);
        let init = pin_init!(Huge {
            token,
            bytes <- pin_init::init_zeroed(),
        });
        let error = Shared::<Huge>::pin_init(init, GFP_KERNEL | __GFP_NOWARN).err();
        assert!(error == Some(ENOMEM));
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn an_initialiser_that_fails_leaves_nothing_behind() -> Result {
        let ledger = Ledger::new(1)?;
        let token = ledger.token(0);
        let init = try_pin_init!(Pair {
            first: token,
            second <- Err::<Token, Error>(EBUSY),
        }? Error);
        let error = Shared::<Pair>::pin_init(init, GFP_KERNEL).err();
        assert!(error == Some(EBUSY));
        assert!(ledger.each_once());
        Ok(())
    }
}
