// SPDX-License-Identifier: GPL-2.0

//! Weighted overflow (`ovf`): the server with the greatest weight gets all connections until it has
//! more active connections than its weight; then the next one (C: `ip_vs_ovf.c`).

use super::{
    fo,
    least::Load,
    LoadInput,
    Server, //
};

pub(super) const LOAD_INPUT: LoadInput = LoadInput::Active;

/// Returns the load of `fo`; `None` for a server that is full.
#[inline]
pub(super) fn load<S: Server>(server: &S) -> Option<Load> {
    let full = i64::from(server.active()) > i64::from(server.weight());
    if full {
        None
    } else {
        fo::load(server)
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
    fn connections_flow_over_to_the_next_weight() {
        let mut servers = weighted(&[3, 2, 1]);
        let mut picks = Vec::new();
        while let Some(id) = picked(LeastLoad::Ovf, &servers) {
            servers[id as usize].as_mut().unwrap().active += 1;
            picks.push(id);
        }
        assert_eq!(picks, [0, 0, 0, 0, 1, 1, 1, 2, 2]);
    }
}
