// SPDX-License-Identifier: GPL-2.0

//! Routes: what a test put into the table of a namespace.

use crate::{
    events::{
        happened,
        Event, //
    },
    net::{
        lock,
        Net, //
    },
    netdevice::Device,
    rcu::ReadLocked,
    skb::Skb, //
};
use kernel::prelude::*;
use std::{
    collections::HashMap,
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    ops::Deref,
    sync::{
        atomic::{
            AtomicUsize,
            Ordering::SeqCst, //
        },
        Arc, //
    },
};

#[path = "../../../../linux/route/cache.rs"]
mod cache;

pub use cache::{
    CachedRoute,
    RouteCache, //
};

/// A route to an address, as a test sets it.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub device: &'static Device,
    pub mtu: u32,
    /// The address of this host that it has there.
    pub source: IpAddr,
    pub is_local: bool,
}

#[derive(Default)]
pub(crate) struct Table {
    ways: HashMap<IpAddr, Way>,
    /// Routes of another generation are old.
    generation: usize,
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of references to routes.
pub fn live() -> usize {
    LIVE.load(SeqCst)
}

#[derive(Debug)]
pub struct Dst {
    pub way: Way,
    is_ipv6: bool,
    is_input: bool,
    generation: usize,
}

impl Dst {
    fn new(way: Way, is_ipv6: bool, is_input: bool, generation: usize) -> Self {
        LIVE.fetch_add(1, SeqCst);
        Self {
            way,
            is_ipv6,
            is_input,
            generation,
        }
    }

    pub fn is_local(&self, _rcu: ReadLocked<'_>) -> bool {
        self.way.is_local
    }

    pub fn is_ipv4_input(&self) -> bool {
        !self.is_ipv6 && self.is_input
    }

    pub fn device<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Device> {
        Some(self.way.device)
    }

    fn as_ptr(&self) -> *mut Self {
        std::ptr::from_ref(self).cast_mut()
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, SeqCst);
    }
}

/// Drops a reference.
///
/// # Safety
///
/// The caller gives its reference away.
pub(crate) unsafe fn dst_release(dst: *mut Dst) {
    // SAFETY: Routes are in an `Arc`, and transparent.
    unsafe { Arc::decrement_strong_count(dst) };
}

pub trait Route: Deref<Target = Dst> + Sync + Send + Sized + 'static {
    type Addr: Copy + Send + Sync + 'static;

    const IS_IPV6: bool;

    fn of(dst: Dst) -> Self;

    fn is_local(&self, rcu: ReadLocked<'_>) -> bool {
        (**self).is_local(rcu)
    }

    fn uses(&self, device: &Device, rcu: ReadLocked<'_>) -> bool {
        self.device(rcu)
            .is_some_and(|own| std::ptr::eq(own, device))
    }

    fn mtu(&self) -> u32 {
        self.way.mtu
    }

    fn cookie(&self) -> u32 {
        0
    }

    fn is_current(&self, net: &Net, _cookie: u32) -> bool {
        lock(&net.routes).generation == self.generation
    }
}

macro_rules! routes {
    ($($name:ident: $addr:ty, $is_ipv6:literal;)*) => {
        $(
            #[repr(transparent)]
            #[derive(Debug)]
            pub struct $name(Dst);

            impl Deref for $name {
                type Target = Dst;

                fn deref(&self) -> &Dst {
                    &self.0
                }
            }

            impl Route for $name {
                type Addr = $addr;

                const IS_IPV6: bool = $is_ipv6;

                fn of(dst: Dst) -> Self {
                    Self(dst)
                }
            }
        )*
    };
}

routes! {
    Rtable: Ipv4Addr, false;
    Rt6Info: Ipv6Addr, true;
}

pub struct Owned<R: Route>(Arc<R>);

impl<R: Route> Owned<R> {
    pub fn of(rt: &R) -> Option<Self> {
        // SAFETY: All routes are in an `Arc`.
        unsafe {
            Arc::increment_strong_count(rt);
            Some(Self(Arc::from_raw(rt)))
        }
    }

