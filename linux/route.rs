// SPDX-License-Identifier: GPL-2.0

//! Routes of both families.
//!
//! A route is read under RCU (`&Rtable`, `&Rt6Info`) or with a reference of one's own ([`Owned`]).
//! Of the route that a packet has the family is not known; it is a [`Dst`].
//!
//! C header: [`include/net/dst.h`](srctree/include/net/dst.h)

mod cache;
mod ipv4;
mod ipv6;

pub use cache::{
    CachedRoute,
    RouteCache, //
};
pub use ipv4::{
    addr_type,
    output,
    AddrType,
    Lookup,
    Rtable, //
};
pub use ipv6::{
    addr_type6,
    is_unicast6,
    output6,
    Addr6Type,
    Lookup6,
    Rt6Info, //
};

use crate::{
    bindings,
    net::Net,
    netdevice::Device,
    rcu::ReadLocked,
    skb::Skb,
    xfrm, //
};
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A route of whichever family.
#[repr(transparent)]
pub struct Dst(Opaque<bindings::dst_entry>);

impl Dst {
    /// Wraps a pointer from C, unless it is null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_ptr<'a>(ptr: *const bindings::dst_entry) -> Option<&'a Self> {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    /// Returns the pointer for C.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::dst_entry {
        self.0.get()
    }

    /// Returns its address family.
    #[inline]
    fn family(&self) -> u32 {
        // SAFETY: `&self` keeps the route valid; its operations are constant.
        u32::from(unsafe { (*(*self.as_ptr()).ops).family })
    }

    /// Returns the route as one of IPv4, if it is one.
    #[inline]
    fn as_rtable(&self) -> Option<&Rtable> {
        // SAFETY: Routes with the operations of IPv4 are `rtable`s, or begin with one.
        (self.family() == bindings::AF_INET).then(|| unsafe { &*self.as_ptr().cast() })
    }

    /// Returns whether it is of the family of `R`.
    pub(crate) fn is_of<R: Route>(&self) -> bool {
        self.family()
            == if R::IS_IPV6 {
                bindings::AF_INET6
            } else {
                bindings::AF_INET
            }
    }

    /// Returns whether it leads to this host.
    #[inline]
    pub fn is_local(&self, rcu: ReadLocked<'_>) -> bool {
        match self.as_rtable() {
            Some(rt) => rt.is_local(rcu),
            None => self.goes_to_loopback(rcu),
        }
    }

    /// Returns whether it is of IPv4 and was looked up for an incoming packet.
    pub fn is_ipv4_input(&self) -> bool {
        self.as_rtable().is_some_and(Rtable::is_input)
    }

    /// Returns the device that packets leave by.
    #[inline]
    fn device_ptr(&self) -> *mut bindings::net_device {
        // SAFETY: `&self` keeps the route valid; the device may be exchanged at any time. Both
        // variants of the union are this pointer.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).__bindgen_anon_1.dev) }
    }

    /// Returns the device that packets leave by.
    #[inline]
    pub fn device<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Device> {
        // SAFETY: A route drops its device, and a device is freed, a grace period after nobody can
        // find it any more, and the section spans `'rcu`.
        unsafe { Device::from_ptr(self.device_ptr()) }
    }

    /// Returns the device that a packet with this route leaves by.
    #[inline]
    pub(crate) fn device_of_skb(&self) -> Option<&Device> {
        // SAFETY: As in `device`: a packet lives in a read-side critical section, and `&self` was
        // borrowed from one.
        unsafe { Device::from_ptr(self.device_ptr()) }
    }

    /// Returns whether it is exempt from IPsec policies.
    pub(crate) fn is_exempt(&self) -> bool {
        // SAFETY: `&self` keeps the route valid; another flag may be set at any time.
        let flags = unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).flags) };
        u32::from(flags) & bindings::DST_NOXFRM != 0
    }

    /// Returns whether packets that take it are transformed by IPsec.
    pub(crate) fn is_bundle(&self) -> bool {
        // SAFETY: `&self` keeps the route valid.
        unsafe { bindings::linux_dst_is_bundle(self.as_ptr()) }
    }

    /// Returns whether the device is a loopback device. A reference to the route does not keep its
    /// device, which may be exchanged, and freed a grace period later.
    #[inline]
    fn goes_to_loopback(&self, rcu: ReadLocked<'_>) -> bool {
        self.device(rcu).is_some_and(Device::is_loopback)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Rtable {}
    impl Sealed for super::Rt6Info {}
}

