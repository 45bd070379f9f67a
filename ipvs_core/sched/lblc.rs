// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections (`lblc`): the server that had the last connection to the same
//! destination address, unless it is crowded (C: `ip_vs_lblc.c`).

use super::{
    locality::is_crowded,
    Server,
    Servers, //
};

/// Returns `true` if the server that is remembered for an address may get the next connection, too.
///
/// Thresholds are not considered, as in C.
#[inline]
pub fn is_usable<V: Servers + ?Sized>(server: &V::S, servers: &V) -> bool {
    server.in_service() && server.weight() > 0 && !is_crowded(server, servers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    #[test]
    fn a_server_is_kept_while_it_takes_connections() {
        let mut servers = weighted(&[1, 2]);
        let usable = |servers: &[Option<crate::sched::testing::Fake>]| {
            is_usable(&servers[0].unwrap(), servers)
        };
        assert!(usable(&servers));
        servers[0].as_mut().unwrap().overloaded = true;
        assert!(usable(&servers));
        servers[0].as_mut().unwrap().active = 2;
        assert!(!usable(&servers));
        servers[0].as_mut().unwrap().active = 0;
        servers[0].as_mut().unwrap().weight = 0;
        assert!(!usable(&servers));
        servers[0].as_mut().unwrap().weight = 1;
        assert!(usable(&servers));
        servers[0].as_mut().unwrap().removed = true;
        assert!(!usable(&servers));
    }
}
