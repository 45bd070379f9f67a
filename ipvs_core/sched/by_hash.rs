// SPDX-License-Identifier: GPL-2.0

//! Schedulers that choose by a hash of an address: `dh`, `sh` and `mh` look up a table of places,
//! each of which belongs to a server.
//!
//! The table follows from the servers, their order and their weights alone, and hashes have no
//! secret: directors with the same servers, added in the same order, send a client to the same one.
//! (The C module's `mh` is different on 32-bit machines.) A table is made anew when servers or
//! weights change, and never changed.

use super::{
    dh,
    mh,
    sh,
    ByHash,
    SchedRequest,
    Server, //
};
use crate::{
    net::{
        Addr,
        Be16, //
    },
    netlink::{
        IP_VS_SVC_F_SCHED1,
        IP_VS_SVC_F_SCHED2, //
    },
};

/// A server as the table is made from it.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Address, of the family of the service.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Weight.
    pub weight: i32,
    /// The weight, or, while that is 0, the one before it (C: `last_weight`).
    pub last_weight: i32,
    /// Scratch space for `mh`.
    pub setup: mh::Setup,
}

/// What is in a place of the table that belongs to nobody.
pub const NOBODY: u32 = u32::MAX;

/// There are more servers than places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Another server is chosen if that in the right place is not available.
const FALLBACK: u32 = IP_VS_SVC_F_SCHED1;

/// The client's port counts.
const PORT: u32 = IP_VS_SVC_F_SCHED2;

/// An address of either family in 32 bits, in the host's order.
#[inline]
pub(super) fn fold(addr: Addr) -> u32 {
    match addr {
        Addr::V4(addr) => addr.host(),
        Addr::V6(addr) => {
            let addr = addr.host();
            let halves = (addr ^ (addr >> 64)) as u64;
            (halves ^ (halves >> 32)) as u32
        }
    }
}

/// Multiplicative hashing to 8 bits (C: `hash_32()`).
#[inline]
pub(super) const fn hash_8(value: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> 24
}

/// The members' numbers.
#[inline]
pub(super) fn numbers(members: &[Member]) -> core::ops::Range<u32> {
    0..u32::try_from(members.len()).unwrap_or(NOBODY)
}

impl ByHash {
    /// How many places the table has.
    pub const fn places(self) -> usize {
        match self {
            Self::Dh => dh::PLACES,
            Self::Sh => sh::PLACES,
            Self::Mh => mh::PLACES,
        }
    }

    /// Whether the table depends on the weights.
    pub const fn is_weighted(self) -> bool {
        !matches!(self, Self::Dh)
    }

    /// Makes the table: the number of a member for each place. `members` are the servers, the first
    /// (newest) one first; `table` has [`ByHash::places`] places.
    ///
    /// Errors: more members than places, for `mh`. The C module keeps the table that it has then.
    pub fn fill(self, members: &mut [Member], table: &mut [u32]) -> Result<(), TooMany> {
        table.fill(NOBODY);
        match self {
            Self::Dh => dh::fill(members, table),
            Self::Sh => sh::fill(members, table),
            Self::Mh => return mh::fill(members, table),
        }
        Ok(())
    }

    /// Picks the server for a connection to a service with these `IP_VS_SVC_F_SCHED*` flags. `at`
    /// says whom a place belongs to. `None` if that server is not available.
    #[inline]
    pub fn pick<S: Server>(
        self,
        arrival: &SchedRequest,
        flags: u32,
        at: impl Fn(usize) -> Option<S>,
    ) -> Option<S> {
        let port = if flags & PORT != 0 {
            u32::from(arrival.client_port.host())
        } else {
            0
        };
        let client = fold(arrival.client).wrapping_add(port);
        let fallback = flags & FALLBACK != 0;
        match self {
            Self::Dh => at(dh::place(fold(arrival.target))).filter(is_available),
            Self::Sh => source(client, fallback, sh::PLACES, sh::place, at),
            Self::Mh => source(client, fallback, mh::PLACES, mh::place, at),
        }
    }
}

/// The server in the place of a client. If it is not available and `fallback` is set, the one in
/// another place: `place` says where, by a number that begins with the place itself and takes as
/// many values as there are places. An empty place ends the search.
#[inline]
fn source<S: Server>(
    client: u32,
    fallback: bool,
    places: usize,
    place: impl Fn(u32, u32) -> usize,
    at: impl Fn(usize) -> Option<S>,
) -> Option<S> {
    let first = place(client, 0);
    let server = at(first)?;
    if is_available(&server) {
        return Some(server);
    }
    if !fallback {
        return None;
    }
    for number in (first..places).chain(0..first) {
        let server = at(place(client, number as u32))?;
        if is_available(&server) {
            return Some(server);
        }
    }
    None
}