/// A route of a family that is known when the code is compiled.
pub trait Route: Deref<Target = Dst> + sealed::Sealed + Sync + 'static {
    /// An address.
    type Addr: Copy + Send + Sync + 'static;

    /// Set for IPv6.
    const IS_IPV6: bool;

    /// Returns whether it leads to this host.
    fn is_local(&self, rcu: ReadLocked<'_>) -> bool;

    /// Returns whether it refers to `device`: packets leave by it, or the route is that of one of
    /// its addresses.
    fn uses(&self, device: &Device, rcu: ReadLocked<'_>) -> bool;

    /// Returns the path MTU as far as it is known, in bytes.
    fn mtu(&self) -> u32;

    /// Returns the cookie that [`Route::is_current`] needs, at the moment of the look-up.
    fn cookie(&self) -> u32;

    /// Returns whether routing in `net`, in which it was looked up, would still give this route.
    fn is_current(&self, net: &Net, cookie: u32) -> bool;
}

/// A route that is kept by a reference.
///
/// # Invariants
///
/// The pointer is valid and owns one reference.
pub struct Owned<R: Route>(NonNull<R>);

// SAFETY: References may be given back on any CPU, and routes give out copies only.
unsafe impl<R: Route> Send for Owned<R> {}
// SAFETY: As above.
unsafe impl<R: Route> Sync for Owned<R> {}

impl<R: Route> Owned<R> {
    /// Takes a reference to a route that was found under RCU. Returns `None` if the last one is
    /// gone.
    pub fn of(rt: &R) -> Option<Self> {
        // SAFETY: `&R` keeps the route valid.
        if unsafe { bindings::linux_dst_hold_safe(rt.as_ptr()) } {
            // INVARIANT: A reference was taken.
            Some(Self(NonNull::from(rt)))
        } else {
            None
        }
    }

    /// Takes a reference from C. `None` for null.
    ///
    /// # Safety
    ///
    /// `dst` must be null or a valid route of the family of `R`, or a bundle of it, and the caller
    /// must give up a reference.
    pub(crate) unsafe fn from_raw(dst: *mut bindings::dst_entry) -> Option<Self> {
        // INVARIANT: By the safety requirement; a route of either family, and a bundle of it, begins
        // with its `dst_entry`.
        NonNull::new(dst.cast()).map(Self)
    }

    /// Gives the reference to C.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::dst_entry {
        ManuallyDrop::new(self).as_ptr()
    }
}

impl<R: Route> Deref for Owned<R> {
    type Target = R;

    #[inline]
    fn deref(&self) -> &R {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<R: Route> Drop for Owned<R> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. The memory is freed only after a grace period.
        unsafe { bindings::dst_release(self.as_ptr()) };
    }
}

/// A route, and the source address for packets that this host itself sends along it.
pub struct Found<R: Route> {
    /// The route.
    pub rt: Owned<R>,
    /// The source address.
    pub source: R::Addr,
}

/// Routes a packet anew that this host is about to send on, after its source address changed
/// (C: `ip_route_me_harder()`, `ip6_route_me_harder()`). The packet keeps its way if it leads to
/// this host; and also if it `is_forwarded` and no look-up could find another, which saves one.
pub fn reroute(net: &Net, skb: &mut Skb, is_forwarded: bool) -> Result {
    // SAFETY: A packet lives in a read-side critical section, and it is borrowed for all of this.
    let rcu = unsafe { ReadLocked::assume() };
    let Some(route) = skb.route().filter(|route| !route.is_local(rcu)) else {
        return Ok(());
    };
    if is_forwarded && has_way_of_destination(net, skb, route, rcu) {
        return Ok(());
    }
    let ptr = skb.as_ptr();
    // SAFETY: The namespace and the packet are valid, and the packet has a route; the socket is the
    // packet's own or null.
    kernel::error::to_result(unsafe {
        if skb.is_ipv6() {
            bindings::ip6_route_me_harder(net.as_ptr(), (*ptr).sk, ptr)
        } else {
            bindings::ip_route_me_harder(net.as_ptr(), (*ptr).sk, ptr, bindings::RTN_LOCAL)
        }
    })
}

/// Returns whether a look-up by the source address that a forwarded packet has now would find the route
/// that it has. It never says so for IPv6, where the device that a packet came by counts, too.
#[inline]
fn has_way_of_destination(net: &Net, skb: &Skb, route: &Dst, rcu: ReadLocked<'_>) -> bool {
    !skb.is_ipv6()
        && !xfrm::has_output_policies(net)
        && !route.is_bundle()
        && !route.goes_to_loopback(rcu)
        && route
            .as_rtable()
            .is_some_and(|rt| rt.is_way_of_destination(net, skb, rcu))
}

/// Tells the route that a packet has of a smaller MTU, on behalf of the full socket that sent it.
/// Nothing happens if there is none.
pub fn update_pmtu(skb: &mut Skb, mtu: u32) {
    if skb.route().is_some() && skb.has_full_socket() {
        // SAFETY: The packet has a route and a full socket, which both live with it.
        unsafe { bindings::linux_skb_update_pmtu(skb.as_ptr(), mtu) };
    }
}
