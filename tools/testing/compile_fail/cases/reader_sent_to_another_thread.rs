// SPDX-License-Identifier: GPL-2.0
// error: E0277

//! A read-side section is of one thread.

use linux::rcu::ReadLocked;

fn send<T: Send>(_: T) {}

pub fn give_away(rcu: ReadLocked<'_>) {
    #[cfg(misuse)]
    send(rcu);
    #[cfg(not(misuse))]
    {
        let _ = rcu;
        send(0);
    }
}
