// SPDX-License-Identifier: GPL-2.0

//! Errors of the kernel.

use crate::alloc::{
    AllocError,
    PushError, //
};
use std::ffi::c_int;

/// An error number, negated, as C functions return it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(c_int);

impl Error {
    /// From a negative error number.
    pub const fn from_errno(errno: c_int) -> Self {
        assert!(errno < 0 && errno >= -4095);
        Self(errno)
    }

    pub const fn to_errno(self) -> c_int {
        self.0
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match code::NAMES.iter().find(|(error, _)| error == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "Error({})", self.0),
        }
    }
}

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

impl<T> From<PushError<T>> for Error {
    fn from(_: PushError<T>) -> Self {
        code::EINVAL
    }
}

impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal,)*) => {
        pub mod code {
            use super::Error;

            $(pub const $name: Error = Error(-$number);)*

            pub(super) const NAMES: &[(Error, &str)] = &[$(($name, stringify!($name)),)*];
        }
    };
}

codes! {
    EPERM = 1,
    ENOENT = 2,
    ESRCH = 3,
    E2BIG = 7,
    EAGAIN = 11,
    ENOMEM = 12,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    ENODEV = 19,
    EINVAL = 22,
    EDOM = 33,
    ERANGE = 34,
    ENOSYS = 38,
    EMSGSIZE = 90,
    ENOPROTOOPT = 92,
    EPROTONOSUPPORT = 93,
    EOPNOTSUPP = 95,
    EAFNOSUPPORT = 97,
    ENETUNREACH = 101,
    ENOBUFS = 105,
    EHOSTUNREACH = 113,
}
