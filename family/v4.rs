// SPDX-License-Identifier: GPL-2.0

//! The implementation of [`Family`] for IPv4.

use super::{
    Defrag,
    Family,
    Fits,
    ForEach,
    Header,
    Mode,
    V4,
    V6, //
};
use core::net::Ipv4Addr;
use ipvs_core::{
    forward::{
        decrement_ttl,
        Outer,
        MIN_MTU,
        PROTO_IPIP, //
    },
    icmp::IcmpHeader,
    ipv4::{
        self,
        Ipv4Header,
        MIN_HEADER_LEN,
        PROTO_ICMP, //
    },
    net::Be32,
    netlink::AF_INET,
    transport::End, //
};
use kernel::prelude::*;
use linux::{
    net::Net,
    netfilter::{
        defrag,
        DefragUser,
        Protocol, //
    },
    rcu::ReadLocked,
    route::{
        self,
        AddrType,
        Dst,
        Found,
        Lookup,
        Rtable, //
    },
    skb::{
        Encapsulation,
        NoMemory,
        OuterHeader,
        Skb,
        SkbRef, //
    },
};

/// The length of the longest IPv4 header, in bytes.
const MAX_HEADER_LEN: usize = 60;

impl Header for Ipv4Header {
    type Addr = Be32;

    #[inline]
    fn src(&self) -> Be32 {
        self.src
    }

    #[inline]
    fn dst(&self) -> Be32 {
        self.dst
    }

    #[inline]
    fn protocol(&self) -> u8 {
        self.protocol
    }

    #[inline]
    fn transport_at(&self) -> usize {
        self.header_len()
    }

    #[inline]
    fn is_fragment(&self) -> bool {
        Ipv4Header::is_fragment(self)
    }

    #[inline]
    fn is_later_fragment(&self) -> bool {
        Ipv4Header::is_later_fragment(self)
    }

    #[inline]
    fn tos(&self) -> u8 {
        self.tos
    }

    #[inline]
    fn ttl(&self) -> u8 {
        self.ttl
    }

    #[inline]
    fn dont_fragment(&self) -> bool {
        Ipv4Header::dont_fragment(self)
    }
}

/// Recomputes the checksum of a header with options: on input, this host may have added its address
/// to a record route option. `false` if there is no memory for a copy.
#[cold]
fn correct_checksum(skb: &mut Skb) -> bool {
    let Some(header) = V4::header(skb) else {
        return false;
    };
    let Ok(bytes) = skb.writable(header.header_len()) else {
        return false;
    };
    ipv4::update_checksum(bytes);
    true
}

/// Parses a header whose options, if it has any, were not read.
fn without_options(fixed: [u8; MIN_HEADER_LEN]) -> Option<Ipv4Header> {
    let mut padded = [0; MAX_HEADER_LEN];
    *padded.first_chunk_mut()? = fixed;
    Ipv4Header::parse_header(&padded).ok()
}

impl Family for V4 {
    type Addr = Be32;
    type Header = Ipv4Header;
    type Route = Rtable;

    const AF: u16 = AF_INET;
    const PROTOCOL: Protocol = Protocol::Ipv4;
    const PROTO_ICMP: u8 = PROTO_ICMP;
    const PROTO_INNER: u8 = PROTO_IPIP;
    const HEADER_LEN: usize = MIN_HEADER_LEN;
    const MIN_MTU: u32 = MIN_MTU;
    const ICMP_HAS_PSEUDO_HEADER: bool = false;
    const ROUTERS_FRAGMENT: bool = true;

    #[inline]
    fn select<'a, T: ForEach>(v4: &'a T::For<V4>, _v6: &'a T::For<V6>) -> &'a T::For<Self> {
        v4
    }

    fn look_up(net: &Net, addr: Be32, mode: Mode, with_source: bool) -> Result<Found<Rtable>> {
        let lookup = Lookup {
            known_next_hop: mode.known_nh,
            // Binding the source address takes a second look-up, which is useless if the caller
            // does not use it.
            bind_source: mode.connect && with_source,
        };
        route::output(net, Ipv4Addr::from(addr.to_bytes()), lookup)
    }

