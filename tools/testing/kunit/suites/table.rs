// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::table`]: hash tables of shared objects.

use crate::{
    item::{
        self,
        Keys, //
    },
    ledger::Ledger,
};
use core::convert::Infallible;
use kernel::{
    alloc::{
        flags::*,
        KVVec, //
    },
    prelude::*,
    sync::Arc, //
};
use linux::{
    rcu::{
        self,
        Shared, //
    },
    table::{
        Hashed,
        Seed,
        Sizing,
        Table, //
    },
};

struct Item(Keys);

impl linux::rcu::Object for Item {
    type Links = linux::table::Links;
}

impl Hashed for Item {
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32> {
        self.0.hash(slot, seed)
    }
}

fn table(sizing: Sizing) -> Result<Pin<KBox<Table<Item>>>> {
    KBox::pin_init(Table::new(sizing), GFP_KERNEL)
}

fn new_item(ledger: &Arc<Ledger>, number: u32, second: Option<u32>) -> Result<Shared<Item>> {
    let item = Item(Keys::new(ledger.token(number), second));
    Shared::pin_init::<Infallible>(item, GFP_KERNEL)
}

/// Returns the item with this key in the chain of `slot`.
fn find(table: &Table<Item>, slot: usize, key: u32) -> Option<Shared<Item>> {
    let hash = item::hash_of(key, table.seed());
    rcu::read(|rcu| {
        let is = |item: &Item, at| at == slot && item.0.key(slot) == Some(key);
        table.find(rcu, hash, is)?.share()
    })
}

/// Inserts items with these numbers. Every other one has a second key, greater by 1,000,000.
fn fill(table: &Table<Item>, ledger: &Arc<Ledger>, numbers: core::ops::Range<u32>) -> Result {
    for number in numbers {
        let second = (number % 2 == 0).then_some(number + 1_000_000);
        let item = new_item(ledger, number, second)?;
        table.insert(item, |_| false).map_err(|_| EEXIST)?;
    }
    Ok(())
}

/// Returns `true` if exactly these items are found, each by all of its keys.
fn has_just(table: &Table<Item>, all: u32, has: impl Fn(u32) -> bool) -> bool {
    (0..all).all(|number| {
        let expected = has(number).then_some(number);
        let first = find(table, 0, number).map(|item| item.0.first);
        let second = find(table, 1, number + 1_000_000).map(|item| item.0.first);
        first == expected && second == expected.filter(|number| number % 2 == 0)
    })
}

/// Counts how often a scan visits each item. `between` is called after each bucket.
fn scan(table: &Table<Item>, all: u32, mut between: impl FnMut(usize)) -> Result<KVVec<u32>> {
    let mut met = KVVec::with_capacity(all as usize, GFP_KERNEL)?;
    for _ in 0..all {
        met.push_within_capacity(0)?;
    }
    let (mut cursor, mut steps) = (0, 0);
    loop {
        cursor = rcu::read(|rcu| {
            table.scan(rcu, cursor, |item| {
                if let Some(met) = met.get_mut(item.0.first as usize) {
                    *met += 1;
                }
            })
        });
        if cursor == 0 {
            return Ok(met);
        }
        steps += 1;
        between(steps);
    }
}

#[kunit_tests(linux_table)]
mod cases {
    use super::*;

    #[test]
    fn what_is_inserted_is_found_by_each_of_its_keys() -> Result {
        let ledger = Ledger::new(100)?;
        let table = table(item::SMALL)?;
        fill(&table, &ledger, 0..50)?;
        assert!(table.count() == 50);
        assert!(has_just(&table, 100, |number| number < 50));
        drop(table);
        rcu::drain();
        assert!(ledger.dropped() == 50);
        Ok(())
    }

    #[test]
    fn an_equal_is_refused_and_given_back() -> Result {
        let ledger = Ledger::new(2)?;
        let table = table(item::SMALL)?;
        let first = new_item(&ledger, 0, Some(7))?;
        let equal = Shared::pin_init::<Infallible>(
            Item(Keys {
                first: 0,
                second: Some(8),
                token: ledger.token(1),
            }),
            GFP_KERNEL,
        )?;
        assert!(table.insert(first, |_| false).is_ok());
        let refused = table.insert(equal, |other| other.0.first == 0).err();
        assert!(refused
            .as_ref()
            .is_some_and(|item| item.0.token.number() == 1));
        assert!(refused.is_some_and(|item| item.references() == 1));
        assert!(table.count() == 1);
        assert!(find(&table, 1, 8).is_none());
        rcu::drain();
        assert!(ledger.order_is(&[1]));
        drop(table);
        rcu::drain();
        assert!(ledger.order_is(&[1, 0]));
        Ok(())
    }

