// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::active_list`]: objects that are activated and visited.

use crate::{
    ledger::{
        Ledger,
        Token, //
    },
    wait,
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    sync::Arc, //
};
use linux::{
    active_list::ActiveList,
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    kthread::{
        Main,
        Settings,
        This,
        Thread, //
    },
    rcu::{
        self,
        Shared, //
    },
};

/// An object with a counter.
struct Item {
    token: Token,
    count: Atomic<u32>,
    /// The counter at the last visit.
    seen: Atomic<u32>,
    visits: Atomic<u32>,
}

impl linux::rcu::Object for Item {
    type Links = linux::active_list::Link;
}

impl Item {
    fn visit(&self) {
        let count = self.count.load(Relaxed);
        self.seen.store(count, Relaxed);
        self.visits.fetch_add(1, Relaxed);
    }

    fn has_changed(&self) -> bool {
        self.count.load(Relaxed) != self.seen.load(Relaxed)
    }

    fn seen(&self) -> u32 {
        self.seen.load(Relaxed)
    }

    fn visits(&self) -> u32 {
        self.visits.load(Relaxed)
    }
}

type Object = Shared<Item>;

fn object(ledger: &Arc<Ledger>, number: u32) -> Result<Object> {
    let item = try_init!(Item {
        token: ledger.token(number),
        count: Atomic::new(0),
        seen: Atomic::new(0),
        visits: Atomic::new(0),
    }? Error);
    Shared::pin_init(item, GFP_KERNEL)
}

/// Creates an open list.
fn active_list() -> Result<Arc<ActiveList<Item>>> {
    let active_list = Arc::pin_init(ActiveList::new(), GFP_KERNEL)?;
    active_list.open();
    Ok(active_list)
}

fn activate(active_list: &ActiveList<Item>, object: &Object) {
    rcu::read(|rcu| active_list.activate(object.borrow(rcu), rcu));
}

/// Changes an object and activates it.
fn count(active_list: &ActiveList<Item>, object: &Object) {
    rcu::read(|rcu| {
        object.count.fetch_add(1, Relaxed);
        active_list.activate(object.borrow(rcu), rcu);
    });
}

/// Visits all objects. Those whose numbers are in `again` ask to be visited again.
fn visit(active_list: &ActiveList<Item>, again: core::ops::Range<u32>) {
    let visit = |item: &Item| {
        item.visit();
        again.contains(&item.token.number())
    };
    active_list.visit(visit, Item::has_changed, || false);
}

/// No objects.
const NONE: core::ops::Range<u32> = 0..0;

/// Counts packets for an object.
struct Packets {
    active_list: Arc<ActiveList<Item>>,
    object: Object,
    ended: Arc<Atomic<bool>>,
}

impl Packets {
    const NUMBER: u32 = 200;
}

impl Main for Packets {
    fn main(&self, this: &This) {
        for _ in 0..Self::NUMBER {
            count(&self.active_list, &self.object);
            if !this.sleep(1) {
                return;
            }
        }
        self.ended.store(true, Release);
        while this.sleep(wait::NEVER) {}
    }
}

#[kunit_tests(linux_active_list)]
mod cases {
    use super::*;

    #[test]
    fn what_is_active_is_visited_until_it_wants_no_more() -> Result {
        let ledger = Ledger::new(1)?;
        let (active_list, object) = (active_list()?, object(&ledger, 0)?);
        visit(&active_list, 0..1);
        assert!(object.visits() == 0);
        activate(&active_list, &object);
        activate(&active_list, &object);
        assert!(object.references() == 2);
        visit(&active_list, 0..1);
        visit(&active_list, NONE);
        assert!(object.visits() == 2 && object.references() == 1);
        visit(&active_list, 0..1);
        assert!(object.visits() == 2);
        activate(&active_list, &object);
        visit(&active_list, NONE);
        assert!(object.visits() == 3);
        Ok(())
    }

