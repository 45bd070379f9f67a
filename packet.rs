// SPDX-License-Identifier: GPL-2.0

//! Parsed packets, as the hooks pass them on.

use crate::{
    family::Family,
    proto::Transport, //
};
use ipvs_core::{
    flow::Flow,
    proto::Protocol, //
};

/// The parsed headers of a packet that is no fragment, of a protocol that services support. C:
/// `struct ip_vs_iphdr`.
pub(crate) struct Packet<F: Family> {
    pub(crate) header: F::Header,
    pub(crate) protocol: Protocol,
    pub(crate) transport: Transport,
    pub(crate) flow: Flow<F::Addr>,
    /// The flow's hash in the table of connections.
    pub(crate) hash: u32,
}

/// An ICMP error: its offset, and the network header of the packet that it reports.
#[derive(Clone, Copy)]
pub(crate) struct IcmpError<'a, F: Family> {
    /// The offset of the ICMP header from the network header, in bytes.
    pub(crate) offset: usize,
    /// The embedded network header, which follows the ICMP header.
    pub(crate) embedded: &'a F::Header,
    /// `true` if the embedded packet has ports, which follow that header.
    pub(crate) has_ports: bool,
}
