// SPDX-License-Identifier: GPL-2.0

//! The implementation of [`Family`] for IPv6.

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
use core::net::Ipv6Addr;
use ipvs_core::{
    forward::Outer,
    icmp::IcmpHeader,
    icmpv6,
    ipv6::{
        self,
        decrement_hop_limit,
        Ipv6Header,
        PacketBytes,
        HEADER_LEN,
        PROTO_ICMPV6,
        PROTO_IPV6, //
    },
    net::Be128,
    netlink::AF_INET6,
    transport::End, //
};
use kernel::prelude::*;
use linux::{
    net::Net,
    netdevice::Device,
    netfilter::{
        DefragUser,
        Protocol, //
    },
    rcu::ReadLocked,
    route::{
        self,
        Found,
        Lookup6,
        Rt6Info, //
    },
    skb::{
        Encapsulation,
        NoMemory,
        OuterHeader,
        Skb,
        SkbRef, //
    },
};

/// The smallest MTU of a link with IPv6, in bytes (RFC 8200).
const MIN_MTU: u32 = 1280;

/// `::1`.
const LOOPBACK: Be128 = Be128::new(1);

/// Access to a packet's bytes for the parser.
struct Bytes<'a>(&'a Skb);

impl PacketBytes for Bytes<'_> {
    #[inline]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.header(at)
    }

    #[inline]
    fn size(&self) -> usize {
        self.0.len()
    }
}

/// Access to the bytes of a borrowed packet for the parser.
struct BorrowedBytes<'a>(SkbRef<'a>);

impl PacketBytes for BorrowedBytes<'_> {
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.header(at)
    }

    fn size(&self) -> usize {
        self.0.len()
    }
}

impl Header for Ipv6Header {
    type Addr = Be128;

    #[inline]
    fn src(&self) -> Be128 {
        self.src
    }

    #[inline]
    fn dst(&self) -> Be128 {
        self.dst
    }

    #[inline]
    fn protocol(&self) -> u8 {
        self.protocol
    }

    #[inline]
    fn transport_at(&self) -> usize {
        Ipv6Header::transport_at(self)
    }

    #[inline]
    fn is_fragment(&self) -> bool {
        Ipv6Header::is_fragment(self)
    }

    #[inline]
    fn is_later_fragment(&self) -> bool {
        Ipv6Header::is_later_fragment(self)
    }

    #[inline]
    fn tos(&self) -> u8 {
        self.traffic_class
    }

    #[inline]
    fn ttl(&self) -> u8 {
        self.hop_limit
    }

    #[inline]
    fn dont_fragment(&self) -> bool {
        false
    }
}

#[inline]
fn source(skb: &Skb) -> Option<Be128> {
    let [_, _, _, _, _, _, _, _, addrs @ ..] = skb.network().first_chunk::<HEADER_LEN>()?;
    Some(Be128::from_bytes(*addrs.first_chunk()?))
}

impl Family for V6 {
    type Addr = Be128;
    type Header = Ipv6Header;
    type Route = Rt6Info;

    const AF: u16 = AF_INET6;
    const PROTOCOL: Protocol = Protocol::Ipv6;
    const PROTO_ICMP: u8 = PROTO_ICMPV6;
    const PROTO_INNER: u8 = PROTO_IPV6;
    const HEADER_LEN: usize = HEADER_LEN;
    const MIN_MTU: u32 = MIN_MTU;
    const ICMP_HAS_PSEUDO_HEADER: bool = true;
    const ROUTERS_FRAGMENT: bool = false;

    #[inline]
    fn select<'a, T: ForEach>(_v4: &'a T::For<V4>, v6: &'a T::For<V6>) -> &'a T::For<Self> {
        v6
    }

    fn look_up(net: &Net, addr: Be128, mode: Mode, with_source: bool) -> Result<Found<Rt6Info>> {
        let lookup = Lookup6 {
            known_next_hop: mode.known_nh,
            source: with_source,
        };
        route::output6(net, Ipv6Addr::from(addr.to_bytes()), lookup)
    }

