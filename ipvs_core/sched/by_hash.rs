// SPDX-License-Identifier: GPL-2.0

//! The schedulers `dh`, `sh` and `mh`, which look up the server by the hash of an address in a
//! table.
//!
//! Here the table is computed and looked up. The module's `service/sched/by_hash.rs` allocates it
//! and publishes it to packets.
//!
//! The table depends on nothing but the servers, their order and their weights, and the hash has no
//! random key: directors with the same servers, added in the same order, choose the same server for
//! a client. (The C module's `mh` differs on 32-bit machines.) The table is immutable; a new one is
//! computed when servers or weights change.

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

/// A server as input for computing the table.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Address, of the service's family.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Weight.
    pub weight: i32,
    /// The weight; while it is 0, the last weight other than 0 (C: `last_weight`).
    pub last_weight: i32,
    /// Working data of `mh`.
    pub setup: mh::Setup,
}

/// The number in a bucket to which no server is assigned.
pub const NO_SERVER: u32 = u32::MAX;

/// The error that there are more servers than buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyServers;

/// The service's flag to choose another server if the one in the client's bucket is not available.
const FALLBACK: u32 = IP_VS_SVC_F_SCHED1;

/// The service's flag to include the client's port in the hash.
const PORT: u32 = IP_VS_SVC_F_SCHED2;

/// Folds an address of either family into 32 bits, in host byte order (C: the XOR of
/// `ip_vs_sh_hashkey()`).
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

/// Hashes a number to 8 bits by multiplication (C: `hash_32()`).
#[inline]
pub(super) const fn hash_8(value: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> 24
}

/// Returns the numbers of the members, which are their indices.
#[inline]
pub(super) fn numbers(members: &[Member]) -> core::ops::Range<u32> {
    0..u32::try_from(members.len()).unwrap_or(NO_SERVER)
}

impl ByHash {
    /// Returns the number of buckets of the table.
    pub const fn table_size(self) -> usize {
        match self {
            Self::Dh => dh::TABLE_SIZE,
            Self::Sh => sh::TABLE_SIZE,
            Self::Mh => mh::TABLE_SIZE,
        }
    }

    /// Returns `true` if the table depends on the weights.
    pub const fn is_weighted(self) -> bool {
        !matches!(self, Self::Dh)
    }

    /// Computes the table: the number of a member for each bucket. `members` are the servers, first
    /// (newest) one first. `table` has [`ByHash::table_size`] buckets.
    ///
    /// # Errors
    ///
    /// Fails if there are more members than buckets, for `mh` only. The C module keeps the present
    /// table in this case.
    pub fn fill(self, members: &mut [Member], table: &mut [u32]) -> Result<(), TooManyServers> {
        table.fill(NO_SERVER);
        match self {
            Self::Dh => dh::fill(members, table),
            Self::Sh => sh::fill(members, table),
            Self::Mh => return mh::fill(members, table),
        }
        Ok(())
    }

    /// Picks the server for a connection to a service with these `IP_VS_SVC_F_SCHED*` flags. `at`
    /// returns the server to which a bucket is assigned. `None` if no suitable server is available.
    #[inline]
    pub fn pick<S: Server>(
        self,
        request: &SchedRequest,
        flags: u32,
        at: impl Fn(usize) -> Option<S>,
    ) -> Option<S> {
        let port = if flags & PORT != 0 {
            u32::from(request.client_port.host())
        } else {
            0
        };
        let client = fold(request.client).wrapping_add(port);
        let fallback = flags & FALLBACK != 0;
        match self {
            Self::Dh => at(dh::bucket(fold(request.target))).filter(is_available),
            Self::Sh => source(client, fallback, sh::TABLE_SIZE, sh::bucket, at),
            Self::Mh => source(client, fallback, mh::TABLE_SIZE, mh::bucket, at),
        }
    }
}

/// Returns the server in a client's bucket. If it is not available and `fallback` is set, tries
/// other buckets: `bucket` maps the client and the number of the attempt to a bucket. The attempts
/// begin with the number of the client's bucket, and there are as many as buckets. An empty bucket
/// ends the search.
#[inline]
fn source<S: Server>(
    client: u32,
    fallback: bool,
    buckets: usize,
    bucket: impl Fn(u32, u32) -> usize,
    at: impl Fn(usize) -> Option<S>,
) -> Option<S> {
    let first = bucket(client, 0);
    let server = at(first)?;
    if is_available(&server) {
        return Some(server);
    }
    if !fallback {
        return None;
    }
    for number in (first..buckets).chain(0..first) {
        let server = at(bucket(client, number as u32))?;
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

    /// Returns members 10.0.0.1, 10.0.0.2, ... with these weights, in this order.
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

    /// Returns the table for these members.
    pub(crate) fn table(kind: ByHash, members: &[Member]) -> Vec<u32> {
        let mut table = vec![0; kind.table_size()];
        kind.fill(&mut members.to_vec(), &mut table).unwrap();
        table
    }

    /// Returns the request of a connection from 192.0.2.`n`, port 1000, to 198.51.100.`n`.
    pub(crate) fn request(n: u8) -> SchedRequest {
        SchedRequest {
            client: Addr::V4(Be32::from_bytes([192, 0, 2, n])),
            client_port: Be16::new(1000),
            target: Addr::V4(Be32::from_bytes([198, 51, 100, n])),
        }
    }

    /// Picks a server for a connection. `servers` are the servers by their number in the table.
    pub(crate) fn pick(
        kind: ByHash,
        table: &[u32],
        servers: &[Option<Fake>],
        request: &SchedRequest,
        flags: u32,
    ) -> Option<u32> {
        kind.pick(request, flags, |bucket| {
            servers.get(table[bucket] as usize).copied().flatten()
        })
        .map(|server| server.id)
    }

    #[test]
    fn a_server_that_is_not_available_has_a_stand_in_if_asked_for() {
        for kind in [ByHash::Sh, ByHash::Mh] {
            let table = table(kind, &members(&[1, 1, 1]));
            let all = weighted(&[1, 1, 1]);
            for n in 0..=255 {
                let request = request(n);
                let own = pick(kind, &table, &all, &request, 0).unwrap();
                let mut others = all.clone();
                others[own as usize].as_mut().unwrap().weight = 0;
                assert_eq!(pick(kind, &table, &others, &request, 0), None);
                let other = pick(kind, &table, &others, &request, FALLBACK);
                assert!(other.is_some_and(|other| other != own));
                others[own as usize].as_mut().unwrap().weight = 1;
                others[own as usize].as_mut().unwrap().removed = true;
                assert_eq!(pick(kind, &table, &others, &request, 0), None);
                assert_eq!(pick(kind, &table, &others, &request, FALLBACK), other);
                for server in others.iter_mut().flatten() {
                    server.overloaded = true;
                }
                assert_eq!(pick(kind, &table, &others, &request, FALLBACK), None);
            }
        }
    }

    #[test]
    fn without_servers_nobody_is_picked() {
        for kind in [ByHash::Dh, ByHash::Sh, ByHash::Mh] {
            let table = table(kind, &[]);
            assert!(table.iter().all(|&bucket| bucket == NO_SERVER));
            assert_eq!(pick(kind, &table, &[], &request(1), FALLBACK | PORT), None);
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
                        let request = SchedRequest {
                            client_port: Be16::new(port),
                            ..request(1)
                        };
                        pick(kind, &table, &servers, &request, flags).unwrap()
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
