// SPDX-License-Identifier: GPL-2.0

//! All that the module says in the kernel's log, with the prefix `IPVS:`.
//!
//! Nothing else in the module writes there (`tools/env/checks log`), so that no line is without a
//! limit that a packet or a user can cause, whichever namespace it comes from. `Documentation/abi.rst`
//! says which lines there are, and what monitoring may match on in them. The one exception is
//! `linux/net/pernet.rs`, which says every ten seconds that a namespace can't end: a fault of the module.
//!
//! All of this is cold: established connections have nothing to say.

use crate::{
    conn,
    service::Service, //
};
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
    rcu::ReadLocked,
    table::BUCKET_BYTES, //
};

static LOG: Log = Log::new(c"IPVS");

/// Says that the module is there, and what it offers.
#[cold]
pub(crate) fn loaded() {
    let say = |line: fmt::Arguments<'_>| LOG.info(Permit::unlimited(), line);
    say(format_args!("Registered protocols (TCP, UDP)"));
    let [first, most] = conn::table_sizes();
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

/// Says that the module is gone, and what it offered.
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

/// Says why the module can't be loaded: it can't have `what`.
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

fn name(service: &Service) -> ServiceName {
    ServiceName(service.label())
}

/// Says that a scheduler has no server for a new connection. C: `ip_vs_scheduler_err()`.
#[cold]
pub(crate) fn no_destination(net: &Net, service: &Service, rcu: ReadLocked<'_>) {
    let Some(scheduler) = service.scheduler.kind() else {
        return;
    };
    let Some(permit) = LOG.permit_for_packet(net) else {
        return;
    };
    let why = match scheduler {
        SchedulerKind::RoundRobin(RoundRobin::Wrr) if service.has_weight(rcu) => {
            ": all destinations are overloaded"
        }
        _ => "",
    };
    LOG.error(
        permit,
        format_args!(
            "{}: {} - no destination available{why}",
            scheduler.name(),
            name(service)
        ),
    );
}

/// Says that a packet came to a service for all ports that is not persistent, and so has no server
/// for it.
#[cold]
pub(crate) fn port_zero(net: &Net, service: &Service) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(
            permit,
            format_args!(
                "Schedule: port zero needs a persistent service: {}",
                name(service)
            ),
        );
    }
}

/// Says that a packet had to be dropped for want of memory, which is needed for `what`.
#[cold]
pub(crate) fn no_memory(net: &Net, what: &str) {
    if let Some(permit) = LOG.permit_for_packet(net) {
        LOG.error(permit, format_args!("no memory for {what}"));
    }
}

/// Says that a user wants a scheduler that there is not. What the user wrote is shown with all that
/// is not printable escaped.
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

/// The same of a persistence engine.
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

/// Says that a scheduler can't be had for a service.
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

/// Says why values of a server are refused.
#[cold]
pub(crate) fn dest_refused(net: &Net, service: &Service, dest: Endpoint, why: &str) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!("{}: server {dest}: {why}", name(service)),
        );
    }
}

/// Says that a socket option names a service of a protocol that none can have.
#[cold]
pub(crate) fn invalid_protocol(net: &Net, protocol: u16, service: Endpoint) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!("socket option: invalid protocol: {protocol} {service}"),
        );
    }
}

/// Says that a socket option has another length than what it asks for.
#[cold]
pub(crate) fn wrong_length(net: &Net, length: i32, needed: usize) {
    if let Some(permit) = LOG.permit_for_request(net) {
        LOG.error(
            permit,
            format_args!("socket option: length: {length} != {needed}"),
        );
    }
}
