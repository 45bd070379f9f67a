// SPDX-License-Identifier: GPL-2.0

//! Socket options. C: `do_ip_vs_set_ctl()`, `do_ip_vs_get_ctl()`.
//!
//! Arguments are understood and answers laid out by [`ipvs_core::sockopt`], and carried out by
//! [`crate::control`]. They know IPv4 only.

mod get;
mod set;

use crate::netns::Netns;
use ipvs_core::sockopt;
use kernel::{
    ffi::c_int,
    prelude::*,
    sync::Arc, //
};
use linux::{
    net,
    sockopt::{
        Answer,
        Argument,
        Handler,
        Options,
        Registration, //
    },
};

/// The options' handler; see [`register`].
pub(crate) struct Sockopts;

static OPTIONS: Options<Sockopts> = Options::new::<crate::LocalModule>();

/// Puts the options in service, for the namespaces of `netns`. The last thing that the module's
/// start does.
pub(crate) fn register(netns: Arc<net::Registration<Netns>>) -> Result<Registration<Sockopts>> {
    OPTIONS.register(netns)
}

impl Handler for Sockopts {
    type PerNet = Netns;

    const SET: core::ops::Range<c_int> = sockopt::set::ALL;
    const GET: core::ops::Range<c_int> = sockopt::get::ALL;

    fn set(option: c_int, argument: &Argument<'_>, netns: Pin<&Netns>) -> Result {
        set::set(option, argument, &netns)
    }

    fn get(option: c_int, answer: &mut Answer<'_>, netns: Pin<&Netns>) -> Result {
        get::get(option, answer, &netns)
    }
}
