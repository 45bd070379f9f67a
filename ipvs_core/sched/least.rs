// SPDX-License-Identifier: GPL-2.0

//! The schedulers `lc`, `wlc`, `sed`, `nq`, `fo` and `ovf`, which choose the least loaded server.
//!
//! Each of them defines the load of a server as a fraction, [`Load`]. The server with the least
//! load is picked; of equally loaded servers the first. Few servers are compared one by one; among
//! many, the least load is kept up to date in a [`Tree`].

use super::{
    tree::{
        Node,
        Tree, //
    },
    walk,
    LeastLoad,
    LoadInput,
    Server,
    Servers, //
};
use core::ops::DerefMut;

/// The load of a server: the fraction `load / weight`, compared exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    load: u64,
    /// 0 if there is no server.
    weight: u32,
    slot: u32,
}

impl Load {
    /// Creates a load in proportion to a weight above 0. `load` must be less than 2^42, as
    /// overheads are.
    #[inline]
    pub(super) const fn new(load: u64, weight: i32) -> Self {
        Self {
            load,
            weight: weight.unsigned_abs(),
            slot: 0,
        }
    }

    /// Returns the slot of the server. `None` if there is no server.
    #[inline]
    pub fn slot(self) -> Option<usize> {
        (self.weight > 0).then_some(self.slot as usize)
    }
}

impl Node for Load {
    // An infinite load: not less than any load, itself included.
    const EMPTY: Self = Self {
        load: u64::MAX,
        weight: 0,
        slot: 0,
    };

    #[inline]
    fn join(lower: Self, higher: Self) -> Self {
        // a/v < b/w is a*w < b*v.
        let product = |load: u64, weight: u32| u128::from(load).wrapping_mul(u128::from(weight));
        if product(lower.load, higher.weight) < product(higher.load, lower.weight) {
            lower
        } else {
            higher
        }
    }
}

/// Picks the first server with the least load of those for which `load` returns one.
#[inline]
fn scan<V: Servers + ?Sized>(servers: &V, load: impl Fn(&V::S) -> Option<Load>) -> Option<V::S> {
    let mut least = Load::EMPTY;
    let mut picked = None;
    for (_, server) in walk(servers, 0..servers.len()) {
        if !server.available() {
            continue;
        }
        let Some(load) = load(&server) else {
            continue;
        };
        if Load::join(load, least) != least {
            (least, picked) = (load, Some(server));
        }
    }
    picked
}

macro_rules! dispatch {
    (LeastLoad { $($(#[$doc:meta])* $kind:ident $module:ident,)* } $($others:tt)*) => {
        impl LeastLoad {
            /// Picks the first server with the least load, comparing all servers. `None` if none is
            /// available.
            #[inline]
            pub fn pick<V: Servers + ?Sized>(self, servers: &V) -> Option<V::S> {
                match self {
                    $(Self::$kind => scan(servers, super::$module::load),)*
                }
            }

            /// Returns what the loads depend on.
            pub const fn load_input(self) -> LoadInput {
                match self {
                    $(Self::$kind => super::$module::LOAD_INPUT,)*
                }
            }

            /// Returns the load of the server in `slot`; [`Node::EMPTY`] if it gets no connections.
            #[inline]
            pub fn load<S: Server>(self, server: &S, slot: usize) -> Load {
                if !server.available() {
                    return Load::EMPTY;
                }
                let load = match self {
                    $(Self::$kind => super::$module::load(server),)*
                };
                match (load, u32::try_from(slot)) {
                    (Some(load), Ok(slot)) => Load { slot, ..load },
                    _ => Load::EMPTY,
                }
            }
        }
    };
}

super::schedulers!(dispatch);

impl<B: DerefMut<Target = [Load]>> Tree<B> {
    /// Returns the first server with the least load. The tree must have the current
    /// [`LeastLoad::load`] of each server in its slot. `None` if no server is available.
    #[inline]
    pub fn least<V: Servers + ?Sized>(&self, servers: &V) -> Option<V::S> {
        servers.get(self.root().slot()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(load: u64, weight: i32, slot: u32) -> Load {
        Load {
            slot,
            ..Load::new(load, weight)
        }
    }

    #[test]
    fn of_equals_the_higher_slot_is_first() {
        let (a, b) = (load(2, 4, 1), load(1, 2, 2));
        assert_eq!(Load::join(a, b), b);
        let (a, b) = (load(0, 4, 1), load(0, 9, 2));
        assert_eq!(Load::join(a, b), b);
    }

    #[test]
    fn any_server_is_better_than_none() {
        let most = load((1 << 42) - 1, 1, 3);
        assert_eq!(Load::join(most, Load::EMPTY), most);
        assert_eq!(Load::join(Load::EMPTY, most), most);
        assert_eq!(Load::join(Load::EMPTY, Load::EMPTY).slot(), None);
    }

    #[test]
    fn fractions_are_compared_exactly() {
        let (a, b) = (
            load((1 << 41) + 1, i32::MAX, 1),
            load(1 << 41, i32::MAX - 1, 2),
        );
        assert_eq!(Load::join(a, b), a);
        let (a, b) = (load((1 << 41) + 1, i32::MAX, 1), load(1 << 41, i32::MAX, 2));
        assert_eq!(Load::join(a, b), b);
    }
}
