// SPDX-License-Identifier: GPL-2.0

//! What network devices mean to servers. C: `ip_vs_dst_event()`.

use crate::netns::Netns;
use linux::{
    net::Net,
    netdevice::{
        Device,
        Handler, //
    },
    rcu, //
};

/// Lets servers forget routes through devices that go down.
pub(crate) struct Watch;

impl Handler for Watch {
    fn down(net: &Net, device: &Device) {
        rcu::read(|rcu| {
            let Some(netns) = Netns::of(net, rcu) else {
                return;
            };
            let mut cursor = 0;
            loop {
                cursor = netns.model().services.scan(rcu, cursor, |service| {
                    service.for_each_dest(rcu, |dest| dest.reset_route_by(device, rcu));
                });
                if cursor == 0 {
                    break;
                }
            }
        });
    }
}
