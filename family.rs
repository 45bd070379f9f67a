// SPDX-License-Identifier: GPL-2.0

//! The differences between IPv4 and IPv6, for code that is generic over the address family.
//!
//! The hook that a packet comes through determines its family, so its whole path is compiled for
//! each family, and IPv4 pays nothing for IPv6. Only the address of a server that packets are
//! tunnelled to may be of the other family: the tunnel transmitter handles that.

mod mode;
mod v4;
mod v6;

pub(crate) use mode::Mode;

use ipvs_core::{
    flow::FlowAddress,
    forward::Outer,
    icmp::IcmpHeader,
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
        Found,
        Route,
        RouteCache,
        Rt6Info,
        Rtable, //
    },
    skb::{
        Encapsulation,
        NoMemory,
        Skb,
        SkbRef, //
    },
};

/// IPv4.
#[derive(Clone, Copy)]
pub(crate) struct V4;

/// IPv6.
#[derive(Clone, Copy)]
pub(crate) struct V6;

/// A parsed network header.
pub(crate) trait Header: Copy {
    /// An address.
    type Addr;

    fn src(&self) -> Self::Addr;
    fn dst(&self) -> Self::Addr;
    /// Returns the number of the transport protocol.
    fn protocol(&self) -> u8;
    /// Returns the offset of the transport header from the network header, in bytes.
    fn transport_at(&self) -> usize;
    /// Returns whether the packet is a fragment, the first one included.
    fn is_fragment(&self) -> bool;
    /// Returns whether the packet is a fragment other than the first, which has no transport
    /// header.
    fn is_later_fragment(&self) -> bool;
    /// Returns the type of service (IPv4) or traffic class (IPv6).
    fn tos(&self) -> u8;
    /// Returns the time to live (IPv4) or hop limit (IPv6).
    fn ttl(&self) -> u8;
    /// Returns whether the DF flag is set. `false` for IPv6, which has no such flag.
    fn dont_fragment(&self) -> bool;
}

/// Maps each family to a type, so that generic code can select a family's field of a structure with
/// [`Family::select`], without this module knowing the structure.
pub(crate) trait ForEach {
    /// The type for a family.
    type For<F: Family>;
}

/// The cached route to a host. Only the cache for the family of the host's address is used. C:
/// `dest->dest_dst`.
pub(crate) struct RouteCaches {
    v4: RouteCache<Rtable>,
    v6: RouteCache<Rt6Info>,
}

impl ForEach for RouteCaches {
    type For<F: Family> = RouteCache<F::Route>;
}

impl RouteCaches {
    /// Makes empty caches.
    pub(crate) const fn new() -> Self {
        Self {
            v4: RouteCache::new(),
            v6: RouteCache::new(),
        }
    }

    /// Returns the cache for routes of a family.
    #[inline]
    pub(crate) fn of<F: Family>(&self) -> &RouteCache<F::Route> {
        F::select::<Self>(&self.v4, &self.v6)
    }

    /// Drops the cached route. C: `__ip_vs_dst_cache_reset()`.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn reset(&self) {
        self.v4.reset();
        self.v6.reset();
    }

    /// Drops the cached route if it refers to `device`, or is obsolete in `net`.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn reset_if_uses(&self, device: &Device, net: &Net, rcu: ReadLocked<'_>) {
        self.v4.reset_if_uses(device, net, rcu);
        self.v6.reset_if_uses(device, net, rcu);
    }
}

/// The result of passing a fragment to defragmentation.
pub(crate) enum Defrag<H> {
    /// The packet and its header, to be handled like one that is no fragment.
    Whole(Skb, H),
    /// A fragment that can't be reassembled here, without a transport header.
    Alone(Skb),
    /// The fragment was queued until the others arrive, or freed.
    Kept,
}

