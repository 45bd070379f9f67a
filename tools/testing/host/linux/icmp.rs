// SPDX-License-Identifier: GPL-2.0

//! ICMP messages that the host sends: noted in [`events`](crate::events).

use crate::{
    events::{
        happened,
        Event,
        Icmp, //
    },
    net::Net,
    skb::Skb, //
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    PortUnreachable,
    FragmentationNeeded(u32),
    TimeToLiveExceeded,
}

pub fn send(skb: &mut Skb, _net: &Net, problem: Problem) {
    let (kind, code, info) = match (problem, skb.is_ipv6()) {
        (Problem::PortUnreachable, false) => (3, 3, 0),
        (Problem::PortUnreachable, true) => (1, 4, 0),
        (Problem::FragmentationNeeded(mtu), false) => (3, 4, mtu),
        (Problem::FragmentationNeeded(mtu), true) => (2, 0, mtu),
        (Problem::TimeToLiveExceeded, false) => (11, 0, 0),
        (Problem::TimeToLiveExceeded, true) => (3, 0, 0),
    };
    relay(skb, kind, code, info.to_be_bytes());
}

pub fn relay(skb: &Skb, kind: u8, code: u8, info: [u8; 4]) {
    happened(Event::Icmp(Icmp {
        is_ipv6: skb.is_ipv6(),
        kind,
        code,
        info,
        about: skb.packet().bytes.clone(),
    }));
}

pub fn link_failure(_skb: &mut Skb) {
    happened(Event::LinkFailure);
}

pub fn update_pmtu(_skb: &mut Skb, _net: &Net, mtu: u32, _protocol: u8) {
    happened(Event::PathMtu(mtu));
}

pub fn count_header_error(_skb: &Skb, _net: &Net) {
    happened(Event::HeaderError);
}
