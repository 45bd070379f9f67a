// SPDX-License-Identifier: GPL-2.0
// error: E0624

//! Only the linux crate says that there is a read-side section.

use linux::rcu;

pub fn read() {
    #[cfg(misuse)]
    let _ = unsafe { rcu::ReadLocked::assume() };
    rcu::read(|_| ());
}
