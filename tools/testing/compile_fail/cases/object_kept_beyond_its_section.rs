// SPDX-License-Identifier: GPL-2.0
// error: E0521

//! An object that a reader found without a reference can't leave the read-side section.

use linux::rcu::{
    self,
    Object,
    SharedCell, //
};

pub struct Number(pub u32);

impl Object for Number {
    type Links = ();
}

pub fn value(cell: &SharedCell<Number>) -> Option<u32> {
    let mut kept = None;
    rcu::read(|rcu| {
        let found = cell.get(rcu);
        #[cfg(not(misuse))]
        let found = found.and_then(|found| found.share());
        kept = found;
    });
    kept.map(|found| found.0)
}