#[inline]
fn is_available<S: Server>(server: &S) -> bool {
    server.available() && server.in_service()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::{
        net::{
            Be128,
            Be32, //
        },
        sched::testing::{
            weighted,
            Fake, //
        },
    };

    /// Members 10.0.0.1, 10.0.0.2, ... of these weights, the first one first.
    pub(crate) fn members(weights: &[i32]) -> Vec<Member> {
        (1..)
            .zip(weights)
            .map(|(n, &weight)| Member {
                addr: Addr::V4(Be32::new(0x0a00_0000 + n)),
                port: Be16::new(80),
                weight,
                last_weight: weight,
                setup: Default::default(),
            })
            .collect()
    }

    /// The table for these members.
    pub(crate) fn table(kind: ByHash, members: &[Member]) -> Vec<u32> {
        let mut table = vec![0; kind.places()];
        kind.fill(&mut members.to_vec(), &mut table).unwrap();
        table
    }

    /// An arrival from 192.0.2.`n`, port 1000, to 198.51.100.`n`.
    pub(crate) fn arrival(n: u8) -> SchedRequest {
        SchedRequest {
            client: Addr::V4(Be32::from_bytes([192, 0, 2, n])),
            client_port: Be16::new(1000),
            target: Addr::V4(Be32::from_bytes([198, 51, 100, n])),
        }
    }

    /// Who gets an arrival if the servers, by their numbers in the table, are `servers`.
    pub(crate) fn pick(
        kind: ByHash,
        table: &[u32],
        servers: &[Option<Fake>],
        arrival: &SchedRequest,
        flags: u32,
    ) -> Option<u32> {
        kind.pick(arrival, flags, |place| {
            servers.get(table[place] as usize).copied().flatten()
        })
        .map(|server| server.id)
    }

    #[test]
    fn a_server_that_is_not_available_has_a_stand_in_if_asked_for() {
        for kind in [ByHash::Sh, ByHash::Mh] {
            let table = table(kind, &members(&[1, 1, 1]));
            let all = weighted(&[1, 1, 1]);
            for n in 0..=255 {
                let arrival = arrival(n);
                let own = pick(kind, &table, &all, &arrival, 0).unwrap();
                let mut others = all.clone();
                others[own as usize].as_mut().unwrap().weight = 0;
                assert_eq!(pick(kind, &table, &others, &arrival, 0), None);
                let other = pick(kind, &table, &others, &arrival, FALLBACK);
                assert!(other.is_some_and(|other| other != own));
                others[own as usize].as_mut().unwrap().weight = 1;
                others[own as usize].as_mut().unwrap().removed = true;
                assert_eq!(pick(kind, &table, &others, &arrival, 0), None);
                assert_eq!(pick(kind, &table, &others, &arrival, FALLBACK), other);
                for server in others.iter_mut().flatten() {
                    server.overloaded = true;
                }
                assert_eq!(pick(kind, &table, &others, &arrival, FALLBACK), None);
            }
        }
    }

    #[test]
    fn without_servers_nobody_is_picked() {
        for kind in [ByHash::Dh, ByHash::Sh, ByHash::Mh] {
            let table = table(kind, &[]);
            assert!(table.iter().all(|&place| place == NOBODY));
            assert_eq!(pick(kind, &table, &[], &arrival(1), FALLBACK | PORT), None);
        }
    }

    #[test]
    fn a_table_depends_on_weights_if_it_says_so() {
        for kind in [ByHash::Dh, ByHash::Sh, ByHash::Mh] {
            let even = table(kind, &members(&[1, 1, 1]));
            let uneven = table(kind, &members(&[1, 1, 5]));
            assert_eq!(even != uneven, kind.is_weighted(), "{kind:?}");
        }
    }

    #[test]
    fn the_port_counts_if_asked_to() {
        for kind in [ByHash::Sh, ByHash::Mh] {
            let table = table(kind, &members(&[1; 7]));
            let servers = weighted(&[1; 7]);
            let picks = |flags| {
                let mut picks: Vec<_> = (0..100)
                    .map(|port| {
                        let arrival = SchedRequest {
                            client_port: Be16::new(port),
                            ..arrival(1)
                        };
                        pick(kind, &table, &servers, &arrival, flags).unwrap()
                    })
                    .collect();
                picks.sort_unstable();
                picks.dedup();
                picks.len()
            };
            assert_eq!((picks(0), picks(PORT)), (1, 7));
        }
    }

    #[test]
    fn all_words_of_an_ipv6_address_count() {
        let addr = |words: [u32; 4]| {
            let bytes = words.map(u32::to_be_bytes).concat();
            fold(Addr::V6(Be128::from_bytes(bytes.try_into().unwrap())))
        };
        assert_eq!(addr([1, 2, 4, 8]), 15);
        assert_eq!(addr([0x11, 0x33, 0x55, 0xff]), 0x88);
        assert_eq!(addr([0x2001_0db8, 0, 0, 1]), 0x2001_0db9);
        assert_eq!(
            fold(Addr::V4(Be32::from_bytes([192, 0, 2, 1]))),
            0xc000_0201
        );
    }
}
