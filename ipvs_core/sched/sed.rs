// SPDX-License-Identifier: GPL-2.0

//! Shortest expected delay (`sed`): the server that, by its weight, would serve one more active
//! connection soonest (C: `ip_vs_sed.c`).

use super::{
    least::Load,
    LoadInput,
    Server, //
};

pub(super) const LOAD_INPUT: LoadInput = LoadInput::Active;

/// Returns the number of active connections including the new one, in proportion to the weight.
#[inline]
pub(super) fn load<S: Server>(server: &S) -> Option<Load> {
    Some(Load::new(
        u64::from(server.active()).wrapping_add(1),
        server.weight(),
    ))
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
    fn the_new_connection_counts() {
        let mut servers = weighted(&[1, 3, 1]);
        // Loads of 1/1, 1/3, 1/1; then 2/3, then 3/3, which equals that of the first server.
        assert_eq!(picked(LeastLoad::Sed, &servers), Some(1));
        servers[1].as_mut().unwrap().active = 1;
        assert_eq!(picked(LeastLoad::Sed, &servers), Some(1));
        servers[1].as_mut().unwrap().active = 2;
        assert_eq!(picked(LeastLoad::Sed, &servers), Some(2));
    }

    #[test]
    fn inactive_connections_do_not_count() {
        let mut servers = weighted(&[1, 1]);
        servers[1].as_mut().unwrap().inactive = 1000;
        assert_eq!(picked(LeastLoad::Sed, &servers), Some(1));
    }
}
