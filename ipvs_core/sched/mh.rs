// SPDX-License-Identifier: GPL-2.0

//! Maglev hashing (`mh`): connections of a client get the same server, and few clients change
//! servers when a server is added or removed (C: `ip_vs_mh.c`).
//!
//! Each server has its own order of preference for the buckets of the table. The servers take
//! turns, as many as their weights say, and each takes its most preferred free bucket. (Eisenbud et
//! al., Maglev, NSDI 2016.)

use super::by_hash::{
    fold,
    numbers,
    Member,
    TooManyServers,
    NO_SERVER, //
};
use crate::flow::{
    hash_u32,
    HashKey, //
};

/// C: `IP_VS_MH_TAB_SIZE`, which is prime.
pub(super) const TABLE_SIZE: usize = 4093;

/// Weights are scaled to this number of bits (C: `IP_VS_MH_TAB_BITS`).
const WEIGHT_BITS: u32 = 6;

/// The keys are the same on all directors.
const KEY_1: HashKey = HashKey::new([2_654_435_761; 2]);
const KEY_2: HashKey = HashKey::new([2_654_446_892; 2]);

/// The working data of a member (C: `struct ip_vs_mh_dest_setup`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// The next bucket in the member's order of preference (C: `perm`).
    next: usize,
    /// The distance to the one after it (C: `skip`).
    skip: usize,
    /// The number of buckets that the member takes in a turn.
    turns: u32,
}

fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// Returns `value` modulo `buckets`; 0 if there are none.
fn modulo(value: u32, buckets: usize) -> usize {
    (value as usize).checked_rem(buckets).unwrap_or(0)
}

/// Returns the weight by which a member takes turns. A member whose weight is set to 0 keeps its
/// buckets, so that others keep theirs.
fn weight(member: &Member) -> u32 {
    u32::try_from(member.last_weight).unwrap_or(0)
}

/// Initializes the working data of the members. Returns `true` if any of them takes buckets.
fn set_up(members: &mut [Member], buckets: usize) -> bool {
    let weights = || members.iter().map(weight);
    let divisor = weights().fold(0, gcd);
    let Some(greatest) = weights().max().and_then(|max| max.checked_div(divisor)) else {
        return false;
    };
    let bits = u32::BITS.wrapping_sub(greatest.leading_zeros());
    let shift = bits.saturating_sub(WEIGHT_BITS);

    for member in members.iter_mut() {
        let addr = fold(member.addr).wrapping_add(u32::from(member.port.host()));
        let weight = weight(member);
        let turns = weight
            .checked_div(divisor)
            .and_then(|turns| turns.checked_shr(shift));
        member.setup = Setup {
            next: modulo(hash_u32(&KEY_1, addr), buckets),
            skip: modulo(hash_u32(&KEY_2, addr), buckets.saturating_sub(1)).wrapping_add(1),
            turns: match turns {
                Some(turns) if turns > 0 => turns,
                _ => u32::from(weight > 0),
            },
        };
    }
    true
}

/// Computes the table, all of whose buckets are [`NO_SERVER`].
pub(super) fn fill(members: &mut [Member], table: &mut [u32]) -> Result<(), TooManyServers> {
    let buckets = table.len();
    if members.len() > buckets || buckets != TABLE_SIZE {
        return Err(TooManyServers);
    }
    if !set_up(members, buckets) {
        return Ok(());
    }
    let mut taken = 0;
    loop {
        for (number, member) in numbers(members).zip(members.iter_mut()) {
            let setup = &mut member.setup;
            for _ in 0..setup.turns {
                if taken == buckets {
                    return Ok(());
                }
                // This ends: there is a free bucket, and as the number of buckets is prime, every
                // bucket is reached.
                while table
                    .get(setup.next)
                    .is_some_and(|&bucket| bucket != NO_SERVER)
                {
                    setup.next = setup.next.wrapping_add(setup.skip);
                    if setup.next >= buckets {
                        setup.next = setup.next.wrapping_sub(buckets);
                    }
                }
                if let Some(bucket) = table.get_mut(setup.next) {
                    *bucket = number;
                }
                taken = taken.wrapping_add(1);
            }
        }
    }
}

/// Returns the bucket of a client by its folded address, to which the port is added if it counts.
/// `number` is 0; other numbers lead to other buckets.
#[inline]
pub(super) fn bucket(client: u32, number: u32) -> usize {
    // Not `modulo()`: here the compiler knows the divisor.
    hash_u32(&KEY_1, number.wrapping_add(client)) as usize % TABLE_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::{
        by_hash::testing::{
            members,
            table, //
        },
        ByHash, //
    };

    fn shares(table: &[u32], n: usize) -> Vec<usize> {
        (0..n as u32)
            .map(|number| table.iter().filter(|&&bucket| bucket == number).count())
            .collect()
    }

    #[test]
    fn every_place_is_taken_in_proportion_to_the_weights() {
        let found = shares(&table(ByHash::Mh, &members(&[1, 2, 0, 4])), 4);
        assert_eq!(found, [585, 1170, 0, 2338]);
    }

    #[test]
    fn great_weights_are_scaled_and_the_smallest_still_counts() {
        let found = shares(&table(ByHash::Mh, &members(&[1, 6400, 3200])), 3);
        // 1, 6400 and 3200 by 2^7: 0, 50 and 25.
        assert_eq!(found.iter().sum::<usize>(), TABLE_SIZE);
        assert!(found[0] > 0 && found[1] > 2 * found[2] - 60);
    }

    #[test]
    fn few_places_change_hands_when_a_server_goes() {
        let before = table(ByHash::Mh, &members(&[1; 10]));
        let mut fewer = members(&[1; 10]);
        fewer.remove(3);
        let after = table(ByHash::Mh, &fewer);
        let of_others = |number: u32| if number < 3 { number } else { number + 1 };
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(&was, &is)| was != 3 && was != of_others(is))
            .count();
        // 3684 buckets belonged to the others.
        assert!(moved < TABLE_SIZE / 20, "{moved}");
    }

    #[test]
    fn a_server_that_is_quiesced_keeps_its_places() {
        let mut quiesced = members(&[3, 2, 1]);
        let before = table(ByHash::Mh, &quiesced);
        quiesced[1].weight = 0;
        assert_eq!(table(ByHash::Mh, &quiesced), before);
    }

    #[test]
    fn too_many_servers_are_refused() {
        let mut many = members(&[1; 200]);
        while many.len() <= TABLE_SIZE {
            many.push(many[0]);
        }
        let mut table = vec![0; TABLE_SIZE];
        assert_eq!(ByHash::Mh.fill(&mut many, &mut table), Err(TooManyServers));
        many.pop();
        assert_eq!(ByHash::Mh.fill(&mut many, &mut table), Ok(()));
        assert!(table.iter().all(|&bucket| (bucket as usize) < TABLE_SIZE));
    }
}
