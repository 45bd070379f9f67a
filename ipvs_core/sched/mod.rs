// SPDX-License-Identifier: GPL-2.0

//! Schedulers, which choose the server of a new connection.
//!
//! Here are the algorithms. The module's `service/sched.rs` and its files have their locks, their
//! storage and the notifications about changed servers.
//!
//! # Order
//!
//! The servers of a service are in slots, which are filled in the order in which servers are added.
//! A removed server leaves an empty slot. The C module keeps a list with the newest server at its
//! head and walks it from there. To make the same choices, everything here goes **from the highest
//! slot down to slot 0**: "first" is the newest server, and of equally good servers the newest is
//! chosen.
//!
//! # Schedulers
//!
//! Schedulers are grouped into families that share an algorithm; most schedulers are a formula for
//! it. [`schedulers!`] lists all schedulers by family. To add one, add a file with its formula and
//! a line in the list.
//!
//! - [`LeastLoad`]: the server with the least load, as the scheduler defines load.
//! - [`ByHash`]: the server found in a lookup table by the hash of an address.
//! - [`RoundRobin`]: one server after the other.
//! - [`Random`]: servers at random.
//! - [`Locality`]: the server that had connections to the same destination address.
//!
//! # State
//!
//! The state that a scheduler keeps between connections is plain data. The caller locks it and has
//! to report changes of the servers, as the methods document. [`tree::Tree`] speeds up choices
//! among many servers; the choices are the same without it.

pub mod by_hash;
pub mod dirty_bits;
pub mod least;
pub mod locality;
pub mod tree;

use crate::net::{
    Addr,
    Be16, //
};

/// A server, with what schedulers need to know about it.
pub trait Server {
    /// Returns the weight. A server with a weight of 0 or less gets no new connections.
    fn weight(&self) -> i32;

    /// Returns the number of active connections.
    fn active(&self) -> u32;

    /// Returns the number of inactive connections.
    fn inactive(&self) -> u32;

    /// Returns `true` if the server is overloaded: it has reached its upper threshold and is not
    /// yet below its lower one.
    fn overloaded(&self) -> bool;

    /// Returns `true` if the server still belongs to the service. Only schedulers that remember
    /// servers can come across one that was removed.
    #[inline]
    fn in_service(&self) -> bool {
        true
    }

    /// Returns `true` if the server may get new connections.
    #[inline]
    fn available(&self) -> bool {
        self.weight() > 0 && !self.overloaded()
    }

    /// Returns the overhead of the server's connections. An active connection counts 257 times as
    /// much as an inactive one (C: `ip_vs_dest_conn_overhead()`).
    #[inline]
    fn overhead(&self) -> u64 {
        u64::from(self.active())
            .wrapping_mul(257)
            .wrapping_add(u64::from(self.inactive()))
    }
}

impl<T: Server + ?Sized> Server for &T {
    #[inline]
    fn weight(&self) -> i32 {
        T::weight(self)
    }

    #[inline]
    fn active(&self) -> u32 {
        T::active(self)
    }

    #[inline]
    fn inactive(&self) -> u32 {
        T::inactive(self)
    }

    #[inline]
    fn overloaded(&self) -> bool {
        T::overloaded(self)
    }

    #[inline]
    fn in_service(&self) -> bool {
        T::in_service(self)
    }
}

/// The properties of a server that its load depends on. Each value includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadInput {
    /// Weight and overload.
    Weight,
    /// The number of active connections.
    Active,
    /// The numbers of active and inactive connections.
    Connections,
}

/// The servers of a service.
pub trait Servers {
    /// A reference to a server, for example `&'a Dest`.
    type S: Server + Copy;

    /// Returns the number of slots, including empty ones.
    fn len(&self) -> usize;

    /// Returns the server in a slot. `None` if the slot is empty or does not exist.
    fn get(&self, slot: usize) -> Option<Self::S>;

    /// Returns `true` if there are no slots.
    #[inline]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Iterates over the servers in `slots`, first (highest) one first, and their slots.
#[inline]
fn walk<V: Servers + ?Sized>(
    servers: &V,
    slots: core::ops::Range<usize>,
) -> impl Iterator<Item = (usize, V::S)> + '_ {
    slots
        .rev()
        .filter_map(|slot| servers.get(slot).map(|server| (slot, server)))
}

/// Iterates over all servers, first one first.
#[inline]
fn all<V: Servers + ?Sized>(servers: &V) -> impl Iterator<Item = V::S> + '_ {
    walk(servers, 0..servers.len()).map(|(_, server)| server)
}

/// Returns the slot of the server that comes before `slot`, which may be empty. `None` if there is
/// none.
fn predecessor<V: Servers + ?Sized>(servers: &V, slot: usize) -> Option<usize> {
    (slot.saturating_add(1)..servers.len()).find(|&before| servers.get(before).is_some())
}

/// Returns the new slot of the server in `slot` after empty slots were removed.
fn compacted<V: Servers + ?Sized>(servers: &V, slot: usize) -> usize {
    walk(servers, 0..slot).fold(0, |below: usize, _| below.wrapping_add(1))
}

/// The addresses of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct SchedRequest {
    /// The client's address.
    pub client: Addr,
    /// The client's port; 0 if the protocol has none.
    pub client_port: Be16,
    /// The destination address of the client's packet.
    pub target: Addr,
}

