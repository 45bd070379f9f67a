// SPDX-License-Identifier: GPL-2.0
// error: E0594

//! What readers share is not changed but by its own means.

use linux::rcu::Shared;

pub fn change(mut shared: Shared<u32>) -> Shared<u32> {
    #[cfg(misuse)]
    {
        *shared = 1;
    }
    #[cfg(not(misuse))]
    {
        shared = shared.clone();
    }
    shared
}
