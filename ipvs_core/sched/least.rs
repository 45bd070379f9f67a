// SPDX-License-Identifier: GPL-2.0

//! The least loaded server: what `lc`, `wlc`, `sed`, `nq`, `fo` and `ovf` have in common.
//!
//! Each of these says what a server's load is, as a fraction: [`Load`]. The server with the least one
//! is picked, and the first of equals. Few servers are looked at one by one; of many, a [`Tree`] of
//! loads knows the least.

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

/// The load of a server: `load / weight`, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    load: u64,
    /// 0 for no server.
    weight: u32,
    slot: u32,
}

impl Load {
    /// A load in proportion to a weight above 0. `load` is less than 2^42, as an overhead is.
    #[inline]
    pub(super) const fn new(load: u64, weight: i32) -> Self {
        Self {
            load,
            weight: weight.unsigned_abs(),
            slot: 0,
        }
    }

    /// The slot of the server, or `None` if there is no server.
    #[inline]
    pub fn slot(self) -> Option<usize> {
        (self.weight > 0).then_some(self.slot as usize)
    }
}

impl Node for Load {
    // Infinitely much: neither less than a load, nor than itself.
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

/// Picks the first server with the least load, of those that have one.
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
            /// Picks the first server with the least load. `None` if no server is available. Looks
            /// at all of them.
            #[inline]
            pub fn pick<V: Servers + ?Sized>(self, servers: &V) -> Option<V::S> {
                match self {
                    $(Self::$kind => scan(servers, super::$module::load),)*
                }
            }

            /// What loads depend on.
            pub const fn looks_at(self) -> LoadInput {
                match self {
                    $(Self::$kind => super::$module::LOOKS_AT,)*
                }
            }

            /// The load of the server in `slot`, [`Node::EMPTY`] if it gets no connections.
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
    /// The first server with the least load, if the tree has it. The tree must be up to date: each
    /// server's [`LeastLoad::load`] in its slot.
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
