// SPDX-License-Identifier: GPL-2.0

//! The scheduler of a service: which of its servers gets a new connection.
//!
//! The choices themselves are [`ipvs_core::sched`]; here is what a service keeps for them, and the
//! lock that those with a memory need. C: `ip_vs_sched.c`, `svc->sched_lock`.

use crate::dest::Dest;
use core::sync::atomic::{
    AtomicU8,
    Ordering::Relaxed, //
};
use ipvs_core::sched::{
    lc,
    rr,
    wlc,
    wrr,
    SchedulerKind,
    Servers, //
};
use kernel::prelude::*;
use linux::{
    new_spinlock_bh,
    rcu::{
        Borrowed,
        Reader, //
    },
    roster::{
        Roster,
        View, //
    },
    spinlock::SpinLockBh, //
};

/// The servers of a service, as schedulers see them.
struct Candidates<'a, 'rcu>(&'a View<'rcu, Dest>);

/// A server, as a scheduler returns it.
#[derive(Clone, Copy)]
struct Candidate<'rcu>(Borrowed<'rcu, Dest>);

impl ipvs_core::sched::Server for Candidate<'_> {
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
}

impl<'rcu> Servers for Candidates<'_, 'rcu> {
    type S = Candidate<'rcu>;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn get(&self, slot: usize) -> Option<Candidate<'rcu>> {
        self.0.get(slot).map(Candidate)
    }
}

/// What a scheduler remembers.
enum Memory {
    Nothing,
    Rr(rr::State),
    Wrr(wrr::State),
}

/// The numbers of [`SchedulerKind`] in [`Scheduler::kind`]; 0 is none.
const KINDS: [SchedulerKind; 4] = SchedulerKind::ALL;

/// The scheduler of a service. Changed under the configuration lock.
#[pin_data]
pub(crate) struct Scheduler {
    /// Place in [`KINDS`] plus 1, or 0: without a scheduler no connection is made.
    kind: AtomicU8,
    #[pin]
    memory: SpinLockBh<Memory>,
}

impl Scheduler {
    /// A scheduler for a service without servers.
    pub(crate) fn new(kind: Option<SchedulerKind>) -> impl PinInit<Self> {
        let memory = match kind {
            Some(SchedulerKind::Rr) => Memory::Rr(rr::State::new()),
            Some(SchedulerKind::Wrr) => Memory::Wrr(wrr::State::new()),
            _ => Memory::Nothing,
        };
        pin_init!(Self {
            kind: AtomicU8::new(Self::number(kind)),
            memory <- new_spinlock_bh!(memory, "sched"),
        })
    }

    fn number(kind: Option<SchedulerKind>) -> u8 {
        KINDS
            .iter()
            .zip(1..)
            .find_map(|(&known, number)| (Some(known) == kind).then_some(number))
            .unwrap_or(0)
    }

    /// The scheduler in force.
    #[inline]
    pub(crate) fn kind(&self) -> Option<SchedulerKind> {
        let place = usize::from(self.kind.load(Relaxed)).checked_sub(1)?;
        KINDS.get(place).copied()
    }

    /// Puts another scheduler in force; the same one goes on as it is.
    pub(crate) fn set(&self, kind: Option<SchedulerKind>, dests: &Roster<Dest>) {
        if kind == self.kind() {
            return;
        }
        linux::rcu::read(|rcu| {
            let view = dests.view(rcu);
            let mut memory = self.memory.lock();
            *memory = match kind {
                Some(SchedulerKind::Rr) => Memory::Rr(rr::State::new()),
                Some(SchedulerKind::Wrr) => {
                    Memory::Wrr(wrr::State::with_servers(&Candidates(&view)))
                }
                _ => Memory::Nothing,
            };
            self.kind.store(Self::number(kind), Relaxed);
        });
    }

    /// The server for a new connection, or `None` if none is available. Softirq, or process context
    /// under RCU.
    pub(crate) fn pick<'rcu>(
        &self,
        dests: &Roster<Dest>,
        rcu: Reader<'rcu>,
    ) -> Option<Borrowed<'rcu, Dest>> {
        let view = dests.view(rcu);
        let servers = Candidates(&view);
        let picked = match self.kind()? {
            SchedulerKind::Lc => lc::pick(&servers),
            SchedulerKind::Wlc => wlc::pick(&servers),
            SchedulerKind::Rr | SchedulerKind::Wrr => match &mut *self.memory.lock() {
                Memory::Rr(state) => state.pick(&servers),
                Memory::Wrr(state) => state.pick(&servers),
                // Just replaced by a scheduler without a memory: the next packet will see it.
                Memory::Nothing => None,
            },
        };
        picked.map(|candidate| candidate.0)
    }

    /// A server was added, with its weight.
    pub(crate) fn added(&self, weight: i32) {
        if let Memory::Wrr(state) = &mut *self.memory.lock() {
            state.added(weight);
        }
    }

    /// A server was removed: `view` is what is left, with `slot` empty.
    pub(crate) fn removed(&self, view: &View<'_, Dest>, slot: usize) {
        match &mut *self.memory.lock() {
            Memory::Rr(state) => state.removed(&Candidates(view), slot),
            Memory::Wrr(state) => state.changed(&Candidates(view)),
            Memory::Nothing => {}
        }
    }

    /// A server was edited.
    pub(crate) fn changed(&self, dests: &Roster<Dest>) {
        if let Memory::Wrr(state) = &mut *self.memory.lock() {
            linux::rcu::read(|rcu| state.changed(&Candidates(&dests.view(rcu))));
        }
    }

    /// The servers are about to move together; `view` is how they are.
    pub(crate) fn closing_up(&self, view: &View<'_, Dest>) {
        match &mut *self.memory.lock() {
            Memory::Rr(state) => state.closed_up(&Candidates(view)),
            Memory::Wrr(state) => state.closed_up(&Candidates(view)),
            Memory::Nothing => {}
        }
    }
}
