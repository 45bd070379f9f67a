// SPDX-License-Identifier: GPL-2.0

//! Routes packets to the server, and checks whether they may be sent there.
//!
//! C: `__ip_vs_get_out_rt()`, `__ip_vs_get_out_rt_v6()`.

use super::send::Context;
use crate::{
    family::{
        Family,
        Fits,
        Header,
        Mode, //
    },
    proto,
    service::dest::Dest, //
};
use core::ops::Deref;
use ipvs_core::{
    forward::FwdMethod,
    net::{
        Address, //
    },
    tunnel::Tunnel, //
};
use linux::{
    icmp::{
        self,
        Problem, //
    },
    netfilter::Verdict,
    rcu::ReadLocked,
    route::{
        self,
        CachedRoute,
        Found,
        Owned,
        Route, //
    },
    skb::Skb,
    xfrm::{
        self,
        Sent, //
    },
};

/// A route from a server's cache, or one that was looked up for this packet only.
pub(super) enum RouteRef<'rcu, R: Route> {
    Cached(&'rcu R),
    Own(Owned<R>),
}

impl<R: Route> Deref for RouteRef<'_, R> {
    type Target = R;

    #[inline]
    fn deref(&self) -> &R {
        match self {
            Self::Cached(rt) => rt,
            Self::Own(rt) => rt,
        }
    }
}

impl<'rcu, R: Route> RouteRef<'rcu, R> {
    /// Sets the route of a packet.
    #[inline]
    pub(super) fn give_to(self, skb: &mut Skb, rcu: ReadLocked<'rcu>) {
        match self {
            Self::Cached(rt) => skb.set_route_noref(rt, rcu),
            Self::Own(rt) => skb.set_route(rt),
        }
    }
}

/// The reason why a packet is not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The packet is dropped. Its sender was sent an ICMP error if there is one for the reason.
    Dropped,
    /// The packet has a loopback source address, but its server is another host. No such packet can
    /// ever be sent, so the sending socket gets `ECONNREFUSED`.
    Refused,
}

impl Unsent {
    /// Returns the verdict, after freeing a packet that is dropped.
    #[cold]
    pub(super) fn verdict(self, skb: Skb) -> Verdict {
        match self {
            Self::Dropped => Verdict::Stolen,
            Self::Refused => Verdict::Refuse(skb),
        }
    }
}

/// The result of routing a packet.
pub(super) enum OutRoute<'rcu, D: Family> {
    /// The server is this host. The packet keeps the route that it has.
    Local,
    /// The server is another host.
    Out {
        /// The route, which has not been set in the packet yet.
        route: RouteRef<'rcu, D::Route>,
        /// The source address of this host for that route.
        source: D::Addr,
    },
}

/// Routes a packet to the server of its connection, or to `daddr` if there is none, and sets its
/// route. Returns `true`, and leaves the route as it is, if that is this host.
///
/// # Errors
///
/// The packet must not be sent; see [`Unsent::verdict`].
#[inline(never)]
pub(super) fn take_out_rt<F: Family>(
    skb: &mut Skb,
    cx: &Context<'_, '_, F>,
    dest: Option<&Dest>,
    daddr: F::Addr,
    mode: Mode,
) -> Result<bool, Unsent> {
    match get_out_rt::<F, F>(skb, cx, dest, daddr, mode)? {
        OutRoute::Local => Ok(true),
        OutRoute::Out { route, .. } => {
            route.give_to(skb, cx.rcu);
            Ok(false)
        }
    }
}

