// SPDX-License-Identifier: GPL-2.0

//! Sessions of applications: a control connection, and the data connections that it announces. C:
//! `cp->app`, `cp->app_data`, `cp->n_control`.
//!
//! A control connection does not end while it has data connections: when it expires it is extended by
//! a minute, as in the C module. Data connections refer to the session, not to the connection.

use super::{
    expire::expire_forced,
    Conn,
    ConnTable,
    Found, //
};
use crate::{
    app::Bound,
    family::Family, //
};
use ipvs_core::{
    flow::{
        Flow,
        HashKey, //
    },
    net::Be16, //
};
use kernel::sync::Arc;
use linux::{
    atomic::{
        Atomic,
        Full,
        InlineAtomic,
        Relaxed, //
    },
    jiffies::HZ,
    nf_nat::ManglerRef,
    rcu, //
};

/// The extension of a control connection that has data connections when it expires, in ticks (C: `60 *
/// HZ`).
pub(super) const AGAIN: u32 = 60 * HZ;

/// The value of `conns` once the control connection has ended without data connections.
const ENDED: u32 = u32::MAX;

/// A control connection and its data connections.
pub(crate) struct Session<F: Family> {
    /// The flow of the requests of the control connection.
    request: Flow<F::Addr>,
    bound: Bound,
    /// The number of data connections, or [`ENDED`].
    conns: InlineAtomic<u32>,
    /// What the client waits for, as [`Awaited`] numbers it.
    awaited: Atomic<u32>,
    /// The last reply that was changed, as [`Changed`] packs it; 0 for none.
    changed: Atomic<u64>,
}

/// A reply that the client of a control connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// None that matters.
    Nothing,
    /// The reply to `PASV`.
    Passive,
    /// The reply to `EPSV`.
    ExtendedPassive,
}

impl Awaited {
    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Passive,
            2 => Self::ExtendedPassive,
            _ => Self::Nothing,
        }
    }
}

/// A reply that was changed, so that it can be changed in the same way if it is sent again.
#[derive(Clone, Copy)]
pub(crate) struct Changed {
    /// The sequence number of the packet, as the server sent it.
    pub(crate) seq: u32,
    /// What it is a reply to.
    pub(crate) kind: Awaited,
    /// The virtual port that it tells the client.
    pub(crate) vport: Be16,
}

impl Changed {
    fn pack(self) -> u64 {
        let vport = u64::from(self.vport.host()) << 32;
        u64::from(self.seq) | vport | (self.kind as u64) << 48
    }

    fn unpack(word: u64) -> Option<Self> {
        let kind = Awaited::from_number((word >> 48) as u32);
        (kind != Awaited::Nothing).then(|| Self {
            seq: word as u32,
            kind,
            vport: Be16::new((word >> 32) as u16),
        })
    }
}

impl<F: Family> Session<F> {
    /// Returns the flow of the requests of the control connection.
    pub(crate) fn request(&self) -> Flow<F::Addr> {
        self.request
    }

    /// Makes the session of a control connection with these requests.
    pub(super) fn new(request: Flow<F::Addr>, bound: Bound) -> Self {
        Self {
            request,
            bound,
            conns: InlineAtomic::new(0),
            awaited: Atomic::new(Awaited::Nothing as u32),
            changed: Atomic::new(0),
        }
    }

    /// Returns the virtual port of the control connection.
    pub(crate) fn vport(&self) -> Be16 {
        self.request.dst_port
    }

    /// Returns the functions that change what is said.
    pub(crate) fn mangler(&self) -> &ManglerRef {
        self.bound.mangler()
    }

    /// Returns what the client waits for.
    pub(crate) fn awaited(&self) -> Awaited {
        Awaited::from_number(self.awaited.load(Relaxed))
    }

    /// Returns the last reply that was changed.
    pub(crate) fn changed(&self) -> Option<Changed> {
        Changed::unpack(self.changed.load(Relaxed))
    }

    /// Sets what [`Self::changed`] returns.
    pub(crate) fn set_changed(&self, reply: Changed) {
        self.changed.store(reply.pack(), Relaxed);
    }

    /// Sets what the client waits for: it has got all replies before.
    pub(crate) fn ask(&self, awaited: Awaited) {
        self.changed.store(0, Relaxed);
        self.awaited.store(awaited as u32, Relaxed);
    }

    /// Notes that the client waits for no reply that matters.
    pub(crate) fn set_answered(&self) {
        self.awaited.store(Awaited::Nothing as u32, Relaxed);
    }

    /// Returns whether there are data connections.
    pub(super) fn has_conns(&self) -> bool {
        !matches!(self.conns.load(Relaxed), 0 | ENDED)
    }

    /// Ends the session, unless there are data connections. Returns whether it has ended: there will be
    /// none any more.
    pub(super) fn end(&self) -> bool {
        matches!(self.conns.cmpxchg(0, ENDED, Full), Ok(_) | Err(ENDED))
    }

    /// Takes a data connection out of the session. If it was the last one and was `forced` to end, the
    /// control connection ends too. C: `ip_vs_control_del()`, and what follows it in
    /// `ip_vs_conn_expire()`.
    pub(super) fn release(&self, table: &ConnTable<F>, forced: bool) {
        let left = self.conns.fetch_sub(1, Full).wrapping_sub(1);
        if left != 0 || !forced {
            return;
        }
        let hash = self.request.hash(&HashKey::new(*table.seed()));
        rcu::read(|rcu| {
            let found = Conn::find(table, hash, rcu, &self.request);
            if let Some(Found::Request(control)) = found {
                let session = control.session();
                if session.is_some_and(|session| core::ptr::eq::<Self>(&**session, self)) {
                    expire_forced(control, table.owner());
                }
            }
        });
    }
}

/// A place in a session for a data connection that is being made: the control connection does not end.
pub(crate) struct Place<'a, F: Family>(&'a Arc<Session<F>>);

impl<'a, F: Family> Place<'a, F> {
    /// Adds a data connection. `None` if the control connection has ended.
    pub(crate) fn new(session: &'a Arc<Session<F>>) -> Option<Self> {
        let mut conns = session.conns.load(Relaxed);
        while conns != ENDED {
            match session.conns.cmpxchg(conns, conns.wrapping_add(1), Full) {
                Ok(_) => return Some(Self(session)),
                Err(now) => conns = now,
            }
        }
        None
    }

    /// Returns the session.
    pub(crate) fn session(&self) -> &Arc<Session<F>> {
        self.0
    }

    /// Transfers the place to the connection that was made, which gives it back when it is retired.
    pub(crate) fn hand_over(self) {
        core::mem::forget(self);
    }
}

impl<F: Family> Drop for Place<'_, F> {
    fn drop(&mut self) {
        self.0.conns.fetch_sub(1, Full);
    }
}
