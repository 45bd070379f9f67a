// SPDX-License-Identifier: GPL-2.0

//! The state of the scheduler in use. The algorithms are in [`ipvs_core::sched`].

use super::{
    by_hash::LookupTable,
    dests_view::{
        DestView,
        DestsView, //
    },
    dirty_slots, //
    locality::LblcTable,
    server_tree::ServerTree,
};
use crate::{
    service::dest::Dest,
    settings::Settings, //
};
use ipvs_core::sched::{
    rr,
    twos,
    wrr,
    LeastLoad,
    Random,
    RoundRobin,
    SchedRequest,
    SchedulerKind,
    Server, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    new_spinlock_bh,
    random,
    rcu::{
        ReadLocked,
        Shared,
        SharedCell, //
    },
    rcu_slots::RcuSlots,
    spinlock::SpinLockBh, //
};

/// The position of a round-robin scheduler.
pub(super) enum Rotation {
    Nowhere,
    Rr(rr::State),
    Wrr(wrr::State),
}

/// The state that new connections change.
pub(super) struct Memory {
    pub(super) turn: Rotation,
    /// The tree, if there are many servers. Its slots are those of the service's list.
    pub(super) tree: Option<ServerTree>,
}

/// Returns the greatest common divisor and maximum of the servers' weights. Under the configuration
/// lock, which protects weights. Sleeps.
pub(super) fn weights(dests: &RcuSlots<Dest>) -> wrr::Weights {
    let mut weights = wrr::Weights::new();
    dests.for_each(|_, dest, _| weights.add(dest.weight()));
    weights
}

/// The scheduler in use and its state for the service.
#[pin_data]
pub(super) struct SchedState {
    pub(super) kind: SchedulerKind,
    /// `memory` has a tree.
    pub(super) has_tree: Atomic<bool>,
    #[pin]
    pub(super) memory: SpinLockBh<Memory>,
    pub(super) map: SharedCell<LookupTable>,
    pub(super) lblc_table: Option<Pin<KBox<LblcTable>>>,
}

impl linux::rcu::Object for SchedState {
    type Links = ();
}

impl SchedState {
    /// Creates the state of a scheduler for the present servers. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for more servers than the scheduler supports.
    pub(super) fn new(
        kind: SchedulerKind,
        dests: Option<&RcuSlots<Dest>>,
        settings: &Arc<Settings>,
    ) -> Result<Shared<Self>> {
        let turn = match (kind, dests) {
            (SchedulerKind::RoundRobin(RoundRobin::Rr), _) => Rotation::Rr(rr::State::new()),
            (SchedulerKind::RoundRobin(RoundRobin::Wrr), Some(dests)) => {
                Rotation::Wrr(wrr::State::with_weights(weights(dests)))
            }
            (SchedulerKind::RoundRobin(RoundRobin::Wrr), None) => Rotation::Wrr(wrr::State::new()),
            _ => Rotation::Nowhere,
        };
        let map = SharedCell::empty();
        if let (SchedulerKind::ByHash(kind), Some(dests)) = (kind, dests) {
            map.exchange(Some(LookupTable::new(kind, dests, None)?.ok_or(EINVAL)?));
        }
        let lblc_table = match kind {
            SchedulerKind::Locality(kind) => Some(LblcTable::new(kind, settings.clone())?),
            _ => None,
        };
        Shared::pin_init(
            pin_init!(Self {
                kind,
                has_tree: Atomic::new(false),
                memory <- new_spinlock_bh!(Memory { turn, tree: None }, "sched"),
                map,
                lblc_table,
            }),
            GFP_KERNEL,
        )
    }

    /// Returns `true` if the state has references to servers, or much memory.
    pub(super) fn remembers(&self, rcu: ReadLocked<'_>) -> bool {
        self.lblc_table.is_some() || self.map.get(rcu).is_some() || self.has_tree.load(Relaxed)
    }

