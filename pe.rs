// SPDX-License-Identifier: GPL-2.0

//! The identifiers that persistence engines find in packets, and that templates keep. C:
//! `ip_vs_pe.c`, `pe_data`.
//!
//! The parsers are in [`ipvs_core::pe`]. They are part of this module; `stand_ins/Kbuild` has the
//! names of the corresponding C modules.

use crate::family::{
    Family,
    Header, //
};
use ipvs_core::{
    flow::{
        hash_bytes,
        HashKey, //
    },
    ipv4::PROTO_UDP,
    pe::PeKind,
    transport::UDP_HEADER_LEN, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::skb::Skb;

/// The identifier that an engine has found.
#[derive(Clone)]
pub(crate) struct PeData {
    kind: PeKind,
    bytes: Arc<KVec<u8>>,
}

impl PartialEq for PeData {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.bytes[..] == other.bytes[..]
    }
}

impl PeData {
    /// Finds the identifier in a packet, whose data is made linear. `None` if it has none, or if
    /// there is no memory: then the packet creates no connection.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn read<F: Family>(kind: PeKind, skb: &mut Skb) -> Option<Self> {
        let header = F::header(skb)?;
        if header.protocol() != PROTO_UDP {
            return None;
        }
        let at = header.transport_at().checked_add(UDP_HEADER_LEN)?;
        if at >= skb.len() {
            return None;
        }
        skb.linearize().ok()?;
        Self::new(kind, kind.read(skb.network().get(at..)?)?)
    }

    /// Makes a copy of an identifier. `None` if there is no memory.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn new(kind: PeKind, found: &[u8]) -> Option<Self> {
        let mut bytes = KVec::with_capacity(found.len(), GFP_ATOMIC).ok()?;
        bytes.extend_from_slice(found, GFP_ATOMIC).ok()?;
        Some(Self {
            kind,
            bytes: Arc::new(bytes, GFP_ATOMIC).ok()?,
        })
    }

    /// Returns a hash of the identifier, to be combined with others.
    pub(crate) fn hash(&self, key: &HashKey) -> u32 {
        hash_bytes(key, &self.bytes)
    }

    /// Returns the name of the engine and the identifier as users see them.
    pub(crate) fn shown(&self) -> (&'static str, &[u8]) {
        (self.kind.name(), &self.bytes)
    }
}
