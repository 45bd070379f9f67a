// SPDX-License-Identifier: GPL-2.0

//! Weighted least connections (`wlc`): the server with the least overhead in proportion to its
//! weight (C: `ip_vs_wlc.c`).

use super::{
    least::Load,
    LoadInput,
    Server, //
};

pub(super) const LOAD_INPUT: LoadInput = LoadInput::Connections;

/// Returns the overhead of the server's connections in proportion to its weight.
#[inline]
pub(super) fn load<S: Server>(server: &S) -> Option<Load> {
    Some(Load::new(server.overhead(), server.weight()))
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
    fn load_counts_in_proportion_to_weight() {
        let mut servers = weighted(&[1, 3, 1]);
        assert_eq!(picked(LeastLoad::Wlc, &servers), Some(2));
        servers[2].as_mut().unwrap().active = 1;
        assert_eq!(picked(LeastLoad::Wlc, &servers), Some(1));
        servers[0].as_mut().unwrap().active = 1;
        servers[1].as_mut().unwrap().active = 3;
        assert_eq!(picked(LeastLoad::Wlc, &servers), Some(2));
        servers[1].as_mut().unwrap().active = 2;
        assert_eq!(picked(LeastLoad::Wlc, &servers), Some(1));
    }

    #[test]
    fn products_do_not_overflow() {
        let mut servers = weighted(&[i32::MAX, i32::MAX - 1]);
        for server in servers.iter_mut().flatten() {
            server.active = u32::MAX;
            server.inactive = u32::MAX;
        }
        assert_eq!(picked(LeastLoad::Wlc, &servers), Some(0));
    }

    #[test]
    fn servers_that_take_no_connections_are_left_out() {
        let mut servers = weighted(&[1, 0]);
        servers[0].as_mut().unwrap().active = 1000;
        assert_eq!(picked(LeastLoad::Wlc, &servers), Some(0));
        servers[0].as_mut().unwrap().overloaded = true;
        assert_eq!(picked(LeastLoad::Wlc, &servers), None);
    }
}
