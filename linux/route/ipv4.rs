// SPDX-License-Identifier: GPL-2.0

//! IPv4 routes.
//!
//! C header: [`include/net/route.h`](srctree/include/net/route.h)

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
    rcu::ReadLocked,
    skb::Skb, //
};
use core::{
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

/// The offset of the source address in an IPv4 header.
const SOURCE_AT: usize = 12;

/// An IPv4 route.
#[repr(transparent)]
pub struct Rtable(Opaque<bindings::rtable>);

// SAFETY: Routes are shared by design; what changes is read as such.
unsafe impl Sync for Rtable {}

impl Deref for Rtable {
    type Target = Dst;

    #[inline]
    fn deref(&self) -> &Dst {
        // SAFETY: A `dst_entry` is the first member.
        unsafe { &*self.0.get().cast() }
    }
}

impl Rtable {
    /// Returns whether it was looked up for an incoming packet.
    #[inline]
    pub fn is_input(&self) -> bool {
        // SAFETY: `&self` keeps the route valid.
        unsafe { (*self.0.get()).rt_is_input != 0 }
    }

    /// Returns whether it was looked up for `skb`, which this host forwards, and a look-up with the
    /// source address that `skb` has now would find it again: nothing in `net` looks at that address,
    /// it was not chosen among several paths by a hash of both, and it is still current.
    #[inline]
    pub(super) fn is_way_of_destination(&self, net: &Net, skb: &Skb, rcu: ReadLocked<'_>) -> bool {
        // SAFETY: `&self` keeps the route valid.
        let kind = u32::from(unsafe { (*self.0.get()).rt_type });
        // Options are written by the kind of the route. Not every address is accepted as a source, and
        // those are among the others.
        let is_plain = |header: [u8; SOURCE_AT + 1]| {
            let [version_and_words, .., source] = header;
            version_and_words == 0x45 && !matches!(source, 0 | 127 | 224..)
        };
        kind == bindings::RTN_UNICAST
            && self.is_input()
            && self.is_current(net, 0)
            && !looks_at_more(net, rcu)
            && !skb.is_ipv4_multipath()
            && skb.header(0).is_some_and(is_plain)
    }
}

/// Returns whether routing in `net` may look at more than a destination: by rules or realms, or since
/// several default routes take turns.
#[inline]
fn looks_at_more(net: &Net, _rcu: ReadLocked<'_>) -> bool {
    #[cfg(CONFIG_IP_MULTIPLE_TABLES)]
    {
        let default_routes = |table: *mut bindings::fib_table| {
            if table.is_null() {
                return 0;
            }
            let field = table.wrapping_byte_add(bindings::LINUX_FIB_TABLE_NUM_DEFAULT);
            // SAFETY: A table is freed a grace period after nobody can find it any more, and this is a
            // read-side critical section. The field changes at any time, as a whole.
            unsafe { ptr::read_volatile(field.cast::<c_int>()) }
        };
        let net = net.as_ptr();
        // SAFETY: The namespace is valid. The fields change at any time, each as a whole.
        let (has_rules, main, last) = unsafe {
            (
                ptr::read_volatile(&raw const (*net).ipv4.fib_has_custom_rules),
                ptr::read_volatile(&raw const (*net).ipv4.fib_main),
                ptr::read_volatile(&raw const (*net).ipv4.fib_default),
            )
        };
        #[cfg(CONFIG_IP_ROUTE_CLASSID)]
        let realms = {
            // SAFETY: As above.
            unsafe { ptr::read_volatile(&raw const (*net).ipv4.fib_num_tclassid_users.counter) }
        };
        #[cfg(not(CONFIG_IP_ROUTE_CLASSID))]
        let realms = 0;
        // Both tables are looked at where there are no other rules.
        has_rules || realms != 0 || default_routes(main).wrapping_add(default_routes(last)) > 1
    }
    #[cfg(not(CONFIG_IP_MULTIPLE_TABLES))]
    {
        let _ = net;
        true
    }
}

impl Route for Rtable {
    type Addr = Ipv4Addr;

    const IS_IPV6: bool = false;

    #[inline]
    fn is_local(&self, _rcu: ReadLocked<'_>) -> bool {
        // SAFETY: `&self` keeps the route valid.
        unsafe { (*self.0.get()).rt_flags & bindings::RTCF_LOCAL != 0 }
    }

    fn uses(&self, device: &Device, _rcu: ReadLocked<'_>) -> bool {
        ptr::eq(self.device_ptr(), device.as_ptr())
    }

    #[inline]
    fn mtu(&self) -> u32 {
        // SAFETY: `&self` keeps the route valid.
        unsafe { bindings::linux_dst4_mtu(self.as_ptr()) }
    }

    #[inline]
    fn cookie(&self) -> u32 {
        0
    }

    /// Does what `ipv4_dst_check()` does, without the indirect call.
    #[inline]
    fn is_current(&self, net: &Net, _cookie: u32) -> bool {
        let rt = self.0.get();
        // SAFETY: `&self` and `net` keep both valid. The fields change at any time.
        let (obsolete, genid, current) = unsafe {
            (
                ptr::read_volatile(&raw const (*rt).dst.obsolete),
                (*rt).rt_genid,
                ptr::read_volatile(&raw const (*net.as_ptr()).ipv4.rt_genid.counter),
            )
        };
        i32::from(obsolete) == bindings::DST_OBSOLETE_FORCE_CHK && genid == current
    }
}

/// The parameters of a look-up of a route for packets that leave this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup {
    /// Set if the destination is also the next hop, even for packets to another address (C:
    /// `FLOWI_FLAG_KNOWN_NH`).
    pub known_next_hop: bool,
    /// Set to look up a second time with the source address that the first look-up has chosen, as a
    /// connected socket does.
    pub bind_source: bool,
}

/// Looks up how to get from this host to `destination`. Any context that may take `_bh` locks.
pub fn output(net: &Net, destination: Ipv4Addr, lookup: Lookup) -> Result<Found<Rtable>> {
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

fn output_flow(net: &Net, flow: &mut bindings::flowi4) -> Result<Owned<Rtable>> {
    // SAFETY: Both are valid for the call, and no socket is allowed.
    let rt = unsafe { bindings::ip_route_output_flow(net.as_ptr(), flow, ptr::null()) };
    let rt = from_err_ptr(rt)?;
    // INVARIANT: The function gives a reference along with the route.
    NonNull::new(rt.cast()).map(Owned).ok_or(ENETUNREACH)
}

/// The type of an address, as routing sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrType {
    /// One of its own.
    Local,
    /// Another host's.
    Unicast,
    /// Broadcast, multicast, or one that can't be reached.
    Other,
}

/// Returns the type of `addr` in the namespace `net`. Any context. C counterpart:
/// `inet_addr_type()`.
pub fn addr_type(net: &Net, addr: Ipv4Addr) -> AddrType {
    // SAFETY: The namespace is valid.
    match unsafe { bindings::inet_addr_type(net.as_ptr(), addr.to_bits().to_be()) } {
        bindings::RTN_LOCAL => AddrType::Local,
        bindings::RTN_UNICAST => AddrType::Unicast,
        _ => AddrType::Other,
    }
}
