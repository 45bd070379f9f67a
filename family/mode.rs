// SPDX-License-Identifier: GPL-2.0

//! The options for routing a packet to a server. C: `IP_VS_RT_MODE_*`.

/// The destinations that a packet may be routed to, and the options of the route look-up.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// The server may be this host (C: `IP_VS_RT_MODE_LOCAL`).
    pub(crate) local: bool,
    /// The server may be another host (C: `IP_VS_RT_MODE_NON_LOCAL`).
    pub(crate) non_local: bool,
    /// The server may be this host even if the packet's route leads to another (C:
    /// `IP_VS_RT_MODE_RDR`).
    pub(crate) redirect: bool,
    /// The route must have a source address of this host (C: `IP_VS_RT_MODE_CONNECT`).
    pub(crate) connect: bool,
    /// The next hop is the server, which need not be the packet's destination (C:
    /// `IP_VS_RT_MODE_KNOWN_NH`).
    pub(crate) known_nh: bool,
    /// The packet is tunnelled, with this number of bytes between the outer and the inner IP header
    /// (C: `IP_VS_RT_MODE_TUNNEL`).
    pub(crate) tunnel: Option<usize>,
}

impl Mode {
    /// The server must be another host.
    pub(crate) const NON_LOCAL: Self = Self {
        local: false,
        non_local: true,
        redirect: false,
        connect: false,
        known_nh: false,
        tunnel: None,
    };
    /// The server may be any host.
    pub(crate) const ANY: Self = Self {
        local: true,
        ..Self::NON_LOCAL
    };
    /// The server may be any host, and this host also if the packet's route leads to another.
    pub(crate) const REDIRECT: Self = Self {
        redirect: true,
        ..Self::ANY
    };
}
