// SPDX-License-Identifier: GPL-2.0

//! Destination hashing (`dh`): connections to the same address get the same server (C:
//! `ip_vs_dh.c`).

use super::by_hash::{
    hash_8,
    numbers,
    Member, //
};

/// C: `IP_VS_DH_TAB_SIZE`.
pub(super) const TABLE_SIZE: usize = 256;

/// Assigns the buckets to the members in turn, one each.
pub(super) fn fill(members: &[Member], table: &mut [u32]) {
    for (bucket, number) in table.iter_mut().zip(numbers(members).cycle()) {
        *bucket = number;
    }
}

/// Returns the bucket of a folded address.
#[inline]
pub(super) fn bucket(addr: u32) -> usize {
    hash_8(addr) as usize
}

#[cfg(test)]
mod tests {
    use crate::sched::{
        by_hash::testing::{
            members,
            pick,
            request,
            table, //
        },
        testing::weighted,
        ByHash, //
        SchedRequest,
    };

    #[test]
    fn places_go_round() {
        let table = table(ByHash::Dh, &members(&[5, 0, 1]));
        assert_eq!(table[..5], [0, 1, 2, 0, 1]);
        assert_eq!(table[255], 0);
    }

    #[test]
    fn the_target_counts_alone() {
        let table = table(ByHash::Dh, &members(&[1; 256]));
        let servers = weighted(&[1; 256]);
        let bucket = 0xc633_6401u32.wrapping_mul(0x61c8_8647) >> 24;
        for client in 0..10 {
            let request = SchedRequest {
                target: request(1).target,
                ..request(client)
            };
            assert_eq!(
                pick(ByHash::Dh, &table, &servers, &request, 0),
                Some(bucket)
            );
        }
    }

    #[test]
    fn flags_mean_nothing() {
        let table = table(ByHash::Dh, &members(&[1, 1]));
        let mut servers = weighted(&[0, 0]);
        assert_eq!(pick(ByHash::Dh, &table, &servers, &request(1), !0), None);
        servers[0].as_mut().unwrap().weight = 1;
        let picks: Vec<_> = (0..=255)
            .filter_map(|n| pick(ByHash::Dh, &table, &servers, &request(n), !0))
            .collect();
        assert!(picks.len() > 100 && picks.iter().all(|&id| id == 0));
    }
}
