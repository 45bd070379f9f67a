// SPDX-License-Identifier: GPL-2.0

//! Forwarding: the forwarding methods, and changes to the IP header of a forwarded packet:
//! decrementing the time to live, and building the outer header of a tunnel, of either family.

use crate::{
    bytes::{
        be16,
        put, //
    },
    checksum::replace16,
    ipv4::MIN_HEADER_LEN,
    ipv6,
    net::{
        Be128,
        Be16,
        Be32, //
    },
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_NOOUTPUT,
        FWD_BYPASS,
        FWD_DROUTE,
        FWD_LOCALNODE,
        FWD_MASK,
        FWD_MASQ,
        FWD_TUNNEL, //
    },
};

/// The forwarding method: the way in which packets get to a server (C: `IP_VS_CONN_F_MASQ` etc.).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FwdMethod {
    /// Translates addresses in both directions (NAT).
    Masq,
    /// Delivers locally: the server is this host.
    LocalNode,
    /// Sends packets through a tunnel.
    Tunnel,
    /// Sends unchanged packets to the server's link-layer address (direct routing).
    DRoute,
    /// Sends unchanged packets to their original destination.
    Bypass,
}

impl FwdMethod {
    /// Returns the method in the flags of a server or connection. Unknown ones count as NAT; the
    /// control interfaces refuse them.
    #[inline]
    pub const fn from_flags(flags: u32) -> Self {
        match flags & FWD_MASK {
            FWD_LOCALNODE => Self::LocalNode,
            FWD_TUNNEL => Self::Tunnel,
            FWD_DROUTE => Self::DRoute,
            FWD_BYPASS => Self::Bypass,
            _ => Self::Masq,
        }
    }

    /// Returns the method's number (C: `IP_VS_CONN_F_FWD_MASK`).
    pub const fn number(self) -> u32 {
        match self {
            Self::Masq => FWD_MASQ,
            Self::LocalNode => FWD_LOCALNODE,
            Self::Tunnel => FWD_TUNNEL,
            Self::DRoute => FWD_DROUTE,
            Self::Bypass => FWD_BYPASS,
        }
    }

    /// Returns the initial flags of connections with this method: not active yet and, except for
    /// NAT, with replies that do not pass the director.
    pub const fn conn_flags(self) -> u32 {
        let no_output = match self {
            Self::Masq => 0,
            Self::LocalNode | Self::Tunnel | Self::DRoute | Self::Bypass => CONN_F_NOOUTPUT,
        };
        self.number() | no_output | CONN_F_INACTIVE
    }
}

/// `IPPROTO_IPIP`.
pub const PROTO_IPIP: u8 = 4;
/// The minimum MTU of IPv4 (RFC 791).
pub const MIN_MTU: u32 = 68;

const TTL_AT: usize = 8;
const CHECK_AT: usize = 10;
const DONT_FRAGMENT: Be16 = Be16::new(0x4000);

const ECN_MASK: u8 = 3;
const ECN_CONGESTION: u8 = 3;
const ECN_CAPABLE_0: u8 = 2;

/// Decrements the time to live and updates the header checksum. Returns `false`, and changes
/// nothing, if the packet must not be forwarded because it has expired (C: `ip_decrease_ttl()`).
#[inline]
#[must_use = "a packet whose time has run out must not be forwarded"]
pub fn decrement_ttl(header: &mut [u8; MIN_HEADER_LEN]) -> bool {
    // TTL and protocol form one 16-bit word of the checksum.
    let (Some(old), Some(check)) = (be16(header, TTL_AT), be16(header, CHECK_AT)) else {
        return false;
    };
    let [ttl, protocol] = old.to_bytes();
    let Some(ttl) = ttl.checked_sub(1).filter(|&left| left > 0) else {
        return false;
    };
    let new = Be16::from_bytes([ttl, protocol]);
    put(header, TTL_AT, new.to_bytes());
    put(header, CHECK_AT, replace16(check, old, new).to_bytes());
    true
}

