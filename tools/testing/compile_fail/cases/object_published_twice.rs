// SPDX-License-Identifier: GPL-2.0
// error: E0382

//! An object that was published is no longer its maker's.

use linux::{
    expiring::{
        Entry,
        New, //
    },
    rcu::ReadLocked,
};

pub fn publish<T: Entry>(new: New<'_, T>, rcu: ReadLocked<'_>) -> bool {
    let first = new.publish(rcu, |_| false).is_ok();
    #[cfg(misuse)]
    let first = new.publish(rcu, |_| false).is_ok();
    first
}
