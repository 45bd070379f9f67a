// SPDX-License-Identifier: GPL-2.0

//! The schedulers `lblc` and `lblcr`, which remember the servers of destination addresses, for
//! clusters of caches. If no server is remembered for an address, or those are crowded, `wlc`
//! chooses one.
//!
//! Here are the decisions. The module's `service/sched/locality.rs` has the table with an entry for
//! each address. Times are in clock ticks (jiffies), which wrap around.

use super::{
    all,
    Server,
    Servers, //
};
use crate::{
    flow::{
        hash_addr,
        HashKey, //
    },
    net::Addr, //
};

/// The number of entries that expire by age only (C: `max_size`).
const SOFT_LIMIT: usize = 16 << 10;

/// The maximum number of entries.
pub const MAX_ENTRIES: usize = SOFT_LIMIT / 2 * 3;

/// The seconds between two sweeps (C: `CHECK_EXPIRE_INTERVAL`).
pub const SWEEP_SECS: u32 = 60;

/// The seconds without use after which an entry may be removed if there are too many (C:
/// `ENTRY_TIMEOUT`).
pub const STALE_SECS: u32 = 6 * 60;

/// The default of the seconds without use after which an entry expires (C: sysctl `lblc_expiration`
/// and `lblcr_expiration`).
pub const EXPIRATION_SECS: u32 = 24 * 60 * 60;

/// The number of sweeps without too many entries after which a sweep looks at all entries (C:
/// `COUNT_FOR_FULL_EXPIRATION`).
const SWEEPS_PER_FULL: u32 = 30;

/// Hashes a destination address for the lookup of its entry.
#[inline]
pub fn hash(addr: Addr, key: &HashKey) -> u32 {
    hash_addr(key, addr)
}

/// Returns `true` if a server is crowded: it has more active connections than its weight, while
/// another one has fewer than half of its weight (C: `is_overloaded()`).
#[inline]
pub fn is_crowded<V: Servers + ?Sized>(server: &V::S, servers: &V) -> bool {
    let load = |server: &V::S| (i64::from(server.active()), i64::from(server.weight()));
    let (active, weight) = load(server);

    active > weight
        && all(servers).any(|other| {
            let (active, weight) = load(&other);
            active.wrapping_mul(2) < weight
        })
}

/// The entries that a sweep removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// None.
    Nothing,
    /// Entries that have not been used for [`STALE_SECS`], bucket by bucket, until this many are
    /// removed.
    Stale(usize),
    /// All entries that have not been used for the expiration time.
    Expired,
}

/// Decides what each sweep removes (C: `ip_vs_lblc_check_expire()`).
#[derive(Clone, Copy, Debug)]
pub struct SweepSchedule {
    quiet: u32,
}

impl SweepSchedule {
    /// Creates the schedule for an empty table.
    pub const fn new() -> Self {
        Self { quiet: 1 }
    }

    /// Returns the sweep that is due, [`SWEEP_SECS`] after the last one, with `entries` entries in
    /// the table.
    pub fn due(&mut self, entries: usize) -> Sweep {
        if self.quiet == SWEEPS_PER_FULL {
            self.quiet = 1;
            return Sweep::Expired;
        }
        let Some(excess @ 1..) = entries.checked_sub(SOFT_LIMIT) else {
            self.quiet = self.quiet.wrapping_add(1);
            return Sweep::Nothing;
        };
        Sweep::Stale((excess.saturating_mul(4) / 3).min(SOFT_LIMIT / 2))
    }
}

impl Default for SweepSchedule {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    #[test]
    fn crowded_is_who_has_more_than_its_weight_while_another_has_half() {
        let mut servers = weighted(&[2, 4]);
        let crowded = |servers: &[Option<crate::sched::testing::Fake>]| {
            is_crowded(&servers[0].unwrap(), servers)
        };
        servers[0].as_mut().unwrap().active = 2;
        assert!(!crowded(&servers));
        servers[0].as_mut().unwrap().active = 3;
        assert!(crowded(&servers));
        servers[1].as_mut().unwrap().active = 2;
        assert!(!crowded(&servers));
        servers[0].as_mut().unwrap().active = u32::MAX;
        servers[1].as_mut().unwrap().active = 1;
        assert!(crowded(&servers));
    }

    #[test]
    fn a_full_sweep_comes_after_thirty_quiet_ones() {
        let mut sweeps = SweepSchedule::new();
        for _ in 0..2 {
            for _ in 0..29 {
                assert_eq!(sweeps.due(SOFT_LIMIT), Sweep::Nothing);
            }
            assert_eq!(sweeps.due(SOFT_LIMIT), Sweep::Expired);
        }
    }

    #[test]
    fn too_many_entries_are_brought_down() {
        let mut sweeps = SweepSchedule::new();
        assert_eq!(sweeps.due(SOFT_LIMIT + 1), Sweep::Stale(1));
        assert_eq!(sweeps.due(SOFT_LIMIT + 300), Sweep::Stale(400));
        assert_eq!(sweeps.due(MAX_ENTRIES), Sweep::Stale(SOFT_LIMIT / 2));
    }

    #[test]
    fn sizes_and_times_are_those_of_the_c_module() {
        assert_eq!((ENTRIES, MAX_ENTRIES), (16_384, 24_576));
        assert_eq!((SWEEP_SECS, STALE_SECS, EXPIRATION_SECS), (60, 360, 86_400));
    }

    #[test]
    fn the_entry_of_an_address_is_where_nobody_without_the_key_knows() {
        let addr = |n| Addr::V4(crate::net::Be32::new(n));
        let [one, other] = [[1, 2], [3, 4]].map(HashKey::new);
        assert_eq!(hash(addr(1), &one), hash_addr(&one, addr(1)));
        assert_ne!(hash(addr(1), &one), hash(addr(2), &one));
        assert_ne!(hash(addr(1), &one), hash(addr(1), &other));
    }
}