/// An address family, with its types of addresses, headers and routes.
pub(crate) trait Family: Copy + Send + Sync + 'static {
    /// An address.
    type Addr: FlowAddress;
    /// A network header.
    type Header: Header<Addr = Self::Addr>;
    /// A route.
    type Route: Route;

    /// `AF_INET` or `AF_INET6`.
    const AF: u16;
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    const PROTOCOL: Protocol;
    /// `IPPROTO_ICMP` or `IPPROTO_ICMPV6`.
    const PROTO_ICMP: u8;
    /// The protocol number in the outer header of an IP tunnel with packets of this family:
    /// `IPPROTO_IPIP` or `IPPROTO_IPV6`.
    const PROTO_INNER: u8;
    /// The length of a header without options or extensions, in bytes.
    const HEADER_LEN: usize;
    /// The smallest MTU that a link may have, in bytes.
    const MIN_MTU: u32;
    /// `true` if the checksum of ICMP messages covers a pseudo header (IPv6).
    const ICMP_HAS_PSEUDO_HEADER: bool;
    /// `true` if routers may fragment packets (IPv4). Then the MTU is not checked for ICMP errors,
    /// nor for tunnelled packets unless `pmtu_disc` is set.
    const ROUTERS_FRAGMENT: bool;

    /// Returns `v4` or `v6`, whichever is for this family.
    fn select<'a, T: ForEach>(v4: &'a T::For<V4>, v6: &'a T::For<V6>) -> &'a T::For<Self>;

    /// Looks up a route to `addr`. `with_source` says whether the caller uses the source address of
    /// the result. C: `do_output_route4()`, `__ip_vs_route_output_v6()`.
    ///
    /// # Errors
    ///
    /// Returns the errors of the routing look-up, such as `ENETUNREACH`.
    fn look_up(
        net: &Net,
        addr: Self::Addr,
        mode: Mode,
        with_source: bool,
    ) -> Result<Found<Self::Route>>;

    /// Converts an address from the type that routes use.
    fn from_route(addr: <Self::Route as Route>::Addr) -> Self::Addr;

    /// Parses the network header of a packet. `None` if it is truncated or malformed.
    fn header(skb: &Skb) -> Option<Self::Header>;

    /// Parses the network header of a packet that is only borrowed. `None` if it is truncated or
    /// malformed.
    fn borrowed_header(packet: SkbRef<'_>) -> Option<Self::Header>;

    /// Parses the network header of an embedded packet, at `at` bytes from the network header of
    /// `skb`. The embedded packet may be truncated after its header. `None` if the header is
    /// truncated or malformed.
    fn embedded(skb: &Skb, at: usize) -> Option<Self::Header>;

    /// Passes a fragment to defragmentation on behalf of `user`. C: `ip_vs_gather_frags()`.
    fn defrag(skb: Skb, header: Self::Header, net: &Net, user: DefragUser) -> Defrag<Self::Header>;

    /// Returns the offset of the transport header in `bytes`, which begin with the network header
    /// of an embedded and possibly truncated packet. `None` if the network header is truncated or
    /// malformed.
    fn linear_len(bytes: &[u8]) -> Option<usize>;

    /// Replaces the address at `end` in the network header that `bytes` begin with, and updates the
    /// header's checksum. `None`, without a change, if the header is truncated.
    fn set_addr(bytes: &mut [u8], end: End, addr: Self::Addr) -> Option<()>;

    /// Computes the checksum of the network header that `bytes` begin with from scratch. Does
    /// nothing for IPv6, whose header has no checksum.
    fn update_checksum(bytes: &mut [u8]);

    /// Returns whether an ICMP message is an error that IPVS relates to the connection of the
    /// embedded packet.
    fn is_error(icmp: &IcmpHeader) -> bool;

    /// Returns the MTU in bytes that a "fragmentation needed" or "packet too big" error reports.
    /// `None` for other messages.
    fn too_big(icmp: &IcmpHeader) -> Option<u32>;

    /// Prepends an outer header of this family, with `ends` as its source and destination, and
    /// whatever `encapsulation` puts between both headers. The resulting packet has no route.
    ///
    /// # Errors
    ///
    /// There is no memory.
    fn encapsulate(
        skb: &mut Skb,
        net: &Net,
        outer: Outer,
        ends: (Self::Addr, Self::Addr),
        encapsulation: Encapsulation,
    ) -> Result<(), NoMemory>;

    /// Returns whether an address is unicast; for IPv4, addresses of this host are excluded. C: the
    /// check in `ip_vs_leave()`.
    fn is_unicast(net: &Net, addr: Self::Addr) -> bool;

    /// Returns whether an address is a loopback address.
    fn is_loopback(addr: Self::Addr) -> bool;

    /// Returns whether a packet has a loopback source address, with which it must not leave this
    /// host.
    fn is_from_loopback(skb: &Skb) -> bool;

    /// Returns whether a packet was received from another host. The packet must still have the
    /// route that it had in the hook.
    fn is_from_outside(skb: &Skb, rcu: ReadLocked<'_>) -> bool;

    /// Returns whether a packet may be forwarded by its time to live or hop limit.
    fn has_hops(skb: &Skb) -> bool;

    /// Decrements the time to live or hop limit. `false` if it has run out, or if there is no
    /// memory.
    fn count_hop(skb: &mut Skb) -> bool;

    /// Recomputes the checksum of an IPv4 header with options, which this host may have changed on
    /// input without updating the checksum. `false` if there is no memory for a copy.
    fn correct_header(skb: &mut Skb) -> bool;

    /// Returns whether a packet may be sent on a path with this MTU, and whether in fragments.
    fn fits(skb: &Skb, mtu: u32) -> Fits;
}

/// The result of comparing a packet with an MTU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fits {
    /// The packet fits.
    Yes,
    /// The packet is too long, but may be fragmented.
    InFragments,
    /// The packet is too long and must not be fragmented.
    No,
}
