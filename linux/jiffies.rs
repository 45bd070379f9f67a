// SPDX-License-Identifier: GPL-2.0

//! The kernel's tick counter, in ticks and as a wrapping point in time.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::bindings;

/// Ticks per second.
pub const HZ: u32 = bindings::LINUX_HZ;

/// Returns the tick counter, which wraps around.
#[inline]
pub fn now() -> usize {
    // SAFETY: `jiffies` is always mapped; it is volatile in C, since interrupts advance it.
    unsafe { core::ptr::read_volatile(&raw const bindings::jiffies) }
}

/// Returns whether tick `a` is later than tick `b`, across a wrap of the counter. C counterpart:
/// `time_after()`.
#[inline]
pub const fn after(a: usize, b: usize) -> bool {
    (b.wrapping_sub(a) as isize) < 0
}

/// Returns the latest tick at which a timer fires that is armed `delta` ticks before `expires`.
///
/// The kernel's timer wheel has levels of 64 places, each level eight times as coarse as the one
/// before, and fires a timer with the end of its place: up to an eighth of `delta` late. C:
/// `calc_wheel_index()`.
pub const fn fires_by(expires: usize, delta: usize) -> usize {
    const LEVEL_SHIFT: u32 = 3;
    const LAST_SHIFT: u32 = 8 * LEVEL_SHIFT;
    let mut shift = 0;
    while shift < LAST_SHIFT && delta >= 63 << shift {
        shift += LEVEL_SHIFT;
    }
    ((expires >> shift).wrapping_add(1)) << shift
}

const _: () = {
    assert!(fires_by(1000, 62) == 1001);
    assert!(fires_by(1000, 63) == 1008);
    assert!(fires_by(1007, 503) == 1008);
    assert!(fires_by(1007, 504) == 1024);
    assert!(fires_by(75_000, 75_000) == 77_824);
    assert!(fires_by(usize::MAX, 5) == 0);
};

/// Returns the ticks that are left until `point`, 0 if it has passed.
#[inline]
pub fn left_until(point: usize) -> usize {
    let left = point.wrapping_sub(now());
    if left as isize > 0 {
        left
    } else {
        0
    }
}

/// Converts ticks to seconds, rounded down.
#[inline]
pub const fn to_secs(ticks: usize) -> usize {
    ticks / HZ as usize
}
