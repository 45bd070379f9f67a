// SPDX-License-Identifier: GPL-2.0

//! Parses IPv4 headers (RFC 791) and modifies them in place.
//!
//! C: `ip_vs_fill_iph_skb()`, and the checks of `ip_rcv_core()` that IPVS relies on.

use crate::{
    bytes::{
        be16,
        be32,
        put, //
    },
    checksum::{
        checksum,
        replace32,
        Sum, //
    },
    net::{
        Be16,
        Be32, //
    },
};

/// The length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// `IPPROTO_ICMP`.
pub const PROTO_ICMP: u8 = 1;
/// `IPPROTO_TCP`.
pub const PROTO_TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const PROTO_UDP: u8 = 17;
/// `IPPROTO_SCTP`.
pub const PROTO_SCTP: u8 = 132;

const CHECK_AT: usize = 10;
const SRC_AT: usize = 12;
const DST_AT: usize = 16;

const FLAG_DONT_FRAGMENT: u16 = 0x4000;
const FLAG_MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// The reason why data is not a valid IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The data is shorter than the header, or than the header with its options.
    Truncated,
    /// The version is not 4.
    Version,
    /// The header length is below 20 bytes.
    HeaderLength,
    /// The total length is less than the header or more than the packet.
    TotalLength,
}

/// The parsed fields of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Source address.
    pub src: Be32,
    /// Destination address.
    pub dst: Be32,
    /// The length of header and payload in bytes; 0 for packets of 64 KiB and more (BIG TCP).
    pub total_len: u16,
    /// Identification.
    pub id: Be16,
    /// Flags and fragment offset as in the header, in host byte order.
    frag_off: u16,
    /// Header length in bytes, 20 to 60.
    header_len: u8,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Transport protocol.
    pub protocol: u8,
}

impl Ipv4Header {
    /// Parses the header at the start of `data`, the linear part of a packet of `packet_len` bytes.
    ///
    /// # Errors
    ///
    /// Fails if the header is malformed, if `data` does not contain all of it with its options, or
    /// if its total length is wrong.
    #[inline]
    pub fn parse(data: &[u8], packet_len: usize) -> Result<Self, ParseError> {
        let header = Self::parse_header(data)?;
        let total_len = usize::from(header.total_len);

        if total_len != 0 && (total_len > packet_len || total_len < header.header_len()) {
            return Err(ParseError::TotalLength);
        }
        Ok(header)
    }

    /// Parses a header whose payload may be truncated, as in an ICMP error: the total length is not
    /// checked.
    ///
    /// # Errors
    ///
    /// Fails if the header is malformed, or if `data` does not contain all of it with its options.
    #[inline]
    pub fn parse_header(data: &[u8]) -> Result<Self, ParseError> {
        let Some(
            &[version_ihl, tos, len0, len1, id0, id1, frag0, frag1, ttl, protocol, _, _, ref addrs @ ..],
        ) = data.first_chunk::<MIN_HEADER_LEN>()
        else {
            return Err(ParseError::Truncated);
        };
        let &[s0, s1, s2, s3, d0, d1, d2, d3] = addrs;
        let header_len = (version_ihl & 0x0f) << 2;

        if version_ihl >> 4 != 4 {
            return Err(ParseError::Version);
        }
        if usize::from(header_len) < MIN_HEADER_LEN {
            return Err(ParseError::HeaderLength);
        }
        if usize::from(header_len) > data.len() {
            return Err(ParseError::Truncated);
        }
        Ok(Self {
            src: Be32::from_bytes([s0, s1, s2, s3]),
            dst: Be32::from_bytes([d0, d1, d2, d3]),
            total_len: u16::from_be_bytes([len0, len1]),
            id: Be16::from_bytes([id0, id1]),
            frag_off: u16::from_be_bytes([frag0, frag1]),
            header_len,
            tos,
            ttl,
            protocol,
        })
    }

    /// Returns the header length in bytes, including options: 20 to 60.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.header_len as usize
    }

    /// Returns `true` if the packet is a fragment, including the first one.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.frag_off & (FLAG_MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Returns `true` if the packet is a fragment other than the first one, without a transport
    /// header.
    #[inline]
    pub const fn is_later_fragment(&self) -> bool {
        self.frag_off & OFFSET_MASK != 0
    }

    /// Returns `true` if the packet must not be fragmented (DF).
    #[inline]
    pub const fn dont_fragment(&self) -> bool {
        self.frag_off & FLAG_DONT_FRAGMENT != 0
    }
}

/// Returns `true` if a header has options.
#[inline]
pub const fn has_options(header: &[u8; MIN_HEADER_LEN]) -> bool {
    let [version_ihl, ..] = *header;
    version_ihl & 0x0f > 5
}

/// Sets the source address and updates the header checksum.
#[inline]
pub fn set_src(header: &mut [u8; MIN_HEADER_LEN], new: Be32) {
    replace_addr(header, SRC_AT, new);
}

/// Sets the destination address and updates the header checksum.
#[inline]
pub fn set_dst(header: &mut [u8; MIN_HEADER_LEN], new: Be32) {
    replace_addr(header, DST_AT, new);
}

#[inline(always)]
fn replace_addr(header: &mut [u8; MIN_HEADER_LEN], at: usize, new: Be32) {
    let (Some(check), Some(old)) = (be16(header, CHECK_AT), be32(header, at)) else {
        return;
    };
    put(header, CHECK_AT, replace32(check, old, new).to_bytes());
    put(header, at, new.to_bytes());
}