    /// Picks the server for a new connection.
    #[inline]
    pub(super) fn pick<'rcu>(
        &self,
        dests: &RcuSlots<Dest>,
        request: &SchedRequest,
        flags: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<DestView<'rcu>> {
        match self.kind {
            SchedulerKind::LeastLoad(kind) => self.least(kind, dests, rcu),
            SchedulerKind::RoundRobin(_) => self.next(dests, rcu),
            SchedulerKind::Random(Random::Twos) => self.twos(dests, rcu),
            SchedulerKind::ByHash(kind) => self.map.get(rcu)?.get().pick(kind, request, flags, rcu),
            SchedulerKind::Locality(_) => {
                let view = dests.view(rcu);
                let least = || self.least(LeastLoad::Wlc, dests, rcu);
                self.lblc_table
                    .as_ref()?
                    .pick(request.target, &DestsView(&view), least, rcu)
            }
        }
    }

    fn least<'rcu>(
        &self,
        kind: LeastLoad,
        dests: &RcuSlots<Dest>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<DestView<'rcu>> {
        if self.has_tree.load(Relaxed) {
            // The servers do not move while there is a tree: see `closing_up`.
            if let Some(tree) = &mut self.memory.lock().tree {
                let view = dests.view(rcu);
                tree.catch_up(&DestsView(&view));
                return tree.least(&DestsView(&view));
            }
        }
        kind.pick(&DestsView(&dests.view(rcu)))
    }

    fn next<'rcu>(&self, dests: &RcuSlots<Dest>, rcu: ReadLocked<'rcu>) -> Option<DestView<'rcu>> {
        let Memory { turn, tree } = &mut *self.memory.lock();
        let view = dests.view(rcu);
        let servers = DestsView(&view);
        match (turn, tree) {
            (Rotation::Rr(state), _) => state.pick(&servers),
            (Rotation::Wrr(state), None) => state.pick(&servers),
            (Rotation::Wrr(state), Some(tree)) => {
                tree.catch_up(&servers);
                state.pick_with(&servers, tree.max_weight()?)
            }
            (Rotation::Nowhere, _) => None,
        }
    }

    fn twos<'rcu>(&self, dests: &RcuSlots<Dest>, rcu: ReadLocked<'rcu>) -> Option<DestView<'rcu>> {
        if self.has_tree.load(Relaxed) {
            if let Some(tree) = &mut self.memory.lock().tree {
                let view = dests.view(rcu);
                tree.catch_up(&DestsView(&view));
                return twos::pick_with(&DestsView(&view), tree.sum()?, random::below);
            }
        }
        twos::pick(&DestsView(&dests.view(rcu)), random::below)
    }

    /// Replaces the tree. The servers notify the new one about changes from then on. Under the
    /// configuration lock. Sleeps.
    pub(super) fn replant(&self, dests: &RcuSlots<Dest>, tree: Option<ServerTree>) {
        if tree.is_none() {
            dirty_slots::forget_all(dests);
        }
        let tree = tree.map(|mut tree| {
            dests.for_each(|slot, dest, _| tree.watch(slot, dest));
            tree
        });
        let mut memory = self.memory.lock();
        self.has_tree.store(tree.is_some(), Relaxed);
        memory.tree = tree;
    }

    /// Adds the server in the last slot to the tree.
    pub(super) fn take_in_last(&self, dests: &RcuSlots<Dest>) {
        linux::rcu::read(|rcu| {
            let view = dests.view(rcu);
            let slot = view.len().wrapping_sub(1);
            if let (Some(tree), Some(dest)) = (&mut self.memory.lock().tree, view.get(slot)) {
                tree.watch(slot, dest);
            }
        });
    }

    /// Replaces the lookup table, if there is a new one.
    pub(super) fn exchange_lookup_table(&self, map: Option<Shared<LookupTable>>) {
        if map.is_some() {
            self.map.exchange(map);
        }
    }
}
