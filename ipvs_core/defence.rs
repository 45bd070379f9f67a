// SPDX-License-Identifier: GPL-2.0

//! The decisions of the defence strategies against floods: `drop_entry`, `drop_packet` and
//! `secure_tcp`. The module's `defence.rs` has their state and carries them out.
//!
//! Each strategy has a sysctl with its mode: 0 is always off, 1 and 2 are on while memory is low, 3
//! is always on. 1 becomes 2 while memory is low and 2 becomes 1 again, so users can read which it
//! is. C: `update_defense_level()`.

/// The modes that users may set.
pub const MODES: core::ops::RangeInclusive<i32> = 0..=3;

/// Returns the new value of a mode, and whether its strategy is on.
pub const fn next_mode(mode: i32, memory_is_low: bool) -> (i32, bool) {
    match mode {
        1 | 2 if memory_is_low => (2, true),
        1 | 2 => (1, false),
        3 => (3, true),
        _ => (mode, false),
    }
}

/// Returns the rate at which new connections are dropped: every n-th one. The fewer pages are
/// `available` in comparison to the `threshold`, the more are dropped. 0 for none, if enough pages
/// are available.
pub fn drop_rate(threshold: i32, available: i32) -> i32 {
    let lack = threshold.checked_sub(available).filter(|&lack| lack > 0);
    lack.and_then(|lack| threshold.checked_div(lack))
        .unwrap_or(0)
}

/// The number of packets up to which `drop_entry` considers a connection. One that has received
/// more packets is kept. C has this number in `todrop_entry()`.
pub const FEW_PACKETS: u8 = 8;

/// Decides for `drop_entry` about a connection that has received `packets` packets, of which it
/// drops every `packets`-th. `left` counts down to the next connection of this kind to drop.
/// Returns `true` if the connection is to be dropped, and the new value of `left` (C:
/// `todrop_entry()`, `dropentry_counters`).
pub fn sample(packets: u8, left: u8) -> (bool, u8) {
    match left.saturating_sub(1) {
        0 => (true, packets),
        left => (false, left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_modes_follow_the_memory() {
        for mode in [0, 3] {
            for low in [false, true] {
                assert_eq!(next_mode(mode, low), (mode, mode == 3));
            }
        }
        for mode in [1, 2] {
            assert_eq!(next_mode(mode, true), (2, true));
            assert_eq!(next_mode(mode, false), (1, false));
        }
    }

    #[test]
    fn the_less_memory_the_more_is_dropped() {
        assert_eq!(drop_rate(1024, 1023), 1024);
        assert_eq!(drop_rate(1024, 512), 2);
        assert_eq!(drop_rate(1024, 0), 1);
        assert_eq!(drop_rate(1024, 1024), 0);
        assert_eq!(drop_rate(0, 0), 0);
        assert_eq!(drop_rate(i32::MAX, 1), 1);
        assert_eq!(drop_rate(i32::MIN, i32::MAX), 0);
    }

    #[test]
    fn every_nth_connection_of_n_packets_is_dropped() {
        for packets in 1..=FEW_PACKETS {
            let mut left = 0;
            let mut dropped = 0;
            for _ in 0..u32::from(packets) * 10 {
                let (drop, next) = sample(packets, left);
                dropped += u32::from(drop);
                left = next;
            }
            assert_eq!(dropped, 10);
        }
    }
}
