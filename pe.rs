// SPDX-License-Identifier: GPL-2.0

//! Persistence engines: what they have found in a client's first packet, which templates keep. C:
//! `ip_vs_pe.c`, `pe_data`.
//!
//! The engines are part of this module; `stand_ins/Kbuild` has the names of their C modules.

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

/// What an engine has found.
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
    /// What an engine finds in a datagram, which it makes linear. `None` if that is none for it, or if
    /// there is no memory: then no connection is made of it. Any context.
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
        let found = kind.read(skb.network().get(at..)?)?;
        let mut bytes = KVec::with_capacity(found.len(), GFP_ATOMIC).ok()?;
        bytes.extend_from_slice(found, GFP_ATOMIC).ok()?;
        Some(Self {
            kind,
            bytes: Arc::new(bytes, GFP_ATOMIC).ok()?,
        })
    }

    /// A hash of it, to be combined with others.
    pub(crate) fn hash(&self, key: &HashKey) -> u32 {
        hash_bytes(key, &self.bytes)
    }

    /// The name of the engine and what it has found, as users see them.
    pub(crate) fn shown(&self) -> (&'static str, &[u8]) {
        (self.kind.name(), &self.bytes)
    }
}
