// SPDX-License-Identifier: GPL-2.0

//! The scheduler of a service: which of its servers gets a new connection. C: `ip_vs_sched.c`.
//!
//! The choices are made in [`ipvs_core::sched`], whose list [`ipvs_core::schedulers!`] is the only
//! one there is: names and numbers come from it. To add a scheduler of a family that exists, add its
//! line there, and the file of its formula; if C has a module for it, also its name in
//! `stand_ins/Kbuild`. A new family needs an arm in [`current::Current::pick`] besides, and what it
//! keeps for a service in a file here.
//!
//! # Keeping up
//!
//! - [`many`]: a service with many servers has a tree of them. Changes to a server's counters are
//!   marked where they are made ([`watch`]), without a lock, and taken over by the next choice.
//! - [`by_hash`]: a table that is made anew with each change to the servers, and exchanged whole.
//! - [`by_target`]: what is remembered of addresses, and swept now and then.

mod by_hash;
mod by_target;
mod candidates;
mod current;
mod many;
pub(crate) mod sweep;
pub(crate) mod watch;

use crate::{
    service::dest::Dest,
    settings::Settings, //
};
use by_hash::Map;
use candidates::Candidates;
use core::sync::atomic::Ordering::Relaxed;
use current::{
    Current,
    Memory,
    Turn, //
};
use ipvs_core::sched::{
    Arrival,
    InTurn,
    SchedulerKind,
    Server, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    rcu::{
        Borrowed,
        Reader,
        Shared,
        SharedCell, //
    },
    roster::{
        Roster,
        View, //
    }, //
};
use many::Many;

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
    map: Option<Shared<Map>>,
    /// Whether the servers will move to other slots.
    moves: bool,
    many: Option<Many>,
}

/// The scheduler of a service. Changed under the configuration lock.
pub(crate) struct Scheduler {
    /// Nothing: without a scheduler no connection is made.
    current: SharedCell<Current>,
    /// Those of the namespace.
    settings: Arc<Settings>,
}

impl Scheduler {
    /// A scheduler for a service without servers. Sleeps.
    pub(crate) fn new(kind: Option<SchedulerKind>, settings: Arc<Settings>) -> Result<Self> {
        let current = SharedCell::empty();
        if let Some(kind) = kind {
            current.exchange(Some(Current::new(kind, None, &settings)?));
        }
        Ok(Self { current, settings })
    }

    fn current(&self) -> Option<Shared<Current>> {
        linux::rcu::read(|rcu| self.current.get(rcu)?.share())
    }

    /// The scheduler in force.
    pub(crate) fn kind(&self) -> Option<SchedulerKind> {
        linux::rcu::read(|rcu| self.current.get(rcu).map(|current| current.kind))
    }

    /// Puts another scheduler in force; the same one goes on as it is. Sleeps.
    ///
    /// Errors: as for [`Current::new`]; the old one stays in force then.
    pub(crate) fn set(&self, kind: Option<SchedulerKind>, dests: &Roster<Dest>) -> Result {
        if kind == self.kind() {
            return Ok(());
        }
        let new = kind
            .map(|kind| Current::new(kind, Some(dests), &self.settings))
            .transpose()?;
        let many = match kind {
            Some(kind) => Many::new(kind, dests.room())?,
            None => None,
        };
        let old = self.current.exchange(new);
        match self.current() {
            Some(current) => current.replant(dests, many),
            None => watch::forget_all(dests),
        }
        if let Some(memories) = old.as_ref().and_then(|old| old.memories.as_ref()) {
            memories.clear();
        }
        Ok(())
    }

