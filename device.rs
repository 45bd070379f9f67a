// SPDX-License-Identifier: GPL-2.0

//! Events of network devices, which invalidate the cached routes of servers. C:
//! `ip_vs_dst_event()`.

use crate::{
    netns::Netns,
    walk::Cursor, //
};
use core::ops::ControlFlow;
use linux::{
    net::Net,
    netdevice::{
        Device,
        Handler, //
    },
    rcu, //
};

/// The handler that resets the cached routes of servers through a device that goes down or is
/// unregistered.
pub(crate) struct DeviceEvents;

impl Handler for DeviceEvents {
    fn gone(net: &Net, device: &Device) {
        // The reference keeps the table while it is walked, which may take longer than the
        // namespace's state lives.
        let service_tables = rcu::read(|rcu| Some(Netns::of(net, rcu)?.service_tables.clone()));
        let Some(service_tables) = service_tables else {
            return;
        };
        // Servers in the trash have no route. Code that removes a server from the table for a
        // change, so that this walk may miss it, resets its route after putting it back.
        Cursor::default().for_each(&service_tables.dests, |dest, rcu| {
            dest.reset_route_by(device, net, rcu);
            ControlFlow::Continue(())
        });
    }
}