/// Returns the outer type of service for an inner one: ECN bits are copied, except that "congestion
/// experienced" becomes ECT(0) (RFC 3168, full functionality; C: `INET_ECN_encapsulate()`).
#[inline]
const fn outer_tos(inner: u8) -> u8 {
    match inner & ECN_MASK {
        ECN_CONGESTION => inner & !ECN_MASK | ECN_CAPABLE_0,
        _ => inner,
    }
}

/// The fields of a tunnel's outer IP header except its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The type of service or traffic class of the inner header.
    pub inner_tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// The protocol of what follows the header.
    pub protocol: u8,
    /// Sets DF. IPv4 only.
    pub dont_fragment: bool,
}

impl Outer {
    /// Builds an IPv4 header. Length, identification and checksum are 0 and are to be filled in
    /// when the packet is sent.
    #[inline]
    pub fn ipv4(self, src: Be32, dst: Be32) -> [u8; MIN_HEADER_LEN] {
        let mut header = [0; MIN_HEADER_LEN];
        put(&mut header, 0, [0x45, outer_tos(self.inner_tos)]);
        if self.dont_fragment {
            put(&mut header, 6, DONT_FRAGMENT.to_bytes());
        }
        put(&mut header, TTL_AT, [self.ttl, self.protocol]);
        put(&mut header, 12, src.to_bytes());
        put(&mut header, 16, dst.to_bytes());
        header
    }

    /// Builds an IPv6 header. The payload length is 0 and is to be filled in when the packet is
    /// sent.
    #[inline]
    pub fn ipv6(self, src: Be128, dst: Be128) -> [u8; ipv6::HEADER_LEN] {
        ipv6::build(outer_tos(self.inner_tos), self.protocol, self.ttl, src, dst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipv4::{
        checksum_is_valid,
        update_checksum, //
    };

    fn sample(tos: u8, ttl: u8) -> [u8; 20] {
        let mut header = [
            0x45, tos, 0, 20, 0xab, 0xcd, 0x40, 0, ttl, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        update_checksum(&mut header);
        header
    }

    #[test]
    fn methods_have_the_known_numbers() {
        let known = [
            (0, FwdMethod::Masq, 0x100),
            (1, FwdMethod::LocalNode, 0x181),
            (2, FwdMethod::Tunnel, 0x182),
            (3, FwdMethod::DRoute, 0x183),
            (4, FwdMethod::Bypass, 0x184),
        ];
        for (number, method, flags) in known {
            assert_eq!(FwdMethod::from_flags(0xff00 | number), method);
            assert_eq!(method.number(), number);
            assert_eq!(method.conn_flags(), flags);
        }
        assert_eq!(FwdMethod::from_flags(7), FwdMethod::Masq);
    }

    #[test]
    fn ttl_ends_at_one() {
        for ttl in 0..=u8::MAX {
            let mut header = sample(0, ttl);
            assert_eq!(decrement_ttl(&mut header), ttl > 1);
            assert_eq!(header[8], if ttl > 1 { ttl - 1 } else { ttl });
            assert!(checksum_is_valid(&header));
        }
    }

    #[test]
    fn congestion_is_not_copied_outward() {
        for (inner, outer) in [(0xb8, 0xb8), (0xb9, 0xb9), (0xba, 0xba), (0xbb, 0xba)] {
            assert_eq!(outer_tos(inner), outer);
        }
    }

    #[test]
    fn outer_headers_say_what_they_are_given() {
        let (src, dst) = (
            Be32::from_bytes([1, 2, 3, 4]),
            Be32::from_bytes([5, 6, 7, 8]),
        );
        let outer = Outer {
            inner_tos: 0x13,
            ttl: 9,
            protocol: PROTO_IPIP,
            dont_fragment: true,
        };
        assert_eq!(
            outer.ipv4(src, dst),
            [0x45, 0x12, 0, 0, 0, 0, 0x40, 0, 9, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        let may_be_cut = Outer {
            dont_fragment: false,
            ..outer
        };
        assert_eq!(may_be_cut.ipv4(src, dst)[6], 0);
        let header = outer.ipv6(Be128::new(1), Be128::new(2));
        assert_eq!(header[..8], [0x61, 0x20, 0, 0, 0, 0, 4, 9]);
        assert_eq!((header[23], header[39]), (1, 2));
    }
}
