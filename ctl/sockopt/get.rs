// SPDX-License-Identifier: GPL-2.0

//! Options for `getsockopt()`. C: `do_ip_vs_get_ctl()`.

use crate::{
    control::ControlError,
    ctl::show,
    log,
    netns::{
        sync::Role,
        Netns, //
    },
    service::Service, //
};
use ipvs_core::{
    netlink::AF_INET,
    sockopt::{
        self,
        get::*,
        DAEMON_LEN,
        DESTS_LEN,
        DEST_ENTRY_LEN,
        ID_LEN,
        INFO_LEN,
        SERVICES_LEN,
        SERVICE_ENTRY_LEN,
        TIMEOUT_LEN,
        VERSION_LEN, //
    },
};
use kernel::prelude::*;
use linux::sockopt::Answer;

/// Answers an option.
pub(super) fn get(option: i32, answer: &mut Answer<'_>, netns: &Netns) -> Result {
    match option {
        VERSION => {
            let _: [u8; VERSION_LEN] = answer.read()?;
            let (text, len) = sockopt::version(netns.conn_table_size());
            answer.write(0, text.get(..len).unwrap_or(&text))?;
            answer.set_len(len);
            Ok(())
        }
        INFO => {
            let _: [u8; INFO_LEN] = answer.read()?;
            let services = netns.list_services(usize::MAX, ipv4_service)?;
            let count = u32::try_from(services.len()).unwrap_or(u32::MAX);
            answer.write(0, &sockopt::info(netns.conn_table_size(), count))
        }
        SERVICES => services(answer, netns),
        SERVICE => {
            let entry: [u8; SERVICE_ENTRY_LEN] = answer.read()?;
            let id = sockopt::parse_id(entry.first_chunk().ok_or(EINVAL)?);
            let entry = netns.with_service(&id, service_entry).map_err(errno)?;
            answer.write(0, &entry)
        }
        DESTS => dests(answer, netns),
        TIMEOUT => {
            let _: [u8; TIMEOUT_LEN] = answer.read()?;
            answer.write(0, &sockopt::timeouts(&netns.shown_timeouts()))
        }
        DAEMON => {
            let _: [u8; 2 * DAEMON_LEN] = answer.read()?;
            let mut daemons = netns.sync.daemons.lock();
            let entries = [Role::Master, Role::Backup].map(|role| {
                let running = daemons.of(role).as_ref();
                running.map_or([0; DAEMON_LEN], |daemon| {
                    sockopt::daemon_entry(&sockopt::Daemon {
                        state: role.bit(),
                        interface: Some(daemon.config.interface.as_bytes()),
                        sync_id: daemon.config.sync_id,
                    })
                })
            });
            answer.write(0, entries.as_flattened())
        }
        _ => Err(EINVAL),
    }
}

/// Answers with as many services as the caller has room for.
fn services(answer: &mut Answer<'_>, netns: &Netns) -> Result {
    let head: [u8; SERVICES_LEN] = answer.read()?;
    let wanted = sockopt::services_wanted(&head);
    check_length(
        netns,
        answer,
        sockopt::answer_len(SERVICES_LEN, wanted, SERVICE_ENTRY_LEN),
    )?;
    let entries = netns.list_services(wanted as usize, |service| {
        ipv4_service(service).map(|()| service_entry(service))
    })?;
    answer.write(SERVICES_LEN, entries.as_flattened())
}

/// Answers with as many servers of a service as the caller has room for.
fn dests(answer: &mut Answer<'_>, netns: &Netns) -> Result {
    let head: [u8; DESTS_LEN] = answer.read()?;
    let wanted = sockopt::dests_wanted(&head);
    check_length(
        netns,
        answer,
        sockopt::answer_len(DESTS_LEN, wanted, DEST_ENTRY_LEN),
    )?;
    let id = sockopt::parse_id(head.first_chunk::<ID_LEN>().ok_or(EINVAL)?);
    let entries = netns
        .list_dests(&id, wanted as usize, |dest| {
            let dump = show::dest(dest);
            (dump.family == AF_INET).then(|| sockopt::dest_entry(&dump, dest.conn_flags()))
        })
        .map_err(errno)?;
    answer.write(DESTS_LEN, entries.as_flattened())
}

/// Fails unless the caller has exactly as much room as it asks for.
fn check_length(netns: &Netns, answer: &Answer<'_>, needed: usize) -> Result {
    if usize::try_from(answer.len()) == Ok(needed) {
        return Ok(());
    }
    log::wrong_length(netns.net(), answer.len(), needed);
    Err(EINVAL)
}

/// Returns `None` for IPv6 services, which do not exist for this interface.
fn ipv4_service(service: &Service) -> Option<()> {
    (show::service(service).id.family == AF_INET).then_some(())
}

fn service_entry(service: &Service) -> [u8; SERVICE_ENTRY_LEN] {
    let dests = u32::try_from(service.dests.count()).unwrap_or(u32::MAX);
    sockopt::service_entry(&show::service(service), dests)
}

fn errno(error: ControlError) -> Error {
    error.errno
}
