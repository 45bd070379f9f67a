// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::expiring`] and [`linux::slab`]: objects that expire.

use crate::{
    item::{
        self,
        Keys, //
    },
    ledger::Ledger,
    wait,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    expiring::{
        Entry,
        EntryRef,
        Quota,
        RefCounted,
        Refused,
        Table,
        TableRef, //
    },
    jiffies, rcu, slab,
    table::{
        Hashed,
        Seed, //
    },
};

/// Counts what happens to the items of a case.
#[derive(Default)]
struct Events {
    /// The number of times an item was notified that it had left the table.
    retired: Atomic<usize>,
    /// The number of times a timer asked an item that refused to end.
    refused: Atomic<usize>,
    /// The number of times an item was notified before its deadline.
    early: Atomic<usize>,
    /// The number of times an item was notified after its drop, or more than once.
    wrong: Atomic<usize>,
}

struct Item {
    keys: Keys,
    deadline: Atomic<usize>,
    /// The number of times the item refuses to end, by setting a later deadline.
    refusals: Atomic<u32>,
    told: Atomic<u32>,
    /// The item must not end before its deadline.
    punctual: bool,
    ledger: Arc<Ledger>,
    events: Arc<Events>,
}

impl Hashed for Item {
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32> {
        self.keys.hash(slot, seed)
    }
}

impl Entry for Item {
    type Holds = RefCounted;
    type Owner = ();

    fn deadline(&self) -> usize {
        self.deadline.load(Relaxed)
    }

    fn may_end(&self) -> bool {
        if self.refusals.load(Relaxed) == 0 {
            return true;
        }
        self.refusals.fetch_sub(1, Relaxed);
        self.events.refused.fetch_add(1, Relaxed);
        self.set_deadline(2);
        false
    }

    fn retired(&self, _table: &Table<Self>) {
        if self.punctual && jiffies::after(self.deadline(), jiffies::now()) {
            self.events.early.fetch_add(1, Relaxed);
        }
        let told = self.told.fetch_add(1, Relaxed);
        if told != 0 || self.ledger.drops_of(self.keys.token.number()) != 0 {
            self.events.wrong.fetch_add(1, Relaxed);
        }
        self.events.retired.fetch_add(1, Release);
    }
}

impl Item {
    /// Sets the deadline of the item to `ticks` from now.
    fn set_deadline(&self, ticks: usize) {
        let deadline = jiffies::now().wrapping_add(ticks);
        self.deadline.store(deadline, Relaxed);
    }
}

/// A limit that no test reaches.
const MANY: usize = 1 << 20;

/// A table, and the events of its items.
struct Stage {
    table: TableRef<Item>,
    quota: Arc<Quota>,
    ledger: Arc<Ledger>,
    events: Arc<Events>,
}

impl Stage {
    fn new(items: usize) -> Result<Self> {
        let cache = Arc::pin_init(slab::Cache::new(c"linux_kunit_expiring"), GFP_KERNEL)?;
        cache.prepare()?;
        let quota = Arc::new(Quota::new(), GFP_KERNEL)?;
        Ok(Self {
            table: TableRef::new(item::SMALL, cache, quota.clone(), ())?,
            quota,
            ledger: Ledger::new(items)?,
            events: Arc::new(Events::default(), GFP_KERNEL)?,
        })
    }

    /// Creates an item that expires in `ticks`.
    fn item(&self, number: u32, ticks: usize) -> Item {
        let item = Item {
            keys: Keys::new(self.ledger.token(number), Some(number + 1_000_000)),
            deadline: Atomic::new(0),
            refusals: Atomic::new(0),
            told: Atomic::new(0),
            punctual: true,
            ledger: self.ledger.clone(),
            events: self.events.clone(),
        };
        item.set_deadline(ticks);
        item
    }

    /// Publishes an item.
    fn publish(&self, item: Item) -> Result {
        let new = Table::alloc(&self.table, item, MANY).map_err(|_| ENOMEM)?;
        let published = rcu::read(|rcu| new.publish(rcu, |_| false).is_ok());
        published.then_some(()).ok_or(EEXIST)
    }

    /// Calls `f` with the item that has this key in the chain of `slot`.
    fn with<R>(
        &self,
        slot: usize,
        key: u32,
        mut f: impl FnMut(&linux::expiring::Expiring<Item>) -> R,
    ) -> Option<R> {
        let hash = item::hash_of(key, self.table.seed());
        rcu::read(|rcu| {
            self.table.find(rcu, hash, |item, at| {
                (at == slot && item.keys.key(slot) == Some(key)).then(|| f(item))
            })
        })
    }

    fn retired(&self) -> usize {
        self.events.retired.load(Acquire)
    }

