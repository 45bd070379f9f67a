// SPDX-License-Identifier: GPL-2.0

//! IPVS: the Linux virtual server, a layer-4 load balancer in the kernel.
//!
//! This crate is the module: the code that depends on both IPVS and the kernel. Code that needs no
//! kernel is in [`ipvs_core`], code that needs `unsafe` in [`linux`].
//!
//! `Documentation/architecture.rst` is the introduction.

#![deny(unsafe_code)]

mod app;
mod conn;
mod control;
mod ctl;
mod defence;
mod device;
mod family;
mod hook;
mod ipvs_xmit;
mod log;
mod master;
mod netns;
mod nfct;
mod packet;
mod pe;
mod pernet;
mod proto;
mod schedule;
mod service;
mod settings;
mod stats;
mod sync;
mod walk;
mod xt;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    genetlink,
    net,
    netdevice::Notifier,
    sockopt, //
};

module! {
    type: IpVs,
    name: "ip_vs",
    authors: ["The ipvs-rs developers"],
    description: "IP Virtual Server",
    license: "GPL",
    params: {
        conn_tab_bits: i32 {
            default: 0,
            description: "Largest hash table of connections, as a power of two (8 to 27); 0: as memory allows",
        },
    },
}

/// Logs that the module was loaded when created, and that it was unloaded when dropped.
struct Announced;

impl Announced {
    fn new() -> Self {
        log::loaded(conn::sizing::table_sizes());
        Self
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        log::unloaded();
    }
}

/// The loaded module.
///
/// Fields are dropped in this order: first the interfaces to users are unregistered, then the state
/// of the namespaces is dropped, with hooks, timers, connections and slab caches.
struct IpVs {
    _sockopts: sockopt::Registration<ctl::sockopt::Sockopts>,
    _genl: genetlink::Registration<ctl::genl::Ipvs>,
    _devices: Notifier<device::DeviceEvents>,
    _namespaces: Arc<net::Registration<netns::Netns>>,
    _announced: Announced,
}

impl kernel::Module for IpVs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        conn::sizing::set_max_bits(module_parameters::conn_tab_bits.value());
        let without = |what| move |&error: &Error| log::not_loaded(what, error);
        let common = pernet::Common::new().inspect_err(without("caches of connections"))?;
        let namespaces =
            net::Registration::new(common).inspect_err(without("network namespaces"))?;
        let namespaces = Arc::new(namespaces, GFP_KERNEL)?;
        let devices = Notifier::new().inspect_err(without("notifier of devices"))?;
        // The loader refuses a second module called ip_vs; registering fails if IPVS is built in.
        let genl = ctl::genl::register(namespaces.clone())
            .inspect_err(without("Generic Netlink interface"))?;
        let sockopts =
            ctl::sockopt::register(namespaces.clone()).inspect_err(without("sockopt"))?;
        Ok(Self {
            _sockopts: sockopts,
            _genl: genl,
            _devices: devices,
            _namespaces: namespaces,
            _announced: Announced::new(),
        })
    }
}
