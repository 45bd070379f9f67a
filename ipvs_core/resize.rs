// SPDX-License-Identifier: GPL-2.0

//! The size of a hash table by its load.
//!
//! C: `ip_vs_rht_set_thresholds()` and `ip_vs_rht_desired_size()`. With the load factor f, a table
//! keeps at most 2^f elements per bucket on average. It grows to the size that this requires. It
//! shrinks if a sixteenth of its buckets would be enough, to twice the number that would be enough.
//! This hysteresis prevents repeated resizing when the load varies.

use core::ops::RangeInclusive;

/// The load factors that users may set.
pub const LOAD_FACTORS: RangeInclusive<i32> = -8..=8;

/// A table shrinks if 2^`SHRINK_SHIFT` times fewer buckets would be enough.
const SHRINK_SHIFT: u32 = 4;

/// The limits of a table's size, as binary logarithms of the number of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The minimum size.
    pub min_bits: u32,
    /// The maximum size as long as the table has fewer elements than that many buckets. Beyond it,
    /// a negative load factor has no effect: the table has one bucket per element.
    pub max_sparse_bits: u32,
    /// The maximum size.
    pub max_bits: u32,
}

impl Limits {
    /// Returns the size, as a binary logarithm, that a table of `count` elements should be resized
    /// to.
    ///
    /// With `bits`, the table has 2^`bits` buckets now, and the result is `None` if that size is
    /// right. Without `bits`, the present size does not matter, as after a change of the load
    /// factor.
    ///
    /// `load_factor` is the binary logarithm of the elements per bucket above which the table
    /// grows. Values outside of [`LOAD_FACTORS`] are clamped.
    pub const fn wanted(self, count: u64, bits: Option<u32>, load_factor: i32) -> Option<u32> {
        match bits {
            Some(bits) => self.resize(count, bits, load_factor),
            None => Some(self.size_for(count, load_factor)),
        }
    }

    /// Returns a new size for a table of 2^`bits` buckets. `None` if it should stay as it is.
    const fn resize(self, count: u64, bits: u32, load_factor: i32) -> Option<u32> {
        let enough = self.enough_for(count, load_factor);
        let new = if enough > bits {
            self.clamp(enough)
        } else if bits < enough.saturating_add(SHRINK_SHIFT) {
            return None;
        } else if enough > self.max_sparse_bits {
            self.clamp(enough.saturating_add(1))
        } else {
            let double = enough.saturating_add(1);
            self.clamp(least(double, self.max_sparse_bits))
        };
        if new == bits {
            None
        } else {
            Some(new)
        }
    }

    /// Returns the size for a table whose present size does not matter.
    const fn size_for(self, count: u64, load_factor: i32) -> u32 {
        self.clamp(self.enough_for(count, load_factor))
    }

    /// Returns the smallest size that is enough for `count` elements, not yet clamped to the
    /// minimum.
    const fn enough_for(self, count: u64, load_factor: i32) -> u32 {
        let count = u64::BITS - count.saturating_sub(1).leading_zeros();
        let shift = least(
            load_factor.unsigned_abs(),
            LOAD_FACTORS.end().unsigned_abs(),
        );
        if load_factor >= 0 {
            return count.saturating_sub(shift);
        }
        let sparse = least(count.saturating_add(shift), self.max_sparse_bits);
        if sparse < count {
            count
        } else {
            sparse
        }
    }

    /// Clamps a size to the minimum and maximum.
    const fn clamp(self, bits: u32) -> u32 {
        if bits < self.min_bits {
            self.min_bits
        } else {
            least(bits, self.max_bits)
        }
    }
}

