// SPDX-License-Identifier: GPL-2.0

//! The scheduler of a service. C: `ip_vs_sched.c`.
//!
//! The algorithms are in [`ipvs_core::sched`]; here are their locks, their storage, and the
//! notifications about changed servers. [`ipvs_core::schedulers!`] is the only list of schedulers,
//! from which names and numbers are taken. To add a scheduler of an existing family, add a line to
//! that list and a file with its formula; if C has a module for it, also its name in
//! `stand_ins/Kbuild`. A new family needs an arm in [`state::SchedState::pick`] as well, and a file
//! here for the state that it keeps for a service.
//!
//! # Keeping up with changes
//!
//! - [`server_tree`]: a service with many servers has a tree of them. Changes of a server's
//!   counters are recorded without a lock ([`dirty_slots`]), and the tree is updated before the
//!   next choice.
//! - [`by_hash`]: a lookup table, which is computed for each change of the servers and replaced as
//!   a whole.
//! - [`locality`]: a table of destination addresses, from which old entries are removed
//!   periodically.

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

/// A change of a service's servers that is about to be made.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Adds a server with this weight.
    Add(&'a Shared<Dest>, i32),
    /// Sets the weight of a server.
    Weigh(&'a Dest, i32),
    /// Removes a server.
    Remove(&'a Dest),
}

/// The memory for a change, which is allocated before the change is made.
#[derive(Default)]
pub(crate) struct Prepared {
    map: Option<Shared<LookupTable>>,
    /// The servers will move to other slots.
    moves: bool,
    tree: Option<ServerTree>,
}

/// The scheduler of a service. Changed under the configuration lock.
pub(crate) struct Scheduler {
    /// `None` if the service has no scheduler, and thus gets no connections.
    current: SharedCell<SchedState>,
    /// The settings of the namespace.
    settings: Arc<Settings>,
}

impl Scheduler {
    /// Creates a scheduler for a service without servers. Sleeps.
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

    /// Returns the scheduler in use.
    pub(crate) fn kind(&self) -> Option<SchedulerKind> {
        linux::rcu::read(|rcu| self.current.get(rcu).map(|current| current.kind))
    }

    /// Changes the scheduler. If it is the same, its state is kept. Sleeps.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SchedState::new`]; the old scheduler stays in use then.
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

    /// Picks the server for a new connection to a service with these flags. `None` if none is
    /// available.
    ///
    /// # Context
    ///
    /// Softirq, or process context under RCU.
    pub(crate) fn pick<'rcu>(
        &self,
        dests: &RcuSlots<Dest>,
        request: &SchedRequest,
        flags: u32,
        rcu: ReadLocked<'rcu>,
    ) -> Option<Borrowed<'rcu, Dest>> {
        let current = self.current.get(rcu)?;
        let picked = current.get().pick(dests, request, flags, rcu)?;
        Some(picked.0)
    }

    /// Allocates the memory for a change. The result is to be passed to the call after the change.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
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

    /// Updates the scheduler after a server was added.
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

    /// Updates the scheduler after a server was removed. `view` are the remaining ones, `slot` is
    /// the slot that is empty now. [`Self::changed`] must be called afterwards.
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

    /// Updates the scheduler after a server was edited, or as the second step after one was
    /// removed. Sleeps.
    pub(crate) fn changed(&self, dests: &RcuSlots<Dest>, prepared: Prepared) {
        let Some(current) = self.current() else {
            return;
        };
        if current.kind == SchedulerKind::RoundRobin(RoundRobin::Wrr) {
            // Computed before taking the lock, as it takes time.
            let weights = state::weights(dests);
            if let Rotation::Wrr(state) = &mut current.memory.lock().turn {
                state.changed_to(weights);
            }
        }
        current.exchange_lookup_table(prepared.map);
    }

    /// Updates the scheduler before the servers move to other slots. `view` are the servers before
    /// that. [`Self::added`] must be called afterwards.
    pub(crate) fn closing_up(&self, view: &Slots<'_, '_, Dest>) {
        let Some(current) = self.current() else {
            return;
        };
        let Memory { turn, tree } = &mut *current.memory.lock();
        // Its slots are no longer valid. Until there is a new one, the servers are looked at one by
        // one.
        *tree = None;
        current.has_tree.store(false, Relaxed);
        match turn {
            Rotation::Rr(state) => state.compacted(&DestsView(view)),
            Rotation::Wrr(state) => state.compacted(&DestsView(view)),
            Rotation::Nowhere => {}
        }
    }

    /// Returns `true` if the scheduler needs periodic sweeps.
    pub(crate) fn needs_sweeps(&self) -> bool {
        matches!(self.kind(), Some(SchedulerKind::Locality(_)))
    }

    /// Removes entries that have not been used for a long time.
    fn sweep(&self) {
        let current = self.current();
        if let Some(lblc_table) = current
            .as_ref()
            .and_then(|current| current.lblc_table.as_ref())
        {
            lblc_table.sweep();
        }
    }

    /// Drops the references to servers when the service is removed.
    pub(crate) fn retire(&self) {
        // Otherwise the state is freed with the service.
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