    #[inline]
    fn from_route(addr: Ipv4Addr) -> Be32 {
        Be32::from_bytes(addr.octets())
    }

    #[inline]
    fn header(skb: &Skb) -> Option<Ipv4Header> {
        Ipv4Header::parse_header(skb.network()).ok()
    }

    fn borrowed_header(packet: SkbRef<'_>) -> Option<Ipv4Header> {
        without_options(packet.header(0)?)
    }

    /// Reads the header without its options, which may be truncated.
    fn embedded(skb: &Skb, at: usize) -> Option<Ipv4Header> {
        without_options(skb.header(at)?)
    }

    fn defrag(skb: Skb, _header: Ipv4Header, net: &Net, user: DefragUser) -> Defrag<Ipv4Header> {
        let Some(skb) = defrag(skb, net, user) else {
            return Defrag::Kept;
        };
        // A reassembled packet has a valid header. If it has not, it is dropped here, which frees
        // it.
        match Self::header(&skb) {
            Some(header) => Defrag::Whole(skb, header),
            None => Defrag::Kept,
        }
    }

    fn linear_len(bytes: &[u8]) -> Option<usize> {
        Some(Ipv4Header::parse_header(bytes).ok()?.header_len())
    }

    #[inline]
    fn set_addr(bytes: &mut [u8], end: End, addr: Be32) -> Option<()> {
        let header = bytes.first_chunk_mut()?;
        match end {
            End::Src => ipv4::set_src(header, addr),
            End::Dst => ipv4::set_dst(header, addr),
        }
        Some(())
    }

    fn update_checksum(bytes: &mut [u8]) {
        ipv4::update_checksum(bytes);
    }

    fn is_error(icmp: &IcmpHeader) -> bool {
        icmp.is_error()
    }

    fn too_big(icmp: &IcmpHeader) -> Option<u32> {
        icmp.next_hop_mtu().map(u32::from)
    }

    #[inline]
    fn encapsulate(
        skb: &mut Skb,
        net: &Net,
        outer: Outer,
        (src, dst): (Be32, Be32),
        encapsulation: Encapsulation,
    ) -> Result<(), NoMemory> {
        let header = OuterHeader::Ipv4(outer.ipv4(src, dst));
        skb.encapsulate(net, header, encapsulation)?;
        skb.select_ident(net);
        Ok(())
    }

    fn is_unicast(net: &Net, addr: Be32) -> bool {
        route::addr_type(net, Ipv4Addr::from(addr.to_bytes())) == AddrType::Unicast
    }

    #[inline]
    fn is_loopback(addr: Be32) -> bool {
        let [first, ..] = addr.to_bytes();
        first == 127
    }

    #[inline]
    fn is_from_loopback(skb: &Skb) -> bool {
        matches!(
            skb.network().first_chunk::<MIN_HEADER_LEN>(),
            Some([_, _, _, _, _, _, _, _, _, _, _, _, 127, ..])
        )
    }

    fn is_from_outside(skb: &Skb, _rcu: ReadLocked<'_>) -> bool {
        skb.route().is_some_and(Dst::is_ipv4_input)
    }

    #[inline]
    fn has_hops(skb: &Skb) -> bool {
        skb.network()
            .first_chunk::<MIN_HEADER_LEN>()
            .is_some_and(|&[_, _, _, _, _, _, _, _, ttl, ..]| ttl > 1)
    }

    #[inline]
    fn count_hop(skb: &mut Skb) -> bool {
        skb.writable(MIN_HEADER_LEN)
            .ok()
            .and_then(|bytes| bytes.first_chunk_mut())
            .is_some_and(decrement_ttl)
    }

    #[inline]
    fn correct_header(skb: &mut Skb) -> bool {
        match skb.network().first_chunk() {
            Some(header) if ipv4::has_options(header) => correct_checksum(skb),
            _ => true,
        }
    }

    #[inline]
    fn fits(skb: &Skb, mtu: u32) -> Fits {
        if skb.fits(mtu) {
            return Fits::Yes;
        }
        match Self::header(skb) {
            Some(header) if header.dont_fragment() => Fits::No,
            _ => Fits::InFragments,
        }
    }
}
