// SPDX-License-Identifier: GPL-2.0

//! The servers of a service in the form that [`ipvs_core::sched`] requires.

use crate::service::dest::Dest;
use ipvs_core::sched::{
    Server,
    Servers, //
};
use linux::{
    rcu::Borrowed,
    rcu_slots::Slots, //
};

/// The servers of a service.
pub(super) struct DestsView<'a, 'rcu>(pub(super) &'a Slots<'a, 'rcu, Dest>);

/// A server.
#[derive(Clone, Copy)]
pub(super) struct DestView<'rcu>(pub(super) Borrowed<'rcu, Dest>);

impl Server for DestView<'_> {
    #[inline]
    fn weight(&self) -> i32 {
        self.0.weight()
    }

    #[inline]
    fn active(&self) -> u32 {
        self.0.active()
    }

    #[inline]
    fn inactive(&self) -> u32 {
        self.0.inactive()
    }

    #[inline]
    fn overloaded(&self) -> bool {
        self.0.overloaded()
    }

    #[inline]
    fn in_service(&self) -> bool {
        self.0.available()
    }
}

impl<'rcu> Servers for DestsView<'_, 'rcu> {
    type S = DestView<'rcu>;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn get(&self, slot: usize) -> Option<DestView<'rcu>> {
        self.0.get(slot).map(DestView)
    }
}
