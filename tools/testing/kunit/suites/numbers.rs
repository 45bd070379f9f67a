// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::random`] and [`linux::jiffies`]: random numbers and times.

use kernel::prelude::*;
use linux::{
    jiffies,
    random, //
};

#[kunit_tests(linux_numbers)]
mod cases {
    use super::*;

    #[test]
    fn a_random_number_is_below_its_bound() {
        assert!(random::below(0) == 0);
        for bound in [1, 2, 3, 7, 1000, 1 << 32, (1 << 63) + 1, u64::MAX] {
            assert!((0..1000).all(|_| random::below(bound) < bound));
        }
    }

    #[test]
    fn each_number_below_a_bound_comes() {
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            if let Some(seen) = seen.get_mut(random::below(7) as usize) {
                *seen += 1;
            }
        }
        // 1000 of each are expected, with a standard deviation of 30.
        assert!(seen.iter().all(|&seen| (600..1400).contains(&seen)));
    }

    #[test]
    fn large_bounds_are_used_to_their_ends() {
        let half = 1 << 62;
        let draw = || random::below(2 * half + 1);
        assert!((0..200).any(|_| draw() < half));
        assert!((0..200).any(|_| draw() > half));
    }

    #[test]
    fn random_bytes_fill_their_buffer_and_no_more() {
        let mut first = [0u8; 64];
        random::fill(&mut first[16..48]);
        let mut second = [0u8; 64];
        random::fill(&mut second[16..48]);
        assert!(first[16..48] != second[16..48]);
        assert!(first[16..32] != [0; 16] && first[32..48] != [0; 16]);
        assert!(first[..16] == [0; 16] && first[48..] == [0; 16]);
    }

    #[test]
    fn later_is_later_across_the_wrap() {
        assert!(jiffies::after(1, 0) && !jiffies::after(0, 1));
        assert!(!jiffies::after(5, 5));
        assert!(jiffies::after(3, usize::MAX) && !jiffies::after(usize::MAX, 3));
        let now = jiffies::now();
        assert!(!jiffies::after(now, jiffies::now()));
    }

    #[test]
    fn seconds_are_rounded_down() {
        let second = jiffies::HZ as usize;
        assert!(jiffies::to_secs(second - 1) == 0);
        assert!(jiffies::to_secs(second) == 1);
        assert!(jiffies::to_secs(3 * second - 1) == 2);
    }
}
