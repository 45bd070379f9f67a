// SPDX-License-Identifier: GPL-2.0

//! The scheduler of a service: which of its servers gets a new connection. C: `ip_vs_sched.c`.
//!
//! The choices are made in [`ipvs_core::sched`], whose list [`ipvs_core::schedulers!`] is the only
//! one there is: names and numbers come from it. To add a scheduler of a family that exists, add its
//! line there, and the file of its formula; if C has a module for it, also its name in
//! `stand_ins/Kbuild`. A new family needs an arm in [`state::SchedState::pick`] besides, and what it
//! keeps for a service in a file here.
//!
//! # Keeping up
//!
//! - [`server_tree`]: a service with many servers has a tree of them. Changes to a server's counters are
//!   marked where they are made ([`dirty_slots`]), without a lock, and taken over by the next choice.
//! - [`by_hash`]: a table that is made anew with each change to the servers, and exchanged whole.
//! - [`locality`]: what is remembered of addresses, and swept now and then.

mod by_hash;
mod dests_view;
pub(crate) mod dirty_slots;
mod locality;
mod server_tree;
mod state;
pub(crate) mod sweep;

use crate::{
    service::dest::Dest,
    settings::Settings, //
};
use by_hash::LookupTable;
use dests_view::DestsView;
use ipvs_core::sched::{
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
    atomic::Relaxed,
    rcu::{
        Borrowed,
        ReadLocked,
        Shared,
        SharedCell, //
    },
    rcu_slots::{
        RcuSlots,
        Slots, //
    },
};
use server_tree::ServerTree;
use state::{
    Memory,
    Rotation, //
    SchedState,
};