    #[test]
    fn an_object_is_removed_once() -> Result {
        let ledger = Ledger::new(2)?;
        let table = table(item::SMALL)?;
        fill(&table, &ledger, 0..2)?;
        let item = find(&table, 0, 0).ok_or(ENOENT)?;
        let removed = table.remove(&item);
        assert!(removed.is_some_and(|removed| removed.same(&item)));
        assert!(table.remove(&item).is_none());
        assert!(table.count() == 1);
        assert!(has_just(&table, 2, |number| number == 1));
        rcu::drain();
        assert!(ledger.dropped() == 0);
        assert!(item.references() == 1);
        drop(item);
        rcu::drain();
        assert!(ledger.order_is(&[0]));
        Ok(())
    }

    #[test]
    fn a_reader_keeps_what_is_removed() -> Result {
        let ledger = Ledger::new(1)?;
        let table = table(item::SMALL)?;
        fill(&table, &ledger, 0..1)?;
        let hash = item::hash_of(0, table.seed());
        let (number, dropped) = rcu::read(|rcu| {
            let seen = table.find(rcu, hash, |item, _| item.0.first == 0);
            if let Some(item) = seen.and_then(|item| item.share()) {
                drop(table.remove(&item));
            }
            crate::wait::some_ticks();
            (
                seen.map(|item| item.get().0.token.number()),
                ledger.dropped(),
            )
        });
        assert!(number == Some(0));
        assert!(dropped == 0);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_table_that_grows_and_shrinks_loses_nothing() -> Result {
        let ledger = Ledger::new(1000)?;
        let table = table(item::SMALL)?;
        assert!(table.size() == 64);
        fill(&table, &ledger, 0..1000)?;
        table.resize()?;
        assert!(table.size() == 512);
        assert!(table.count() == 1000);
        assert!(has_just(&table, 1000, |_| true));
        for number in 20..1000 {
            let item = find(&table, 0, number).ok_or(ENOENT)?;
            assert!(table.remove(&item).is_some());
        }
        table.resize()?;
        assert!(table.size() == 64);
        assert!(table.count() == 20);
        assert!(has_just(&table, 1000, |number| number < 20));
        rcu::drain();
        assert!(ledger.dropped() == 980);
        drop(table);
        rcu::drain();
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn chain_lengths_add_up() -> Result {
        let ledger = Ledger::new(60)?;
        let table = table(item::SMALL)?;
        fill(&table, &ledger, 0..60)?;
        let lengths = table.chain_lengths::<64>();
        let links: usize = lengths.iter().enumerate().map(|(len, n)| len * n).sum();
        assert!(lengths.iter().sum::<usize>() == table.size());
        assert!(links == 90);
        Ok(())
    }

    #[test]
    fn a_scan_meets_each_once() -> Result {
        let ledger = Ledger::new(300)?;
        let table = table(item::SMALL)?;
        fill(&table, &ledger, 0..300)?;
        let met = scan(&table, 300, |_| {})?;
        assert!(met.iter().all(|&met| met == 1));
        Ok(())
    }

    #[test]
    fn a_scan_meets_all_while_the_table_is_resized() -> Result {
        let ledger = Ledger::new(2000)?;
        let table = table(item::SMALL)?;
        fill(&table, &ledger, 0..300)?;
        let (mut grown, mut shrunk) = (0, 0);
        let mut result = Ok(());
        // Items with numbers below 100 remain all the time.
        let met = scan(&table, 2000, |steps| {
            let size = table.size();
            if steps == 7 {
                result = fill(&table, &ledger, 300..2000).and_then(|()| table.resize());
                grown = table.size() / size;
            } else if steps == 50 {
                for number in 100..2000 {
                    if let Some(item) = find(&table, 0, number) {
                        drop(table.remove(&item));
                    }
                }
                result = result.and_then(|()| table.resize());
                shrunk = size / table.size();
            }
        })?;
        assert!(result.is_ok());
        assert!(grown > 1 && shrunk > 1);
        assert!(met.iter().take(100).all(|&met| met >= 1));
        Ok(())
    }

    #[test]
    fn a_table_that_cannot_grow_on_stays_as_it_is_by_then() -> Result {
        let ledger = Ledger::new(100)?;
        let table = table(item::GREEDY)?;
        fill(&table, &ledger, 0..100)?;
        assert!(table.resize() == Err(ENOMEM));
        let size = table.size();
        assert!(size >= 64);
        assert!(table.resize() == Err(ENOMEM));
        assert!(table.size() == size);
        assert!(table.count() == 100);
        assert!(has_just(&table, 100, |_| true));
        Ok(())
    }

    #[test]
    fn a_table_too_large_for_memory_is_not_made() {
        assert!(table(item::HUGE).err() == Some(ENOMEM));
    }
}