    pub(crate) fn into_arc(self) -> Arc<R> {
        self.0
    }
}

impl<R: Route> Deref for Owned<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0
    }
}

pub struct Found<R: Route> {
    pub rt: Owned<R>,
    pub source: R::Addr,
}

impl Net {
    /// Says which way packets to an address go from now on.
    pub fn add_route(&self, addr: IpAddr, way: Way) {
        lock(&self.routes).ways.insert(addr, way);
    }

    pub fn remove_route(&self, addr: IpAddr) {
        let mut table = lock(&self.routes);
        table.ways.remove(&addr);
        table.generation += 1;
    }

    /// Makes all routes old.
    pub fn renew_routes(&self) {
        lock(&self.routes).generation += 1;
    }

    fn look_up<R: Route>(&self, addr: IpAddr, is_input: bool) -> Result<Owned<R>> {
        let table = lock(&self.routes);
        let way = *table.ways.get(&addr).ok_or(ENETUNREACH)?;
        if !kernel::memory::permits(GFP_ATOMIC) {
            return Err(ENOMEM);
        }
        let dst = Dst::new(way, R::IS_IPV6, is_input, table.generation);
        Ok(Owned(Arc::new(R::of(dst))))
    }

    /// The route to `addr` of a packet that has come in, or is this host's own. C:
    /// `ip_route_input()`, `ip_route_output()`.
    pub fn route_to<R: Route>(&self, addr: IpAddr, is_input: bool) -> Arc<R> {
        self.look_up::<R>(addr, is_input).unwrap().into_arc()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup {
    pub known_next_hop: bool,
    pub bind_source: bool,
}

pub fn output(net: &Net, destination: Ipv4Addr, _lookup: Lookup) -> Result<Found<Rtable>> {
    let rt = net.look_up::<Rtable>(destination.into(), false)?;
    match rt.way.source {
        IpAddr::V4(source) => Ok(Found { rt, source }),
        IpAddr::V6(_) => Err(EINVAL),
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup6 {
    pub known_next_hop: bool,
    pub source: bool,
}

pub fn output6(net: &Net, destination: Ipv6Addr, _lookup: Lookup6) -> Result<Found<Rt6Info>> {
    let rt = net.look_up::<Rt6Info>(destination.into(), false)?;
    match rt.way.source {
        IpAddr::V6(source) => Ok(Found { rt, source }),
        IpAddr::V4(_) => Err(EINVAL),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrType {
    Local,
    Unicast,
    Other,
}

fn is_own(net: &Net, addr: IpAddr) -> bool {
    lock(&net.routes)
        .ways
        .get(&addr)
        .is_some_and(|way| way.is_local)
}

pub fn addr_type(net: &Net, addr: Ipv4Addr) -> AddrType {
    if is_own(net, addr.into()) {
        AddrType::Local
    } else if addr.is_multicast() || addr.is_broadcast() || addr.is_unspecified() {
        AddrType::Other
    } else {
        AddrType::Unicast
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addr6Type {
    Local,
    Unicast,
    Other,
}

pub fn is_unicast6(addr: Ipv6Addr) -> bool {
    !addr.is_multicast() && !addr.is_unspecified()
}

pub fn addr_type6(net: &Net, addr: Ipv6Addr) -> Addr6Type {
    if is_own(net, addr.into()) {
        Addr6Type::Local
    } else if is_unicast6(addr) && !addr.is_unicast_link_local() && !addr.is_loopback() {
        Addr6Type::Unicast
    } else {
        Addr6Type::Other
    }
}

/// Looks up the way of a packet whose source has changed; this host is one that has it always.
pub fn reroute(_net: &Net, skb: &mut Skb, _is_forwarded: bool) -> Result {
    if skb.route().is_none_or(|route| route.way.is_local) {
        return Ok(());
    }
    if !kernel::memory::permits(GFP_ATOMIC) {
        return Err(ENOMEM);
    }
    Ok(())
}

pub fn update_pmtu(skb: &mut Skb, mtu: u32) {
    if skb.route().is_some() && skb.has_full_socket() {
        happened(Event::PathMtu(mtu));
    }
}