    /// The server for a new connection to a service with these flags, or `None` if none is
    /// available. Softirq, or process context under RCU.
    pub(crate) fn pick<'rcu>(
        &self,
        dests: &Roster<Dest>,
        arrival: &Arrival,
        flags: u32,
        rcu: Reader<'rcu>,
    ) -> Option<Borrowed<'rcu, Dest>> {
        let current = self.current.get(rcu)?;
        let picked = current.get().pick(dests, arrival, flags, rcu)?;
        Some(picked.0)
    }

    /// To be called before a change is made; what it returns belongs to the call after it. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn prepare(&self, dests: &Roster<Dest>, change: Change<'_>) -> Result<Prepared> {
        let Some(kind) = self.kind() else {
            return Ok(Prepared::default());
        };
        let map = match kind {
            // If there are too many servers, the table stays as it is.
            SchedulerKind::ByHash(kind)
                if kind.is_weighted() || !matches!(change, Change::Weigh(..)) =>
            {
                Map::new(kind, dests, Some(change))?
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
            many: match room {
                Some(room) => Many::new(kind, room)?,
                None => None,
            },
        })
    }

    /// A server was added.
    pub(crate) fn added(&self, dests: &Roster<Dest>, dest: &Dest, prepared: Prepared) {
        let Some(current) = self.current() else {
            return;
        };
        if let Turn::Wrr(state) = &mut current.memory.lock().turn {
            state.added(dest.weight());
        }
        if prepared.moves {
            current.replant(dests, prepared.many);
        } else {
            current.take_in_last(dests);
        }
        current.exchange_map(prepared.map);
    }

    /// A server was removed: `view` is what is left, with `slot` empty. Afterwards,
    /// [`Self::changed`] is called.
    pub(crate) fn removed(&self, view: &View<'_, '_, Dest>, slot: usize) {
        let Some(current) = self.current() else {
            return;
        };
        let Memory { turn, many } = &mut *current.memory.lock();
        match turn {
            Turn::Rr(state) => state.removed(&Candidates(view), slot),
            // `changed` follows.
            Turn::Wrr(_) | Turn::Nowhere => {}
        }
        if let Some(many) = many {
            many.vacate(slot);
        }
    }

    /// A server was edited, or the one that was removed has gone. Sleeps.
    pub(crate) fn changed(&self, dests: &Roster<Dest>, prepared: Prepared) {
        let Some(current) = self.current() else {
            return;
        };
        if current.kind == SchedulerKind::InTurn(InTurn::Wrr) {
            // Before packets are kept from choosing: this takes its time.
            let weights = current::weights(dests);
            if let Turn::Wrr(state) = &mut current.memory.lock().turn {
                state.changed_to(weights);
            }
        }
        current.exchange_map(prepared.map);
    }

    /// The servers are about to move together; `view` is how they are. Afterwards, [`Self::added`]
    /// is called.
    pub(crate) fn closing_up(&self, view: &View<'_, '_, Dest>) {
        let Some(current) = self.current() else {
            return;
        };
        let Memory { turn, many } = &mut *current.memory.lock();
        // Its slots mean nothing any more. Until the next one is there, each server is looked at.
        *many = None;
        current.has_many.store(false, Relaxed);
        match turn {
            Turn::Rr(state) => state.closed_up(&Candidates(view)),
            Turn::Wrr(state) => state.closed_up(&Candidates(view)),
            Turn::Nowhere => {}
        }
    }

    /// Whether it has to be swept.
    pub(crate) fn needs_sweeps(&self) -> bool {
        matches!(self.kind(), Some(SchedulerKind::ByTarget(_)))
    }

    /// Forgets what has not been of use for long.
    fn sweep(&self) {
        let current = self.current();
        if let Some(memories) = current
            .as_ref()
            .and_then(|current| current.memories.as_ref())
        {
            memories.sweep();
        }
    }

    /// The service ends: no server is remembered any more.
    pub(crate) fn retire(&self) {
        // Otherwise it goes with the service.
        if !linux::rcu::read(|rcu| self.current.get(rcu).is_some_and(|old| old.remembers(rcu))) {
            return;
        }
        if let Some(old) = self.current.exchange(None) {
            if let Some(memories) = &old.memories {
                memories.clear();
            }
        }
    }
}
