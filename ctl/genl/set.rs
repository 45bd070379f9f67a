// SPDX-License-Identifier: GPL-2.0

//! Requests that change something. C: `ip_vs_genl_set_cmd()`.
//!
//! Errors are detected in the same order as in C, so that a request with several of them gets the
//! same error number: the syntax of the service, its existence, the syntax of the server, then the
//! checks of [`crate::control`].

use super::{
    attributes,
    daemon,
    failure::Failure, //
};
use crate::netns::Netns;
use ipvs_core::netlink::{
    dest,
    service,
    timeout,
    *, //
};
use kernel::prelude::*;
use linux::{
    genetlink::Request,
    jiffies::HZ,
    netfilter::has_ipv6, //
};

/// Carries out a request, either completely or not at all.
pub(super) fn change(cmd: u8, request: &Request<'_>, netns: &Netns) -> Result<(), Failure> {
    let attrs = attributes(request)?;
    let [_, service, dest, daemon, ..] = attrs;

    match cmd {
        IPVS_CMD_NEW_SERVICE => netns
            .add_service(&service::parse(service, has_ipv6())?)
            .map_err(|error| Failure::of_control(error, service))?,
        IPVS_CMD_SET_SERVICE => netns
            .edit_service(&service::parse(service, has_ipv6())?)
            .map_err(|error| Failure::of_control(error, service))?,
        IPVS_CMD_DEL_SERVICE => netns.delete_service(&service::parse_id(service, has_ipv6())?)?,
        IPVS_CMD_NEW_DEST | IPVS_CMD_SET_DEST | IPVS_CMD_DEL_DEST => {
            let service = service::parse_id(service, has_ipv6())?;
            // The service must be checked before the server is parsed.
            netns.with_service(&service, |_| ())?;
            let outcome = match cmd {
                IPVS_CMD_NEW_DEST => netns.add_dest(&service, &dest::parse(dest)?),
                IPVS_CMD_SET_DEST => netns.edit_dest(&service, &dest::parse(dest)?),
                _ => netns.delete_dest(&service, &dest::parse_id(dest)?),
            };
            outcome.map_err(|error| Failure::of_control(error, dest))?;
        }
        IPVS_CMD_NEW_DAEMON => daemon::start(netns, daemon)?,
        IPVS_CMD_DEL_DAEMON => daemon::stop(netns, daemon)?,
        IPVS_CMD_SET_CONFIG => netns.set_timeouts(&timeout::parse(&attrs, HZ)?),
        IPVS_CMD_ZERO if service.is_none() => netns.zero_all(),
        IPVS_CMD_ZERO => netns.zero_service(&service::parse_id(service, has_ipv6())?)?,
        IPVS_CMD_FLUSH => netns.flush(),
        _ => return Err(EOPNOTSUPP.into()),
    }
    Ok(())
}