    #[test]
    fn of_many_those_leave_that_want_no_more() -> Result {
        const MANY: u32 = 100;
        let ledger = Ledger::new(MANY as usize)?;
        let active_list = active_list()?;
        let mut objects = KVVec::with_capacity(MANY as usize, GFP_KERNEL)?;
        for number in 0..MANY {
            objects.push_within_capacity(object(&ledger, number)?)?;
        }
        for half in [0..50, 50..100] {
            objects
                .get(half)
                .into_iter()
                .flatten()
                .for_each(|object| activate(&active_list, object));
            visit(&active_list, 0..MANY);
        }
        visit(&active_list, 0..25);
        visit(&active_list, NONE);
        let visits = |number| match number {
            0..25 => 4,
            25..50 => 3,
            _ => 2,
        };
        let mut all = objects.iter().zip(0..MANY);
        assert!(all.all(|(object, number)| object.visits() == visits(number)));
        assert!(objects.iter().all(|object| object.references() == 1));
        drop(objects);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn what_changed_before_it_leaves_stays() -> Result {
        let ledger = Ledger::new(1)?;
        let (active_list, object) = (active_list()?, object(&ledger, 0)?);
        activate(&active_list, &object);
        // A change during the visit finds it active.
        let visit_and_change = |item: &Item| {
            item.visit();
            count(&active_list, &object);
            false
        };
        active_list.visit(visit_and_change, Item::has_changed, || false);
        assert!(object.seen() == 0 && object.references() == 2);
        visit(&active_list, NONE);
        assert!(object.seen() == 1 && object.references() == 1);
        Ok(())
    }

    #[test]
    fn what_is_active_while_it_leaves_stays() -> Result {
        let ledger = Ledger::new(1)?;
        let (active_list, object) = (active_list()?, object(&ledger, 0)?);
        activate(&active_list, &object);
        let change_too_late = |_: &Item| {
            count(&active_list, &object);
            false
        };
        active_list.visit(|_| false, change_too_late, || false);
        assert!(object.references() == 2);
        visit(&active_list, NONE);
        assert!(object.seen() == 1 && object.references() == 1);
        Ok(())
    }

    #[test]
    fn a_visit_that_is_stopped_leaves_the_rest_active() -> Result {
        let ledger = Ledger::new(2)?;
        let active_list = active_list()?;
        let objects = [object(&ledger, 0)?, object(&ledger, 1)?];
        objects
            .iter()
            .for_each(|object| activate(&active_list, object));
        let visits = || objects.iter().map(|object| object.visits()).sum::<u32>();
        let visit_one = |item: &Item| {
            item.visit();
            false
        };
        active_list.visit(visit_one, Item::has_changed, || visits() == 1);
        assert!(visits() == 1);
        visit(&active_list, NONE);
        assert!(objects.iter().all(|object| object.visits() == 1));
        assert!(objects.iter().all(|object| object.references() == 1));
        Ok(())
    }

    #[test]
    fn a_closed_list_holds_nothing() -> Result {
        let ledger = Ledger::new(2)?;
        let active_list = Arc::pin_init(ActiveList::new(), GFP_KERNEL)?;
        let (known, arrived) = (object(&ledger, 0)?, object(&ledger, 1)?);
        activate(&active_list, &known);
        assert!(known.references() == 1);
        active_list.open();
        activate(&active_list, &known);
        visit(&active_list, 0..1);
        activate(&active_list, &arrived);
        assert!(known.references() == 2 && arrived.references() == 2);
        active_list.close();
        activate(&active_list, &known);
        visit(&active_list, NONE);
        assert!(known.references() == 1 && arrived.references() == 1);
        assert!(known.visits() == 1 && arrived.visits() == 0);
        active_list.open();
        activate(&active_list, &known);
        activate(&active_list, &arrived);
        visit(&active_list, NONE);
        assert!(known.visits() == 2 && arrived.visits() == 1);
        Ok(())
    }

    #[test]
    fn what_nobody_else_has_leaves_without_a_visit() -> Result {
        let ledger = Ledger::new(1)?;
        let (active_list, object) = (active_list()?, object(&ledger, 0)?);
        count(&active_list, &object);
        drop(object);
        rcu::drain();
        assert!(ledger.dropped() == 0);
        let mut visits = 0;
        let visit = |_: &Item| {
            visits += 1;
            true
        };
        active_list.visit(visit, Item::has_changed, || false);
        rcu::drain();
        assert!(visits == 0 && ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_list_that_goes_lets_go_of_all() -> Result {
        let ledger = Ledger::new(3)?;
        let active_list = active_list()?;
        let (known, arrived) = (object(&ledger, 0)?, object(&ledger, 1)?);
        activate(&active_list, &known);
        visit(&active_list, 0..1);
        activate(&active_list, &arrived);
        activate(&active_list, &object(&ledger, 2)?);
        drop(active_list);
        assert!(known.references() == 1 && arrived.references() == 1);
        rcu::drain();
        assert!(ledger.order_is(&[2]));
        drop((known, arrived));
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn no_packet_is_missed_while_its_object_leaves_again_and_again() -> Result {
        let ledger = Ledger::new(1)?;
        let (active_list, object) = (active_list()?, object(&ledger, 0)?);
        let ended = Arc::new(Atomic::new(false), GFP_KERNEL)?;
        let packets = Packets {
            active_list: active_list.clone(),
            object: object.clone(),
            ended: ended.clone(),
        };
        let thread = Thread::new(packets, c"kunit packets", Settings::default())?;
        thread.start();
        assert!(wait::until(|| {
            visit(&active_list, NONE);
            ended.load(Acquire)
        }));
        drop(thread);
        visit(&active_list, NONE);
        assert!(object.seen() == Packets::NUMBER);
        active_list.close();
        assert!(object.references() == 1);
        Ok(())
    }
}
