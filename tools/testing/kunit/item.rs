// SPDX-License-Identifier: GPL-2.0

//! The items that the cases put into tables.

use crate::ledger::Token;
use linux::table::{
    Seed,
    Sizing, //
};

/// The least size of a table, as a power of two.
pub(crate) const LEAST_BITS: u32 = 6;

/// The keys of an item, one for each chain.
pub(crate) struct Keys {
    pub(crate) first: u32,
    pub(crate) second: Option<u32>,
    pub(crate) token: Token,
}

impl Keys {
    /// An item whose first key is its number.
    pub(crate) fn new(token: Token, second: Option<u32>) -> Self {
        Self {
            first: token.number(),
            second,
            token,
        }
    }

    /// The key in a chain.
    pub(crate) fn key(&self, slot: usize) -> Option<u32> {
        match slot {
            0 => Some(self.first),
            _ => self.second,
        }
    }

    /// The hash of the key in a chain.
    pub(crate) fn hash(&self, slot: usize, seed: &Seed) -> Option<u32> {
        self.key(slot).map(|key| hash_of(key, seed))
    }
}

/// The hash of a key.
pub(crate) fn hash_of(key: u32, seed: &Seed) -> u32 {
    let mixed = (u64::from(key) ^ seed[0]).wrapping_mul(seed[1] | 1);
    (mixed >> 32) as u32
}

/// Two items to a bucket at most, and one to two buckets at least.
fn wanted(objects: usize, bits: Option<u32>, _load_factor: i32) -> Option<u32> {
    let fitting = objects.max(1).ilog2().max(LEAST_BITS);
    let Some(size) = bits.map(|bits| 1usize << bits) else {
        return Some(fitting);
    };
    (objects > 2 * size || objects < size / 2).then_some(fitting)
}

/// A small table that follows its load.
pub(crate) const SMALL: Sizing = Sizing {
    initial_bits: LEAST_BITS,
    wanted,
};

/// A small table that grows by a factor that no memory has room for.
pub(crate) const GREEDY: Sizing = Sizing {
    initial_bits: LEAST_BITS,
    wanted: |_, _, _| Some(40),
};

/// A table that no memory has room for.
pub(crate) const HUGE: Sizing = Sizing {
    initial_bits: 40,
    wanted,
};
