// SPDX-License-Identifier: GPL-2.0

//! The way to the server, and whether a packet may take it.
//!
//! C: `__ip_vs_get_out_rt()`.

use super::Context;
use crate::dest::Dest;
use core::{
    net::Ipv4Addr,
    ops::Deref, //
};
use ipvs_core::{
    forward::{
        decrement_ttl,
        MIN_MTU, //
    },
    ipv4::{
        Ipv4Header,
        MIN_HEADER_LEN, //
    },
    net::Be32,
};
use linux::{
    icmp::{
        self,
        Problem, //
    },
    route::{
        self,
        CachedRoute,
        Found,
        Lookup,
        OwnedRtable,
        Rtable, //
    },
    skb::Skb,
};

/// Where a packet may be sent, and how the way is looked up.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    /// To this host (C: `IP_VS_RT_MODE_LOCAL`).
    pub(super) local: bool,
    /// To another one (C: `IP_VS_RT_MODE_NON_LOCAL`).
    pub(super) non_local: bool,
    /// To this host even if it was to be for another (C: `IP_VS_RT_MODE_RDR`).
    pub(super) redirect: bool,
    /// With a source address of this host (C: `IP_VS_RT_MODE_CONNECT`).
    pub(super) connect: bool,
    /// To a neighbour that need not be the packet's destination (C: `IP_VS_RT_MODE_KNOWN_NH`).
    pub(super) known_nh: bool,
    /// In another packet (C: `IP_VS_RT_MODE_TUNNEL`).
    pub(super) tunnel: bool,
}

impl Mode {
    /// To another host.
    pub(super) const NON_LOCAL: Self = Self {
        local: false,
        non_local: true,
        redirect: false,
        connect: false,
        known_nh: false,
        tunnel: false,
    };
    /// To any host.
    pub(super) const ANY: Self = Self {
        local: true,
        ..Self::NON_LOCAL
    };
    /// To any host, also if it was to be for another.
    pub(super) const REDIRECT: Self = Self {
        redirect: true,
        ..Self::ANY
    };
}

/// What was found for a packet.
pub(super) struct Routed {
    /// Whether the way ends at this host. The packet keeps the route that it had, then.
    pub(super) is_local: bool,
    /// The source address for what this host itself sends that way.
    pub(super) source: Be32,
}

/// A route of a server's cache, or of this packet's own.
enum Route<'rcu> {
    Cached(&'rcu Rtable),
    Own(OwnedRtable),
}

impl Deref for Route<'_> {
    type Target = Rtable;

    #[inline]
    fn deref(&self) -> &Rtable {
        match self {
            Self::Cached(rt) => rt,
            Self::Own(rt) => rt,
        }
    }
}

#[inline]
fn to_addr(addr: Be32) -> Ipv4Addr {
    Ipv4Addr::from(addr.to_bytes())
}

#[inline]
fn from_addr(addr: Ipv4Addr) -> Be32 {
    Be32::from_bytes(addr.octets())
}

/// Gives a packet the route to the server of its connection, or to `daddr` if there is none.
///
/// `None` if it must not be sent. Its sender was told why, as far as it may be, and the packet is
/// to be freed.
#[inline]
pub(super) fn get_out_rt(
    skb: &mut Skb,
    cx: &Context<'_, '_>,
    dest: Option<&Dest>,
    daddr: Be32,
    mode: Mode,
) -> Option<Routed> {
    let cached = dest.and_then(|dest| dest.route.get(cx.net, cx.rcu));
    let (rt, source) = match (cached, dest) {
        (Some(cached), _) => (Route::Cached(cached.rt), cached.source),
        (None, dest) => look_up(cx, dest, daddr, mode).or_else(|| {
            icmp::link_failure(skb);
            None
        })?,
    };
    let is_local = rt.is_local();

    if crosses_local_route_boundary(skb, mode, is_local) {
        return None;
    }
    if !is_local {
        if !count_down(skb, cx) || (mode.tunnel && dest.is_none()) || !fits(skb, cx, &rt, mode) {
            return None;
        }
        match rt {
            Route::Cached(rt) => skb.set_route_noref(rt, cx.rcu),
            Route::Own(rt) => skb.set_route(rt),
        }
    }
    Some(Routed {
        is_local,
        source: from_addr(source),
    })
}

#[cold]
fn look_up<'rcu>(
    cx: &Context<'_, 'rcu>,
    dest: Option<&Dest>,
    daddr: Be32,
    mode: Mode,
) -> Option<(Route<'rcu>, Ipv4Addr)> {
    let Some(dest) = dest else {
        // Nobody remembers the source address, so it is not worth a second look-up.
        let lookup = Lookup {
            known_next_hop: mode.known_nh,
            bind_source: false,
        };
        let Found { rt, source } = route::output(cx.net, to_addr(daddr), lookup).ok()?;
        return Some((Route::Own(rt), source));
    };
    let lookup = Lookup {
        known_next_hop: mode.known_nh,
        bind_source: mode.connect,
    };
    let Some(CachedRoute { rt, source }) = route::output(cx.net, to_addr(dest.addr()), lookup)
        .ok()
        .and_then(|found| dest.route.store(found, || dest.available(), cx.rcu).ok())
    else {
        dest.route.reset();
        return None;
    };
    Some((Route::Cached(rt), source))
}

/// Whether a packet would get from the network to this host or the other way round where it must
/// not.
#[inline]
fn crosses_local_route_boundary(skb: &Skb, mode: Mode, to_local: bool) -> bool {
    if to_local {
        let was_local = skb.route().is_some_and(Rtable::is_local);
        !mode.local || !(mode.redirect || was_local)
    } else {
        !mode.non_local || is_from_loopback(skb)
    }
}

#[inline]
fn is_from_loopback(skb: &Skb) -> bool {
    matches!(
        skb.network().first_chunk::<MIN_HEADER_LEN>(),
        Some([_, _, _, _, _, _, _, _, _, _, _, _, 127, ..])
    )
}

/// Counts down the packet's time to live, or tells its sender that it has run out.
#[inline]
fn count_down(skb: &mut Skb, cx: &Context<'_, '_>) -> bool {
    let has_time = skb
        .network()
        .first_chunk::<MIN_HEADER_LEN>()
        .is_some_and(|&[_, _, _, _, _, _, _, _, ttl, ..]| ttl > 1);
    if !has_time {
        icmp::count_header_error(cx.net);
        icmp::send(skb, Problem::TimeToLiveExceeded);
        return false;
    }
    skb.writable(MIN_HEADER_LEN)
        .ok()
        .and_then(|bytes| bytes.first_chunk_mut())
        .is_some_and(decrement_ttl)
}

/// Whether the way takes a packet of that length, or may fragment it; if not, its sender was told.
#[inline]
fn fits(skb: &mut Skb, cx: &Context<'_, '_>, rt: &Rtable, mode: Mode) -> bool {
    let mut mtu = rt.mtu();
    if mode.tunnel {
        match mtu.checked_sub(MIN_HEADER_LEN as u32) {
            Some(inner) if inner >= MIN_MTU => mtu = inner,
            _ => return false,
        }
        if skb.device().is_none() {
            route::update_pmtu(skb, mtu);
        }
        if !cx.settings.pmtu_disc.is_set() {
            return true;
        }
    }
    if skb.fits(mtu) || cx.is_icmp {
        return true;
    }
    let dont_fragment =
        Ipv4Header::parse_header(skb.network()).is_ok_and(|header| header.dont_fragment());
    if dont_fragment {
        icmp::send(skb, Problem::FragmentationNeeded(mtu));
    }
    !dont_fragment
}
