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
use crate::{
    app::Bound,
    family::Family, //
};
use ipvs_core::flow::Flow;
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::Arc, //
};
use linux::either::{
    Either,
    EitherRef, //
};

/// What a connection belongs to, in a single word.
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
    /// Those of a connection that belongs to nothing.
    pub(super) const NONE: Self = Self(None);

    /// Makes those of a connection that was made from `template`, that is the control connection of a
    /// `session` with these requests, or that is a data connection of `parent`.
    #[inline]
    pub(super) fn new(
        template: Option<Control<F>>,
        session: Option<(Flow<F::Addr>, Bound)>,
        parent: Option<Arc<Session<F>>>,
    ) -> Result<Self, AllocError> {
        if session.is_some() || parent.is_some() {
            return Self::boxed(template, session, parent);
        }
        Ok(Self(template.map(Either::left)))
    }

    #[cold]
    fn boxed(
        template: Option<Control<F>>,
        session: Option<(Flow<F::Addr>, Bound)>,
        parent: Option<Arc<Session<F>>>,
    ) -> Result<Self, AllocError> {
        let session = session.map(|(request, bound)| {
            let session = Session::new(request, bound);
            Arc::new(session, GFP_ATOMIC)
        });
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