/// Calls the macro `then` with the list of all schedulers by family. Each has its variant name in
/// the family's enum, and the name of its module, which is also the name that users know.
#[macro_export]
macro_rules! schedulers {
    ($($then:tt)*) => {
        $($then)*! {
            LeastLoad {
                /// Least connections.
                Lc lc,
                /// Least connections in proportion to the weight.
                Wlc wlc,
                /// Shortest expected delay.
                Sed sed,
                /// Never queue.
                Nq nq,
                /// Weighted failover.
                Fo fo,
                /// Weighted overflow.
                Ovf ovf,
            }
            ByHash {
                /// Destination hashing.
                Dh dh,
                /// Source hashing.
                Sh sh,
                /// Maglev hashing.
                Mh mh,
            }
            RoundRobin {
                /// Round robin.
                Rr rr,
                /// Weighted round robin.
                Wrr wrr,
            }
            Random {
                /// Power of two choices.
                Twos twos,
            }
            Locality {
                /// Locality-based least connections.
                Lblc lblc,
                /// Locality-based least connections with replication.
                Lblcr lblcr,
            }
        }
    };
}

pub use schedulers;

macro_rules! kinds {
    ($($family:ident { $($(#[$doc:meta])* $kind:ident $module:ident,)* })*) => {
        $($($(#[$doc])* pub mod $module;)*)*

        $(
            /// The schedulers of a family; see the [module](self).
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $family {
                $($(#[$doc])* $kind,)*
            }
        )*

        /// A scheduler.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum SchedulerKind {
            $(
                /// A scheduler of this family.
                $family($family),
            )*
        }

        impl SchedulerKind {
            /// All schedulers.
            pub const ALL: &'static [Self] = &[$($(Self::$family($family::$kind),)*)*];

            /// Returns the name of the scheduler as users know it.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$family($family::$kind) => stringify!($module),)*)*
                }
            }
        }
    };
}

schedulers!(kinds);

impl SchedulerKind {
    /// Looks up a scheduler by its name, without a terminating NUL. `None` if there is no such
    /// scheduler; "none", which stands for no scheduler, is not one (C: `ip_vs_sched_getbyname()`).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.name().as_bytes() == name)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{
        LeastLoad,
        Server,
        Servers, //
    };

    /// Returns the id of the server that a scheduler picks.
    pub(crate) fn picked(least: LeastLoad, servers: &[Option<Fake>]) -> Option<u32> {
        least.pick(servers).map(|server| server.id)
    }

    /// A server for tests.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Fake {
        pub(crate) id: u32,
        pub(crate) weight: i32,
        pub(crate) active: u32,
        pub(crate) inactive: u32,
        pub(crate) overloaded: bool,
        pub(crate) removed: bool,
    }

    impl Server for Fake {
        fn weight(&self) -> i32 {
            self.weight
        }

        fn active(&self) -> u32 {
            self.active
        }

        fn inactive(&self) -> u32 {
            self.inactive
        }

        fn overloaded(&self) -> bool {
            self.overloaded
        }

        fn in_service(&self) -> bool {
            !self.removed
        }
    }

    impl Servers for [Option<Fake>] {
        type S = Fake;

        fn len(&self) -> usize {
            <[Option<Fake>]>::len(self)
        }

        fn get(&self, slot: usize) -> Option<Fake> {
            <[Option<Fake>]>::get(self, slot).copied().flatten()
        }
    }

    /// Returns servers with these weights, whose ids are their slots.
    pub(crate) fn weighted(weights: &[i32]) -> Vec<Option<Fake>> {
        (0..)
            .zip(weights)
            .map(|(id, &weight)| {
                Some(Fake {
                    id,
                    weight,
                    ..Fake::default()
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{
            weighted,
            Fake, //
        },
        *,
    };

    #[test]
    fn names_lead_to_schedulers_and_back() {
        for &kind in SchedulerKind::ALL {
            assert_eq!(SchedulerKind::from_name(kind.name().as_bytes()), Some(kind));
        }
        for name in [&b""[..], b"none", b"rr\0", b"RR", b"wl"] {
            assert_eq!(SchedulerKind::from_name(name), None);
        }
    }

    #[test]
    fn the_newest_server_comes_first() {
        let mut servers = weighted(&[1, 1, 1]);
        servers[1] = None;
        let ids: Vec<_> = all(&servers[..]).map(|server| server.id).collect();
        assert_eq!(ids, [2, 0]);
        assert_eq!(predecessor(&servers[..], 0), Some(2));
        assert_eq!(predecessor(&servers[..], 2), None);
        assert_eq!(compacted(&servers[..], 2), 1);
        assert_eq!(compacted(&servers[..], 99), 2);
    }

    #[test]
    fn overhead_does_not_overflow() {
        let server = Fake {
            active: u32::MAX,
            inactive: u32::MAX,
            ..Fake::default()
        };
        assert_eq!(server.overhead(), u64::from(u32::MAX) * 258);
    }

    #[test]
    fn a_reference_is_the_server_that_it_refers_to() {
        fn seen(server: impl Server) -> (i32, u32, u32, bool, bool) {
            (
                server.weight(),
                server.active(),
                server.inactive(),
                server.overloaded(),
                server.in_service(),
            )
        }
        for (overloaded, removed) in [(false, true), (true, false)] {
            let server = Fake {
                weight: 7,
                active: 8,
                inactive: 9,
                overloaded,
                removed,
                ..Fake::default()
            };
            assert_eq!(seen(server), (7, 8, 9, overloaded, !removed));
        }
    }

    #[test]
    fn a_server_that_does_not_say_otherwise_is_in_service() {
        struct Plain;

        impl Server for Plain {
            fn weight(&self) -> i32 {
                1
            }

            fn active(&self) -> u32 {
                0
            }

            fn inactive(&self) -> u32 {
                0
            }

            fn overloaded(&self) -> bool {
                false
            }
        }
        assert!(Plain.in_service() && Plain.available());
    }

    #[test]
    fn there_are_slots_even_if_all_are_empty() {
        let none: &[Option<Fake>] = &[];
        assert!(Servers::is_empty(none));
        assert!(!Servers::is_empty(&[None::<Fake>][..]));
    }
}