/// Routes a packet to the server of its connection, which is of family `D`, or to `daddr` if there
/// is none. Decrements the packet's time to live, checks its length, and applies IPsec policies. C:
/// `__ip_vs_get_out_rt()`, `__ip_vs_get_out_rt_v6()`.
///
/// # Errors
///
/// The packet must not be sent; see [`Unsent::verdict`].
#[inline(always)]
pub(super) fn get_out_rt<'rcu, F: Family, D: Family>(
    skb: &mut Skb,
    cx: &Context<'_, 'rcu, F>,
    dest: Option<&Dest>,
    daddr: D::Addr,
    mode: Mode,
) -> Result<OutRoute<'rcu, D>, Unsent> {
    let cached = dest.and_then(|dest| dest.routes.of::<D>().get(cx.net, cx.rcu));
    let (route, source) = match (cached, dest) {
        (Some(cached), _) => (RouteRef::Cached(cached.rt), cached.source),
        (None, dest) => look_up::<F, D>(cx, dest, daddr, mode).ok_or_else(|| {
            icmp::link_failure(skb);
            Unsent::Dropped
        })?,
    };
    let is_local = route.is_local(cx.rcu);

    if crosses_local_route_boundary::<F>(skb, mode, is_local, cx.rcu) {
        return Err(crossing(skb, cx, is_local));
    }
    if is_local {
        return Ok(OutRoute::Local);
    }
    if !count_down(skb, cx) || (mode.tunnel.is_some() && dest.is_none()) {
        return Err(Unsent::Dropped);
    }
    let source = D::from_route(source);
    let route = if xfrm::has_output_policies(cx.net) {
        meet_policies::<F, D>(skb, cx, route, (source, daddr), mode).ok_or(Unsent::Dropped)?
    } else {
        route
    };
    if !fits::<F, D>(skb, cx, &route, mode) || !F::correct_header(skb) {
        return Err(Unsent::Dropped);
    }
    Ok(OutRoute::Out { route, source })
}

/// Looks up the IPsec policies for the packet as it will be sent along `route`: translated, or
/// tunnelled with `ends` as source and destination. Returns the route to use, or `None` if the
/// packet must not be sent.
///
/// Called before the MTU is checked, because IPsec reduces it, and before the packet is changed,
/// because an ICMP error must embed the packet as its sender sent it.
#[cold]
#[inline(never)]
fn meet_policies<'rcu, F: Family, D: Family>(
    skb: &mut Skb,
    cx: &Context<'_, 'rcu, F>,
    route: RouteRef<'rcu, D::Route>,
    ends: (D::Addr, D::Addr),
    mode: Mode,
) -> Option<RouteRef<'rcu, D::Route>> {
    let (src, dst) = ends;
    let sent = if mode.tunnel.is_some() {
        let tunnel = cx.conn.dest().map_or(Tunnel::Ipip, Dest::tunnel);
        Sent::In {
            src: src.ip(),
            dst: dst.ip(),
            protocol: tunnel.protocol(F::PROTO_INNER),
            tos: F::header(skb)?.tos(),
            udp: match tunnel {
                Tunnel::Gue { port, .. } => Some(port.host()),
                _ => None,
            },
        }
    } else if cx.is_icmp {
        // The policy look-up for an ICMP error also considers the embedded packet, and needs the
        // error as it will be sent. One that will be translated is looked up after that.
        if cx.conn.fwd_method() == FwdMethod::Masq {
            return Some(route);
        }
        route.give_to(skb, cx.rcu);
        xfrm::forward(skb).ok()?;
        return skb.take_route().map(RouteRef::Own);
    } else if cx.conn.fwd_method() == FwdMethod::Masq {
        let has_ports = !proto::is_ipsec(F::header(skb)?.protocol());
        Sent::To {
            addr: dst.ip(),
            port: has_ports.then(|| cx.conn.dport().host()),
        }
    } else {
        Sent::AsIs
    };
    match xfrm::lookup::<D::Route>(cx.net, skb, &route, sent, cx.rcu).ok()? {
        Some(bundle) => {
            // IPsec takes every checksum that is left to the device for one of the Internet's kind.
            skb.complete_sctp_checksum().ok()?;
            Some(RouteRef::Own(bundle))
        }
        None => Some(route),
    }
}

/// A route, and the source address of this host for it.
type LookedUp<'rcu, D> = (
    RouteRef<'rcu, <D as Family>::Route>,
    <<D as Family>::Route as Route>::Addr,
);

