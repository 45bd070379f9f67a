// SPDX-License-Identifier: GPL-2.0

//! The power of two choices (`twos`): of two servers drawn at random in proportion to their
//! weights, the one with less overhead for its weight (C: `ip_vs_twos.c`).
//!
//! As in C, the first available server is drawn slightly more often: as if its weight were greater
//! by one.

use super::{
    least::Load,
    tree::{
        Node,
        Tree, //
        WeightSum,
    },
    walk,
    wlc,
    Server,
    Servers, //
};
use core::ops::DerefMut;

/// Returns the value of a server in a tree for [`pick_with`].
#[inline]
pub fn weight_of<S: Server>(server: &S) -> WeightSum {
    match u64::try_from(server.weight()) {
        Ok(weight) if !server.overloaded() => WeightSum(weight),
        _ => WeightSum::EMPTY,
    }
}

/// Returns the better server of two draws. `draw` maps a number from 1 to the `sum` of all weights
/// to a server.
#[inline]
fn better<S: Server + Copy>(
    sum: u64,
    mut below: impl FnMut(u64) -> u64,
    draw: impl Fn(u64) -> Option<S>,
) -> Option<S> {
    if sum == 0 {
        return None;
    }
    let mut place = || below(sum.wrapping_add(1)).max(1);
    let first = draw(place());
    let second = draw(place());
    let (first, second) = match (first, second) {
        (Some(first), Some(second)) => (first, second),
        // A weight has changed in the meantime.
        (one, other) => return one.or(other),
    };
    // The second server only if its load is less.
    match (wlc::load(&second), wlc::load(&first)) {
        (Some(load), Some(least)) if Load::join(load, least) != least => Some(second),
        _ => Some(first),
    }
}

/// Picks a server. `below(n)` returns a uniformly distributed random number below `n`. `None` if no
/// server is available.
#[inline]
pub fn pick<V: Servers + ?Sized>(servers: &V, below: impl FnMut(u64) -> u64) -> Option<V::S> {
    let weights =
        || walk(servers, 0..servers.len()).map(|(_, server)| (server, weight_of(&server)));
    let sum = weights().fold(0, |sum: u64, (_, weight)| sum.wrapping_add(weight.0));
    better(sum, below, |place| {
        let mut left = place;
        weights()
            .filter(|(_, weight)| weight.0 > 0)
            .find_map(|(server, weight)| {
                left = left.saturating_sub(weight.0);
                (left == 0).then_some(server)
            })
    })
}

/// Picks a server as [`pick`] does, by a tree that has [`weight_of`] each server in its slot.
#[inline]
pub fn pick_with<V, B>(servers: &V, tree: &Tree<B>, below: impl FnMut(u64) -> u64) -> Option<V::S>
where
    V: Servers + ?Sized,
    B: DerefMut<Target = [WeightSum]>,
{
    better(tree.root().0, below, |place| {
        let mut left = place;
        let slot = tree.walk(|higher| {
            let there = left <= higher.0;
            if !there {
                left = left.wrapping_sub(higher.0);
            }
            there
        })?;
        servers.get(slot)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    /// Returns these numbers one after the other.
    fn source(numbers: &[u64]) -> impl FnMut(u64) -> u64 + '_ {
        let mut numbers = numbers.iter();
        move |below| {
            let number = *numbers.next().unwrap();
            assert!(number < below);
            number
        }
    }

    #[test]
    fn each_place_belongs_to_a_server_and_0_to_the_first() {
        let servers = weighted(&[3, 0, 2]);
        for (place, wanted) in [(0, 2), (1, 2), (2, 2), (3, 0), (4, 0), (5, 0)] {
            let picked = pick(&servers[..], source(&[place, place]));
            assert_eq!(picked.unwrap().id, wanted, "{place}");
        }
    }

    #[test]
    fn the_better_one_wins_and_the_first_draw_if_they_are_equal() {
        let mut servers = weighted(&[2, 2]);
        assert_eq!(pick(&servers[..], source(&[4, 1])).unwrap().id, 0);
        servers[0].as_mut().unwrap().inactive = 1;
        assert_eq!(pick(&servers[..], source(&[4, 1])).unwrap().id, 1);
        servers[1].as_mut().unwrap().inactive = 1;
        assert_eq!(pick(&servers[..], source(&[4, 1])).unwrap().id, 0);
    }

    #[test]
    fn finds_nothing_where_there_is_nothing() {
        assert_eq!(pick(&weighted(&[])[..], source(&[])), None);
        let mut servers = weighted(&[0, 5]);
        servers[1].as_mut().unwrap().overloaded = true;
        assert_eq!(pick(&servers[..], source(&[])), None);
    }

    #[test]
    fn extreme_weights_do_not_overflow() {
        let servers = weighted(&[i32::MAX; 3]);
        let sum = u64::from(u32::MAX >> 1) * 3;
        assert_eq!(pick(&servers[..], source(&[sum, sum])).unwrap().id, 0);
    }
}
