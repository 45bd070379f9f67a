// SPDX-License-Identifier: GPL-2.0

//! Options for `setsockopt()`. C: `do_ip_vs_set_ctl()`.
//!
//! Errors are detected in the same order as in C, so that an argument with several of them gets the
//! same error number.

use crate::{
    control::{
        address,
        ControlError, //
    },
    log,
    netns::Netns, //
};
use ipvs_core::{
    log::Endpoint,
    netlink::daemon::DaemonSpec,
    sockopt::{
        self,
        set::*,
        Dest,
        Service, //
    },
};
use kernel::prelude::*;
use linux::{
    jiffies::HZ,
    sockopt::Argument, //
};

/// Carries out an option, either completely or not at all.
pub(super) fn set(option: i32, argument: &Argument<'_>, netns: &Netns) -> Result {
    match option {
        FLUSH => {
            let [] = argument.read()?;
            netns.flush();
            Ok(())
        }
        TIMEOUT => {
            let timeouts = sockopt::parse_timeouts(&argument.read()?, HZ).ok_or(EINVAL)?;
            netns.set_timeouts(&timeouts);
            Ok(())
        }
        STARTDAEMON | STOPDAEMON => daemon(option, argument, netns),
        ADD | EDIT | DEL | ZERO => service(option, &argument.read()?, netns),
        ADDDEST | EDITDEST | DELDEST => dest(option, &argument.read()?, netns),
        _ => Err(EINVAL),
    }
}

fn service(option: i32, bytes: &[u8; sockopt::SERVICE_LEN], netns: &Netns) -> Result {
    let service = Service::parse(bytes);
    if option == ZERO && service.is_unnamed() {
        netns.zero_all();
        return Ok(());
    }
    // The scheduler's name is not checked for options that do not use it.
    let spec = service.spec();
    if matches!(option, ADD | EDIT) && spec.is_none() {
        return Err(EINVAL);
    }
    check(&service, option, netns)?;
    let outcome = match (option, spec) {
        (ADD, Some(spec)) => netns.add_service(&spec),
        (EDIT, Some(spec)) => netns.edit_service(&spec),
        (DEL, _) => netns.delete_service(&service.id),
        _ => netns.zero_service(&service.id),
    };
    outcome.map_err(errno)
}

fn dest(option: i32, bytes: &[u8; Dest::LEN], netns: &Netns) -> Result {
    let service = Service::parse(bytes.first_chunk().ok_or(EINVAL)?);
    let Dest { spec } = Dest::parse(bytes);
    check(&service, option, netns)?;
    if option == DELDEST {
        return netns.delete_dest(&service.id, &spec.id).map_err(errno);
    }
    let outcome = match option {
        ADDDEST => netns.add_dest(&service.id, &spec),
        _ => netns.edit_dest(&service.id, &spec),
    };
    outcome.map_err(errno)
}

/// Checks the protocol and the existence of the service. A firewall mark service must be named with
/// the protocol that it was added with.
fn check(service: &Service<'_>, option: i32, netns: &Netns) -> Result {
    if !service.has_protocol() {
        let id = &service.id;
        let addr = address(id.family, &id.addr);
        log::invalid_protocol(netns.net(), id.protocol, Endpoint(addr, id.port));
        return Err(EFAULT);
    }
    if option == ADD {
        return Ok(());
    }
    let protocol = netns
        .with_service(&service.id, |found| found.protocol())
        .map_err(errno)?;
    if u16::from(protocol) == service.id.protocol {
        Ok(())
    } else {
        Err(ESRCH)
    }
}

/// Starts or stops a sync daemon.
fn daemon(option: i32, argument: &Argument<'_>, netns: &Netns) -> Result {
    let bytes = argument.read()?;
    let daemon = sockopt::parse_daemon(&bytes);
    if option == STOPDAEMON {
        return netns.stop_daemon(daemon.state);
    }
    netns.start_daemon(&DaemonSpec {
        state: daemon.state,
        interface: daemon.interface.ok_or(EINVAL)?,
        sync_id: daemon.sync_id,
        max_len: 0,
        group: None,
        port: 0,
        ttl: 0,
    })
}

fn errno(error: ControlError) -> Error {
    error.errno
}
