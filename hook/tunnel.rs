// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets that went into a tunnel: they come to this host, which is the tunnel's
//! beginning, and concern the client, whose packet is in it. C: `ip_vs_in_icmp()`.

use super::{
    icmp::Embedded,
    Context, //
};
use crate::{
    conn::{
        Conn,
        Found, //
    },
    dest::is_tunnel_end,
};
use ipvs_core::{
    icmp::{
        IcmpHeader,
        HEADER_LEN, //
    },
    ipv4::{
        Ipv4Header,
        PROTO_ICMP, //
    },
};
use linux::{
    icmp,
    netfilter::Verdict,
    skb::Skb, //
};

/// The least MTU that an IPv4 host must be able to cope with (RFC 791).
const MIN_MTU: u32 = 68;

/// An error about a packet in an IPIP tunnel.
pub(super) struct Error {
    /// The offset of the ICMP header.
    pub(super) offset: usize,
    pub(super) icmp: IcmpHeader,
    /// The header of the tunnel, right behind the ICMP header.
    pub(super) outer: Ipv4Header,
}

/// Passes an error on to the client whose packet was in the tunnel.
pub(super) fn packet(cx: &Context<'_>, mut skb: Skb, error: Error) -> Verdict {
    let netns = cx.netns;
    let outer_at = error.offset.saturating_add(HEADER_LEN);
    let inner_at = outer_at.saturating_add(error.outer.header_len());

    let comes_here = skb.route().is_some_and(|route| route.is_local());
    if !comes_here
        || error.outer.is_later_fragment()
        || !is_tunnel_end(&netns.model().dests, error.outer.dst, cx.rcu)
    {
        return Verdict::Accept(skb);
    }
    let Some(inner) = Embedded::read(&skb, inner_at) else {
        return Verdict::Accept(skb);
    };
    // The packet in the tunnel is a request, and embedded in the direction that it travelled in.
    let flow = inner.flow();
    let Some(Found::Request(conn)) = Conn::find(netns.conns(), netns.conn_key(), cx.rcu, &flow)
    else {
        return Verdict::Accept(skb);
    };
    if !skb.checksum_is_valid(error.offset, PROTO_ICMP) {
        return Verdict::Drop(skb);
    }
    // Without memory, or if the packet is shorter than its headers say, nobody is told.
    let _ = relay(cx, &mut skb, &error, &inner, conn);
    skb.consume();
    Verdict::Stolen
}

/// Makes the packet in the tunnel the packet, and tells its sender what the error says.
fn relay(
    cx: &Context<'_>,
    skb: &mut Skb,
    error: &Error,
    inner: &Embedded,
    conn: &Conn,
) -> Option<()> {
    let outer_at = error.offset.checked_add(HEADER_LEN)?;
    let outer_len = error.outer.header_len();
    let mut info = error.icmp.rest;
    let mut stripped = 0;

    if let Some(mtu) = error.icmp.next_hop_mtu() {
        skb.strip(outer_at, outer_len).ok()?;
        stripped = outer_at;
        icmp::update_pmtu(skb, cx.netns.net(), u32::from(mtu), 0);
        if !inner.header.dont_fragment() {
            return None;
        }
        info = inner_mtu(cx, conn, u32::from(mtu), outer_len).to_be_bytes();
    }
    let inner_at = outer_at.checked_add(outer_len)?;
    skb.strip(inner_at.checked_sub(stripped)?, inner.header.header_len())
        .ok()?;
    icmp::relay(skb, error.icmp.kind, error.icmp.code, info);
    cx.count_answer(conn, skb);
    Some(())
}

/// How much of an MTU of the way through the tunnel is left for the packet in it.
fn inner_mtu(cx: &Context<'_>, conn: &Conn, mtu: u32, outer_len: usize) -> u32 {
    // What routing has made of it counts.
    let mtu = conn
        .dest()
        .and_then(|dest| dest.route.get(cx.netns.net(), cx.rcu))
        .map_or(mtu, |cached| cached.rt.mtu());
    let outer_len = u32::try_from(outer_len).unwrap_or(0);
    match mtu.checked_sub(outer_len) {
        Some(left) if left > MIN_MTU => left,
        _ => mtu,
    }
}
