// SPDX-License-Identifier: GPL-2.0

//! IPv4 routes.
//!
//! A route is read under RCU (`&Rtable`) or with a reference of one's own ([`OwnedRtable`]).
//!
//! C headers: [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/dst.h`](srctree/include/net/dst.h)

mod cache;

pub use cache::{
    CachedRoute,
    RouteCache, //
};

use crate::{
    bindings,
    net::Net,
    netdevice::Device,
    rcu::Reader,
    skb::Skb, //
};
use core::{
    mem::ManuallyDrop,
    net::Ipv4Addr,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    types::Opaque, //
};

/// An IPv4 route.
#[repr(transparent)]
pub struct Rtable(Opaque<bindings::rtable>);

impl Rtable {
    /// The route behind a pointer from C, unless it is null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_ptr<'a>(ptr: *const bindings::rtable) -> Option<&'a Self> {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    /// The route for C.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::rtable {
        self.0.get()
    }

    #[inline]
    fn has_flag(&self, flag: u32) -> bool {
        // SAFETY: `&self` keeps the route valid.
        unsafe { (*self.as_ptr()).rt_flags & flag != 0 }
    }

    /// Whether it leads to this host.
    #[inline]
    pub fn is_local(&self) -> bool {
        self.has_flag(bindings::RTCF_LOCAL)
    }

    /// Whether it was looked up for a packet that came in.
    #[inline]
    pub fn is_input(&self) -> bool {
        // SAFETY: `&self` keeps the route valid.
        unsafe { (*self.as_ptr()).rt_is_input != 0 }
    }

    /// Bytes that may be sent in one packet, as far as it is known.
    #[inline]
    pub fn mtu(&self) -> u32 {
        // SAFETY: `&self` keeps the route valid, and a `dst_entry` is its first member.
        unsafe { bindings::ipvs_dst4_mtu(self.as_ptr().cast()) }
    }

    /// The device that it goes out by.
    #[inline]
    fn device_ptr(&self) -> *mut bindings::net_device {
        // SAFETY: `&self` keeps the route valid; the device may be exchanged at any time. Both
        // variants of the union are this pointer.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).dst.__bindgen_anon_1.dev) }
    }

    /// The device that it goes out by.
    #[inline]
    pub fn device<'rcu>(&self, _rcu: Reader<'rcu>) -> Option<&'rcu Device> {
        // SAFETY: A route drops its device, and a device is freed, a grace period after nobody can
        // find it any more, and the section spans `'rcu`.
        unsafe { Device::from_ptr(self.device_ptr()) }
    }

    /// The device that the route of a packet goes out by.
    #[inline]
    pub(crate) fn device_of_skb(&self) -> Option<&Device> {
        // SAFETY: As in `device`: a packet lives in a read-side critical section, and `&self` was
        // borrowed from one.
        unsafe { Device::from_ptr(self.device_ptr()) }
    }

    /// Whether routing would still give this route, in `net`, which it was looked up in.
    ///
    /// What `ipv4_dst_check()` says, without the indirect call to it.
    #[inline]
    fn is_current(&self, net: &Net) -> bool {
        // SAFETY: `&self` and `net` keep both valid. The fields change at any time.
        let (obsolete, genid, current) = unsafe {
            (
                ptr::read_volatile(&raw const (*self.as_ptr()).dst.obsolete),
                (*self.as_ptr()).rt_genid,
                ptr::read_volatile(&raw const (*net.as_ptr()).ipv4.rt_genid.counter),
            )
        };
        i32::from(obsolete) == bindings::DST_OBSOLETE_FORCE_CHK && genid == current
    }
}

/// An IPv4 route that is kept by a reference.
///
/// # Invariants
///
/// The pointer is valid and owns one reference.
pub struct OwnedRtable(NonNull<bindings::rtable>);

// SAFETY: References may be given back on any CPU, and `Rtable` gives out copies only.
unsafe impl Send for OwnedRtable {}
// SAFETY: As above.
unsafe impl Sync for OwnedRtable {}