#[cold]
fn look_up<'rcu, F: Family, D: Family>(
    cx: &Context<'_, 'rcu, F>,
    dest: Option<&Dest>,
    daddr: D::Addr,
    mode: Mode,
) -> Option<LookedUp<'rcu, D>> {
    let Some(dest) = dest else {
        let Found { rt, source } = D::look_up(cx.net, daddr, mode, false).ok()?;
        return Some((RouteRef::Own(rt), source));
    };
    let cache = dest.routes.of::<D>();
    let Some(CachedRoute { rt, source }) = D::Addr::of(dest.addr())
        .and_then(|addr| D::look_up(cx.net, addr, mode, true).ok())
        .and_then(|found| cache.store(found, cx.net, || dest.available(), cx.rcu).ok())
    else {
        cache.reset();
        return None;
    };
    Some((RouteRef::Cached(rt), source))
}

/// Returns whether the server's location conflicts with `mode` or the packet: the server is this
/// host but the packet's route is not, without `redirect`; the server is another host but the
/// packet has a loopback source; or `mode` excludes it. C: `crosses_local_route_boundary()`.
#[inline(always)]
fn crosses_local_route_boundary<F: Family>(
    skb: &Skb,
    mode: Mode,
    to_local: bool,
    rcu: ReadLocked<'_>,
) -> bool {
    if to_local {
        let was_local = skb.route().is_some_and(|route| route.is_local(rcu));
        !mode.local || !(mode.redirect || was_local)
    } else {
        !mode.non_local || F::is_from_loopback(skb)
    }
}

/// Returns the reason for a packet that [`crosses_local_route_boundary`]. A packet without a device
/// is on LOCAL_OUT and was sent by this host.
#[cold]
fn crossing<F: Family>(skb: &Skb, cx: &Context<'_, '_, F>, to_local: bool) -> Unsent {
    if !to_local && !cx.is_icmp && skb.device().is_none() && F::is_from_loopback(skb) {
        Unsent::Refused
    } else {
        Unsent::Dropped
    }
}

/// Decrements the packet's time to live, or sends an ICMP error to its sender if it has run out.
/// Returns `false` if the packet must be dropped. C: `decrement_ttl()`.
#[inline(always)]
fn count_down<F: Family>(skb: &mut Skb, cx: &Context<'_, '_, F>) -> bool {
    if !F::has_hops(skb) {
        out_of_hops(skb, cx);
        return false;
    }
    F::count_hop(skb)
}

#[cold]
fn out_of_hops<F: Family>(skb: &mut Skb, cx: &Context<'_, '_, F>) {
    icmp::count_header_error(skb, cx.net);
    icmp::send(skb, cx.net, Problem::TimeToLiveExceeded);
}

/// Returns whether the packet fits into the route's MTU, or may be fragmented. If not, sends an
/// ICMP error to its sender, unless the packet is an ICMP error itself or the MTU is too small for
/// any tunnel packet. C: `maybe_update_pmtu()`, `ensure_mtu_is_adequate()`.
#[inline(always)]
fn fits<F: Family, D: Family>(
    skb: &mut Skb,
    cx: &Context<'_, '_, F>,
    route: &D::Route,
    mode: Mode,
) -> bool {
    let mut mtu = route.mtu();
    if let Some(between) = mode.tunnel {
        let outer_len = D::HEADER_LEN.saturating_add(between);
        match mtu.checked_sub(outer_len as u32) {
            Some(inner) if inner >= D::MIN_MTU => mtu = inner,
            _ => return false,
        }
        if skb.device().is_none() {
            route::update_pmtu(skb, mtu);
        }
        if F::ROUTERS_FRAGMENT && !cx.settings.pmtu_disc.is_set() {
            return true;
        }
    }
    if F::fits(skb, mtu) != Fits::No {
        return true;
    }
    if cx.is_icmp {
        return F::ROUTERS_FRAGMENT;
    }
    icmp::send(skb, cx.net, Problem::FragmentationNeeded(mtu));
    false
}