    fn refused(&self) -> usize {
        self.events.refused.load(Acquire)
    }

    /// Returns `true` if no notification was early, repeated or late.
    fn in_order(&self) -> bool {
        self.events.early.load(Relaxed) == 0 && self.events.wrong.load(Relaxed) == 0
    }
}

#[kunit_tests(linux_expiring)]
mod cases {
    use super::*;

    #[test]
    fn what_is_never_published_is_freed_at_once() -> Result {
        let stage = Stage::new(1)?;
        let new =
            Table::alloc(&stage.table, stage.item(0, wait::NEVER), MANY).map_err(|_| ENOMEM)?;
        assert!(new.keys.first == 0);
        assert!(stage.ledger.dropped() == 0);
        drop(new);
        assert!(stage.ledger.each_once());
        assert!(stage.retired() == 0);
        assert!(stage.table.count() == 0);
        Ok(())
    }

    #[test]
    fn a_place_is_taken_from_the_start_until_the_object_has_left() -> Result {
        let stage = Stage::new(3)?;
        let one = |number| Table::alloc(&stage.table, stage.item(number, wait::NEVER), 1);
        let first = one(0).map_err(|_| ENOMEM)?;
        assert!(one(1).is_err_and(|refused| refused == Refused::Full));
        assert!(stage.quota.taken() == 1);
        drop(first);
        assert!(stage.quota.taken() == 0);
        stage.publish(stage.item(2, wait::NEVER))?;
        assert!(stage.quota.taken() == 1);
        stage.table.clear();
        assert!(stage.quota.taken() == 0);
        Ok(())
    }

    #[test]
    fn what_is_published_is_found_by_each_of_its_keys() -> Result {
        let stage = Stage::new(1)?;
        assert!(stage.with(0, 0, |_| ()).is_none());
        stage.publish(stage.item(0, wait::NEVER))?;
        assert!(stage.with(0, 0, |item| item.keys.token.number()) == Some(0));
        assert!(stage.with(1, 1_000_000, |item| item.keys.token.number()) == Some(0));
        assert!(stage.table.count() == 1);
        Ok(())
    }

    #[test]
    fn publishing_an_equal_finds_the_first_and_drops_the_second() -> Result {
        let stage = Stage::new(2)?;
        stage.publish(stage.item(0, wait::NEVER))?;
        let mut equal = stage.item(1, wait::NEVER);
        equal.keys.first = 0;
        let new = Table::alloc(&stage.table, equal, MANY).map_err(|_| ENOMEM)?;
        let found = rcu::read(|rcu| {
            let published = new.publish(rcu, |other| other.keys.first == 0);
            published
                .map(|_| ())
                .map_err(|other| other.keys.token.number())
        });
        assert!(found == Err(0));
        assert!(stage.table.count() == 1);
        assert!(stage.with(1, 1_000_001, |_| ()).is_none());
        rcu::drain();
        assert!(stage.ledger.order_is(&[1]));
        assert!(stage.retired() == 0);
        Ok(())
    }

