// SPDX-License-Identifier: GPL-2.0

//! All messages of the module in the kernel log, with the prefix `IPVS:`.
//!
//! Nothing else in the module writes to the log (`tools/env/checks log`), so every message that
//! packets or users can cause is rate-limited, in whichever namespace. `Documentation/abi.rst`
//! lists the messages, and what monitoring may match on in them. The names of services and servers
//! are formatted by [`ipvs_core::log`].
//!
//! The only exception is `linux/net/pernet.rs`, which reports every ten seconds that a namespace
//! can't end: a bug in the module.
//!
//! None of this is on the path of packets of established connections.

use ipvs_core::{
    flow::ServiceKey,
    log::{
        Endpoint,
        ServiceName, //
    },
    pe::PeKind,
    sched::{
        RoundRobin,
        SchedulerKind, //
    },
    sync::Fault,
    text::ServiceLabel, //
};
use kernel::{
    fmt,
    prelude::*, //
};
use linux::{
    net::Net,
    printk::{
        Log,
        Permit, //
    },
    table::BUCKET_BYTES, //
};

static LOG: Log = Log::new(c"IPVS");
/// The log of the match `ipvs` of iptables.
static XT_LOG: Log = Log::new(c"xt_ipvs");

/// Reports that the module was loaded, and what it supports. `buckets` are the sizes of a
/// connection table, initially and at most.
#[cold]
pub(crate) fn loaded(buckets: [usize; 2]) {
    let say = |line: fmt::Arguments<'_>| LOG.info(Permit::unlimited(), line);
    say(format_args!(
        "Registered protocols (TCP, UDP, SCTP, AH, ESP)"
    ));
    let [first, most] = buckets;
    let kbytes = |buckets: usize| buckets.saturating_mul(BUCKET_BYTES) / 1024;
    say(format_args!(
        "Connection hash table configured (size={first}, memory={}Kbytes) for each family of a \
         namespace, at most (size={most}, memory={}Kbytes)",
        kbytes(first),
        kbytes(most),
    ));
    for scheduler in SchedulerKind::ALL {
        say(format_args!("[{}] scheduler registered.", scheduler.name()));
    }
    for engine in PeKind::ALL {
        say(format_args!("[{}] pe registered.", engine.name()));
    }
    say(format_args!("ipvs loaded."));
}

/// Reports that the module was unloaded, and what it supported.
#[cold]
pub(crate) fn unloaded() {
    let say = |line: fmt::Arguments<'_>| LOG.info(Permit::unlimited(), line);
    for engine in PeKind::ALL {
        say(format_args!("[{}] pe unregistered.", engine.name()));
    }
    for scheduler in SchedulerKind::ALL {
        say(format_args!(
            "[{}] scheduler unregistered.",
            scheduler.name()
        ));
    }
    say(format_args!("ipvs unloaded."));
}

/// Reports that the module can't be loaded because `what` is not available.
#[cold]
pub(crate) fn not_loaded(what: &str, error: Error) {
    let reason = match error {
        EEXIST => ": the kernel has an IPVS already",
        _ => "",
    };
    LOG.error(
        Permit::unlimited(),
        format_args!("cannot register {what}: error {}{reason}", error.to_errno()),
    );
}

/// Reports that a scheduler has no server for a new connection. `has_weight` tells whether any
/// server of the service has a weight above 0. C: `ip_vs_scheduler_err()`.
#[cold]
pub(crate) fn no_destination(
    net: &Net,
    scheduler: SchedulerKind,
    service: ServiceLabel,
    has_weight: impl FnOnce() -> bool,
) {
    let Some(permit) = LOG.permit_for_packet(net) else {
        return;
    };
    let why = match scheduler {
        SchedulerKind::RoundRobin(RoundRobin::Wrr) if has_weight() => {
            ": all destinations are overloaded"
        }
        _ => "",
    };
    LOG.error(
        permit,
        format_args!(
            "{}: {} - no destination available{why}",
            scheduler.name(),
            ServiceName(service)
        ),
    );
}

/// Reports a packet to a service for all ports that is not persistent, which has no server for it.
#[cold]
pub(crate) fn port_zero(net: &Net, service: ServiceLabel) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(
            permit,
            format_args!(
                "Schedule: port zero needs a persistent service: {}",
                ServiceName(service)
            ),
        );
    }
}

