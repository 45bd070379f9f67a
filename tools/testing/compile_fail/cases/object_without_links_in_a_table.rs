// SPDX-License-Identifier: GPL-2.0
// error: E0277

//! Only objects that have links for it can be in a table.

use linux::{
    rcu::Object,
    table::{
        Hashed,
        Links,
        Seed,
        Table, //
    },
};

pub struct Item;

impl Object for Item {
    #[cfg(misuse)]
    type Links = ();
    #[cfg(not(misuse))]
    type Links = Links;
}

impl Hashed for Item {
    fn hash(&self, _slot: usize, _seed: &Seed) -> Option<u32> {
        Some(0)
    }
}

pub fn take(_table: &Table<Item>) {}
