// SPDX-License-Identifier: GPL-2.0

//! The kernel's tick counter, in ticks and as a wrapping point in time.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::bindings;

/// Ticks per second.
pub const HZ: u32 = bindings::IPVS_HZ;

/// The tick counter, now; wraps around.
#[inline]
pub fn now() -> usize {
    // SAFETY: `jiffies` is always mapped; it is volatile in C, since interrupts advance it.
    unsafe { core::ptr::read_volatile(&raw const bindings::jiffies) }
}

/// Whether the point in time `a` is later than `b`, across a wrap of the counter.
#[inline]
pub const fn after(a: usize, b: usize) -> bool {
    (b.wrapping_sub(a) as isize) < 0
}

/// The ticks that are left until `point`, 0 if it has passed.
#[inline]
pub fn left_until(point: usize) -> usize {
    let left = point.wrapping_sub(now());
    if left as isize > 0 {
        left
    } else {
        0
    }
}

/// The seconds that `ticks` last, rounded down.
#[inline]
pub const fn to_secs(ticks: usize) -> usize {
    ticks / HZ as usize
}
