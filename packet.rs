// SPDX-License-Identifier: GPL-2.0

//! What is known of a packet.

use crate::{
    family::Family,
    proto::Transport, //
};
use ipvs_core::{
    flow::Flow,
    proto::Protocol, //
};

/// A packet, not a fragment, of a protocol that services are for.
pub(crate) struct Packet<F: Family> {
    pub(crate) header: F::Header,
    pub(crate) protocol: Protocol,
    pub(crate) transport: Transport,
    pub(crate) flow: Flow<F::Addr>,
    /// The flow's hash in the table of connections.
    pub(crate) hash: u32,
}

/// An ICMP error, by where it is, and the header of the packet that it is about.
#[derive(Clone, Copy)]
pub(crate) struct IcmpError<'a, F: Family> {
    /// Bytes from the network header to the ICMP header.
    pub(crate) offset: usize,
    /// The embedded header, right behind the ICMP header.
    pub(crate) embedded: &'a F::Header,
}
