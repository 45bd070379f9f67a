// SPDX-License-Identifier: GPL-2.0

//! Connections whose client port is not known yet, and which wait for the client's first packet. C:
//! `IP_VS_CONN_F_NO_CPORT`.

use super::bits::{
    Bits,
    F_NO_CPORT, //
};
use ipvs_core::netlink::CONN_F_NFCT;
use linux::{
    atomic::{
        InlineAtomic,
        Relaxed, //
    },
    net::WeakNet, //
};

/// The flag of a connection that waits for the port of the client.
pub(crate) const NO_CPORT: u32 = F_NO_CPORT;

/// Returns the flags of a connection that takes the place of one with `bits` which waits for the port
/// of the client. Like each new one it is not active yet, whatever the old one is by now.
pub(crate) fn flags_with_cport(bits: Bits) -> u32 {
    bits.fwd_method().conn_flags() | CONN_F_NFCT
}

/// The namespace that a table of connections belongs to, with what it counts of them.
pub(crate) struct Owner {
    net: WeakNet,
    /// The number of connections that wait for a client's port. C: `ipvs->no_cport_conns`.
    no_cport: InlineAtomic<u32>,
}

impl Owner {
    /// Makes the owner of a table in `net`.
    pub(crate) fn new(net: WeakNet) -> Self {
        Self {
            net,
            no_cport: InlineAtomic::new(0),
        }
    }

    /// Returns the way to the namespace.
    pub(super) fn net(&self) -> &WeakNet {
        &self.net
    }

    /// Counts a connection that waits for a client's port, before it is published.
    pub(crate) fn add_no_cport(&self) {
        self.no_cport.fetch_add(1, Relaxed);
    }

    /// Takes one out of the count.
    pub(crate) fn remove_no_cport(&self) {
        self.no_cport.fetch_sub(1, Relaxed);
    }

    /// Returns whether connections wait for a client's port.
    #[inline]
    pub(crate) fn has_no_cport(&self) -> bool {
        self.no_cport.load(Relaxed) != 0
    }
}
