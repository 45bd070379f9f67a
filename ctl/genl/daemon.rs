// SPDX-License-Identifier: GPL-2.0

//! Sync daemons, which are not implemented yet. C: `ip_vs_genl_set_daemon()`.

use super::failure::Failure;
use ipvs_core::netlink::{
    daemon,
    Attr, //
};
use kernel::error::code::*;

const MASTER: u32 = 1;
const BACKUP: u32 = 2;

/// Starts a daemon. Fails with `ENOSYS` for whatever the C module could start; ipvsadm would take
/// `EOPNOTSUPP` for a lack of IPv6 support.
pub(super) fn start(attr: Option<Attr<'_>>) -> Result<(), Failure> {
    role(daemon::parse(attr)?.state)?;
    Err(Failure::refused(ENOSYS, "sync daemons are not supported"))
}

/// Stops a daemon. Fails with `ESRCH`, since none is running.
pub(super) fn stop(attr: Option<Attr<'_>>) -> Result<(), Failure> {
    role(daemon::parse_state(attr)?)?;
    Err(Failure::refused(ESRCH, "no such sync daemon runs"))
}

fn role(state: u32) -> Result<(), Failure> {
    match state {
        MASTER | BACKUP => Ok(()),
        _ => Err(Failure::refused(
            EINVAL,
            "IPVS_DAEMON_ATTR_STATE is neither master nor backup",
        )),
    }
}
