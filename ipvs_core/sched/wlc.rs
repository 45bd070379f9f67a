// SPDX-License-Identifier: GPL-2.0

//! Weighted least connections: the server with the least overhead for its weight. Stands for
//! `ip_vs_wlc.c`.

use super::{
    all,
    Server,
    Servers, //
};

/// Picks the available server whose connections cost it least in proportion to its weight. `None`
/// if there is none.
#[inline]
pub fn pick<V: Servers + ?Sized>(servers: &V) -> Option<V::S> {
    // a/v > b/w is a*w > b*v, as no weight is 0. Overheads take up to 41 bits and weights 31, which
    // is more than 64 together.
    all(servers)
        .filter(Server::available)
        .map(|server| (server, server.overhead(), server.weight().unsigned_abs()))
        .reduce(|least, other| {
            let (_, least_overhead, least_weight) = least;
            let (_, overhead, weight) = other;

            if product(least_overhead, weight) > product(overhead, least_weight) {
                other
            } else {
                least
            }
        })
        .map(|(server, _, _)| server)
}

#[inline]
fn product(overhead: u64, weight: u32) -> u128 {
    u128::from(overhead).wrapping_mul(u128::from(weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    #[test]
    fn load_counts_in_proportion_to_weight() {
        let mut servers = weighted(&[1, 3, 1]);
        assert_eq!(pick(&servers[..]).unwrap().id, 2);
        servers[2].as_mut().unwrap().active = 1;
        assert_eq!(pick(&servers[..]).unwrap().id, 1);
        servers[0].as_mut().unwrap().active = 1;
        servers[1].as_mut().unwrap().active = 3;
        assert_eq!(pick(&servers[..]).unwrap().id, 2);
        servers[1].as_mut().unwrap().active = 2;
        assert_eq!(pick(&servers[..]).unwrap().id, 1);
    }

    #[test]
    fn products_do_not_overflow() {
        let mut servers = weighted(&[i32::MAX, i32::MAX - 1]);
        for server in servers.iter_mut().flatten() {
            server.active = u32::MAX;
            server.inactive = u32::MAX;
        }
        assert_eq!(pick(&servers[..]).unwrap().id, 0);
    }

    #[test]
    fn servers_that_take_no_connections_are_left_out() {
        let mut servers = weighted(&[1, 0]);
        servers[0].as_mut().unwrap().active = 1000;
        assert_eq!(pick(&servers[..]).unwrap().id, 0);
        servers[0].as_mut().unwrap().overloaded = true;
        assert_eq!(pick(&servers[..]), None);
    }
}
