// SPDX-License-Identifier: GPL-2.0
// error: E0603

//! Nothing raw leaves the linux crate.

pub fn now() -> usize {
    #[cfg(misuse)]
    let _ = linux::bindings::LINUX_HZ;
    linux::jiffies::now()
}
