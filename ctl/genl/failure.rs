// SPDX-License-Identifier: GPL-2.0

//! The errors of requests, and how they are reported to the client.

use crate::control::ControlError;
use ipvs_core::netlink::{
    Attr,
    AttrError,
    Errno, //
};
use kernel::prelude::*;
use linux::genetlink::Request;

/// The error of a request.
pub(super) enum Failure {
    /// The request is invalid, or can't be carried out.
    Refused(AttrError),
    /// A resource is not available.
    Failed(Error),
}

impl Failure {
    /// Creates the error of a valid request that can't be carried out.
    pub(super) fn refused(error: Error, message: &'static str) -> Self {
        Self::Refused(AttrError {
            errno: Errno(error.to_errno().wrapping_neg()),
            message,
            at: None,
            missing: None,
            about: None,
        })
    }

    /// Reports the error's message and position to the client. Returns the error number.
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
    /// Converts an error of [`crate::control`]. `nest` is the attribute with the service or server.
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
