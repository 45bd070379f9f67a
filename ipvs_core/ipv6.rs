// SPDX-License-Identifier: GPL-2.0

//! Parses IPv6 headers with their extension headers (RFC 8200) and modifies addresses in place.
//!
//! C: `ipv6_find_hdr()` as `ip_vs_fill_iph_skb()` uses it.

use crate::{
    bytes::put,
    net::{
        Be128,
        Be16, //
    },
};

pub use crate::bytes::PacketBytes;

/// The length of a header without extension headers, in bytes.
pub const HEADER_LEN: usize = 40;

/// `IPPROTO_IPV6`.
pub const PROTO_IPV6: u8 = 41;
/// `IPPROTO_ICMPV6`.
pub const PROTO_ICMPV6: u8 = 58;

const HOP_LIMIT_AT: usize = 7;
const SRC_AT: usize = 8;
const DST_AT: usize = 24;

const NEXT_HOP: u8 = 0;
const NEXT_ROUTING: u8 = 43;
const NEXT_FRAGMENT: u8 = 44;
const NEXT_AUTH: u8 = 51;
const NEXT_DEST: u8 = 60;

/// The length of a fragment header, and the minimum length of the others, in bytes.
const EXTENSION_LEN: usize = 8;
/// The maximum number of extension headers (C: `IP6_MAX_EXT_HDRS_CNT`).
const MAX_EXTENSIONS: usize = 12;
/// Mask of the fragment offset in bytes 2 and 3 of a fragment header. The masked value is in bytes.
const OFFSET_MASK: u16 = !7;

/// The parsed fields of an IPv6 header and its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// Source address.
    pub src: Be128,
    /// Destination address.
    pub dst: Be128,
    /// Offset of the transport header from the start of the IPv6 header, in bytes.
    transport_at: usize,
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Transport protocol.
    pub protocol: u8,
    is_fragment: bool,
    is_later_fragment: bool,
}

/// Returns `true` if a next header number is that of an extension header to skip. This includes
/// neither ESP, whose content is encrypted, nor "no next header".
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        NEXT_HOP | NEXT_ROUTING | NEXT_FRAGMENT | NEXT_AUTH | NEXT_DEST
    )
}

impl Ipv6Header {
    /// Parses the header at offset `at` and skips its extension headers. `None` if it is not an
    /// IPv6 header, or if an extension header is truncated or malformed.
    #[inline]
    pub fn parse<S: PacketBytes + ?Sized>(source: &S, at: usize) -> Option<Self> {
        let header: [u8; HEADER_LEN] = source.read(at)?;
        let [first, second, _, _, _, _, next, hop_limit, ref addrs @ ..] = header;
        if first >> 4 != 6 {
            return None;
        }
        let parsed = Self {
            src: Be128::from_bytes(*addrs.first_chunk()?),
            dst: Be128::from_bytes(*addrs.last_chunk()?),
            transport_at: HEADER_LEN,
            traffic_class: (first << 4) | (second >> 4),
            hop_limit,
            protocol: next,
            is_fragment: false,
            is_later_fragment: false,
        };
        if is_extension(next) {
            return parsed.pass_extensions(source, at);
        }
        Some(parsed)
    }

    #[cold]
    fn pass_extensions<S: PacketBytes + ?Sized>(mut self, source: &S, at: usize) -> Option<Self> {
        for _ in 0..MAX_EXTENSIONS {
            let start = at.checked_add(self.transport_at)?;
            let [next, len, f0, f1, ..] = source.read::<EXTENSION_LEN>(start)?;
            let len = match self.protocol {
                NEXT_FRAGMENT => {
                    self.is_fragment = true;
                    if u16::from_be_bytes([f0, f1]) & OFFSET_MASK != 0 {
                        // Not the first fragment: no transport header follows.
                        self.is_later_fragment = true;
                        self.transport_at = self.transport_at.checked_add(EXTENSION_LEN)?;
                        self.protocol = next;
                        return (!is_extension(next)).then_some(self);
                    }
                    EXTENSION_LEN
                }
                NEXT_AUTH => (usize::from(len) + 2) * 4,
                _ => (usize::from(len) + 1) * 8,
            };
            let end = start.checked_add(len)?;
            if end > source.size() {
                return None;
            }
            self.transport_at = self.transport_at.checked_add(len)?;
            self.protocol = next;
            if !is_extension(next) {
                return Some(self);
            }
        }
        None
    }

    /// Returns the offset of the transport header from the start of the IPv6 header, in bytes.
    #[inline]
    pub const fn transport_at(&self) -> usize {
        self.transport_at
    }

    /// Returns `true` if the packet has a fragment header, including that of a first fragment.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.is_fragment
    }

    /// Returns `true` if the packet is a fragment other than the first one. It has no transport
    /// header, and [`Self::transport_at`] is the offset of the fragment's data.
    #[inline]
    pub const fn is_later_fragment(&self) -> bool {
        self.is_later_fragment
    }
}

/// Sets the source address.
#[inline]
pub fn set_src(header: &mut [u8; HEADER_LEN], new: Be128) {
    put(header, SRC_AT, new.to_bytes());
}

/// Sets the destination address.
#[inline]
pub fn set_dst(header: &mut [u8; HEADER_LEN], new: Be128) {
    put(header, DST_AT, new.to_bytes());
}

/// Decrements the hop limit. Returns `false`, and changes nothing, if the packet must not be
/// forwarded because it has expired.
#[inline]
#[must_use = "a packet whose hops have run out must not be forwarded"]
pub fn decrement_hop_limit(header: &mut [u8; HEADER_LEN]) -> bool {
    let [_, _, _, _, _, _, _, limit, ..] = *header;
    let Some(limit) = limit.checked_sub(1).filter(|&left| left > 0) else {
        return false;
    };
    put(header, HOP_LIMIT_AT, [limit]);
    true
}

