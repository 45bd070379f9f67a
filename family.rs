// SPDX-License-Identifier: GPL-2.0

//! What differs between IPv4 and IPv6, for code that is written once for both.
//!
//! A packet's family is known from the hook that it comes through, so all of its way is compiled
//! for each family, and IPv4 pays nothing for the other. A server's address may be of the other
//! family, if its packets are tunnelled: that is looked at where they are.

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
        Skb, //
    },
};

/// IPv4.
#[derive(Clone, Copy)]
pub(crate) struct V4;

/// IPv6.
#[derive(Clone, Copy)]
pub(crate) struct V6;

/// What is known of a packet's network header.
pub(crate) trait Header: Copy {
    /// An address.
    type Addr;

    fn src(&self) -> Self::Addr;
    fn dst(&self) -> Self::Addr;
    /// The transport protocol.
    fn protocol(&self) -> u8;
    /// Bytes from the header to the transport header.
    fn transport_at(&self) -> usize;
    /// Whether it is that of a fragment, the first one included.
    fn is_fragment(&self) -> bool;
    /// Whether it is that of a fragment without transport header.
    fn is_later_fragment(&self) -> bool;
    /// Type of service or traffic class.
    fn tos(&self) -> u8;
    /// Time to live or hop limit.
    fn ttl(&self) -> u8;
    /// Whether routers must not fragment the packet, as its header says. IPv6 has no such thing.
    fn dont_fragment(&self) -> bool;
}

/// Names a type that there is one of for each family, so that [`Family::select`] can find the one
/// that a generic function needs: what has both need not be known here.
pub(crate) trait ForEach {
    /// The type for a family.
    type For<F: Family>;
}

/// The cached routes to a host, which has an address of one of the families.
pub(crate) struct RouteCaches {
    v4: RouteCache<Rtable>,
    v6: RouteCache<Rt6Info>,
}

impl ForEach for RouteCaches {
    type For<F: Family> = RouteCache<F::Route>;
}

impl RouteCaches {
    /// Makes both, empty.
    pub(crate) const fn new() -> Self {
        Self {
            v4: RouteCache::new(),
            v6: RouteCache::new(),
        }
    }

    /// Returns the place for the route to an address of a family.
    #[inline]
    pub(crate) fn of<F: Family>(&self) -> &RouteCache<F::Route> {
        F::select::<Self>(&self.v4, &self.v6)
    }

    /// Forgets the route. Any context.
    pub(crate) fn reset(&self) {
        self.v4.reset();
        self.v6.reset();
    }

    /// Forgets the route if it refers to `device`, or is out of date in `net`. Any context.
    pub(crate) fn reset_if_uses(&self, device: &Device, net: &Net, rcu: ReadLocked<'_>) {
        self.v4.reset_if_uses(device, net, rcu);
        self.v6.reset_if_uses(device, net, rcu);
    }
}

/// What became of a fragment.
pub(crate) enum Defrag<H> {
    /// The packet, to be looked at as a whole.
    Whole(Skb, H),
    /// A part of it that is nobody's.
    Alone(Skb),
    /// It is kept until the others come, or was freed.
    Kept,
}

/// A family of addresses, packets and routes.
pub(crate) trait Family: Copy + Send + Sync + 'static {
    /// An address.
    type Addr: FlowAddress;
    /// A network header.
    type Header: Header<Addr = Self::Addr>;
    /// A route.
    type Route: Route;

    /// `AF_INET` or `AF_INET6`.
    const AF: u16;
    /// The same for netfilter.
    const PROTOCOL: Protocol;
    /// The protocol number of this family's ICMP.
    const PROTO_ICMP: u8;
    /// The protocol number of a packet of this family in another one.
    const PROTO_INNER: u8;
    /// Bytes of a header without options.
    const HEADER_LEN: usize;
    /// The least MTU of a way.
    const MIN_MTU: u32;
    /// Whether an ICMP error's checksum covers a pseudo header.
    const ICMP_HAS_PSEUDO_HEADER: bool;
    /// Whether routers may fragment packets: then ICMP errors are sent however long they are, and
    /// all packets through tunnels if path MTUs don't matter.
    const ROUTERS_FRAGMENT: bool;

    /// Returns the one of both that is for this family.
    fn select<'a, T: ForEach>(v4: &'a T::For<V4>, v6: &'a T::For<V6>) -> &'a T::For<Self>;

    /// Looks up the way to `addr`. `with_source` says whether the source address matters.
    fn look_up(
        net: &Net,
        addr: Self::Addr,
        mode: Mode,
        with_source: bool,
    ) -> Result<Found<Self::Route>>;

    /// An address as routing has it.
    fn from_route(addr: <Self::Route as Route>::Addr) -> Self::Addr;

    /// The header of a packet, with which it begins.
    fn header(skb: &Skb) -> Option<Self::Header>;

    /// The header at `at`, of a packet that another one embeds, and which may be cut off.
    fn embedded(skb: &Skb, at: usize) -> Option<Self::Header>;

    /// Puts fragments together, where nobody else has done that before.
    fn gather(skb: Skb, header: Self::Header, net: &Net, user: DefragUser) -> Defrag<Self::Header>;

    /// Bytes of the headers up to that of the transport in a packet that is embedded whole or in
    /// part, with which `bytes` begin.
    fn linear_len(bytes: &[u8]) -> Option<usize>;

    /// Puts another address into the header with which `bytes` begin, and updates its checksum.
    /// `None`, and nothing happens, if it is not all there.
    fn set_addr(bytes: &mut [u8], end: End, addr: Self::Addr) -> Option<()>;

    /// Computes the checksum of the header with which `bytes` begin anew, if it has one.
    fn update_checksum(bytes: &mut [u8]);

    /// Whether an ICMP message is an error that is looked at.
    fn is_error(icmp: &IcmpHeader) -> bool;

    /// The MTU that an error reports which says that a packet was too long.
    fn too_big(icmp: &IcmpHeader) -> Option<u32>;

    /// Puts a packet into one of the family, which has no route then.
    fn encapsulate(
        skb: &mut Skb,
        net: &Net,
        outer: Outer,
        ends: (Self::Addr, Self::Addr),
        encapsulation: Encapsulation,
    ) -> Result<(), NoMemory>;

    /// Whether an address is that of one host; of IPv4, not of this one either.
    fn is_unicast(net: &Net, addr: Self::Addr) -> bool;

    /// Whether an address is one of this host's loopback device.
    fn is_loopback(addr: Self::Addr) -> bool;

    /// Whether a packet has a source address that must not leave this host.
    fn is_from_loopback(skb: &Skb) -> bool;

    /// Whether a packet, which has the route that it came with, came from another host.
    fn is_from_outside(skb: &Skb, rcu: ReadLocked<'_>) -> bool;

    /// Whether there are hops left for a packet.
    fn has_hops(skb: &Skb) -> bool;

    /// Counts a hop. `false` if there is none left, or no memory.
    fn count_hop(skb: &mut Skb) -> bool;

    /// Corrects what this host has changed in a header, where the packet came in, without completing
    /// it. `false` if there is no memory for that.
    fn correct_header(skb: &mut Skb) -> bool;

    /// Whether a way of this MTU takes a packet, or may fragment it.
    fn fits(skb: &Skb, mtu: u32) -> Fits;
}

/// Whether a way takes a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fits {
    /// As it is.
    Yes,
    /// No, but it may be sent in fragments.
    InFragments,
    /// No.
    No,
}
