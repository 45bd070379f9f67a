// SPDX-License-Identifier: GPL-2.0

//! When tables grow and shrink, and when servers are overloaded.

use super::input::Input;
use ipvs_core::{
    resize::Limits,
    threshold::Thresholds, //
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (a, b) = (u32::from(input.u8() % 32), u32::from(input.u8() % 32));
    let limits = Limits {
        min_bits: a.min(b),
        max_bits: a.max(b),
        load_factor: i32::from(input.u8() % 17) - 8,
    };
    any_numbers(input.u32(), input.u32(), input.u64());
    overload(&mut input);

    let mut bits = limits.min_bits;
    while !input.is_empty() {
        let count = input.u64() >> (input.u8() % 64);
        let Some(new) = limits.resize(count, bits) else {
            // It fits: no more than it is for, and no fewer than an eighth of that.
            assert!(bits == limits.max_bits || count <= load(limits, bits));
            let least = bits == limits.min_bits || bits == limits.size_for(count);
            assert!(least || count >= load(limits, bits) / 8);
            continue;
        };
        assert_ne!(new, bits);
        assert!((limits.min_bits..=limits.max_bits).contains(&new));
        assert_eq!(new, limits.size_for(count));
        assert_eq!(new > bits, count > load(limits, bits));
        bits = new;
        // Once is enough, and it takes as many again, or half as few, for the next time.
        assert_eq!(limits.resize(count, bits), None);
        let doubled = count.saturating_mul(2);
        assert_eq!(
            limits.resize(doubled, bits).filter(|&more| more < bits),
            None
        );
        assert!(bits == limits.max_bits || doubled <= limits.thresholds(bits).grow_above);
        let bucket = load(limits, 0).max(1);
        assert!(limits.thresholds(bits).shrink_below <= count / 2 + bucket);
    }
}

/// How many elements 2^`bits` buckets are for.
fn load(limits: Limits, bits: u32) -> u64 {
    match u32::try_from(limits.load_factor) {
        Ok(more) => 1 << (bits + more),
        Err(_) => (1 << bits) >> limits.load_factor.unsigned_abs(),
    }
}

/// Nonsense is answered too.
fn any_numbers(min_bits: u32, max_bits: u32, count: u64) {
    let limits = Limits {
        min_bits,
        max_bits,
        load_factor: max_bits as i32,
    };
    limits.resize(count, max_bits);
    limits.resize(count, min_bits);
    limits.thresholds(count as u32);
}

/// A server's connections come and go, one at a time.
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
                if thresholds.reached(conns) {
                    overloaded = thresholds.after_add(conns);
                }
                expected |= upper != 0 && conns == upper;
            } else if conns > 0 {
                conns -= 1;
                if thresholds.left(conns) {
                    overloaded = thresholds.after_remove(conns);
                }
                expected &= conns >= least;
            }
            assert_eq!(overloaded, expected, "{conns} of {upper}, {lower}");
        }
    }
}
