// SPDX-License-Identifier: GPL-2.0

//! Scheduling: which of a service's servers gets a new connection.
//!
//! # Order
//!
//! A service's servers are slots that are filled in the order in which servers are added; a removed
//! server leaves an empty slot. The C module keeps a list with the newest server first and walks it
//! from there, so everything here goes **from the highest slot down to slot 0**: "first" is the
//! newest server, and of equally good servers the newest wins. With that, the choices are the C
//! module's.
//!
//! # Schedulers
//!
//! There are few ways to choose, and most schedulers differ in a formula. [`schedulers!`] is the
//! list of all, each in its family: a new one is a file with its formula and a line in the list.
//!
//! - [`LeastLoad`]: the server with the least load, whatever a scheduler calls load.
//! - [`ByHash`]: the server in a place of a table, by a hash of an address.
//! - [`RoundRobin`]: one after the other.
//! - [`Random`]: by chance.
//! - [`Locality`]: the server that had connections to the same address.
//!
//! # State
//!
//! What a scheduler remembers between connections is plain data that the caller locks. It must be
//! told of changes to the servers, as each method says. [`tree::Tree`] makes choices among many
//! servers quick; without it the choice is the same.

pub mod by_hash;
pub mod dirty_bits;
pub mod least;
pub mod locality;
pub mod tree;

use crate::net::{
    Addr,
    Be16, //
};

/// A server, as far as schedulers look at it.
pub trait Server {
    /// Weight; 0 (or less) means that the server gets no new connections.
    fn weight(&self) -> i32;

    /// Connections that count as active.
    fn active(&self) -> u32;

    /// Connections that don't.
    fn inactive(&self) -> u32;

    /// Whether the server has reached its upper threshold.
    fn overloaded(&self) -> bool;

    /// Whether it still belongs to the service. Only a scheduler that remembers servers may meet
    /// one that was removed.
    #[inline]
    fn in_service(&self) -> bool {
        true
    }

    /// Whether the server may get a new connection.
    #[inline]
    fn available(&self) -> bool {
        self.weight() > 0 && !self.overloaded()
    }

    /// What its connections cost the server: an active one counts 257 times as much as another.
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

/// What a scheduler looks at. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadInput {
    /// Weight and overload.
    Weight,
    /// How many connections are active.
    Active,
    /// How many connections there are.
    Connections,
}

/// The servers of a service.
pub trait Servers {
    /// How a server is referred to, e.g. `&'a Dest`.
    type S: Server + Copy;

    /// How many slots there are, empty ones included.
    fn len(&self) -> usize;

    /// The server in slot `slot`; `None` if it is empty or beyond the last.
    fn get(&self, slot: usize) -> Option<Self::S>;

    /// Whether there are no slots.
    #[inline]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The servers in slots `slots`, the first one first, each with its slot.
#[inline]
fn walk<V: Servers + ?Sized>(
    servers: &V,
    slots: core::ops::Range<usize>,
) -> impl Iterator<Item = (usize, V::S)> + '_ {
    slots
        .rev()
        .filter_map(|slot| servers.get(slot).map(|server| (slot, server)))
}

/// All servers, the first one first.
#[inline]
fn all<V: Servers + ?Sized>(servers: &V) -> impl Iterator<Item = V::S> + '_ {
    walk(servers, 0..servers.len()).map(|(_, server)| server)
}

/// The slot of the server before the one in `slot`, which may be empty by now. `None` if that was
/// the first.
fn predecessor<V: Servers + ?Sized>(servers: &V, slot: usize) -> Option<usize> {
    (slot.saturating_add(1)..servers.len()).find(|&before| servers.get(before).is_some())
}

/// Where the server in `slot` is when the empty slots have been closed up.
fn closed_up<V: Servers + ?Sized>(servers: &V, slot: usize) -> usize {
    walk(servers, 0..slot).fold(0, |below: usize, _| below.wrapping_add(1))
}

/// Where a new connection comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub struct SchedRequest {
    /// The client's address.
    pub client: Addr,
    /// The client's port; 0 if the protocol has none.
    pub client_port: Be16,
    /// The address that the client connects to.
    pub target: Addr,
}

/// All schedulers, handed to the macro `then`: families, and in each a line for a scheduler, with
/// its name among the others of its family and its module, whose name is that which users know.
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
                /// The better of two.
                Twos twos,
            }
            Locality {
                /// Locality-based least connections.
                Lblc lblc,
                /// The same, with replication.
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
            /// A family of schedulers; see the [module](self).
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $family {
                $($(#[$doc])* $kind,)*
            }
        )*

        /// The schedulers there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum SchedulerKind {
            $(
                /// One of this family.
                $family($family),
            )*
        }

        impl SchedulerKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$($(Self::$family($family::$kind),)*)*];

            /// The name by which users know the scheduler.
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
    /// The scheduler of this name, without a terminating NUL. `None` if there is no such scheduler
    /// (and for "none", which asks for no scheduler).
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

    /// The id of the server that a scheduler picks.
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

    /// Servers of these weights, with their slots as ids.
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
        assert_eq!(closed_up(&servers[..], 2), 1);
        assert_eq!(closed_up(&servers[..], 99), 2);
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
            assert_eq!(seen(&server), (7, 8, 9, overloaded, !removed));
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
