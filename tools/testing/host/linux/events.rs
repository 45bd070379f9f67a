// SPDX-License-Identifier: GPL-2.0

//! A record of what the module has sent and logged, in order.

use crate::{
    nf_conntrack::Tuple,
    skb::Packet, //
};
use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        MutexGuard,
        PoisonError, //
    },
};

/// An ICMP message that the host was asked to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmp {
    pub is_ipv6: bool,
    pub kind: u8,
    pub code: u8,
    /// The second four bytes of the message.
    pub info: [u8; 4],
    /// The packet that it is about.
    pub about: Vec<u8>,
}

#[derive(Debug)]
pub enum Event {
    /// A packet that goes by LOCAL_OUT to its route.
    Sent(Packet),
    /// A packet in its tunnel, sent as one of this host's own.
    Tunnelled(Packet),
    Icmp(Icmp),
    /// There was no route.
    LinkFailure,
    /// The path to where a packet went has this MTU.
    PathMtu(u32),
    /// Connection tracking confirmed the entry of a packet.
    Confirmed,
    /// Connection tracking was to delete the entry with these requests.
    Killed(Tuple),
    /// Connection tracking was to expect a connection.
    Expected(Tuple),
    /// A socket sent a datagram to this address.
    Datagram(SocketAddr, Vec<u8>),
    /// A packet was counted as one with an error in its header.
    HeaderError,
}

static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());

fn events() -> MutexGuard<'static, Vec<Event>> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn happened(event: Event) {
    events().push(event);
}

/// Takes what happened since the last time.
pub fn take() -> Vec<Event> {
    std::mem::take(&mut *events())
}
