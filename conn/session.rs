// SPDX-License-Identifier: GPL-2.0

//! Sessions of applications: a control connection, and the data connections that it announces. C:
//! `cp->app`, `cp->app_data`, `cp->n_control`.
//!
//! A control connection does not end while it has data connections: when it expires it is extended by
//! a minute, as in the C module. Data connections refer to the session, not to the connection.

use super::{
    expire_forced,
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

/// The value of `conns` once the control connection has expired without data connections.
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

impl<F: Family> Session<F> {
    /// Makes the session of a control connection with these requests.
    pub(super) fn new(request: Flow<F::Addr>, bound: Bound) -> Self {
        Self {
            request,
            bound,
            conns: InlineAtomic::new(0),
            awaited: Atomic::new(Awaited::Nothing as u32),
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
        match self.awaited.load(Relaxed) {
            1 => Awaited::Passive,
            2 => Awaited::ExtendedPassive,
            _ => Awaited::Nothing,
        }
    }

    /// Sets what the client waits for.
    pub(crate) fn set_awaited(&self, awaited: Awaited) {
        self.awaited.store(awaited as u32, Relaxed);
    }

    /// Returns whether there are data connections.
    pub(super) fn has_conns(&self) -> bool {
        !matches!(self.conns.load(Relaxed), 0 | ENDED)
    }

    /// Ends the session, unless there are data connections. There will be none any more.
    pub(super) fn end(&self) -> bool {
        self.conns.cmpxchg(0, ENDED, Full).is_ok()
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
    pub(crate) fn session(&self) -> Arc<Session<F>> {
        self.0.clone()
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
