// SPDX-License-Identifier: GPL-2.0

//! Least connections: the server with the least overhead. Stands for `ip_vs_lc.c`.

use super::{
    all,
    Server,
    Servers, //
};

/// Picks the available server whose connections cost it least. `None` if there is none.
#[inline]
pub fn pick<V: Servers + ?Sized>(servers: &V) -> Option<V::S> {
    all(servers)
        .filter(Server::available)
        .min_by_key(Server::overhead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::testing::weighted;

    #[test]
    fn the_least_loaded_wins_and_the_newest_of_equals() {
        let mut servers = weighted(&[1, 100, 1]);
        assert_eq!(pick(&servers[..]).unwrap().id, 2);
        servers[2].as_mut().unwrap().inactive = 1;
        assert_eq!(pick(&servers[..]).unwrap().id, 1);
        servers[1].as_mut().unwrap().active = 1;
        servers[0].as_mut().unwrap().inactive = 257;
        servers[2].as_mut().unwrap().inactive = 256;
        assert_eq!(pick(&servers[..]).unwrap().id, 2);
        servers[2].as_mut().unwrap().inactive = 257;
        assert_eq!(pick(&servers[..]).unwrap().id, 2);
        servers[2].as_mut().unwrap().inactive = 258;
        assert_eq!(pick(&servers[..]).unwrap().id, 1);
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