/// Reports a packet that was dropped for lack of memory, which is needed for `what`.
#[cold]
pub(crate) fn no_memory(net: &Net, what: &str) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(permit, format_args!("no memory for {what}"));
    }
}

/// Reports that a user asked for a rule with `-m ipvs` in a table of a family without connections.
#[cold]
pub(crate) fn xt_family(net: &Net, family: u8) {
    if let Some(permit) = XT_LOG.permit_for_request(net) {
        XT_LOG.info(
            permit,
            format_args!("protocol family {family} not supported"),
        );
    }
}

/// Reports that a user asked for an unknown scheduler. Unprintable characters of its name are
/// escaped.
#[cold]
pub(crate) fn no_scheduler(net: &Net, name: &[u8]) {
    if let Some(permit) = LOG.permit_for_request(net) {
        let name = name.escape_ascii();
        LOG.info(
            permit,
            format_args!("Scheduler module ip_vs_{name} not found"),
        );
    }
}

/// Reports that a user asked for an unknown persistence engine. Unprintable characters of its name
/// are escaped.
#[cold]
pub(crate) fn no_engine(net: &Net, name: &[u8]) {
    if let Some(permit) = LOG.permit_for_request(net) {
        let name = name.escape_ascii();
        LOG.info(
            permit,
            format_args!("persistence engine module ip_vs_pe_{name} not found"),
        );
    }
}

/// Reports that a scheduler could not be set up for a service.
#[cold]
pub(crate) fn scheduler_failed(
    net: &Net,
    scheduler: Option<SchedulerKind>,
    service: &ServiceKey,
    error: Error,
) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!(
                "{}: {} - init error {}",
                scheduler.map_or("none", SchedulerKind::name),
                ServiceName(service.into()),
                error.to_errno()
            ),
        );
    }
}

/// Reports why the settings of a server were refused.
#[cold]
pub(crate) fn dest_refused(net: &Net, service: ServiceLabel, dest: Endpoint, why: &str) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!("{}: server {dest}: {why}", ServiceName(service)),
        );
    }
}

/// Reports that a socket option is about a service of a protocol that services can't have.
#[cold]
pub(crate) fn invalid_protocol(net: &Net, protocol: u16, service: Endpoint) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!("socket option: invalid protocol: {protocol} {service}"),
        );
    }
}

/// Reports that the length of a socket option's argument is wrong.
#[cold]
pub(crate) fn wrong_length(net: &Net, length: i32, needed: usize) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!("socket option: length: {length} != {needed}"),
        );
    }
}

/// Reports that a daemon was to be started on a device that there is not. C: "Unknown mcast interface".
#[cold]
pub(crate) fn no_sync_device(net: &Net, name: &dyn core::fmt::Display) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(permit, format_args!("Unknown mcast interface: {name}"));
    }
}

/// Reports that a daemon was started, with so many threads.
#[cold]
pub(crate) fn sync_started(
    net: &Net,
    role: &str,
    device: &dyn core::fmt::Display,
    sync_id: u32,
    threads: usize,
) {
    for number in 0..threads {
        if let Some(permit) = LOG.permit_for_request(net) {
            LOG.info(
                permit,
                format_args!(
                    "sync thread started: state = {role}, mcast_ifn = {device}, syncid = {sync_id}, id = \
                     {number}"
                ),
            );
        }
    }
}

/// Reports that a daemon was stopped.
#[cold]
pub(crate) fn sync_stopped(net: &Net, role: &str) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.info(permit, format_args!("sync daemon stopped: state = {role}"));
    }
}

/// Reports that the master can't send.
#[cold]
pub(crate) fn sync_not_sent(net: &Net, error: Error) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(
            permit,
            format_args!("sync: sending failed: error {}", error.to_errno()),
        );
    }
}

/// Reports that a backup's socket fails.
#[cold]
pub(crate) fn sync_not_received(net: &Net, error: Error) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(
            permit,
            format_args!("sync: receiving failed: error {}", error.to_errno()),
        );
    }
}

/// Reports what is wrong with a datagram, or with an entry of it, which a backup ignores.
#[cold]
pub(crate) fn sync_fault(net: &Net, fault: Fault) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(permit, format_args!("BACKUP, ignored: {fault}"));
    }
}

/// Reports entries that the master could not send: too many waited, or there was no memory.
#[cold]
pub(crate) fn sync_lost(net: &Net, entries: u64) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(
            permit,
            format_args!("sync: {entries} connections were not sent"),
        );
    }
}