/// Computes the header checksum over the header at the start of `data`, including options (C:
/// `ip_send_check()`).
///
/// Does nothing if the header is malformed or incomplete.
pub fn update_checksum(data: &mut [u8]) {
    let Ok(parsed) = Ipv4Header::parse_header(data) else {
        return;
    };
    if let Some(header) = data.get_mut(..parsed.header_len()) {
        put(header, CHECK_AT, [0; 2]);
        put(header, CHECK_AT, checksum(header).to_bytes());
    }
}

/// Returns `true` if the checksum of the header at the start of `data` is right; `false` if it is
/// wrong or the header is malformed or incomplete.
pub fn checksum_is_valid(data: &[u8]) -> bool {
    Ipv4Header::parse_header(data)
        .ok()
        .and_then(|header| data.get(..header.header_len()))
        .is_some_and(|header| Sum::ZERO.add_bytes(header).is_valid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP packet from 10.0.0.1 to 10.0.0.2 of 40 bytes with DF and a valid checksum.
    fn sample() -> [u8; 40] {
        let mut packet = [0; 40];
        packet[..20].copy_from_slice(&[
            0x45, 0x10, 0, 40, 0xab, 0xcd, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        update_checksum(&mut packet);
        packet
    }

    #[test]
    fn reads_every_field() {
        let header = Ipv4Header::parse(&sample(), 40).unwrap();
        assert_eq!(header.src.to_bytes(), [10, 0, 0, 1]);
        assert_eq!(header.dst.to_bytes(), [10, 0, 0, 2]);
        assert_eq!(header.total_len, 40);
        assert_eq!(header.id, Be16::new(0xabcd));
        assert_eq!(header.header_len(), 20);
        assert_eq!(
            (header.tos, header.ttl, header.protocol),
            (0x10, 64, PROTO_TCP)
        );
        assert!(header.dont_fragment());
        assert!(!header.is_fragment());
    }

    #[test]
    fn refuses_what_is_no_ipv4_packet() {
        let good = sample();
        let with = |at: usize, byte: u8| {
            let mut bad = good;
            bad[at] = byte;
            Ipv4Header::parse(&bad, 40)
        };
        assert_eq!(
            Ipv4Header::parse(&good[..19], 40),
            Err(ParseError::Truncated)
        );
        assert_eq!(with(0, 0x65), Err(ParseError::Version));
        assert_eq!(with(0, 0x44), Err(ParseError::HeaderLength));
        assert_eq!(with(3, 41), Err(ParseError::TotalLength));
        assert_eq!(with(3, 19), Err(ParseError::TotalLength));
        assert!(with(3, 20).is_ok());
        // BIG TCP leaves the total length 0.
        assert!(with(3, 0).is_ok());
        // The options are not in the linear part.
        let mut options = good;
        options[0] = 0x4f;
        assert_eq!(Ipv4Header::parse(&options, 100), Err(ParseError::Truncated));
    }

    #[test]
    fn tells_fragments_apart() {
        let fragment = |high: u8, low: u8| {
            let mut packet = sample();
            (packet[6], packet[7]) = (high, low);
            let header = Ipv4Header::parse_header(&packet).unwrap();
            (header.is_fragment(), header.is_later_fragment())
        };
        assert_eq!(fragment(0x00, 0), (false, false));
        assert_eq!(fragment(0x40, 0), (false, false));
        assert_eq!(fragment(0x80, 0), (false, false));
        assert_eq!(fragment(0x20, 0), (true, false));
        assert_eq!(fragment(0x20, 1), (true, true));
        assert_eq!(fragment(0x00, 1), (true, true));
    }

    #[test]
    fn options_are_what_is_beyond_twenty_bytes() {
        for words in 5..=15 {
            let mut packet = sample();
            packet[0] = 0x40 | words;
            assert_eq!(has_options(packet.first_chunk().unwrap()), words > 5);
        }
    }

    #[test]
    fn address_changes_keep_the_checksum_right() {
        let mut packet = sample();
        assert!(checksum_is_valid(&packet));
        set_dst(
            packet.first_chunk_mut().unwrap(),
            Be32::from_bytes([192, 168, 77, 3]),
        );
        assert!(checksum_is_valid(&packet));
        set_src(
            packet.first_chunk_mut().unwrap(),
            Be32::from_bytes([255, 255, 255, 255]),
        );
        assert!(checksum_is_valid(&packet));
        let header = Ipv4Header::parse(&packet, 40).unwrap();
        assert_eq!(header.dst.to_bytes(), [192, 168, 77, 3]);
        assert_eq!(header.src.to_bytes(), [255; 4]);
    }

    #[test]
    fn the_checksum_covers_options() {
        let mut packet = [0u8; 24];
        packet[..20].copy_from_slice(&sample()[..20]);
        packet[0] = 0x46;
        packet[20..].copy_from_slice(&[0x94, 4, 0, 0]);
        update_checksum(&mut packet);
        assert!(checksum_is_valid(&packet));
        packet[20] = 0x95;
        assert!(!checksum_is_valid(&packet));
        // Shorter than its header length says: left as it is.
        let mut short = [0x4f; 30];
        update_checksum(&mut short);
        assert_eq!(short, [0x4f; 30]);
        update_checksum(&mut []);
    }
}
