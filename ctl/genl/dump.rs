// SPDX-License-Identifier: GPL-2.0

//! Dumps of services and servers. C: `ip_vs_genl_dump_services()`, `ip_vs_genl_dump_dests()`.

use super::{
    attributes,
    failure::Failure,
    sink::Sink, //
};
use crate::{
    ctl::show,
    netns::{
        sync::Role,
        Netns, //
    },
    service::dest::Dest,
    service::Service,
    walk::Cursor, //
};
use core::ops::ControlFlow;
use ipvs_core::netlink::{
    attr::Attrs,
    dump,
    service,
    *, //
};
use kernel::prelude::*;
use linux::{
    genetlink::{
        Dump,
        Request, //
    },
    netfilter::has_ipv6,
    rcu::{
        self,
        ReadLocked, //
    },
};

/// The position at which the next part of a dump begins. Each command uses one of the two.
#[derive(Clone, Copy, Zeroable)]
pub(crate) struct Position {
    services: Cursor,
    dests: Servers,
}

impl Position {
    /// Returns whether the daemon of a role has been shown.
    pub(super) fn has_shown(&self, role: Role) -> bool {
        self.dests.daemons & role.bit() != 0
    }

    /// Notes that the daemon of a role has been shown.
    pub(super) fn set_shown(&mut self, role: Role) {
        self.dests.daemons |= role.bit();
    }
}

/// The servers still to be shown: all, or those in slots below that of the last one shown. Servers
/// only ever move to lower slots.
#[derive(Clone, Copy, Zeroable)]
struct Servers {
    begun: bool,
    /// The bits of the daemons that have been shown; here, as there is no room elsewhere.
    daemons: u32,
    slots_below: usize,
    serials_below: u64,
}

/// Dumps as many services as there is room for.
pub(super) fn services(request: &Request<'_>, out: &mut Dump<'_, Position>) {
    let mut position = out.position();
    let mut room = true;

    while room && !position.services.ended() {
        rcu::read(|rcu| {
            let Some(netns) = Netns::of(request.net(), rcu) else {
                room = false;
                return;
            };
            let services = &netns.get_ref().service_tables().services;
            let all = position.services.advance(rcu, services, |service| {
                match put_service(out, &service) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            room = all.is_continue();
        });
    }
    out.set_position(position);
}

/// Dumps as many servers of a service as there is room for. As in C, a request without a service,
/// or with one that does not exist, gets an empty answer instead of an error. If its attributes are
/// malformed, the error is reported.
pub(super) fn dests(request: &Request<'_>, out: &mut Dump<'_, Position>) {
    let service = match attributes(request) {
        Ok([_, service, ..]) => {
            if Attrs::new(request.attrs(), Request::ATTRS_OFFSET).has_rest() {
                request.explain("bytes are left over after the attributes");
            }
            service
        }
        Err(error) => {
            let _ = Failure::from(error).tell(request);
            return;
        }
    };
    let Ok(id) = service::parse_id(service, has_ipv6()) else {
        return;
    };
    rcu::read(|rcu| {
        if let Some(netns) = Netns::of(request.net(), rcu) {
            // If it is not found, the dump is empty.
            let _ = netns.with_service(&id, |service| put_dests(rcu, service, out));
        }
    });
}

/// Dumps the servers from the highest slot down, since the C module shows the server added last
/// first.
fn put_dests(rcu: ReadLocked<'_>, service: &Service, out: &mut Dump<'_, Position>) {
    let dests = service.dests.view(rcu);
    let mut position = out.position();
    let left = match position.dests.begun {
        true => position.dests,
        false => Servers {
            begun: true,
            daemons: 0,
            slots_below: usize::MAX,
            serials_below: u64::MAX,
        },
    };

    position.dests = Servers {
        slots_below: 0,
        ..left
    };
    for slot in (0..left.slots_below.min(dests.len())).rev() {
        let Some(dest) = dests.get(slot) else {
            continue;
        };
        let serial = dest.serial();
        if serial < left.serials_below && put_dest(out, &dest).is_err() {
            position.dests = Servers {
                begun: true,
                daemons: 0,
                slots_below: slot.wrapping_add(1),
                serials_below: serial.wrapping_add(1),
            };
            break;
        }
    }
    out.set_position(position);
}

fn put_service(out: &mut Dump<'_, Position>, service: &Service) -> Result {
    out.message(IPVS_CMD_NEW_SERVICE, |message| {
        dump::put_service(&mut Sink(message), &show::service(service))
            .map_err(|dump::NoRoom| EMSGSIZE)
    })
}

fn put_dest(out: &mut Dump<'_, Position>, dest: &Dest) -> Result {
    out.message(IPVS_CMD_NEW_DEST, |message| {
        dump::put_dest(&mut Sink(message), &show::dest(dest)).map_err(|dump::NoRoom| EMSGSIZE)
    })
}
