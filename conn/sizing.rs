// SPDX-License-Identifier: GPL-2.0

//! Size limits of the connection and template tables. The arithmetic is in [`ipvs_core::resize`];
//! the work item that resizes the tables is in `netns/tables.rs`.

use ipvs_core::resize::Limits;
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    table::Sizing, //
};

/// The smallest and the largest connection table, as powers of two (C: `IP_VS_CONN_TAB_MIN_BITS`,
/// `IP_VS_CONN_TAB_MAX_BITS`).
const TAB_BITS: core::ops::RangeInclusive<u32> = 8..=27;

/// The largest table, as a power of two, that may have more buckets than connections if the module
/// parameter `conn_tab_bits` is 0 (C: `CONFIG_IP_VS_TAB_BITS`).
const ROOMY_BITS: u32 = 12;

/// The largest table that the user allows, as a power of two; 0 for no limit of the user's.
static MAX_BITS: Atomic<u32> = Atomic::new(0);

/// Sets the largest table to the module parameter `conn_tab_bits`, clamped to the range of C; 0
/// sets no limit. Called when the module is loaded.
pub(crate) fn set_max_bits(bits: i32) {
    let bits = match u32::try_from(bits) {
        Ok(0) => 0,
        Ok(bits) => bits.clamp(*TAB_BITS.start(), *TAB_BITS.end()),
        Err(_) => *TAB_BITS.start(),
    };
    MAX_BITS.store(bits, Relaxed);
}

/// Returns the size limits of a connection or template table.
fn limits(min_bits: u32) -> Limits {
    let (max_sparse_bits, max_bits) = match MAX_BITS.load(Relaxed) {
        0 => (ROOMY_BITS, *TAB_BITS.end()),
        bits => (bits, bits),
    };
    Limits {
        min_bits,
        max_sparse_bits,
        max_bits,
    }
}

/// The sizes of a connection table by its load.
pub(crate) const CONN_SIZING: Sizing = Sizing {
    initial_bits: *TAB_BITS.start(),
    wanted: |conns, bits, load_factor| {
        limits(*TAB_BITS.start()).wanted(conns as u64, bits, load_factor)
    },
};

/// The smallest template table, as a power of two.
const TEMPLATE_BITS: u32 = 6;

/// The sizes of a template table by its load.
pub(crate) const TEMPLATE_SIZING: Sizing = Sizing {
    initial_bits: TEMPLATE_BITS,
    wanted: |templates, bits, load_factor| {
        limits(TEMPLATE_BITS).wanted(templates as u64, bits, load_factor)
    },
};

/// Returns the initial and the largest number of buckets of a connection table.
pub(crate) fn table_sizes() -> [usize; 2] {
    let Limits {
        min_bits, max_bits, ..
    } = limits(CONN_SIZING.initial_bits);
    [min_bits, max_bits].map(|bits| 1usize.wrapping_shl(bits))
}