/// `min()` for `const fn`.
const fn least(a: u32, b: u32) -> u32 {
    if a < b {
        a
    } else {
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limits of the connection table.
    const LIMITS: Limits = Limits {
        min_bits: 8,
        max_sparse_bits: 12,
        max_bits: 27,
    };

    /// Limits of the service table.
    const SERVICES: Limits = Limits {
        min_bits: 4,
        max_sparse_bits: 20,
        max_bits: 20,
    };

    #[test]
    fn a_table_grows_when_its_buckets_are_used_up() {
        assert_eq!(LIMITS.resize(256, 8, 0), None);
        assert_eq!(LIMITS.resize(257, 8, 0), Some(9));
        assert_eq!(LIMITS.resize(1_000_000, 8, 0), Some(20));
        assert_eq!(LIMITS.resize(16, 8, -4), None);
        assert_eq!(LIMITS.resize(17, 8, -4), Some(9));
        assert_eq!(LIMITS.resize(1 << 16, 8, 8), None);
        assert_eq!(LIMITS.resize((1 << 16) + 1, 8, 8), Some(9));
        assert_eq!(SERVICES.resize(2, 4, -3), None);
        assert_eq!(SERVICES.resize(3, 4, -3), Some(5));
    }

    #[test]
    fn a_table_shrinks_when_a_sixteenth_would_do() {
        assert_eq!(LIMITS.resize((1 << 16) + 1, 20, 0), None);
        assert_eq!(LIMITS.resize(1 << 16, 20, 0), Some(17));
        assert_eq!(LIMITS.resize(0, 20, 0), Some(8));
        assert_eq!(LIMITS.resize(17, 12, -4), None);
        assert_eq!(LIMITS.resize(16, 12, -4), Some(9));
        assert_eq!(SERVICES.resize(65, 13, -3), None);
        assert_eq!(SERVICES.resize(64, 13, -3), Some(10));
    }

    #[test]
    fn a_negative_load_factor_makes_no_table_roomier_than_it_may_be() {
        assert_eq!(LIMITS.resize(257, 12, -4), None);
        assert_eq!(LIMITS.resize(4096, 12, -4), None);
        assert_eq!(LIMITS.resize(4097, 12, -4), Some(13));
        assert_eq!(LIMITS.resize(1_000_000, 12, -4), Some(20));
        assert_eq!(LIMITS.resize((1 << 16) + 1, 20, -4), None);
        assert_eq!(LIMITS.resize(1 << 16, 20, -4), Some(17));
        assert_eq!(LIMITS.resize(4096, 20, -4), Some(12));
        assert_eq!(LIMITS.resize(4096, 20, 0), Some(12));
        assert_eq!(LIMITS.resize(256, 20, -4), Some(12));
        assert_eq!(LIMITS.size_for(4097, -8), 13);
        assert_eq!(LIMITS.size_for(4096, -8), 12);
    }

    #[test]
    fn another_load_factor_takes_just_enough() {
        assert_eq!(LIMITS.size_for(32, -4), 9);
        assert_eq!(LIMITS.size_for(33, -4), 10);
        assert_eq!(LIMITS.size_for(2000, 0), 11);
        assert_eq!(LIMITS.size_for(2000, 8), 8);
        assert_eq!(LIMITS.size_for(17, i32::MIN), 12);
        assert_eq!(LIMITS.size_for(1 << 20, i32::MAX), 12);
    }

    #[test]
    fn limits_hold() {
        assert_eq!(LOAD_FACTORS, -8..=8);
        for load_factor in LOAD_FACTORS {
            assert_eq!(LIMITS.resize(0, 8, load_factor.max(-7)), None);
            assert_eq!(LIMITS.resize(u64::MAX, 27, load_factor), None);
            assert_eq!(LIMITS.resize(u64::MAX, 26, load_factor), Some(27));
            assert_eq!(LIMITS.size_for(0, load_factor), 8);
            assert_eq!(LIMITS.size_for(u64::MAX, load_factor), 27);
        }
        let fixed = Limits {
            min_bits: 8,
            max_sparse_bits: 8,
            max_bits: 8,
        };
        for count in [0, 1, 1 << 40, u64::MAX] {
            assert_eq!(fixed.resize(count, 8, -4), None);
        }
    }

    /// The C module's algorithm with its thresholds, for a table of at most 2^`max_bits` buckets.
    struct Model {
        size: i64,
        min: i64,
        max: i64,
    }

    impl Model {
        fn enough(&self, count: i64, factor: i32) -> i64 {
            let count = (count.max(1) as u64).next_power_of_two() as i64;
            if factor < 0 {
                (count << -factor).min(self.max)
            } else {
                (count >> factor).min(self.max)
            }
        }

        fn resize(&mut self, count: i64, factor: i32) {
            let upper = if factor < 0 {
                self.size >> -factor
            } else {
                self.size << factor
            };
            if count > upper && self.size < self.max {
                self.size = self.enough(count, factor).max(self.size);
            } else if self.enough(count, factor) <= self.size / 16 {
                self.size = (self.enough(count, factor) * 2).clamp(self.min, self.max);
            }
        }
    }

    #[test]
    fn sizes_are_those_of_the_c_module_through_a_history() {
        // All counts up and down, then a mix of large and small steps.
        let counts = (1..=4096)
            .chain((1..=4096).rev())
            .chain([4096, 3, 1, 300, 20, 2, 4000, 15, 16, 17, 1025, 64, 1]);
        for (limits, max_bits) in [
            (LIMITS, LIMITS.max_sparse_bits),
            (SERVICES, SERVICES.max_bits),
        ] {
            for factor in LOAD_FACTORS {
                let mut bits = limits.min_bits;
                let mut model = Model {
                    size: 1 << bits,
                    min: 1 << bits,
                    max: 1 << max_bits,
                };
                for count in counts.clone() {
                    bits = limits.resize(count, bits, factor).unwrap_or(bits);
                    model.resize(count as i64, factor);
                    assert_eq!(1 << bits, model.size, "{count} by {factor}");
                    assert_eq!(
                        1i64 << limits.size_for(count, factor),
                        model.enough(count as i64, factor).max(model.min)
                    );
                }
            }
        }
    }

    #[test]
    fn a_new_size_is_right_for_a_while() {
        for factor in LOAD_FACTORS {
            for count in (1u64..4000).chain([1 << 20, (1 << 20) + 1, 10_000_000]) {
                for bits in 8..=27 {
                    let Some(new) = LIMITS.resize(count, bits, factor) else {
                        continue;
                    };
                    assert_eq!(LIMITS.resize(count, new, factor), None);
                    if new < bits && new != LIMITS.max_sparse_bits {
                        assert_eq!(LIMITS.resize(2 * count, new, factor), None);
                    }
                    assert_eq!(LIMITS.resize(count.div_ceil(4), new, factor), None);
                }
            }
        }
    }
}
