// SPDX-License-Identifier: GPL-2.0

//! Least connections (`lc`): the server with the least overhead (C: `ip_vs_lc.c`).

use super::{
    least::Load,
    LoadInput,
    Server, //
};

pub(super) const LOAD_INPUT: LoadInput = LoadInput::Connections;

/// Returns the overhead of the server's connections.
#[inline]
pub(super) fn load<S: Server>(server: &S) -> Option<Load> {
    Some(Load::new(server.overhead(), 1))
}

#[cfg(test)]
mod tests {
    use crate::sched::{
        testing::{
            picked,
            weighted, //
        },
        LeastLoad, //
    };

    #[test]
    fn the_least_loaded_wins_and_the_newest_of_equals() {
        let mut servers = weighted(&[1, 100, 1]);
        assert_eq!(picked(LeastLoad::Lc, &servers), Some(2));
        servers[2].as_mut().unwrap().inactive = 1;
        assert_eq!(picked(LeastLoad::Lc, &servers), Some(1));
        servers[1].as_mut().unwrap().active = 1;
        servers[0].as_mut().unwrap().inactive = 257;
        servers[2].as_mut().unwrap().inactive = 256;
        assert_eq!(picked(LeastLoad::Lc, &servers), Some(2));
        servers[2].as_mut().unwrap().inactive = 257;
        assert_eq!(picked(LeastLoad::Lc, &servers), Some(2));
        servers[2].as_mut().unwrap().inactive = 258;
        assert_eq!(picked(LeastLoad::Lc, &servers), Some(1));
    }

    #[test]
    fn servers_that_take_no_connections_are_left_out() {
        let mut servers = weighted(&[1, 0]);
        servers[0].as_mut().unwrap().active = 1000;
        assert_eq!(picked(LeastLoad::Lc, &servers), Some(0));
        servers[0].as_mut().unwrap().overloaded = true;
        assert_eq!(picked(LeastLoad::Lc, &servers), None);
    }
}
