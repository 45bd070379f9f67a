// SPDX-License-Identifier: GPL-2.0
// error: E0061

//! A reference keeps a route, but not the device by which IPv6 tells whether it is local.

use core::net::Ipv6Addr;
use linux::{
    net::Net,
    rcu,
    route::{
        output6,
        Lookup6,
        Route, //
    },
};

pub fn leads_here(net: &Net, addr: Ipv6Addr) -> bool {
    let Ok(found) = output6(net, addr, Lookup6::default()) else {
        return false;
    };
    #[cfg(misuse)]
    return Route::is_local(&*found.rt);
    #[cfg(not(misuse))]
    rcu::read(|rcu| Route::is_local(&*found.rt, rcu))
}
