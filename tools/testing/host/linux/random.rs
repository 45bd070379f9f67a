// SPDX-License-Identifier: GPL-2.0

//! Random numbers, the same after each [`reset`].

use std::sync::atomic::{
    AtomicU64,
    Ordering::SeqCst, //
};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

static STATE: AtomicU64 = AtomicU64::new(SEED);

pub fn reset() {
    STATE.store(SEED, SeqCst);
}

/// SplitMix64
fn next() -> u64 {
    let mut z = STATE.fetch_add(SEED, SeqCst);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub fn fill(buf: &mut [u8]) {
    for bytes in buf.chunks_mut(8) {
        bytes.copy_from_slice(&next().to_ne_bytes()[..bytes.len()]);
    }
}

pub fn below(bound: u64) -> u64 {
    ((u128::from(next()) * u128::from(bound)) >> 64) as u64
}
