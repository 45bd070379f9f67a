// SPDX-License-Identifier: GPL-2.0

//! Sync daemons. C: `ip_vs_genl_set_daemon()`, `ip_vs_genl_dump_daemons()`.

use super::{
    dump::Position,
    failure::Failure,
    sink::Sink, //
};
use crate::netns::{
    sync::{
        DaemonConfig,
        Role, //
    },
    Netns, //
};
use core::net::IpAddr;
use ipvs_core::netlink::{
    daemon,
    dump::{
        self,
        DaemonDump, //
    },
    Attr,
    IPVS_CMD_NEW_DAEMON, //
};
use kernel::{
    error::code::*,
    prelude::*, //
};
use linux::{
    genetlink::{
        Dump,
        Request, //
    },
    rcu, //
};

/// Starts a daemon. C: `ip_vs_genl_new_daemon()`.
pub(super) fn start(netns: &Netns, attr: Option<Attr<'_>>) -> Result<(), Failure> {
    let spec = daemon::parse(attr)?;
    if netns.has_mixed_families() {
        return Err(Failure::refused(
            EINVAL,
            "a server is of another family than its service, which can't be synchronised",
        ));
    }
    netns
        .start_daemon(&spec)
        .map_err(|error| Failure::refused(error, "the sync daemon can't be started"))
}

/// Stops a daemon. C: `ip_vs_genl_del_daemon()`.
pub(super) fn stop(netns: &Netns, attr: Option<Attr<'_>>) -> Result<(), Failure> {
    netns
        .stop_daemon(daemon::parse_state(attr)?)
        .map_err(|error| Failure::refused(error, "no such sync daemon runs"))
}

/// Dumps the daemons that run.
pub(super) fn show(request: &Request<'_>, out: &mut Dump<'_, Position>) {
    let sync = rcu::read(|rcu| Netns::of(request.net(), rcu).map(|netns| netns.sync.clone()));
    let Some(sync) = sync else {
        return;
    };
    let mut daemons = sync.daemons.lock();
    let mut position = out.position();
    for role in [Role::Master, Role::Backup] {
        if let (Some(daemon), false) = (daemons.of(role), position.has_shown(role)) {
            if put(out, role, &daemon.config).is_err() {
                break;
            }
            position.set_shown(role);
        }
    }
    out.set_position(position);
}

fn put(out: &mut Dump<'_, Position>, role: Role, config: &DaemonConfig) -> Result {
    let daemon = DaemonDump {
        state: role.bit(),
        interface: config.interface.as_bytes(),
        sync_id: config.sync_id,
        max_len: config.max_len,
        port: config.port,
        ttl: config.ttl,
        group: match config.group {
            IpAddr::V4(group) => Ok(group.octets()),
            IpAddr::V6(group) => Err(group.octets()),
        },
    };
    out.message(IPVS_CMD_NEW_DAEMON, |message| {
        dump::put_daemon(&mut Sink(message), &daemon).map_err(|dump::NoRoom| EMSGSIZE)
    })
}
