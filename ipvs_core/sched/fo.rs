// SPDX-License-Identifier: GPL-2.0

//! Weighted failover (`fo`): the available server with the greatest weight gets all connections (C:
//! `ip_vs_fo.c`).

use super::{
    least::Load,
    LoadInput,
    Server, //
};

pub(super) const LOAD_INPUT: LoadInput = LoadInput::Weight;

/// Returns a load that is inversely proportional to the weight.
#[inline]
pub(super) fn load<S: Server>(server: &S) -> Option<Load> {
    Some(Load::new(1, server.weight()))
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
    fn the_greatest_weight_gets_all_while_it_is_available() {
        let mut servers = weighted(&[7, 9, 0, 9, 8]);
        for active in [0, 1000] {
            servers[3].as_mut().unwrap().active = active;
            assert_eq!(picked(LeastLoad::Fo, &servers), Some(3));
        }
        servers[3].as_mut().unwrap().overloaded = true;
        assert_eq!(picked(LeastLoad::Fo, &servers), Some(1));
        servers[1].as_mut().unwrap().weight = 0;
        assert_eq!(picked(LeastLoad::Fo, &servers), Some(4));
    }
}
