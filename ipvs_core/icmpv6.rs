// SPDX-License-Identifier: GPL-2.0

//! ICMPv6 (RFC 4443). Its header is the same as [`IcmpHeader`]; its types differ, and the checksum
//! includes a pseudo header.
//!
//! C: the parsing in `ip_vs_in_icmp_v6()` and `ip_vs_out_icmp_v6()`.

use crate::icmp::IcmpHeader;

/// `ICMPV6_PKT_TOOBIG`.
pub const PACKET_TOO_BIG: u8 = 2;

/// The first type that is not an error (C: `ICMPV6_INFOMSG_MASK`).
const INFORMATIONAL: u8 = 0x80;

/// Returns `true` if the message is an error, of any type. All errors quote a packet.
#[inline]
pub const fn is_error(header: &IcmpHeader) -> bool {
    header.kind & INFORMATIONAL == 0
}

/// Returns the MTU in bytes that a "packet too big" error reports. `None` for other messages.
#[inline]
pub const fn too_big_mtu(header: &IcmpHeader) -> Option<u32> {
    match header.kind {
        PACKET_TOO_BIG => Some(u32::from_be_bytes(header.rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_lower_half_of_the_types() {
        for kind in 0..=255u8 {
            let header = IcmpHeader::parse(&[kind, 0, 0, 0, 0, 1, 5, 0]).unwrap();
            assert_eq!(is_error(&header), kind < 128);
            let mtu = (kind == PACKET_TOO_BIG).then_some(0x0001_0500);
            assert_eq!(too_big_mtu(&header), mtu);
        }
    }
}
