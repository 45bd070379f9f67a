// SPDX-License-Identifier: GPL-2.0
// error: E0277

//! Only objects that have a link for it can be in a list of active ones.

use linux::{
    active_list::{
        ActiveList,
        Link, //
    },
    rcu::Object,
};

pub struct Item;

impl Object for Item {
    #[cfg(misuse)]
    type Links = ();
    #[cfg(not(misuse))]
    type Links = Link;
}

pub fn take(_list: &ActiveList<Item>) {}
