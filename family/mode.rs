// SPDX-License-Identifier: GPL-2.0

//! How the way to a server is looked up, and where it may lead. C: `IP_VS_RT_MODE_*`.

/// Where a packet may be sent, and how the way is looked up.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// To this host (C: `IP_VS_RT_MODE_LOCAL`).
    pub(crate) local: bool,
    /// To another one (C: `IP_VS_RT_MODE_NON_LOCAL`).
    pub(crate) non_local: bool,
    /// To this host even if it was to be for another (C: `IP_VS_RT_MODE_RDR`).
    pub(crate) redirect: bool,
    /// With a source address of this host (C: `IP_VS_RT_MODE_CONNECT`).
    pub(crate) connect: bool,
    /// To a neighbour that need not be the packet's destination (C: `IP_VS_RT_MODE_KNOWN_NH`).
    pub(crate) known_nh: bool,
    /// In another packet, with so many bytes between both IP headers (C: `IP_VS_RT_MODE_TUNNEL`).
    pub(crate) tunnel: Option<usize>,
}

impl Mode {
    /// To another host.
    pub(crate) const NON_LOCAL: Self = Self {
        local: false,
        non_local: true,
        redirect: false,
        connect: false,
        known_nh: false,
        tunnel: None,
    };
    /// To any host.
    pub(crate) const ANY: Self = Self {
        local: true,
        ..Self::NON_LOCAL
    };
    /// To any host, also if it was to be for another.
    pub(crate) const REDIRECT: Self = Self {
        redirect: true,
        ..Self::ANY
    };
}
