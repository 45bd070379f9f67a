// SPDX-License-Identifier: GPL-2.0

//! Tunnels to servers: their encapsulation, and how to find the inner packet that an ICMP error
//! about a tunnel packet quotes.
//!
//! C: `ipvs_udp_decap()`, `ipvs_gre_decap()` and the `tun_*` members of `struct ip_vs_dest`.

use crate::{
    ipv4::PROTO_UDP,
    net::Be16,
    netlink::{
        TUNNEL_GRE,
        TUNNEL_GUE,
        TUNNEL_IPIP, //
    },
};

/// `IPPROTO_GRE`.
pub const PROTO_GRE: u8 = 47;

/// C: `IP_VS_TUNNEL_ENCAP_FLAG_CSUM`.
const FLAG_CHECKSUM: u16 = 1;
/// C: `IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`.
const FLAG_REMOTE_CHECKSUM: u16 = 2;

const UDP_LEN: usize = 8;
const GUE_LEN: usize = 4;
const GRE_LEN: usize = 4;
const GRE_FLAG_CHECKSUM: u16 = 0x8000;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The encapsulation of packets to a server (C: `IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// Generic UDP Encapsulation.
    Gue {
        /// The UDP port on which the server receives tunnel packets.
        port: Be16,
        /// The outer UDP header carries a checksum (`IP_VS_TUNNEL_ENCAP_FLAG_CSUM`).
        checksum: bool,
        /// Remote checksum offload: the server completes the inner checksum
        /// (`IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`).
        remote_checksum: bool,
    },
    /// Generic Routing Encapsulation.
    Gre {
        /// The GRE header carries a checksum.
        checksum: bool,
    },
}

impl Tunnel {
    /// Converts from the numbers of the control interfaces (`IP_VS_CONN_F_TUNNEL_TYPE_*` and
    /// flags). `None` if there is no such type.
    pub const fn new(kind: u8, port: Be16, flags: u16) -> Option<Self> {
        let checksum = flags & FLAG_CHECKSUM != 0;
        match kind {
            TUNNEL_IPIP => Some(Self::Ipip),
            TUNNEL_GUE => Some(Self::Gue {
                port,
                checksum,
                remote_checksum: flags & FLAG_REMOTE_CHECKSUM != 0,
            }),
            TUNNEL_GRE => Some(Self::Gre { checksum }),
            _ => None,
        }
    }

    /// Returns the protocol number of the outer IP header. `inner` is `IPPROTO_IPIP` or
    /// `IPPROTO_IPV6`, by the family of the inner packet.
    #[inline]
    pub const fn protocol(self, inner: u8) -> u8 {
        match self {
            Self::Ipip => inner,
            Self::Gue { .. } => PROTO_UDP,
            Self::Gre { .. } => PROTO_GRE,
        }
    }

    /// Returns the port by which a tunnel endpoint is looked up in addition to its address; 0 for
    /// tunnels without ports.
    pub const fn port(self) -> Be16 {
        match self {
            Self::Gue { port, .. } => port,
            Self::Ipip | Self::Gre { .. } => Be16::ZERO,
        }
    }
}

/// The address family of the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The encapsulation headers between an outer IP header and the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Their length in bytes.
    pub len: usize,
    /// The family of the packet behind them.
    pub inner: Inner,
}

/// Parses a UDP header and a GUE header. Returns the UDP destination port and the encapsulation
/// headers. `None` unless it is GUE version 0, a data message, with an inner IPv4 or IPv6 packet.
pub fn parse_gue(data: &[u8; UDP_LEN + GUE_LEN]) -> Option<(Be16, Encap)> {
    let &[_, _, p0, p1, _, _, _, _, word, protocol, _, _] = data;
    // Version and control flag.
    if word & 0xe0 != 0 {
        return None;
    }
    let inner = match protocol {
        crate::forward::PROTO_IPIP => Inner::V4,
        crate::ipv6::PROTO_IPV6 => Inner::V6,
        _ => return None,
    };
    let len = UDP_LEN + GUE_LEN + usize::from(word & 0x1f) * 4;
    Some((Be16::from_bytes([p0, p1]), Encap { len, inner }))
}

/// Parses a GRE header. `None` unless it is version 0, has no option except a checksum, and carries
/// IPv4 or IPv6.
pub fn parse_gre(data: &[u8; GRE_LEN]) -> Option<Encap> {
    let &[f0, f1, p0, p1] = data;
    let len = match u16::from_be_bytes([f0, f1]) {
        0 => GRE_LEN,
        GRE_FLAG_CHECKSUM => 2 * GRE_LEN,
        _ => return None,
    };
    let inner = match u16::from_be_bytes([p0, p1]) {
        ETHERTYPE_IPV4 => Inner::V4,
        ETHERTYPE_IPV6 => Inner::V6,
        _ => return None,
    };
    Some(Encap { len, inner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_mean_what_users_know() {
        let port = Be16::new(6080);
        assert_eq!(Tunnel::new(0, port, 3), Some(Tunnel::Ipip));
        assert_eq!(
            Tunnel::new(1, port, 2),
            Some(Tunnel::Gue {
                port,
                checksum: false,
                remote_checksum: true
            })
        );
        let gre = Tunnel::new(2, port, 1).unwrap();
        assert_eq!(gre, Tunnel::Gre { checksum: true });
        assert_eq!(Tunnel::new(3, port, 0), None);
        let gue = Tunnel::new(1, port, 0).unwrap();
        assert_eq!(
            [gue, gre, Tunnel::Ipip].map(|t| t.protocol(41)),
            [17, 47, 41]
        );
        assert_eq!([gue, gre].map(Tunnel::port), [port, Be16::ZERO]);
    }

    #[test]
    fn gue_is_known_by_version_and_protocol() {
        let header = |word, protocol| [0, 1, 0x17, 0xc0, 0, 0, 0, 0, word, protocol, 0, 0];
        let (port, encap) = parse_gue(&header(0, 4)).unwrap();
        assert_eq!(port, Be16::new(6080));
        assert_eq!((encap.len, encap.inner), (12, Inner::V4));
        let (_, encap) = parse_gue(&header(31, 41)).unwrap();
        assert_eq!((encap.len, encap.inner), (12 + 124, Inner::V6));
        for word in [0x20, 0x40, 0x80] {
            assert_eq!(parse_gue(&header(word, 4)), None);
        }
        assert_eq!(parse_gue(&header(0, 6)), None);
    }

    #[test]
    fn gre_is_known_without_options_but_a_checksum() {
        assert_eq!(
            parse_gre(&[0, 0, 8, 0]).map(|b| (b.len, b.inner)),
            Some((4, Inner::V4))
        );
        assert_eq!(
            parse_gre(&[0x80, 0, 0x86, 0xdd]).map(|b| (b.len, b.inner)),
            Some((8, Inner::V6))
        );
        for bad in [[0x20, 0, 8, 0], [0, 1, 8, 0], [0, 0, 8, 6]] {
            assert_eq!(parse_gre(&bad), None);
        }
    }
}
