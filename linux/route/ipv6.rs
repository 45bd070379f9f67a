// SPDX-License-Identifier: GPL-2.0

//! IPv6 routes.
//!
//! C header: [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h)

use super::{
    Dst,
    Found,
    Owned,
    Route, //
};
use crate::{
    bindings,
    net::Net,
    netdevice::Device,
    rcu::{
        self,
        ReadLocked, //
    }, //
};
use core::{
    net::Ipv6Addr,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// An IPv6 route (C: `rt6_info`), or what IPsec makes of one.
#[repr(transparent)]
pub struct Rt6Info(Dst);

// SAFETY: Routes are shared by design; what changes is read as such.
unsafe impl Sync for Rt6Info {}

impl Deref for Rt6Info {
    type Target = Dst;

    #[inline]
    fn deref(&self) -> &Dst {
        &self.0
    }
}

impl Rt6Info {
    /// Returns the device whose IPv6 data the route refers to (C: `rt6i_idev`), or null. For the
    /// route to an address of this host that is the device that has the address, not the one that
    /// packets leave by.
    fn address_device_ptr(&self, _rcu: ReadLocked<'_>) -> *mut bindings::net_device {
        let field = |of: *mut c_void, offset| of.wrapping_byte_add(offset).cast::<*mut c_void>();
        // SAFETY: `&self` keeps the route valid, and it is one of IPv6, or begins with one. Its
        // `rt6i_idev` may be exchanged at any time, and is freed a grace period after that, so in
        // this section; the device in it is constant.
        unsafe {
            let idev =
                ptr::read_volatile(field(self.as_ptr().cast(), bindings::LINUX_RT6_INFO_IDEV));
            if idev.is_null() {
                return ptr::null_mut();
            }
            ptr::read(field(idev, bindings::LINUX_INET6_DEV_DEV)).cast()
        }
    }
}

impl Route for Rt6Info {
    type Addr = Ipv6Addr;

    const IS_IPV6: bool = true;

    #[inline]
    fn is_local(&self, rcu: ReadLocked<'_>) -> bool {
        self.goes_to_loopback(rcu)
    }

    fn uses(&self, device: &Device, rcu: ReadLocked<'_>) -> bool {
        ptr::eq(self.device_ptr(), device.as_ptr())
            || ptr::eq(self.address_device_ptr(rcu), device.as_ptr())
    }

    #[inline]
    fn mtu(&self) -> u32 {
        // SAFETY: `&self` keeps the route valid.
        unsafe { bindings::linux_dst_mtu(self.as_ptr()) }
    }

    #[inline]
    fn cookie(&self) -> u32 {
        // SAFETY: `&self` keeps the route valid, and it is one of IPv6, or begins with one.
        unsafe { bindings::linux_rt6_get_cookie(self.as_ptr()) }
    }

    #[inline]
    fn is_current(&self, _net: &Net, cookie: u32) -> bool {
        // SAFETY: `&self` keeps the route valid.
        !unsafe { bindings::linux_dst_check(self.as_ptr(), cookie) }.is_null()
    }
}

/// The parameters of a look-up of an IPv6 route for packets that leave this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup6 {
    /// See [`super::Lookup::known_next_hop`].
    pub known_next_hop: bool,
    /// Set if a source address is asked for. A route without one counts as none, then.
    pub source: bool,
}

fn to_c(addr: Ipv6Addr) -> bindings::in6_addr {
    bindings::in6_addr {
        in6_u: bindings::in6_addr__bindgen_ty_1 {
            u6_addr8: addr.octets(),
        },
    }
}

fn from_c(addr: &bindings::in6_addr) -> Ipv6Addr {
    // SAFETY: Each variant of the union is plain data of this size.
    Ipv6Addr::from(unsafe { addr.in6_u.u6_addr8 })
}

/// Looks up the route for a flow. A route that leads nowhere says so itself.
fn output_flow(net: &Net, flow: &mut bindings::flowi6) -> Result<Owned<Rt6Info>> {
    // SAFETY: Both are valid for the call, and no socket is allowed.
    let dst = unsafe { bindings::ip6_route_output_flags(net.as_ptr(), ptr::null(), flow, 0) };
    // INVARIANT: The function gives a reference along with the route.
    let rt = NonNull::new(dst.cast()).map(Owned::<Rt6Info>);
    let rt = rt.ok_or(ENETUNREACH)?;
    // SAFETY: The reference keeps the route valid.
    to_result(unsafe { (*rt.as_ptr()).error }.into())?;
    Ok(rt)
}

/// Looks up how to get from this host to `destination`. Any context that may take `_bh` locks.
pub fn output6(net: &Net, destination: Ipv6Addr, lookup: Lookup6) -> Result<Found<Rt6Info>> {
    let mut flow = bindings::flowi6 {
        daddr: to_c(destination),
        ..Default::default()
    };
    if lookup.known_next_hop {
        flow.__fl_common.flowic_flags = bindings::FLOWI_FLAG_KNOWN_NH as u8;
    }
    let rt = output_flow(net, &mut flow)?;
    if lookup.source && from_c(&flow.saddr).is_unspecified() {
        // SAFETY: All pointers are valid for the call; the route is one of IPv6. Callers that ask
        // for a source are in a read-side critical section, which keeps the device that the route
        // refers to at this moment, even if another one takes its place.
        to_result(unsafe {
            bindings::ipv6_dev_get_saddr(
                net.as_ptr(),
                bindings::linux_ip6_dst_idev_dev(rt.as_ptr()),
                &flow.daddr,
                0,
                &mut flow.saddr,
            )
        })?;
    }
    Ok(Found {
        rt,
        source: from_c(&flow.saddr),
    })
}

/// The type of an IPv6 address, as routing sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addr6Type {
    /// One of this host's own, whatever its scope.
    Local,
    /// Unicast, of a scope greater than the link.
    Unicast,
    /// Unspecified, multicast, of the link, or mapped.
    Other,
}

/// Returns the `IPV6_ADDR_*` flags of an address.
fn kind_of(addr: Ipv6Addr) -> u32 {
    // SAFETY: The address is valid for the call.
    unsafe { bindings::__ipv6_addr_type(&to_c(addr)) as u32 }
}

/// Returns whether `addr` is a unicast address, of any scope. Any context.
pub fn is_unicast6(addr: Ipv6Addr) -> bool {
    kind_of(addr) & bindings::IPV6_ADDR_UNICAST != 0
}

/// Returns the type of `addr` in the namespace `net`. Any context.
pub fn addr_type6(net: &Net, addr: Ipv6Addr) -> Addr6Type {
    let kind = kind_of(addr);
    if kind & bindings::IPV6_ADDR_UNICAST != 0 && kind & bindings::IPV6_ADDR_LINKLOCAL == 0 {
        return Addr6Type::Unicast;
    }
    match output6(net, addr, Lookup6::default()) {
        Ok(found) if rcu::read(|rcu| found.rt.goes_to_loopback(rcu)) => Addr6Type::Local,
        _ => Addr6Type::Other,
    }
}