    #[test]
    fn an_object_ends_after_its_deadline_and_only_that_one() -> Result {
        let stage = Stage::new(2)?;
        stage.publish(stage.item(0, 5))?;
        stage.publish(stage.item(1, wait::NEVER))?;
        assert!(wait::until(|| stage.retired() == 1));
        wait::a_while();
        assert!(stage.retired() == 1);
        assert!(stage.table.count() == 1);
        assert!(stage.with(0, 0, |_| ()).is_none() && stage.with(1, 1_000_000, |_| ()).is_none());
        assert!(stage.with(0, 1, |_| ()).is_some());
        rcu::drain();
        assert!(stage.ledger.order_is(&[0]));
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn a_reader_keeps_what_ends_meanwhile() -> Result {
        let stage = Stage::new(1)?;
        stage.publish(stage.item(0, wait::NEVER))?;
        let hash = item::hash_of(0, stage.table.seed());
        let (seen, retired, dropped) = rcu::read(|rcu| {
            let item = stage.table.find(rcu, hash, |item, _| Some(item));
            if let Some(item) = item {
                item.set_deadline(1);
                item.mod_earlier();
            }
            for _ in 0..50 {
                wait::some_ticks();
                if stage.retired() != 0 {
                    break;
                }
            }
            let seen = item.map(|item| item.keys.token.number());
            (seen, stage.retired(), stage.ledger.dropped())
        });
        assert!(seen == Some(0));
        assert!(retired == 1);
        assert!(dropped == 0);
        rcu::drain();
        assert!(stage.ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_deadline_that_moved_on_is_waited_for() -> Result {
        let stage = Stage::new(1)?;
        stage.publish(stage.item(0, 2))?;
        // The timer is not told.
        let moved = stage.with(0, 0, |item| item.set_deadline(30));
        assert!(moved.is_none() || wait::until(|| stage.retired() == 1));
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn what_may_not_end_is_asked_again() -> Result {
        let stage = Stage::new(1)?;
        let mut item = stage.item(0, 1);
        item.refusals = Atomic::new(3);
        stage.publish(item)?;
        assert!(wait::until(|| stage.retired() == 1));
        assert!(stage.refused() == 3);
        assert!(stage.in_order());
        rcu::drain();
        assert!(stage.ledger.each_once());
        Ok(())
    }

    #[test]
    fn what_is_hastened_ends_by_its_new_deadline() -> Result {
        let stage = Stage::new(1)?;
        stage.publish(stage.item(0, wait::NEVER))?;
        wait::a_while();
        assert!(stage.retired() == 0);
        let moved = stage.with(0, 0, |item| {
            item.set_deadline(1);
            item.mod_earlier();
        });
        assert!(moved.is_some());
        assert!(wait::until(|| stage.retired() == 1));
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn what_is_held_outlives_its_table() -> Result {
        let stage = Stage::new(2)?;
        for number in 0..2 {
            let mut item = stage.item(number, wait::NEVER);
            item.punctual = false;
            stage.publish(item)?;
        }
        let (Some(held), Some(again)) = (
            stage.with(0, 1, EntryRef::new),
            stage.with(0, 1, EntryRef::new),
        ) else {
            return Err(ENOENT);
        };
        stage.table.clear();
        rcu::drain();
        assert!(stage.retired() == 2);
        assert!(stage.ledger.order_is(&[0]));
        // Its timer was deleted, and is not started again.
        held.set_deadline(1);
        held.mod_earlier();
        wait::a_while();
        drop(held);
        assert!(again.keys.token.number() == 1);
        assert!(stage.ledger.order_is(&[0]));
        drop(again);
        assert!(stage.ledger.order_is(&[0, 1]));
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn clear_retires_each_once() -> Result {
        const ITEMS: u32 = 200;
        let stage = Stage::new(ITEMS as usize)?;
        for number in 0..ITEMS {
            let mut item = stage.item(number, wait::NEVER);
            item.punctual = false;
            stage.publish(item)?;
        }
        assert!(stage.table.count() == 200);
        stage.table.clear();
        assert!(stage.table.count() == 0);
        assert!(stage.retired() == 200);
        stage.table.clear();
        rcu::drain();
        assert!(stage.retired() == 200);
        assert!(stage.ledger.each_once());
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn clear_and_timers_together_retire_each_once() -> Result {
        const ITEMS: u32 = 400;
        let stage = Stage::new(ITEMS as usize)?;
        for number in 0..ITEMS {
            let mut item = stage.item(number, 10 + number as usize % 40);
            item.punctual = false;
            stage.publish(item)?;
        }
        while stage.table.count() != 0 {
            stage.table.clear();
        }
        assert!(wait::until(|| stage.retired() == 400));
        rcu::drain();
        assert!(stage.retired() == 400);
        assert!(stage.ledger.each_once());
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn a_resized_table_keeps_the_objects_and_their_time() -> Result {
        const ITEMS: u32 = 200;
        let stage = Stage::new(ITEMS as usize)?;
        for number in 0..ITEMS {
            let ticks = if number < 100 { 60 } else { wait::NEVER };
            stage.publish(stage.item(number, ticks))?;
        }
        assert!(rcu::read(|rcu| stage.table.unbalanced(rcu)));
        stage.table.resize()?;
        assert!(!rcu::read(|rcu| stage.table.unbalanced(rcu)));
        assert!(stage.table.size() == 128);
        assert!((100..200).all(|number| stage.with(0, number, |_| ()).is_some()));
        assert!(wait::until(|| stage.retired() == 100));
        assert!((0..200).all(|number| stage.with(0, number, |_| ()).is_some() == (number >= 100)));
        assert!(stage.in_order());
        Ok(())
    }

    #[test]
    fn a_dropped_table_ends_all_before_its_cache_goes() -> Result {
        const ITEMS: u32 = 50;
        let stage = Stage::new(ITEMS as usize)?;
        for number in 0..ITEMS {
            let mut item = stage.item(number, wait::NEVER);
            item.punctual = false;
            stage.publish(item)?;
        }
        let Stage {
            table,
            ledger,
            events,
            quota: _,
        } = stage;
        drop(table);
        assert!(events.retired.load(Acquire) == 50);
        // Only the table used the cache. Dropping it waits for readers.
        assert!(ledger.each_once());
        Ok(())
    }
}