/// Builds the outer header of a tunnel; see [`crate::forward`]. The payload length is 0 and is to
/// be filled in when the packet is sent.
#[inline]
pub(crate) fn build(
    traffic_class: u8,
    next: u8,
    hop_limit: u8,
    src: Be128,
    dst: Be128,
) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let word = Be16::new(0x6000 | (u16::from(traffic_class) << 4));
    put(&mut header, 0, word.to_bytes());
    put(&mut header, 6, [next, hop_limit]);
    set_src(&mut header, src);
    set_dst(&mut header, dst);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipv4::{
        PROTO_TCP,
        PROTO_UDP, //
    };

    const SRC: Be128 = Be128::new((0xfd00 << 112) | 1);
    const DST: Be128 = Be128::new((0x2001_0db8 << 96) | 2);

    /// Builds a packet with these extension headers and a few bytes of payload. Each extension
    /// header names the next one.
    fn packet(next: u8, extensions: &[&[u8]]) -> Vec<u8> {
        let mut packet = build(0xb9, next, 64, SRC, DST).to_vec();
        extensions.iter().for_each(|bytes| packet.extend(*bytes));
        packet.extend([1, 2, 3, 4]);
        packet
    }

    #[test]
    fn reads_every_field() {
        let packet = packet(PROTO_TCP, &[]);
        let header = Ipv6Header::parse(&packet[..], 0).unwrap();
        assert_eq!((header.src, header.dst), (SRC, DST));
        assert_eq!((header.traffic_class, header.hop_limit), (0xb9, 64));
        assert_eq!((header.protocol, header.transport_at()), (PROTO_TCP, 40));
        assert!(!header.is_fragment() && !header.is_later_fragment());
        assert!(Ipv6Header::parse(&packet[..39], 0).is_none());
        let mut other = packet.clone();
        other[0] = 0x45;
        assert!(Ipv6Header::parse(&other[..], 0).is_none());
    }

    #[test]
    fn passes_over_extension_headers_of_any_length() {
        // What is in them makes no header, should one be taken for shorter than it is.
        let long = [&[NEXT_AUTH, 1][..], &[0xff; 14]].concat();
        let auth = [&[NEXT_ROUTING, 4][..], &[0xff; 22]].concat();
        let extensions: [&[u8]; 4] = [
            &[NEXT_DEST, 0, 0, 0, 0, 0, 0, 0],
            &long,
            &auth,
            &[PROTO_UDP, 0, 0, 0, 0, 0, 0, 0],
        ];
        let packet = packet(NEXT_HOP, &extensions);
        let header = Ipv6Header::parse(&packet[..], 0).unwrap();
        assert_eq!((header.protocol, header.transport_at()), (PROTO_UDP, 96));
        // Truncated anywhere in the headers, it is rejected.
        for len in 40..96 {
            assert!(Ipv6Header::parse(&packet[..len], 0).is_none(), "{len}");
        }
        assert!(Ipv6Header::parse(&packet[..96], 0).is_some());
        // At an offset, as in an ICMP error.
        let quoted = [&[0; 48][..], &packet].concat();
        assert_eq!(Ipv6Header::parse(&quoted[..], 48), Some(header));
        assert!(Ipv6Header::parse(&quoted[..], usize::MAX).is_none());
    }

    #[test]
    fn tells_fragments_apart() {
        let fragment = |high: u8, low: u8, next: u8| {
            let packet = packet(NEXT_FRAGMENT, &[&[next, 0, high, low, 0, 0, 0, 7]]);
            Ipv6Header::parse(&packet[..], 0)
        };
        let first = fragment(0, 1, PROTO_UDP).unwrap();
        assert!(first.is_fragment() && !first.is_later_fragment());
        assert_eq!((first.protocol, first.transport_at()), (PROTO_UDP, 48));
        let later = fragment(0, 8, PROTO_UDP).unwrap();
        assert!(later.is_fragment() && later.is_later_fragment());
        assert_eq!((later.protocol, later.transport_at()), (PROTO_UDP, 48));
        // The second fragment of an extension header.
        assert!(fragment(0x10, 0, NEXT_DEST).is_none());
    }

    #[test]
    fn what_has_no_transport_header_has_that_number() {
        for next in [59, 50, 135] {
            let packet = packet(next, &[]);
            assert_eq!(Ipv6Header::parse(&packet[..], 0).unwrap().protocol, next);
        }
    }

    #[test]
    fn endless_extension_headers_end() {
        let more: &[u8] = &[NEXT_DEST, 0, 0, 0, 0, 0, 0, 0];
        let last: &[u8] = &[PROTO_UDP, 0, 0, 0, 0, 0, 0, 0];
        let chain = |count: usize| {
            let mut extensions = vec![more; count - 1];
            extensions.push(last);
            packet(NEXT_DEST, &extensions)
        };
        assert!(Ipv6Header::parse(&chain(12)[..], 0).is_some());
        assert!(Ipv6Header::parse(&chain(13)[..], 0).is_none());
    }

    #[test]
    fn addresses_and_hops_change_in_their_place_alone() {
        let mut header = build(0, PROTO_TCP, 2, SRC, DST);
        set_src(&mut header, DST);
        set_dst(&mut header, SRC);
        assert!(decrement_hop_limit(&mut header));
        assert_eq!(header, build(0, PROTO_TCP, 1, DST, SRC));
        assert!(!decrement_hop_limit(&mut header));
        assert_eq!(header, build(0, PROTO_TCP, 1, DST, SRC));
        let mut none = build(0, PROTO_TCP, 0, DST, SRC);
        assert!(!decrement_hop_limit(&mut none));
    }
}
