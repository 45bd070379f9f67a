// SPDX-License-Identifier: GPL-2.0

//! The other objects that a connection belongs to: its template, and its session if it is one of an
//! application. C: `cp->control`, `cp->app`.

use super::{
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
use linux::either::{
    Either,
    EitherRef, //
};

/// References of a connection to its template and sessions, in a single word.
///
/// Nearly all connections have at most a template, which they refer to directly. Only those of an
/// application have a box.
pub(super) struct Ties<F: Family>(Option<Either<Control<F>, KBox<Extra<F>>>>);

struct Extra<F: Family> {
    template: Option<Control<F>>,
    /// The session whose control connection this is.
    session: Option<Arc<Session<F>>>,
    /// The session whose data connection this is.
    parent: Option<Arc<Session<F>>>,
}

impl<F: Family> Ties<F> {
    /// Makes those of a connection that has at most a template.
    #[inline]
    pub(super) fn of_template(template: Option<Control<F>>) -> Self {
        Self(template.map(Either::left))
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
            template,
            session: session.transpose()?,
            parent,
        };
        Ok(Self(Some(Either::right(KBox::new(extra, GFP_ATOMIC)?))))
    }

    #[inline]
    fn extra(&self) -> Option<&Extra<F>> {
        match self.0.as_ref()?.get() {
            EitherRef::Left(_) => None,
            EitherRef::Right(extra) => Some(extra),
        }
    }
}

impl<F: Family> Conn<F> {
    /// Returns the template that the connection was made from. C: `cp->control`, if that is a template.
    #[inline]
    pub(crate) fn template(&self) -> Option<&PublishedTemplate<F>> {
        match self.ties.0.as_ref()?.get() {
            EitherRef::Left(template) => Some(template),
            EitherRef::Right(extra) => extra.template.as_deref(),
        }
    }

    /// Returns the session whose control connection this is. C: `cp->app`.
    pub(crate) fn session(&self) -> Option<&Arc<Session<F>>> {
        self.ties.extra()?.session.as_ref()
    }

    /// Returns the session whose data connection this is. C: `cp->control`, if that is a connection.
    pub(crate) fn parent(&self) -> Option<&Arc<Session<F>>> {
        self.ties.extra()?.parent.as_ref()
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
}
