// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections with replication (`lblcr`): the least loaded server of a set
//! that is remembered for the destination address (C: `ip_vs_lblcr.c`).
//!
//! A server is added to the set when its servers are crowded. The most loaded one is removed when
//! the set has not changed for a long time.

use super::{
    least::Load,
    tree::Node,
    wlc,
    LeastLoad,
    Server, //
};

/// Returns the server of a set that gets the next connection, unless it [is
/// crowded](super::locality::is_crowded). `None` if none is available. `set` yields the server that
/// was added last first (C: `ip_vs_dest_set_min()`).
#[inline]
pub fn least_loaded<S: Server>(set: impl Iterator<Item = S>) -> Option<S> {
    let mut least = (Load::EMPTY, None);
    for server in set.filter(Server::in_service) {
        let load = LeastLoad::Wlc.load(&server, 0);
        if Load::join(load, least.0) != least.0 {
            least = (load, Some(server));
        }
    }
    least.1
}

/// Returns the server to remove from a set: the most loaded one. `None` if none has a weight (C:
/// `ip_vs_dest_set_max()`).
pub fn most_loaded<S: Server>(set: impl Iterator<Item = S>) -> Option<S> {
    let mut most: Option<(Load, S)> = None;
    for server in set.filter(|server| server.weight() > 0) {
        let Some(load) = wlc::load(&server) else {
            continue;
        };
        // `join()` returns the lesser load, the second one if they are equal.
        match most {
            Some((greatest, _)) if load == greatest || Load::join(greatest, load) != greatest => {}
            _ => most = Some((load, server)),
        }
    }
    most.map(|(_, server)| server)
}

/// Returns `true` if a server is to be removed from a set of `len` servers, `age` ticks after the
/// set changed.
#[inline]
pub fn should_shrink(len: usize, age: usize, expiration: usize) -> bool {
    // The age wraps around if the time of the change is in the future.
    len > 1 && age > expiration && age <= usize::MAX >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    fn ids(servers: &[Option<crate::sched::testing::Fake>]) -> (Option<u32>, Option<u32>) {
        let set = || servers.iter().copied().flatten();
        (
            least_loaded(set()).map(|server| server.id),
            most_loaded(set()).map(|server| server.id),
        )
    }

    #[test]
    fn the_first_of_equals_is_least_and_most() {
        let mut servers = weighted(&[1, 1, 2, 0]);
        assert_eq!(ids(&servers), (Some(0), Some(0)));
        for (server, active) in servers.iter_mut().flatten().zip([2, 3, 2, 100]) {
            server.active = active;
        }
        assert_eq!(ids(&servers), (Some(2), Some(1)));
        servers[2].as_mut().unwrap().active = 4;
        assert_eq!(ids(&servers), (Some(0), Some(1)));
        servers[0].as_mut().unwrap().active = 3;
        assert_eq!(ids(&servers), (Some(2), Some(0)));
    }

    #[test]
    fn a_server_at_its_threshold_may_only_leave() {
        let mut servers = weighted(&[1, 1]);
        servers[0].as_mut().unwrap().overloaded = true;
        assert_eq!(ids(&servers), (Some(1), Some(0)));
        assert_eq!(ids(&weighted(&[0])), (None, None));
        assert_eq!(ids(&[]), (None, None));
    }

    #[test]
    fn a_set_shrinks_when_it_is_old() {
        assert!(should_shrink(2, 11, 10));
        for (len, age) in [(1, 11), (2, 10), (2, usize::MAX)] {
            assert!(!should_shrink(len, age, 10), "{len} {age}");
        }
    }
}