    #[inline]
    fn from_route(addr: Ipv6Addr) -> Be128 {
        Be128::from_bytes(addr.octets())
    }

    #[inline]
    fn header(skb: &Skb) -> Option<Ipv6Header> {
        Ipv6Header::parse(&Bytes(skb), 0)
    }

    fn borrowed_header(packet: SkbRef<'_>) -> Option<Ipv6Header> {
        Ipv6Header::parse(&BorrowedBytes(packet), 0)
    }

    fn embedded(skb: &Skb, at: usize) -> Option<Ipv6Header> {
        Ipv6Header::parse(&Bytes(skb), at)
    }

    /// Reassembles nothing: netfilter did so before the hooks, since there are services (see
    /// [`linux::netfilter::Defrag6`]).
    fn defrag(skb: Skb, header: Ipv6Header, _net: &Net, _user: DefragUser) -> Defrag<Ipv6Header> {
        if header.is_later_fragment() {
            Defrag::Alone(skb)
        } else {
            Defrag::Whole(skb, header)
        }
    }

    fn linear_len(bytes: &[u8]) -> Option<usize> {
        Some(Ipv6Header::parse(bytes, 0)?.transport_at())
    }

    #[inline]
    fn set_addr(bytes: &mut [u8], end: End, addr: Be128) -> Option<()> {
        let header = bytes.first_chunk_mut()?;
        match end {
            End::Src => ipv6::set_src(header, addr),
            End::Dst => ipv6::set_dst(header, addr),
        }
        Some(())
    }

    /// Does nothing: the IPv6 header has no checksum.
    fn update_checksum(_bytes: &mut [u8]) {}

    fn is_error(icmp: &IcmpHeader) -> bool {
        icmpv6::is_error(icmp)
    }

    fn too_big(icmp: &IcmpHeader) -> Option<u32> {
        icmpv6::too_big_mtu(icmp)
    }

    #[inline]
    fn encapsulate(
        skb: &mut Skb,
        net: &Net,
        outer: Outer,
        (src, dst): (Be128, Be128),
        encapsulation: Encapsulation,
    ) -> Result<(), NoMemory> {
        let header = OuterHeader::Ipv6(outer.ipv6(src, dst));
        skb.encapsulate(net, header, encapsulation)?;
        Ok(())
    }

    fn is_unicast(_net: &Net, addr: Be128) -> bool {
        route::is_unicast6(Ipv6Addr::from(addr.to_bytes()))
    }

    #[inline]
    fn is_loopback(addr: Be128) -> bool {
        addr == LOOPBACK
    }

    #[inline]
    fn is_from_loopback(skb: &Skb) -> bool {
        source(skb) == Some(LOOPBACK) && skb.device().is_none_or(Device::is_loopback)
    }

    fn is_from_outside(skb: &Skb, _rcu: ReadLocked<'_>) -> bool {
        skb.device().is_some_and(|device| !device.is_loopback())
    }

    #[inline]
    fn has_hops(skb: &Skb) -> bool {
        skb.network()
            .first_chunk::<HEADER_LEN>()
            .is_some_and(|&[_, _, _, _, _, _, _, limit, ..]| limit > 1)
    }

    #[inline]
    fn count_hop(skb: &mut Skb) -> bool {
        skb.writable(HEADER_LEN)
            .ok()
            .and_then(|bytes| bytes.first_chunk_mut())
            .is_some_and(decrement_hop_limit)
    }

    /// Does nothing: the IPv6 header has no checksum.
    #[inline]
    fn correct_header(_skb: &mut Skb) -> bool {
        true
    }

    /// Compares the longest received fragment with the MTU if the packet was reassembled: it is
    /// sent in fragments of that size again.
    #[inline]
    fn fits(skb: &Skb, mtu: u32) -> Fits {
        let fits = match skb.ipv6_frag_max_size() {
            0 => skb.fits(mtu),
            longest => longest <= mtu,
        };
        if fits {
            Fits::Yes
        } else {
            Fits::No
        }
    }
}
