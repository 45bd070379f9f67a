// SPDX-License-Identifier: GPL-2.0

//! When a hash table grows and shrinks.
//!
//! Stands for `ip_vs_rht_set_thresholds()` and `ip_vs_rht_desired_size()`: by a load factor f, a
//! table keeps at most 2^f elements per bucket on average, up to the greatest size that it may have.
//!
//! A new size is chosen so that there is a quarter to a half as many elements as that; it takes
//! twice as many elements to grow again, and half as many to shrink. So a table whose load swings by
//! less than that is not resized over and over.

use core::ops::RangeInclusive;

/// The load factors that there are.
pub const LOAD_FACTORS: RangeInclusive<i32> = -8..=8;

/// A table shrinks below the load at which it grows, by that power of two.
const MIN_LOAD_SHIFT: u32 = 3;

/// How many buckets a table may have, as powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Binary logarithm of the least number of buckets.
    pub min_bits: u32,
    /// Binary logarithm of the greatest number of buckets, at most 31.
    pub max_bits: u32,
    /// Binary logarithm of the elements per bucket above which a table grows; one beyond
    /// [`LOAD_FACTORS`] counts as the nearest of them.
    pub load_factor: i32,
}

/// The numbers of elements between which a table keeps its size.
///
/// They are worked out once per size, so that adding and removing an element compares two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Grow with more elements than that.
    pub grow_above: u64,
    /// Shrink with fewer elements than that.
    pub shrink_below: u64,
}

/// Number of buckets, without overflow whatever `bits` is.
const fn buckets(bits: u32) -> u64 {
    if bits < 63 {
        1 << bits
    } else {
        1 << 63
    }
}

impl Limits {
    /// How many elements that many buckets are for.
    const fn load_of(self, buckets: u64) -> u64 {
        match self.shift() {
            (shift, false) => buckets.saturating_mul(1 << shift),
            (shift, true) => buckets >> shift,
        }
    }

    /// How many buckets that many elements would fill.
    const fn filled_by(self, elements: u64) -> u64 {
        match self.shift() {
            (shift, false) => {
                let full = elements.wrapping_shr(shift);
                if full.wrapping_shl(shift) == elements {
                    full
                } else {
                    full.saturating_add(1)
                }
            }
            (shift, true) => elements.saturating_mul(1u64.wrapping_shl(shift)),
        }
    }

    /// The load factor as a shift, and whether it divides; within what there is.
    const fn shift(self) -> (u32, bool) {
        let most = LOAD_FACTORS.end().unsigned_abs();
        let shift = self.load_factor.unsigned_abs();
        (
            if shift > most { most } else { shift },
            self.load_factor < 0,
        )
    }

    /// The thresholds of a table with 2^`bits` buckets.
    pub const fn thresholds(self, bits: u32) -> Thresholds {
        Thresholds {
            grow_above: if bits >= self.max_bits {
                u64::MAX
            } else {
                self.load_of(buckets(bits))
            },
            shrink_below: if bits <= self.min_bits {
                0
            } else {
                self.load_of(buckets(bits)) >> MIN_LOAD_SHIFT
            },
        }
    }

    /// The size to give a table of 2^`bits` buckets that holds `count` elements, as a binary
    /// logarithm. `None` if its size is right.
    pub const fn resize(self, count: u64, bits: u32) -> Option<u32> {
        let Thresholds {
            grow_above,
            shrink_below,
        } = self.thresholds(bits);

        if count <= grow_above && count >= shrink_below {
            return None;
        }
        let new = self.size_for(count);
        if new == bits {
            None
        } else {
            Some(new)
        }
    }

    /// The size for a new table that is to hold `count` elements, as a binary logarithm.
    pub const fn size_for(self, count: u64) -> u32 {
        // One more bit than it takes to count them: at least twice as many buckets.
        let count = self.filled_by(count).saturating_sub(1);
        let bits = (u64::BITS - count.leading_zeros()).saturating_add(1);
        if bits > self.max_bits {
            self.max_bits
        } else if bits < self.min_bits {
            self.min_bits
        } else {
            bits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        min_bits: 8,
        max_bits: 24,
        load_factor: 0,
    };

    #[test]
    fn a_table_grows_when_its_buckets_are_used_up() {
        assert_eq!(LIMITS.resize(256, 8), None);
        assert_eq!(LIMITS.resize(257, 8), Some(10));
        assert_eq!(LIMITS.resize(1024, 10), None);
        assert_eq!(LIMITS.resize(1_000_000, 8), Some(21));
    }

    #[test]
    fn a_table_shrinks_when_it_is_nearly_empty() {
        assert_eq!(LIMITS.resize(1 << 17, 20), None);
        assert_eq!(LIMITS.resize((1 << 17) - 1, 20), Some(18));
        assert_eq!(LIMITS.resize(0, 20), Some(8));
    }

    #[test]
    fn limits_hold() {
        assert_eq!(LIMITS.resize(0, 8), None);
        assert_eq!(LIMITS.resize(u64::MAX, 24), None);
        assert_eq!(LIMITS.resize(u64::MAX, 23), Some(24));
        assert_eq!(LIMITS.size_for(0), 8);
        assert_eq!(LIMITS.size_for(u64::MAX), 24);
        let fixed = Limits {
            min_bits: 8,
            max_bits: 8,
            ..LIMITS
        };
        for count in [0, 1, 1 << 40, u64::MAX] {
            assert_eq!(fixed.resize(count, 8), None);
        }
    }

    #[test]
    fn a_load_factor_sets_how_many_elements_there_are_for_a_bucket() {
        let with = |load_factor| Limits {
            load_factor,
            ..LIMITS
        };
        assert_eq!(with(-4).resize(16, 8), None);
        assert_eq!(with(-4).resize(17, 8), Some(10));
        assert_eq!(with(8).resize(1 << 16, 8), None);
        assert_eq!(with(8).resize((1 << 16) + 1, 8), Some(10));
        // What was right with another one is not.
        assert_eq!(with(-8).resize(256, 10), Some(17));
        assert_eq!(with(8).resize(1024, 12), Some(8));
        assert_eq!(with(i32::MIN).resize(256, 10), Some(17));
        assert_eq!(with(i32::MAX).resize(1 << 16, 8), None);
    }

    /// All load factors, and limits with them.
    fn all_limits() -> impl Iterator<Item = Limits> {
        LOAD_FACTORS.map(|load_factor| Limits {
            load_factor,
            ..LIMITS
        })
    }

    #[test]
    fn a_new_size_is_right_for_a_while() {
        for limits in all_limits() {
            for count in (1u64..4000).chain([1 << 20, (1 << 20) + 1, 10_000_000]) {
                let bits = limits.size_for(count);
                let load = limits.load_of(1u64 << bits);
                if bits > limits.min_bits && bits < limits.max_bits {
                    assert!(count * 2 <= load, "{count}");
                    assert_eq!(limits.resize(count * 2, bits), None);
                    assert_eq!(limits.resize(count.div_ceil(2), bits), None);
                }
            }
        }
    }

    #[test]
    fn thresholds_and_resizing_agree() {
        for limits in all_limits() {
            for bits in 8..=24 {
                let thresholds = limits.thresholds(bits);
                for count in 0..4 * (1u64 << bits.min(12)) {
                    let keeps = count <= thresholds.grow_above && count >= thresholds.shrink_below;
                    assert_eq!(limits.resize(count, bits).is_none(), keeps);
                }
            }
        }
    }
}
