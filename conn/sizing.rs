// SPDX-License-Identifier: GPL-2.0

//! How large the tables of connections and templates may be, and how they follow their load. The
//! arithmetic is in [`ipvs_core::resize`]; `netns/tables.rs` has the work that does it.

use ipvs_core::resize::Limits;
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    table::Sizing, //
};

/// The smallest and the largest table of connections, as powers of two (C: `IP_VS_CONN_TAB_MIN_BITS`, `_MAX_BITS`).
const TAB_BITS: core::ops::RangeInclusive<u32> = 8..=27;

/// The largest table that has fewer connections than buckets, unless the user says how large it may
/// be (C: `CONFIG_IP_VS_TAB_BITS`).
const ROOMY_BITS: u32 = 12;

/// The largest table that the user allows, or 0 if that is open.
static MAX_BITS: Atomic<u32> = Atomic::new(0);

/// Takes the module parameter `conn_tab_bits`: tables grow up to that, into the range that C allows;
/// 0 leaves it open. When the module is loaded.
pub(crate) fn set_max_bits(bits: i32) {
    let bits = match u32::try_from(bits) {
        Ok(0) => 0,
        Ok(bits) => bits.clamp(*TAB_BITS.start(), *TAB_BITS.end()),
        Err(_) => *TAB_BITS.start(),
    };
    MAX_BITS.store(bits, Relaxed);
}

/// Returns how large a table of connections or templates may be.
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

/// How a table of connections grows and shrinks.
pub(crate) const CONN_SIZING: Sizing = Sizing {
    initial_bits: *TAB_BITS.start(),
    wanted: |conns, bits, load_factor| {
        limits(*TAB_BITS.start()).wanted(conns as u64, bits, load_factor)
    },
};

/// The smallest table of templates, as a power of two.
const TEMPLATE_BITS: u32 = 6;

/// How a table of templates grows and shrinks.
pub(crate) const TEMPLATE_SIZING: Sizing = Sizing {
    initial_bits: TEMPLATE_BITS,
    wanted: |templates, bits, load_factor| {
        limits(TEMPLATE_BITS).wanted(templates as u64, bits, load_factor)
    },
};

/// Returns the number of buckets of a table of connections: at the start, and at most.
pub(crate) fn table_sizes() -> [usize; 2] {
    let Limits {
        min_bits, max_bits, ..
    } = limits(CONN_SIZING.initial_bits);
    [min_bits, max_bits].map(|bits| 1usize.wrapping_shl(bits))
}
