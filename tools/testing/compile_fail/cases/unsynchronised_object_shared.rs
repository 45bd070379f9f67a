// SPDX-License-Identifier: GPL-2.0
// error: E0277

//! What is shared may be used on several CPUs at once.

use core::cell::Cell;
use linux::rcu::Shared;

#[cfg(misuse)]
pub type Number = Cell<u32>;
#[cfg(not(misuse))]
pub type Number = u32;

pub fn share(shared: Shared<Number>) -> Cell<Option<Shared<Number>>> {
    Cell::new(Some(shared))
}
