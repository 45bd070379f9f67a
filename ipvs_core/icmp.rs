// SPDX-License-Identifier: GPL-2.0

//! ICMP for IPv4 (RFC 792): errors and the packets that they quote.
//!
//! C: the parsing in `ip_vs_in_icmp()` and `ip_vs_out_icmp()` and the rewriting in
//! `ip_vs_nat_icmp()`.

use crate::{
    bytes::put,
    checksum::checksum,
    ipv4::{
        Ipv4Header,
        ParseError, //
    },
    net::Be16,
    transport::Ports, //
};

/// The length of an ICMP header in bytes. The packet that an error quotes follows it.
pub const HEADER_LEN: usize = 8;

const CHECK_AT: usize = 2;

/// `ICMP_DEST_UNREACH`.
pub const DEST_UNREACHABLE: u8 = 3;
/// `ICMP_SOURCE_QUENCH`.
pub const SOURCE_QUENCH: u8 = 4;
/// `ICMP_TIME_EXCEEDED`.
pub const TIME_EXCEEDED: u8 = 11;
/// Code `ICMP_FRAG_NEEDED` of [`DEST_UNREACHABLE`].
pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;

/// An ICMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpHeader {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Stored checksum.
    pub check: Be16,
    /// The last four bytes, whose meaning depends on the type.
    pub rest: [u8; 4],
}

impl IcmpHeader {
    /// Parses a header. `None` if there are fewer than 8 bytes.
    #[inline]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[kind, code, c0, c1, ref rest @ ..] = data.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            kind,
            code,
            check: Be16::from_bytes([c0, c1]),
            rest: *rest,
        })
    }

    /// Returns `true` if the message is an error that IPVS relates to the connection of the quoted
    /// packet. Other errors, such as redirects and parameter problems, are not handled by IPVS.
    #[inline]
    pub const fn is_error(&self) -> bool {
        matches!(self.kind, DEST_UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED)
    }

    /// Returns the MTU in bytes that a "fragmentation needed" error reports. `None` for other
    /// messages.
    #[inline]
    pub const fn next_hop_mtu(&self) -> Option<u16> {
        let [_, _, high, low] = self.rest;
        match (self.kind, self.code) {
            (DEST_UNREACHABLE, CODE_FRAGMENTATION_NEEDED) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

/// The start of the packet that an error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerHeader {
    /// Its IPv4 header.
    pub ip: Ipv4Header,
    /// Its ports. `None` if the quote is too short, or if the packet is a fragment other than the
    /// first one.
    pub ports: Option<Ports>,
}

impl InnerHeader {
    /// Parses the data that follows the ICMP header of an error.
    ///
    /// The ports are valid for TCP, UDP and SCTP only.
    ///
    /// # Errors
    ///
    /// Fails if the quoted IPv4 header is malformed or truncated.
    #[inline]
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let ip = Ipv4Header::parse_header(data)?;
        let ports = match data.get(ip.header_len()..) {
            Some(transport) if !ip.is_later_fragment() => Ports::parse(transport),
            _ => None,
        };
        Ok(Self { ip, ports })
    }
}

/// Computes and stores the checksum of an ICMP message. `message` has to be complete. Does nothing
/// if it is shorter than a header.
pub fn update_checksum(message: &mut [u8]) {
    if message.len() >= HEADER_LEN {
        put(message, CHECK_AT, [0; 2]);
        put(message, CHECK_AT, checksum(message).to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checksum::Sum,
        ipv4::PROTO_UDP, //
    };

    fn error() -> [u8; 36] {
        let mut message = [0; 36];
        message[..8].copy_from_slice(&[3, 4, 0, 0, 0, 0, 0x05, 0x78]);
        message[8..28].copy_from_slice(&[
            0x45, 0, 0x05, 0xdc, 0, 1, 0x40, 0, 63, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1,
        ]);
        message[28..].copy_from_slice(&[0, 53, 0x30, 0x39, 0x05, 0xc8, 0, 0]);
        message
    }

    #[test]
    fn takes_only_three_types_for_errors() {
        let errors: Vec<u8> = (0..=255u8)
            .filter(|&kind| {
                IcmpHeader::parse(&[kind, 0, 0, 0, 0, 0, 0, 0])
                    .unwrap()
                    .is_error()
            })
            .collect();
        assert_eq!(errors, [3, 4, 11]);
    }

    #[test]
    fn reads_the_mtu_of_fragmentation_needed_only() {
        let header = IcmpHeader::parse(&error()).unwrap();
        assert_eq!(header.next_hop_mtu(), Some(1400));
        let other = IcmpHeader { code: 3, ..header };
        assert_eq!(other.next_hop_mtu(), None);
        assert_eq!(IcmpHeader::parse(&[3; 7]), None);
    }

    #[test]
    fn finds_the_embedded_packet_though_it_is_cut_off() {
        let message = error();
        let embedded = InnerHeader::parse(&message[8..]).unwrap();
        assert_eq!(embedded.ip.protocol, PROTO_UDP);
        assert_eq!(embedded.ip.total_len, 1500);
        assert_eq!(embedded.ports.unwrap().src.host(), 53);
        assert_eq!(InnerHeader::parse(&message[8..31]).unwrap().ports, None);
        assert_eq!(
            InnerHeader::parse(&message[8..20]),
            Err(ParseError::Truncated)
        );
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut message = error();
        message[15] = 1;
        assert_eq!(InnerHeader::parse(&message[8..]).unwrap().ports, None);
    }

    #[test]
    fn the_new_checksum_is_valid() {
        let mut message = error();
        update_checksum(&mut message);
        assert!(Sum::ZERO.add_bytes(&message).is_valid());
        update_checksum(&mut message[..7]);
        assert!(Sum::ZERO.add_bytes(&message).is_valid());
    }
}
