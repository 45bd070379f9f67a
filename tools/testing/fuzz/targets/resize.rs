// SPDX-License-Identifier: GPL-2.0

//! The sizes of hash tables, and the overload state of servers.

use super::input::Input;
use ipvs_core::{
    resize::Limits,
    threshold::Thresholds, //
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bits = [0; 3].map(|_: u32| u32::from(input.u8() % 32));
    bits.sort_unstable();
    let [min_bits, max_sparse_bits, max_bits] = bits;
    let limits = Limits {
        min_bits,
        max_sparse_bits,
        max_bits,
    };
    any_numbers(input.u32(), input.u32(), input.u32(), input.u64());
    overload(&mut input);

    let mut bits = min_bits;
    let mut load_factor = 0;
    while !input.is_empty() {
        let choice = input.u8();
        let count = input.u64() >> (choice % 64);
        let anew = choice >= 192;
        if anew {
            load_factor = i32::from(input.u8() % 17) - 8;
        }
        let before = (!anew).then_some(bits);
        let new = limits.wanted(count, before, load_factor).unwrap_or(bits);
        assert!((min_bits..=max_bits).contains(&new));
        // There is room for all elements unless the limit is reached, and not less than the factor
        // asks for.
        assert!(new == max_bits || count <= load(new, load_factor.max(0)));
        assert!(new >= max_sparse_bits || count <= load(new, load_factor));
        // It is not larger than necessary.
        let part = if anew || new > bits {
            2
        } else if new < bits {
            assert!(count <= load(bits, load_factor.max(0)) / 16);
            4
        } else {
            16
        };
        let least = new == min_bits || new < 4;
        assert!(least || count.max(1) > load(new, load_factor) / part);
        bits = new;
        // A second resize is not needed.
        assert_eq!(limits.wanted(count, Some(bits), load_factor), None);
    }
}

/// Returns the number of elements that 2^`bits` buckets are enough for.
fn load(bits: u32, load_factor: i32) -> u64 {
    match u32::try_from(load_factor) {
        Ok(more) => 1 << (bits + more),
        Err(_) => (1 << bits) >> load_factor.unsigned_abs(),
    }
}

/// Invalid limits do not panic, either.
fn any_numbers(min_bits: u32, max_sparse_bits: u32, max_bits: u32, count: u64) {
    let limits = Limits {
        min_bits,
        max_sparse_bits,
        max_bits,
    };
    for bits in [Some(min_bits), Some(max_bits), None] {
        limits.wanted(count, bits, max_sparse_bits as i32);
    }
}

/// Adds and removes connections of a server one by one.
fn overload(input: &mut Input<'_>) {
    let (upper, lower) = (u32::from(input.u8()), u32::from(input.u8()));
    let lower = lower.min(upper);
    let thresholds = Thresholds::new(upper, lower);
    let least = if lower == 0 { upper - upper / 4 } else { lower };
    let (mut conns, mut overloaded) = (0u32, thresholds.after_set(0, false));
    let mut expected = false;

    for &step in input.bytes(64) {
        for _ in 0..step >> 1 {
            if step & 1 == 1 {
                conns += 1;
                if thresholds.reached_upper(conns) {
                    overloaded = thresholds.after_add(conns);
                }
                expected |= upper != 0 && conns == upper;
            } else if conns > 0 {
                conns -= 1;
                if thresholds.fell_below_lower(conns) {
                    overloaded = thresholds.after_remove(conns);
                }
                expected &= conns >= least;
            }
            assert_eq!(overloaded, expected, "{conns} of {upper}, {lower}");
        }
    }
}
