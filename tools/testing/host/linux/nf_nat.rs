// SPDX-License-Identifier: GPL-2.0

//! Applications that say addresses in their TCP connections. A test registers their ports.

use crate::{
    events::{
        happened,
        Event, //
    },
    net::Net,
    nf_conntrack::Tuple,
    rcu::ReadLocked,
    skb::{
        fold,
        sum_of,
        NoMemory,
        Skb, //
    },
};
use kernel::prelude::*;
use std::{
    net::IpAddr,
    ops::Range,
    sync::{
        Arc,
        Mutex,
        PoisonError, //
    },
};

pub const MAX_PORTS: usize = 8;

/// The module of an application.
pub struct Mangler {
    ports: Vec<u16>,
    /// Each use has one more.
    uses: Arc<()>,
}

impl Mangler {
    /// A module for these ports, which stays for good.
    pub fn leak(ports: &[u16]) -> &'static Self {
        Box::leak(Box::new(Self {
            ports: ports.to_vec(),
            uses: Arc::new(()),
        }))
    }

    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    pub fn uses(&self) -> usize {
        Arc::strong_count(&self.uses) - 1
    }

    pub fn hold(&self) -> Option<ManglerRef> {
        Some(ManglerRef {
            _use: self.uses.clone(),
        })
    }
}

pub struct ManglerRef {
    _use: Arc<()>,
}

impl ManglerRef {
    #[must_use]
    pub fn mangle(&self, skb: &mut Skb, offset: usize, range: Range<usize>, text: &[u8]) -> bool {
        let Ok(payload_len) = skb.tcp_payload(offset).map(<[u8]>::len) else {
            return false;
        };
        if skb.conntrack_entry().is_none() || range.end > payload_len {
            return false;
        }
        let packet = skb.packet_mut();
        let bytes = &mut packet.bytes;
        let start = bytes.len() - payload_len;
        bytes.splice(start + range.start..start + range.end, text.iter().copied());
        packet.linear = bytes.len();
        let summed = if packet.is_ipv6 {
            let len = (bytes.len() - 40) as u16;
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
            8..40
        } else {
            let len = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[10..12].fill(0);
            let check = !fold(sum_of(&bytes[..20]));
            bytes[10..12].copy_from_slice(&check.to_ne_bytes());
            12..20
        };
        let mut summed = bytes[summed].to_vec();
        let check_at = offset + 16;
        bytes[check_at..check_at + 2].fill(0);
        summed.extend([0, 6]);
        summed.extend(((bytes.len() - offset) as u16).to_be_bytes());
        summed.extend(&bytes[offset..]);
        let check = !fold(sum_of(&summed));
        bytes[check_at..check_at + 2].copy_from_slice(&check.to_ne_bytes());
        true
    }
}

impl Skb {
    pub fn tcp_payload(&mut self, offset: usize) -> Result<&[u8], NoMemory> {
        let len = self.len();
        let bytes: &[u8] = self.writable(len)?;
        let tcp = &bytes[offset..];
        Ok(&tcp[usize::from(tcp[12] >> 4) * 4..])
    }
}

pub trait Application: 'static {
    fn registry() -> &'static Registry;

    fn check(ports: &[u16]) -> Result;

    fn expected(net: &Net, original: &Tuple, reply: Tuple, rcu: ReadLocked<'_>) -> Option<Tuple>;
}

pub struct Registry(Mutex<Option<&'static Mangler>>);

impl Registry {
    #[expect(
        clippy::new_without_default,
        reason = "as the one that it stands in for"
    )]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub fn get(&self, _rcu: ReadLocked<'_>) -> Option<&'static Mangler> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a module, or none any more.
    pub fn set(&self, mangler: Option<&'static Mangler>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mangler;
    }
}

pub fn expect<T: Application>(skb: &mut Skb, protocol: u8, src: IpAddr, dst: (IpAddr, u16)) {
    if skb.conntrack_entry().is_some() {
        happened(Event::Expected(Tuple::new(protocol, (src, 0), dst)));
    }
}

/// What a new entry is told that was expected.
pub fn expected<T: Application>(net: &Net, original: &Tuple) -> Option<Tuple> {
    let reply = Tuple {
        protocol: original.protocol,
        src: original.dst,
        dst: original.src,
    };
    crate::rcu::read(|rcu| T::expected(net, original, reply, rcu))
}

/// Makes functions for tests of those that the module's C code would call.
#[macro_export]
macro_rules! export_application {
    ($type:ty, $register:ident, $unregister:ident) => {
        pub(crate) fn $register(
            mangler: &'static $crate::nf_nat::Mangler,
        ) -> ::kernel::prelude::Result {
            use $crate::nf_nat::Application;
            <$type>::check(mangler.ports())?;
            <$type>::registry().set(Some(mangler));
            Ok(())
        }

        pub(crate) fn $unregister(mangler: &'static $crate::nf_nat::Mangler) {
            use $crate::nf_nat::Application;
            assert_eq!(mangler.uses(), 0);
            <$type>::registry().set(None);
        }

        /// What replies look like of a connection that was expected.
        pub(crate) fn expected_reply(
            net: &$crate::net::Net,
            original: &$crate::nf_conntrack::Tuple,
        ) -> Option<$crate::nf_conntrack::Tuple> {
            $crate::nf_nat::expected::<$type>(net, original)
        }
    };
}
