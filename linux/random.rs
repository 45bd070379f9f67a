// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use crate::bindings;

/// Fills `buf` from the kernel's random number generator. Any context.
pub fn fill(buf: &mut [u8]) {
    // SAFETY: `buf` is valid for writes of its length.
    unsafe { bindings::get_random_bytes(buf.as_mut_ptr().cast(), buf.len()) };
}

/// Returns a random number below `bound`, evenly distributed; 0 if `bound` is 0. Any context.
pub fn below(bound: u64) -> u64 {
    loop {
        // SAFETY: No requirement.
        let random = unsafe { bindings::get_random_u64() };
        // The high word of the product is what is looked for. It is biased only by those products
        // whose low word is less than 2^64 modulo `bound`.
        let product = u128::from(random).wrapping_mul(u128::from(bound));
        let low = product as u64;
        if low >= bound || low >= bound.wrapping_neg().checked_rem(bound).unwrap_or(0) {
            return (product >> 64) as u64;
        }
    }
}