/// A change to a service's servers that is about to be made.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// A server comes, with this weight.
    Add(&'a Shared<Dest>, i32),
    /// A server gets this weight.
    Weigh(&'a Dest, i32),
    /// A server goes.
    Remove(&'a Dest),
}

/// What has to be allocated for a change, before it is made.
#[derive(Default)]
pub(crate) struct Prepared {
    map: Option<Shared<LookupTable>>,
    /// Whether the servers will move to other slots.
    moves: bool,
    tree: Option<ServerTree>,
}

/// The scheduler of a service. Changed under the configuration lock.
pub(crate) struct Scheduler {
    /// Nothing: without a scheduler no connection is made.
    current: SharedCell<SchedState>,
    /// Those of the namespace.
    settings: Arc<Settings>,
}

impl Scheduler {
    /// A scheduler for a service without servers. Sleeps.
    pub(crate) fn new(kind: Option<SchedulerKind>, settings: Arc<Settings>) -> Result<Self> {
        let current = SharedCell::empty();
        if let Some(kind) = kind {
            current.exchange(Some(SchedState::new(kind, None, &settings)?));
        }
        Ok(Self { current, settings })
    }

    fn current(&self) -> Option<Shared<SchedState>> {
        linux::rcu::read(|rcu| self.current.get(rcu)?.share())
    }

    /// The scheduler in force.
    pub(crate) fn kind(&self) -> Option<SchedulerKind> {
        linux::rcu::read(|rcu| self.current.get(rcu).map(|current| current.kind))
    }

    /// Puts another scheduler in force; the same one goes on as it is. Sleeps.
    ///
    /// Errors: as for [`SchedState::new`]; the old one stays in force then.
    pub(crate) fn set(&self, kind: Option<SchedulerKind>, dests: &RcuSlots<Dest>) -> Result {
        if kind == self.kind() {
            return Ok(());
        }
        let new = kind
            .map(|kind| SchedState::new(kind, Some(dests), &self.settings))
            .transpose()?;
        let tree = match kind {
            Some(kind) => ServerTree::new(kind, dests.room())?,
            None => None,
        };
        let old = self.current.exchange(new);
        match self.current() {
            Some(current) => current.replant(dests, tree),
            None => dirty_slots::forget_all(dests),
        }
        if let Some(lblc_table) = old.as_ref().and_then(|old| old.lblc_table.as_ref()) {
            lblc_table.clear();
        }
        Ok(())
    }

    /// The server for a new connection to a service with these flags, or `None` if none is
    /// available. Softirq, or process context under RCU.
    pub(crate) fn pick<'rcu>(
        &self,
        dests: &RcuSlots<Dest>,
        arrival: &SchedRequest,
        flags: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Dest>> {
        let current = self.current.get(rcu)?;
        let picked = current.get().pick(dests, arrival, flags, rcu)?;
        Some(picked.0)
    }

    /// To be called before a change is made; what it returns belongs to the call after it. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn prepare(&self, dests: &RcuSlots<Dest>, change: Change<'_>) -> Result<Prepared> {
        let Some(kind) = self.kind() else {
            return Ok(Prepared::default());
        };
        let map = match kind {
            // If there are too many servers, the table stays as it is.
            SchedulerKind::ByHash(kind)
                if kind.is_weighted() || !matches!(change, Change::Weigh(..)) =>
            {
                LookupTable::new(kind, dests, Some(change))?
            }
            _ => None,
        };
        let room = match change {
            Change::Add(..) => dests.room_after_move(),
            _ => None,
        };
        Ok(Prepared {
            map,
            moves: room.is_some(),
            tree: match room {
                Some(room) => ServerTree::new(kind, room)?,
                None => None,
            },
        })
    }

    /// A server was added.
    pub(crate) fn added(&self, dests: &RcuSlots<Dest>, dest: &Dest, prepared: Prepared) {
        let Some(current) = self.current() else {
            return;
        };
        if let Rotation::Wrr(state) = &mut current.memory.lock().turn {
            state.added(dest.weight());
        }
        if prepared.moves {
            current.replant(dests, prepared.tree);
        } else {
            current.take_in_last(dests);
        }
        current.exchange_lookup_table(prepared.map);
    }

    /// A server was removed: `view` is what is left, with `slot` empty. Afterwards,
    /// [`Self::changed`] is called.
    pub(crate) fn removed(&self, view: &Slots<'_, '_, Dest>, slot: usize) {
        let Some(current) = self.current() else {
            return;
        };
        let Memory { turn, tree } = &mut *current.memory.lock();
        match turn {
            Rotation::Rr(state) => state.removed(&DestsView(view), slot),
            // `changed` follows.
            Rotation::Wrr(_) | Rotation::Nowhere => {}
        }
        if let Some(tree) = tree {
            tree.vacate(slot);
        }
    }

    /// A server was edited, or the one that was removed has gone. Sleeps.
    pub(crate) fn changed(&self, dests: &RcuSlots<Dest>, prepared: Prepared) {
        let Some(current) = self.current() else {
            return;
        };
        if current.kind == SchedulerKind::RoundRobin(RoundRobin::Wrr) {
            // Before packets are kept from choosing: this takes its time.
            let weights = state::weights(dests);
            if let Rotation::Wrr(state) = &mut current.memory.lock().turn {
                state.changed_to(weights);
            }
        }
        current.exchange_lookup_table(prepared.map);
    }

    /// The servers are about to move together; `view` is how they are. Afterwards, [`Self::added`]
    /// is called.
    pub(crate) fn closing_up(&self, view: &Slots<'_, '_, Dest>) {
        let Some(current) = self.current() else {
            return;
        };
        let Memory { turn, tree } = &mut *current.memory.lock();
        // Its slots mean nothing any more. Until the next one is there, each server is looked at.
        *tree = None;
        current.has_tree.store(false, Relaxed);
        match turn {
            Rotation::Rr(state) => state.compacted(&DestsView(view)),
            Rotation::Wrr(state) => state.compacted(&DestsView(view)),
            Rotation::Nowhere => {}
        }
    }

    /// Whether it has to be swept.
    pub(crate) fn needs_sweeps(&self) -> bool {
        matches!(self.kind(), Some(SchedulerKind::Locality(_)))
    }

    /// Forgets what has not been of use for long.
    fn sweep(&self) {
        let current = self.current();
        if let Some(lblc_table) = current
            .as_ref()
            .and_then(|current| current.lblc_table.as_ref())
        {
            lblc_table.sweep();
        }
    }

    /// The service ends: no server is remembered any more.
    pub(crate) fn retire(&self) {
        // Otherwise it goes with the service.
        if !linux::rcu::read(|rcu| self.current.get(rcu).is_some_and(|old| old.remembers(rcu))) {
            return;
        }
        if let Some(old) = self.current.exchange(None) {
            if let Some(lblc_table) = &old.lblc_table {
                lblc_table.clear();
            }
        }
    }
}
