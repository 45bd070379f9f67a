// SPDX-License-Identifier: GPL-2.0

//! Source hashing (`sh`): connections of a client get the same server (C: `ip_vs_sh.c`).

use super::by_hash::{
    hash_8,
    numbers,
    Member, //
};

/// C: `IP_VS_SH_TAB_SIZE`.
pub(super) const TABLE_SIZE: usize = 256;

/// Assigns the buckets to the members in turn, as many in a row as the member's weight, at least
/// one.
pub(super) fn fill(members: &[Member], table: &mut [u32]) {
    let mut turns = numbers(members).cycle();
    let mut rest = table;
    while let (false, Some(number)) = (rest.is_empty(), turns.next()) {
        let weight = members.get(number as usize).map(|member| member.weight);
        let buckets = weight.and_then(|weight| usize::try_from(weight).ok());
        let buckets = buckets.unwrap_or(0).max(1);
        let Some((own, others)) = rest.split_at_mut_checked(buckets.min(rest.len())) else {
            return;
        };
        own.fill(number);
        rest = others;
    }
}

/// Returns the bucket of a client by its folded address, to which the port is added if it counts.
/// `number` is 0; other numbers lead to other buckets.
#[inline]
pub(super) fn bucket(client: u32, number: u32) -> usize {
    (number.wrapping_add(hash_8(client)) & 0xff) as usize
}

#[cfg(test)]
mod tests {
    use crate::sched::{
        by_hash::testing::{
            members,
            table, //
        },
        ByHash, //
    };

    #[test]
    fn places_are_given_in_proportion_to_the_weights() {
        let table = table(ByHash::Sh, &members(&[2, 0, 3]));
        assert_eq!(table[..8], [0, 0, 1, 2, 2, 2, 0, 0]);
        assert_eq!(table[252..], [0, 0, 1, 2]);
    }

    #[test]
    fn a_weight_may_be_greater_than_the_table() {
        let table = table(ByHash::Sh, &members(&[1, i32::MAX, 1]));
        assert_eq!(table[0], 0);
        assert!(table[1..].iter().all(|&bucket| bucket == 1));
    }
}
