// SPDX-License-Identifier: GPL-2.0

//! Socket options, for IPv4 only. C: `do_ip_vs_set_ctl()`, `do_ip_vs_get_ctl()`.
//!
//! [`ipvs_core::sockopt`] parses arguments and builds answers; [`crate::control`] carries the
//! options out.

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

/// The handler of the options; see [`register`].
pub(crate) struct Sockopts;

static OPTIONS: Options<Sockopts> = Options::new::<crate::LocalModule>();

/// Registers the options for the namespaces of `netns`. This is the last step of loading the
/// module.
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
