// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets that went into a tunnel: they come to this host, which is the tunnel's
//! beginning, and concern the client, whose packet is in it. C: `ip_vs_in_icmp()`, which does so for
//! IPv4 in IPv4 alone.

use super::{
    icmp::InnerHeader,
    Context, //
};
use crate::{
    conn::{
        Conn,
        Found, //
    },
    family::{
        Family,
        Header,
        V4,
        V6, //
    },
    service::dest::is_tunnel_end,
};
use ipvs_core::{
    forward::PROTO_IPIP,
    icmp::{
        IcmpHeader,
        HEADER_LEN, //
    },
    ipv4::PROTO_UDP,
    ipv6::PROTO_IPV6,
    net::Be16,
    tunnel::{
        parse_gre,
        parse_gue,
        Encap,
        Inner,
        Tunnel,
        PROTO_GRE, //
    },
};
use linux::{
    icmp,
    netfilter::Verdict,
    route::Route,
    skb::Skb, //
};

/// An error about a packet that is possibly that of a tunnel.
#[derive(Clone, Copy)]
pub(super) struct Error<F: Family> {
    /// The offset of the ICMP header.
    pub(super) offset: usize,
    pub(super) icmp: IcmpHeader,
    /// The header of the tunnel, right behind the ICMP header.
    pub(super) outer: F::Header,
}

impl<F: Family> Error<F> {
    /// The offset of the header of the tunnel.
    fn outer_at(&self) -> usize {
        self.offset.saturating_add(HEADER_LEN)
    }

    /// The offset of what comes after it.
    fn between_at(&self) -> usize {
        self.outer_at().saturating_add(self.outer.transport_at())
    }

    /// Whether it may be about the packet of a tunnel; that of an IP tunnel can't be any other's.
    fn is_about_ip_tunnel(&self) -> bool {
        matches!(self.outer.protocol(), PROTO_IPIP | PROTO_IPV6)
    }
}

/// Passes an error on to the client whose packet was in a tunnel. An error about another packet is
/// given back.
#[inline]
pub(super) fn packet<F: Family>(
    cx: &Context<'_, F>,
    skb: Skb,
    error: &Error<F>,
) -> Result<Verdict, Skb> {
    match error.outer.protocol() {
        PROTO_IPIP | PROTO_IPV6 | PROTO_GRE | PROTO_UDP => of_tunnel(cx, skb, error),
        _ => Err(skb),
    }
}

#[cold]
fn of_tunnel<F: Family>(cx: &Context<'_, F>, skb: Skb, error: &Error<F>) -> Result<Verdict, Skb> {
    let comes_here = skb.route().is_some_and(|route| route.is_local(cx.rcu));
    let between = if comes_here && !error.outer.is_later_fragment() {
        look_into(cx, &skb, error)
    } else {
        None
    };
    match between {
        Some(between) => Ok(match between.inner {
            Inner::V4 => concerns::<F, V4>(cx, skb, error, between.len),
            Inner::V6 => concerns::<F, V6>(cx, skb, error, between.len),
        }),
        None if error.is_about_ip_tunnel() => Ok(Verdict::Accept(skb)),
        None => Err(skb),
    }
}

/// What there is between the header of the tunnel and the packet in it, if it is a tunnel to a server.
fn look_into<F: Family>(cx: &Context<'_, F>, skb: &Skb, error: &Error<F>) -> Option<Encap> {
    let at = error.between_at();
    let (between, port, is_like): (_, _, fn(Tunnel) -> bool) = match error.outer.protocol() {
        PROTO_UDP => {
            let (port, between) = parse_gue(&skb.header(at)?)?;
            (between, port, |tunnel| matches!(tunnel, Tunnel::Gue { .. }))
        }
        PROTO_GRE => (parse_gre(&skb.header(at)?)?, Be16::ZERO, |tunnel| {
            matches!(tunnel, Tunnel::Gre { .. })
        }),
        number => {
            let inner = if number == PROTO_IPIP {
                Inner::V4
            } else {
                Inner::V6
            };
            (Encap { len: 0, inner }, Be16::ZERO, |tunnel| {
                tunnel == Tunnel::Ipip
            })
        }
    };
    let dests = &cx.netns.service_tables().dests;
    is_tunnel_end(dests, error.outer.dst().into(), port, is_like, cx.rcu).then_some(between)
}

/// An error about a packet of family `I` in a tunnel to a server.
fn concerns<F: Family, I: Family>(
    cx: &Context<'_, F>,
    mut skb: Skb,
    error: &Error<F>,
    between: usize,
) -> Verdict {
    let inner_at = error.between_at().saturating_add(between);
    let Ok(inner) = InnerHeader::<I>::read(&skb, inner_at) else {
        return Verdict::Accept(skb);
    };
    // The packet in the tunnel is a request, and embedded in the direction that it travelled in.
    let flow = inner.flow();
    let state = cx.netns.state::<I>();
    let Some(Found::Request(conn)) =
        Conn::find(&state.conns, flow.hash(&state.conn_key), cx.rcu, &flow)
    else {
        return Verdict::Accept(skb);
    };
    if !skb.checksum_is_valid(error.offset, F::PROTO_ICMP) {
        return Verdict::Drop(skb);
    }
    // Without memory, or if the packet is shorter than its headers say, nobody is told.
    let _ = relay(cx, &mut skb, error, &inner, between, conn);
    skb.consume();
    Verdict::Stolen
}

/// Makes the packet in the tunnel the packet, and tells its sender what the error says. What a packet
/// of the other family must be told is not the same: its sender hears of a path MTU with the next
/// packet that is too long.
fn relay<F: Family, I: Family>(
    cx: &Context<'_, F>,
    skb: &mut Skb,
    error: &Error<F>,
    inner: &InnerHeader<I>,
    between: usize,
    conn: &Conn<I>,
) -> Option<()> {
    let outer_at = error.outer_at();
    let outer_len = error.outer.transport_at();
    let mut info = error.icmp.rest;
    let mut stripped = 0;

    if let Some(mtu) = F::too_big(&error.icmp) {
        skb.strip(outer_at, outer_len).ok()?;
        stripped = outer_at;
        icmp::update_pmtu(skb, cx.netns.net(), mtu, 0);
        if I::ROUTERS_FRAGMENT && !inner.header.dont_fragment() {
            return None;
        }
        let overhead = u32::try_from(outer_len.checked_add(between)?).ok()?;
        info = inner_mtu(cx, conn, mtu, overhead).to_be_bytes();
    }
    if F::AF != I::AF {
        return None;
    }
    let inner_at = error.between_at().checked_add(between)?;
    skb.strip(inner_at.checked_sub(stripped)?, inner.header.transport_at())
        .ok()?;
    icmp::relay(skb, error.icmp.kind, error.icmp.code, info);
    cx.packet_stats(conn)?.answer(skb.len());
    Some(())
}

/// How much of an MTU of the way through the tunnel is left for the packet in it.
fn inner_mtu<F: Family, I: Family>(
    cx: &Context<'_, F>,
    conn: &Conn<I>,
    mtu: u32,
    overhead: u32,
) -> u32 {
    // What routing has made of it counts.
    let mtu = conn
        .dest()
        .and_then(|dest| dest.routes.of::<F>().get(cx.netns.net(), cx.rcu))
        .map_or(mtu, |cached| cached.rt.mtu());
    match mtu.checked_sub(overhead) {
        Some(left) if left > I::MIN_MTU => left,
        _ => mtu,
    }
}
