// SPDX-License-Identifier: GPL-2.0

//! Requests for a single object. C: `ip_vs_genl_get_cmd()`.

use super::{
    attributes,
    failure::Failure,
    sink::Sink, //
};
use crate::{
    ctl::show,
    netns::Netns, //
};
use ipvs_core::netlink::{
    dump,
    service,
    *, //
};
use kernel::prelude::*;
use linux::{
    genetlink::Request,
    netfilter::has_ipv6, //
};

/// Answers with a service.
pub(super) fn service(request: &Request<'_>, netns: &Netns) -> Result<(), Failure> {
    let [_, service, ..] = attributes(request)?;
    let id = service::parse_id(service, has_ipv6())?;
    let service = netns.with_service(&id, show::service)?;

    reply(request, IPVS_CMD_NEW_SERVICE, |sink| {
        dump::put_service(sink, &service)
    })
}

/// Answers with the timeouts.
pub(super) fn config(request: &Request<'_>, netns: &Netns) -> Result<(), Failure> {
    let shown = netns.shown_timeouts();
    let [tcp, tcp_fin, udp] = [shown.tcp, shown.tcp_fin, shown.udp].map(Option::unwrap_or_default);

    reply(request, IPVS_CMD_SET_CONFIG, |sink| {
        dump::put_config(sink, tcp, tcp_fin, udp)
    })
}

/// Answers with the version and the size of the connection table.
pub(super) fn info(request: &Request<'_>, netns: &Netns) -> Result<(), Failure> {
    let buckets = netns.conn_table_size();

    reply(request, IPVS_CMD_SET_INFO, |sink| {
        dump::put_info(sink, buckets)
    })
}

fn reply(
    request: &Request<'_>,
    cmd: u8,
    put: impl FnOnce(&mut Sink<'_, '_>) -> Result<(), dump::NoRoom>,
) -> Result<(), Failure> {
    request.reply(cmd, |message| {
        put(&mut Sink(message)).map_err(|dump::NoRoom| EMSGSIZE)
    })?;
    Ok(())
}
