// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family "IPVS". C: the netlink half of `ip_vs_ctl.c`.
//!
//! [`ipvs_core::netlink`] parses requests and builds answers; [`crate::control`] carries the
//! requests out.

mod daemon;
mod dump;
mod failure;
mod get;
mod set;
mod sink;

use crate::netns::Netns;
use ipvs_core::netlink::{
    self,
    attr::Attrs,
    Attr,
    AttrError,
    COMMAND_POLICY,
    *, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    genetlink::{
        Dump,
        Family,
        Handler,
        Op,
        Policy,
        Registration,
        Request, //
    },
    net, //
};

/// The handler of the family; see [`register`].
pub(crate) struct Ipvs;

static FAMILY: Family<Ipvs> = Family::new::<crate::LocalModule>();

/// Registers the family for the namespaces of `netns`. From then on users can change services, so
/// only the other interface to users ([`crate::ctl::sockopt`]) may be set up later.
pub(crate) fn register(netns: Arc<net::Registration<Netns>>) -> Result<Registration<Ipvs>> {
    FAMILY.register(netns)
}

impl Handler for Ipvs {
    type PerNet = Netns;
    type Position = dump::Position;

    const NAME: &'static CStr = c"IPVS";
    const VERSION: u32 = FAMILY_VERSION as u32;
    const RESV_START_OP: u8 = IPVS_CMD_FLUSH + 1;

    /// The policies of [`COMMAND_POLICY`] in the kernel's form.
    const POLICY: &'static [Policy] = &[
        Policy::UNSPEC,
        Policy::NESTED,
        Policy::NESTED,
        Policy::NESTED,
        Policy::U32,
        Policy::U32,
        Policy::U32,
    ];

    const OPS: &'static [Op<Self>] = &[
        Op::request(IPVS_CMD_NEW_SERVICE),
        Op::request(IPVS_CMD_SET_SERVICE),
        Op::request(IPVS_CMD_DEL_SERVICE),
        Op::request_and_dump(IPVS_CMD_GET_SERVICE),
        Op::request(IPVS_CMD_NEW_DEST),
        Op::request(IPVS_CMD_SET_DEST),
        Op::request(IPVS_CMD_DEL_DEST),
        Op::dump(IPVS_CMD_GET_DEST),
        Op::request(IPVS_CMD_NEW_DAEMON),
        Op::request(IPVS_CMD_DEL_DAEMON),
        Op::dump(IPVS_CMD_GET_DAEMON),
        Op::request(IPVS_CMD_SET_CONFIG),
        Op::request(IPVS_CMD_GET_CONFIG),
        Op::request(IPVS_CMD_GET_INFO),
        Op::request(IPVS_CMD_ZERO),
        Op::request(IPVS_CMD_FLUSH),
    ];

    fn request(cmd: u8, request: &Request<'_>, netns: Pin<&Netns>) -> Result {
        let answer = || match cmd {
            IPVS_CMD_GET_SERVICE => get::service(request, &netns),
            IPVS_CMD_GET_CONFIG => get::config(request, &netns),
            IPVS_CMD_GET_INFO => get::info(request, &netns),
            _ => set::change(cmd, request, &netns),
        };
        answer().map_err(|failure| failure.tell(request))
    }

    fn dump(cmd: u8, request: &Request<'_>, dump: &mut Dump<'_, dump::Position>) -> Result {
        match cmd {
            IPVS_CMD_GET_SERVICE => dump::services(request, dump),
            IPVS_CMD_GET_DEST => dump::dests(request, dump),
            IPVS_CMD_GET_DAEMON => daemon::show(request, dump),
            _ => {}
        }
        Ok(())
    }
}

/// Returns the attributes of a request by type.
#[inline(always)]
fn attributes<'a>(request: &Request<'a>) -> Result<[Option<Attr<'a>>; ATTRS_COMMAND], AttrError> {
    let attrs = Attrs::new(request.attrs(), Request::ATTRS_OFFSET);
    netlink::parse(attrs, &COMMAND_POLICY)
}
