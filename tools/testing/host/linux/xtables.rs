// SPDX-License-Identifier: GPL-2.0

//! Matches of iptables' rules. A test calls what is registered with x_tables by its exported name.

use crate::{
    net::Net,
    netfilter::Protocol,
    rcu::ReadLocked,
    skb::{
        Packet,
        SkbRef, //
    },
};
use kernel::prelude::*;

#[derive(Clone, Copy)]
pub struct MatchState<'rcu> {
    protocol: Protocol,
    net: &'rcu Net,
    rcu: ReadLocked<'rcu>,
}

impl<'rcu> MatchState<'rcu> {
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub fn net(&self) -> &'rcu Net {
        self.net
    }

    pub fn rcu(&self) -> ReadLocked<'rcu> {
        self.rcu
    }
}

pub trait Match: 'static {
    type Info;

    fn matches(packet: SkbRef<'_>, info: &Self::Info, state: MatchState<'_>) -> bool;
    fn check(net: &Net, family: u8, protocol: Option<Protocol>) -> Result;
}

pub fn matches<T: Match>(packet: &Packet, info: &T::Info, net: &Net) -> bool {
    let _section = kernel::sync::rcu::read_lock();
    let state = MatchState {
        protocol: match packet.is_ipv6 {
            false => Protocol::Ipv4,
            true => Protocol::Ipv6,
        },
        net,
        // SAFETY: The section lasts until the end of this function.
        rcu: unsafe { ReadLocked::assume() },
    };
    T::matches(SkbRef::new(packet), info, state)
}

pub fn check<T: Match>(net: &Net, family: u8) -> Result {
    let protocol = match family {
        2 => Some(Protocol::Ipv4),
        10 => Some(Protocol::Ipv6),
        _ => None,
    };
    T::check(net, family, protocol)
}

/// Defines functions of these names, for tests.
#[macro_export]
macro_rules! export_xt_match {
    ($type:ty, $match:ident, $check:ident) => {
        #[cfg_attr(not(test), expect(dead_code, reason = "tests call it"))]
        pub(crate) fn $match(
            packet: &$crate::skb::Packet,
            info: &[u8; 40],
            net: &$crate::net::Net,
        ) -> bool {
            $crate::xtables::matches::<$type>(packet, info, net)
        }

        #[cfg_attr(not(test), expect(dead_code, reason = "tests call it"))]
        pub(crate) fn $check(net: &$crate::net::Net, family: u8) -> ::kernel::error::Result {
            $crate::xtables::check::<$type>(net, family)
        }
    };
}
