// SPDX-License-Identifier: GPL-2.0

//! IPsec policies: all packets pass, or none, as a test says.

use crate::{
    net::Net,
    rcu::ReadLocked,
    route::{
        Owned,
        Route, //
    },
    skb::Skb, //
};
use kernel::prelude::*;
use std::{
    net::IpAddr,
    sync::atomic::Ordering::SeqCst, //
};

#[derive(Clone, Copy, Debug)]
pub enum Sent {
    AsIs,
    To {
        addr: IpAddr,
        port: Option<u16>,
    },
    In {
        src: IpAddr,
        dst: IpAddr,
        protocol: u8,
        tos: u8,
        udp: Option<u16>,
    },
}

pub fn has_output_policies(net: &Net) -> bool {
    net.policies.load(SeqCst)
}

pub fn lookup<R: Route>(
    net: &Net,
    _skb: &mut Skb,
    _rt: &R,
    _sent: Sent,
    _rcu: ReadLocked<'_>,
) -> Result<Option<Owned<R>>> {
    match net.policies_pass.load(SeqCst) {
        true => Ok(None),
        false => Err(EPERM),
    }
}

pub fn forward(skb: &mut Skb) -> Result {
    let passes = Net::init().policies_pass.load(SeqCst);
    match skb.route() {
        Some(route) if route.way.is_local || passes => Ok(()),
        Some(_) => Err(EPERM),
        None => Err(EHOSTUNREACH),
    }
}
