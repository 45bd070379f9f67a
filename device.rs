// SPDX-License-Identifier: GPL-2.0

//! What network devices mean to servers. C: `ip_vs_dst_event()`.

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

/// Resets the cached routes of servers that refer to devices which go.
pub(crate) struct DeviceEvents;

impl Handler for DeviceEvents {
    fn gone(net: &Net, device: &Device) {
        // The table outlives the namespace's state as long as it is walked over: that may take its
        // time.
        let service_tables = rcu::read(|rcu| Some(Netns::of(net, rcu)?.service_tables.clone()));
        let Some(service_tables) = service_tables else {
            return;
        };
        // Servers in the trash have no route. Whoever takes one that has, or may get, a route out of
        // the table, to change it or to take it up again, resets its route after putting it back.
        Cursor::default().for_each(&service_tables.dests, |dest, rcu| {
            dest.reset_route_by(device, net, rcu);
            ControlFlow::Continue(())
        });
    }
}
