// SPDX-License-Identifier: GPL-2.0

//! The other objects that a connection belongs to: its template, and its session if it is one of an
//! application; and what the master of a synchronisation remembers of it. C: `cp->control`, `cp->app`,
//! `cp->sync_endtime`.

use super::{
    sent::Sent,
    session::Session,
    template::{
        Control,
        PublishedTemplate, //
    },
    Conn, //
};
use crate::family::Family;
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::Arc, //
};
use linux::extensible::Extensible;

/// References of a connection to its template and sessions, in a single word.
///
/// Nearly all connections have at most a template, which they refer to directly. Only those of an
/// application, and those that the master of a synchronisation has sent, have more.
pub(super) struct Ties<F: Family>(Extensible<Control<F>, Extra<F>>);

/// What few connections have.
struct Extra<F: Family> {
    /// The session whose control connection this is.
    session: Option<Arc<Session<F>>>,
    /// The session whose data connection this is.
    parent: Option<Arc<Session<F>>>,
    /// What the master of a synchronisation remembers.
    sent: Sent,
}

impl<F: Family> Ties<F> {
    /// Makes those of a connection that has at most a template.
    #[inline]
    pub(super) fn of_template(template: Option<Control<F>>) -> Self {
        Self(Extensible::new(template))
    }

    /// Makes those of a connection of an application: the control connection of `session`, or a data
    /// connection of `parent`. It may have been made from `template`.
    ///
    /// # Errors
    ///
    /// There is no memory.
    #[cold]
    pub(super) fn of_application(
        template: Option<Control<F>>,
        session: Option<Session<F>>,
        parent: Option<Arc<Session<F>>>,
    ) -> Result<Self, AllocError> {
        let session = session.map(|session| Arc::new(session, GFP_ATOMIC));
        let extra = Extra {
            session: session.transpose()?,
            parent,
            sent: Sent::new(0),
        };
        Extensible::extended(template, extra).map(Self)
    }
}

impl<F: Family> Conn<F> {
    /// Returns the template that the connection was made from. C: `cp->control`, if that is a template.
    #[inline]
    pub(crate) fn template(&self) -> Option<&PublishedTemplate<F>> {
        self.ties.0.base()
    }

    /// Returns the session whose control connection this is. C: `cp->app`.
    pub(crate) fn session(&self) -> Option<&Arc<Session<F>>> {
        self.ties.0.extra()?.session.as_ref()
    }

    /// Returns the session whose data connection this is. C: `cp->control`, if that is a connection.
    pub(crate) fn parent(&self) -> Option<&Arc<Session<F>>> {
        self.ties.0.extra()?.parent.as_ref()
    }

    /// Returns whether a template or a control connection has made the connection. C: `cp->control !=
    /// NULL`.
    pub(crate) fn is_controlled(&self) -> bool {
        self.template().is_some() || self.parent().is_some()
    }

    /// Returns whether it is a control connection that has data connections. C: `cp->n_control != 0`.
    pub(crate) fn has_data_conns(&self) -> bool {
        self.session().is_some_and(|session| session.has_conns())
    }

    /// Returns what the master of a synchronisation remembers of the connection; `None` before it has
    /// sent it.
    pub(crate) fn sent(&self) -> Option<&Sent> {
        Some(&self.ties.0.extra()?.sent)
    }

    /// Returns the same as [`Self::sent`], and begins with `packets` packets if there is nothing yet.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(crate) fn begin_sent(&self, packets: u32) -> Result<&Sent, AllocError> {
        let extra = Extra {
            session: None,
            parent: None,
            sent: Sent::new(packets),
        };
        Ok(&self.ties.0.extend(extra)?.sent)
    }
}
