// SPDX-License-Identifier: GPL-2.0

//! Why a request fails, and how the client is told.

use crate::control::ControlError;
use ipvs_core::netlink::{
    Attr,
    AttrError,
    Errno, //
};
use kernel::prelude::*;
use linux::genetlink::Request;

/// Why a request fails.
pub(super) enum Failure {
    /// Something in the request is wrong, or can't be done.
    Refused(AttrError),
    /// The machine is short of something.
    Failed(Error),
}

impl Failure {
    /// A request that is understood, but can't be done.
    pub(super) fn refused(error: Error, message: &'static str) -> Self {
        Self::Refused(AttrError {
            errno: Errno(error.to_errno().wrapping_neg()),
            message,
            at: None,
            missing: None,
            about: None,
        })
    }

    /// Tells the client what is wrong where; the errno is left to be returned.
    pub(super) fn tell(self, request: &Request<'_>) -> Error {
        let error = match self {
            Self::Refused(error) => error,
            Self::Failed(error) => return error,
        };
        request.explain(error.message);
        match (error.missing, error.at) {
            (Some(number), nest) => request.point_at_missing(number, nest),
            (None, Some(offset)) => request.point_at(offset),
            (None, None) => {}
        }
        let Errno(errno) = error.errno;
        Error::from_errno(errno.wrapping_neg())
    }
}

impl Failure {
    /// What the model has against a service or server; `nest` is what the request says of it.
    pub(super) fn of_control(error: ControlError, nest: Option<Attr<'_>>) -> Self {
        let attrs = nest.iter().flat_map(Attr::nested);
        let blamed = attrs.filter(|attr| Some(attr.kind) == error.about).last();
        Self::Refused(AttrError {
            errno: Errno(error.errno.to_errno().wrapping_neg()),
            message: error.message,
            at: blamed.map(|attr| attr.offset),
            missing: None,
            about: error.about,
        })
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::of_control(error, None)
    }
}

impl From<AttrError> for Failure {
    fn from(error: AttrError) -> Self {
        Self::Refused(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
