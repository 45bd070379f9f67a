// SPDX-License-Identifier: GPL-2.0

//! What is in force for a service, and how it chooses.

use super::{
    by_hash::Map,
    by_target::Memories,
    candidates::{
        Candidate,
        Candidates, //
    },
    many::Many,
    watch, //
};
use crate::{
    service::dest::Dest,
    settings::Settings, //
};
use core::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};
use ipvs_core::sched::{
    rr,
    twos,
    wrr,
    Arrival,
    AtRandom,
    InTurn,
    Least,
    SchedulerKind,
    Server, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    new_spinlock_bh,
    random,
    rcu::{
        Reader,
        Shared,
        SharedCell, //
    },
    roster::Roster,
    spinlock::SpinLockBh, //
};

/// Where a round is.
pub(super) enum Turn {
    Nowhere,
    Rr(rr::State),
    Wrr(wrr::State),
}

/// What new connections change.
pub(super) struct Memory {
    pub(super) turn: Turn,
    /// If there are many servers. Its slots are those of the service's list.
    pub(super) many: Option<Many>,
}

/// What the weights of servers come to. Under the configuration lock, which weights are changed
/// under. Sleeps.
pub(super) fn weights(dests: &Roster<Dest>) -> wrr::Weights {
    let mut weights = wrr::Weights::new();
    dests.for_each(|_, dest, _| weights.add(dest.weight()));
    weights
}

/// The scheduler in force, with all that it keeps for the service.
#[pin_data]
pub(super) struct Current {
    pub(super) kind: SchedulerKind,
    /// Whether `memory` has a tree.
    pub(super) has_many: AtomicBool,
    #[pin]
    pub(super) memory: SpinLockBh<Memory>,
    pub(super) map: SharedCell<Map>,
    pub(super) memories: Option<Pin<KBox<Memories>>>,
}

impl Current {
    /// A scheduler of this kind, for the servers that there are. Sleeps.
    ///
    /// Errors: `ENOMEM`; `EINVAL` for more servers than the scheduler has room for.
    pub(super) fn new(
        kind: SchedulerKind,
        dests: Option<&Roster<Dest>>,
        settings: &Arc<Settings>,
    ) -> Result<Shared<Self>> {
        let turn = match (kind, dests) {
            (SchedulerKind::InTurn(InTurn::Rr), _) => Turn::Rr(rr::State::new()),
            (SchedulerKind::InTurn(InTurn::Wrr), Some(dests)) => {
                Turn::Wrr(wrr::State::with_weights(weights(dests)))
            }
            (SchedulerKind::InTurn(InTurn::Wrr), None) => Turn::Wrr(wrr::State::new()),
            _ => Turn::Nowhere,
        };
        let map = SharedCell::empty();
        if let (SchedulerKind::ByHash(kind), Some(dests)) = (kind, dests) {
            map.exchange(Some(Map::new(kind, dests, None)?.ok_or(EINVAL)?));
        }
        let memories = match kind {
            SchedulerKind::ByTarget(kind) => Some(Memories::new(kind, settings.clone())?),
            _ => None,
        };
        Shared::pin_init(
            pin_init!(Self {
                kind,
                has_many: AtomicBool::new(false),
                memory <- new_spinlock_bh!(Memory { turn, many: None }, "sched"),
                map,
                memories,
            }),
            GFP_KERNEL,
        )
    }

    /// Whether it has servers of its own in mind, or much memory for them.
    pub(super) fn remembers(&self, rcu: Reader<'_>) -> bool {
        self.memories.is_some() || self.map.get(rcu).is_some() || self.has_many.load(Relaxed)
    }

    /// The server for a new connection.
    #[inline]
    pub(super) fn pick<'rcu>(
        &self,
        dests: &Roster<Dest>,
        arrival: &Arrival,
        flags: u32,
        rcu: Reader<'rcu>,
    ) -> Option<Candidate<'rcu>> {
        match self.kind {
            SchedulerKind::Least(kind) => self.least(kind, dests, rcu),
            SchedulerKind::InTurn(_) => self.next(dests, rcu),
            SchedulerKind::AtRandom(AtRandom::Twos) => self.twos(dests, rcu),
            SchedulerKind::ByHash(kind) => self.map.get(rcu)?.get().pick(kind, arrival, flags, rcu),
            SchedulerKind::ByTarget(_) => {
                let view = dests.view(rcu);
                let least = || self.least(Least::Wlc, dests, rcu);
                self.memories
                    .as_ref()?
                    .pick(arrival.target, &Candidates(&view), least, rcu)
            }
        }
    }

    fn least<'rcu>(
        &self,
        kind: Least,
        dests: &Roster<Dest>,
        rcu: Reader<'rcu>,
    ) -> Option<Candidate<'rcu>> {
        if self.has_many.load(Relaxed) {
            // The servers do not move while there is a tree: see `closing_up`.
            if let Some(many) = &mut self.memory.lock().many {
                let view = dests.view(rcu);
                many.catch_up(&Candidates(&view));
                return many.least(&Candidates(&view));
            }
        }
        kind.pick(&Candidates(&dests.view(rcu)))
    }

    fn next<'rcu>(&self, dests: &Roster<Dest>, rcu: Reader<'rcu>) -> Option<Candidate<'rcu>> {
        let Memory { turn, many } = &mut *self.memory.lock();
        let view = dests.view(rcu);
        let servers = Candidates(&view);
        match (turn, many) {
            (Turn::Rr(state), _) => state.pick(&servers),
            (Turn::Wrr(state), None) => state.pick(&servers),
            (Turn::Wrr(state), Some(many)) => {
                many.catch_up(&servers);
                state.pick_with(&servers, many.heaviest()?)
            }
            (Turn::Nowhere, _) => None,
        }
    }

    fn twos<'rcu>(&self, dests: &Roster<Dest>, rcu: Reader<'rcu>) -> Option<Candidate<'rcu>> {
        if self.has_many.load(Relaxed) {
            if let Some(many) = &mut self.memory.lock().many {
                let view = dests.view(rcu);
                many.catch_up(&Candidates(&view));
                return twos::pick_with(&Candidates(&view), many.sum()?, random::below);
            }
        }
        twos::pick(&Candidates(&dests.view(rcu)), random::below)
    }

    /// Lets the servers tell `many` of their changes from now on, or nobody, and puts it to use.
    /// Under the configuration lock. Sleeps.
    pub(super) fn replant(&self, dests: &Roster<Dest>, many: Option<Many>) {
        if many.is_none() {
            watch::forget_all(dests);
        }
        let many = many.map(|mut many| {
            dests.for_each(|slot, dest, _| many.watch(slot, dest));
            many
        });
        let mut memory = self.memory.lock();
        self.has_many.store(many.is_some(), Relaxed);
        memory.many = many;
    }

    /// Takes in the server in the last slot.
    pub(super) fn take_in_last(&self, dests: &Roster<Dest>) {
        linux::rcu::read(|rcu| {
            let view = dests.view(rcu);
            let slot = view.len().wrapping_sub(1);
            if let (Some(many), Some(dest)) = (&mut self.memory.lock().many, view.get(slot)) {
                many.watch(slot, dest);
            }
        });
    }

    /// Puts another table in place, if there is one.
    pub(super) fn exchange_map(&self, map: Option<Shared<Map>>) {
        if map.is_some() {
            self.map.exchange(map);
        }
    }
}
