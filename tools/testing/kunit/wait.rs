// SPDX-License-Identifier: GPL-2.0

//! Waiting for what must come, and long enough for what must not.

use kernel::time::{
    delay,
    Delta, //
};
use linux::jiffies;

/// A time in ticks that no case lives to see.
pub(crate) const NEVER: usize = 3600 * jiffies::HZ as usize;

/// Sleeps until `done`, or for a minute, which is more than enough; whether it is done.
pub(crate) fn until(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..6000 {
        if done() {
            return true;
        }
        delay::fsleep(Delta::from_millis(10));
    }
    done()
}

/// Sleeps for so long that what should not happen would have.
pub(crate) fn a_while() {
    delay::fsleep(Delta::from_millis(100));
}

/// Does nothing for some ticks, without sleeping.
pub(crate) fn some_ticks() {
    for _ in 0..10 {
        delay::udelay(Delta::from_millis(1));
    }
}
