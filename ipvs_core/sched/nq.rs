// SPDX-License-Identifier: GPL-2.0

//! Never queue (`nq`): the first idle server, otherwise the one with the shortest expected delay
//! (C: `ip_vs_nq.c`).

use super::{
    least::Load,
    sed,
    LoadInput,
    Server, //
};

pub(super) const LOAD_INPUT: LoadInput = LoadInput::Active;

/// Returns 0 for an idle server, and the load of `sed` for others.
#[inline]
pub(super) fn load<S: Server>(server: &S) -> Option<Load> {
    if server.active() == 0 {
        Some(Load::new(0, server.weight()))
    } else {
        sed::load(server)
    }
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
    fn an_idle_server_comes_before_a_fast_one() {
        let mut servers = weighted(&[1, 100, 1, 5]);
        for (active, wanted) in [
            ([0, 0, 0, 0], 3),
            ([0, 0, 0, 1], 2),
            ([0, 1, 1, 1], 0),
            ([1, 1, 1, 1], 1),
            ([1, 39, 1, 1], 3),
        ] {
            for (server, active) in servers.iter_mut().flatten().zip(active) {
                server.active = active;
            }
            assert_eq!(picked(LeastLoad::Nq, &servers), Some(wanted), "{active:?}");
        }
    }
}