impl OwnedRtable {
    /// Gives the reference to C.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::rtable {
        ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Deref for OwnedRtable {
    type Target = Rtable;

    #[inline]
    fn deref(&self) -> &Rtable {
        // SAFETY: By the type invariant; the type is transparent.
        unsafe { self.0.cast().as_ref() }
    }
}

impl Drop for OwnedRtable {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; a `dst_entry` is the first member. The memory is freed
        // only after a grace period.
        unsafe { bindings::dst_release(self.0.as_ptr().cast()) };
    }
}

/// How a route for packets that leave this host is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup {
    /// Whether the destination is also to be the neighbour that packets are handed to, even if
    /// their own destination is another (C: `FLOWI_FLAG_KNOWN_NH`).
    pub known_next_hop: bool,
    /// Whether to look up again with the source address that the first look-up came to, as a
    /// connected socket would.
    pub bind_source: bool,
}

/// A route, and the source address for packets that this host itself sends along it.
pub struct Found {
    /// The route.
    pub rt: OwnedRtable,
    /// The source address.
    pub source: Ipv4Addr,
}

/// Looks up how to get from this host to `destination`. Any context that may take `_bh` locks.
pub fn output(net: &Net, destination: Ipv4Addr, lookup: Lookup) -> Result<Found> {
    let mut flow = bindings::flowi4 {
        daddr: destination.to_bits().to_be(),
        ..Default::default()
    };
    if lookup.known_next_hop {
        flow.__fl_common.flowic_flags = bindings::FLOWI_FLAG_KNOWN_NH as u8;
    }
    let mut rt = output_flow(net, &mut flow)?;
    if lookup.bind_source && flow.saddr != 0 {
        flow.__fl_common.flowic_oif = 0;
        flow.daddr = destination.to_bits().to_be();
        drop(rt);
        rt = output_flow(net, &mut flow)?;
    }
    Ok(Found {
        rt,
        source: Ipv4Addr::from_bits(u32::from_be(flow.saddr)),
    })
}

fn output_flow(net: &Net, flow: &mut bindings::flowi4) -> Result<OwnedRtable> {
    // SAFETY: Both are valid for the call, and no socket is allowed.
    let rt = unsafe { bindings::ip_route_output_flow(net.as_ptr(), flow, ptr::null()) };
    let rt = from_err_ptr(rt)?;
    // INVARIANT: The function gives a reference along with the route.
    NonNull::new(rt).map(OwnedRtable).ok_or(ENETUNREACH)
}

/// Routes a packet anew that this host is about to send on, after its source address changed
/// (C: `ip_route_me_harder()`). The packet keeps its way if it leads to this host.
pub fn reroute(net: &Net, skb: &mut Skb) -> Result {
    if skb.route().is_some_and(Rtable::is_local) {
        return Ok(());
    }
    // SAFETY: The namespace and the packet are valid; the socket is the packet's own or null.
    kernel::error::to_result(unsafe {
        bindings::ip_route_me_harder(
            net.as_ptr(),
            (*skb.as_ptr()).sk,
            skb.as_ptr(),
            bindings::RTN_LOCAL,
        )
    })
}

/// Tells the route that a packet has of a smaller MTU, on behalf of the full socket that sent it.
/// Nothing happens if there is none.
pub fn update_pmtu(skb: &mut Skb, mtu: u32) {
    if skb.route().is_some() && skb.has_full_socket() {
        // SAFETY: The packet has a route and a full socket, which both live with it.
        unsafe { bindings::ipvs_skb_update_pmtu(skb.as_ptr(), mtu) };
    }
}

/// What an address is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrType {
    /// One of its own.
    Local,
    /// Another host's.
    Unicast,
    /// Broadcast, multicast, or one that can't be reached.
    Other,
}

/// What `addr` is to this host, in the namespace `net`. Any context.
pub fn addr_type(net: &Net, addr: Ipv4Addr) -> AddrType {
    // SAFETY: The namespace is valid.
    match unsafe { bindings::inet_addr_type(net.as_ptr(), addr.to_bits().to_be()) } {
        bindings::RTN_LOCAL => AddrType::Local,
        bindings::RTN_UNICAST => AddrType::Unicast,
        _ => AddrType::Other,
    }
}
