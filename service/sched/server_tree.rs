// SPDX-License-Identifier: GPL-2.0

//! The tree of a service with many servers, which is updated before each choice.
//! [`ipvs_core::sched::tree`] is the data structure.

use super::{
    dests_view::{
        DestView,
        DestsView, //
    },
    dirty_slots::DirtySlots, //
};
use crate::service::dest::Dest;
use ipvs_core::sched::{
    least::Load,
    tree::{
        MaxWeight,
        Node,
        Tree, //
        WeightSum,
    },
    twos,
    wrr,
    LeastLoad,
    LoadInput,
    Random,
    RoundRobin,
    SchedulerKind,
    Servers, //
};
use kernel::prelude::*;
use linux::rcu::{
    Borrowed,
    Shared, //
};

/// Up to this number, servers are looked at one by one, which costs no more and needs no lock.
const FEW: usize = 32;

enum Kind {
    LeastLoad(LeastLoad, Tree<KVVec<Load>>),
    MaxWeight(Tree<KVVec<MaxWeight>>),
    WeightSum(Tree<KVVec<WeightSum>>),
}

/// The tree of a service's servers, and the set of servers that have changed.
pub(super) struct ServerTree {
    marks: Shared<DirtySlots>,
    kind: Kind,
}

fn tree<N: Node>(slots: usize) -> Result<Tree<KVVec<N>>> {
    let nodes = Tree::<KVVec<N>>::nodes_for(slots);
    Ok(Tree::new(KVVec::from_elem(N::EMPTY, nodes, GFP_KERNEL)?))
}

impl Kind {
    fn new(kind: SchedulerKind, slots: usize) -> Result<Option<(Self, LoadInput)>> {
        Ok(Some(match kind {
            SchedulerKind::LeastLoad(kind) => {
                (Self::LeastLoad(kind, tree(slots)?), kind.load_input())
            }
            SchedulerKind::Locality(_) => (
                Self::LeastLoad(LeastLoad::Wlc, tree(slots)?),
                LeastLoad::Wlc.load_input(),
            ),
            SchedulerKind::RoundRobin(RoundRobin::Wrr) => {
                (Self::MaxWeight(tree(slots)?), LoadInput::Weight)
            }
            SchedulerKind::Random(Random::Twos) => {
                (Self::WeightSum(tree(slots)?), LoadInput::Weight)
            }
            SchedulerKind::RoundRobin(RoundRobin::Rr) | SchedulerKind::ByHash(_) => {
                return Ok(None)
            }
        }))
    }

    #[inline]
    fn set(&mut self, slot: usize, server: Option<DestView<'_>>) {
        match self {
            Self::LeastLoad(kind, tree) => tree.set(
                slot,
                server.map_or(Load::EMPTY, |server| kind.load(&server, slot)),
            ),
            Self::MaxWeight(tree) => tree.set(
                slot,
                server.map_or(MaxWeight::EMPTY, |server| wrr::weight_of(&server)),
            ),
            Self::WeightSum(tree) => tree.set(
                slot,
                server.map_or(WeightSum::EMPTY, |server| twos::weight_of(&server)),
            ),
        }
    }
}

impl ServerTree {
    /// Creates a tree for `slots` slots. `None` if they are few, or if the scheduler does not use a
    /// tree. Sleeps.
    pub(super) fn new(kind: SchedulerKind, slots: usize) -> Result<Option<Self>> {
        if slots <= FEW {
            return Ok(None);
        }
        let Some((kind, load_input)) = Kind::new(kind, slots)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            marks: DirtySlots::new(slots, load_input)?,
            kind,
        }))
    }

    /// Adds a server and requests notifications about its changes.
    pub(super) fn watch(&mut self, slot: usize, dest: Borrowed<'_, Dest>) {
        dest.notifier.set(&self.marks, slot);
        self.kind.set(slot, Some(DestView(dest)));
    }

    /// Removes the server in a slot.
    pub(super) fn vacate(&mut self, slot: usize) {
        self.kind.set(slot, None);
    }

    /// Updates the tree for the servers that have changed.
    #[inline]
    pub(super) fn catch_up(&mut self, servers: &DestsView<'_, '_>) {
        let Self { marks, kind } = self;
        marks.slots.drain(|slot| kind.set(slot, servers.get(slot)));
    }

    /// Returns the server with the least load.
    #[inline]
    pub(super) fn least<'rcu>(&self, servers: &DestsView<'_, 'rcu>) -> Option<DestView<'rcu>> {
        match &self.kind {
            Kind::LeastLoad(_, tree) => tree.least(servers),
            _ => None,
        }
    }

    /// Returns the tree for `wrr`, if it is one.
    pub(super) fn max_weight(&self) -> Option<&Tree<KVVec<MaxWeight>>> {
        match &self.kind {
            Kind::MaxWeight(tree) => Some(tree),
            _ => None,
        }
    }

    /// Returns the tree for `twos`, if it is one.
    pub(super) fn sum(&self) -> Option<&Tree<KVVec<WeightSum>>> {
        match &self.kind {
            Kind::WeightSum(tree) => Some(tree),
            _ => None,
        }
    }
}
