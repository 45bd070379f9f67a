// SPDX-License-Identifier: GPL-2.0
// error: E0277

//! A shared object must be usable on several CPUs at once.

use core::cell::Cell;
use linux::rcu::{
    Object,
    Shared, //
};

#[cfg(misuse)]
pub type Number = Cell<u32>;
#[cfg(not(misuse))]
pub type Number = u32;

pub struct Shareable(pub Number);

impl Object for Shareable {
    type Links = ();
}

pub fn share(shared: Shared<Shareable>) -> Cell<Option<Shared<Shareable>>> {
    Cell::new(Some(shared))
}
