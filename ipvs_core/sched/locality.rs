// SPDX-License-Identifier: GPL-2.0

//! Schedulers that remember which server had connections to an address: `lblc` and `lblcr`, for
//! clusters of caches. Where none is remembered, or it has too much to do, `wlc` chooses.
//!
//! What is remembered is in a table of the caller's, an entry for each address. Times are ticks;
//! they wrap.

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

/// So many entries are kept in any case (C: `max_size`).
const ENTRIES: usize = 16 << 10;

/// No more entries than that are made.
pub const MAX_ENTRIES: usize = ENTRIES / 2 * 3;

/// From sweep to sweep, in seconds.
pub const SWEEP_SECS: u32 = 60;

/// Until an entry that has not been used may be forgotten if there are many, in seconds.
pub const STALE_SECS: u32 = 6 * 60;

/// Until an entry that has not been used is forgotten, in seconds (C: sysctl `lblc_expiration` and
/// `lblcr_expiration`).
pub const EXPIRATION_SECS: u32 = 24 * 60 * 60;

/// After so many sweeps that found few entries, all are looked at.
const QUIET_SWEEPS: u32 = 30;

/// The hash by which the entry of an address is found.
#[inline]
pub fn hash(addr: Addr, key: &HashKey) -> u32 {
    hash_addr(key, addr)
}

/// Whether a server has too much to do, and another one has little.
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

/// What a sweep forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Nothing.
    Nothing,
    /// Entries that have not been used for [`STALE_SECS`], bucket by bucket, until so many are gone.
    Stale(usize),
    /// All entries that have not been used for the time of expiration.
    Expired,
}

/// When what is swept.
#[derive(Clone, Copy, Debug)]
pub struct Sweeps {
    quiet: u32,
}

impl Sweeps {
    /// For an empty table.
    pub const fn new() -> Self {
        Self { quiet: 1 }
    }

    /// The sweep that is due, [`SWEEP_SECS`] after the last one, with so many entries.
    pub fn due(&mut self, entries: usize) -> Sweep {
        if self.quiet == QUIET_SWEEPS {
            self.quiet = 1;
            return Sweep::Expired;
        }
        let Some(excess @ 1..) = entries.checked_sub(ENTRIES) else {
            self.quiet = self.quiet.wrapping_add(1);
            return Sweep::Nothing;
        };
        Sweep::Stale((excess.saturating_mul(4) / 3).min(ENTRIES / 2))
    }
}

impl Default for Sweeps {
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
        let mut sweeps = Sweeps::new();
        for _ in 0..2 {
            for _ in 0..29 {
                assert_eq!(sweeps.due(ENTRIES), Sweep::Nothing);
            }
            assert_eq!(sweeps.due(ENTRIES), Sweep::Expired);
        }
    }

    #[test]
    fn too_many_entries_are_brought_down() {
        let mut sweeps = Sweeps::new();
        assert_eq!(sweeps.due(ENTRIES + 1), Sweep::Stale(1));
        assert_eq!(sweeps.due(ENTRIES + 300), Sweep::Stale(400));
        assert_eq!(sweeps.due(MAX_ENTRIES), Sweep::Stale(ENTRIES / 2));
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
