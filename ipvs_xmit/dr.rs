// SPDX-License-Identifier: GPL-2.0

//! Forwarding packets as they are.
//!
//! C: `ip_vs_dr_xmit()`, `ip_vs_bypass_xmit()`.

use super::{
    accept,
    route::{
        get_out_rt,
        Mode, //
    },
    send,
    Context, //
};
use ipvs_core::ipv4::Ipv4Header;
use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

/// The server is the next hop, whatever the packet's destination.
const DIRECT: Mode = Mode {
    known_nh: true,
    ..Mode::ANY
};

/// Hands a packet to the server, which has the virtual address too.
pub(super) fn xmit(mut skb: Skb, cx: &Context<'_, '_>) -> Verdict {
    let conn = cx.conn;

    match get_out_rt(&mut skb, cx, conn.dest(), conn.daddr(), DIRECT) {
        None => Verdict::Stolen,
        Some(routed) if routed.is_local => accept(skb),
        Some(_) => send(skb, cx),
    }
}

/// Sends a packet to its own destination, past a cache that is not there.
pub(super) fn bypass_xmit(mut skb: Skb, cx: &Context<'_, '_>) -> Verdict {
    let Ok(header) = Ipv4Header::parse_header(skb.network()) else {
        return Verdict::Stolen;
    };
    match get_out_rt(&mut skb, cx, None, header.dst, Mode::NON_LOCAL) {
        None => Verdict::Stolen,
        Some(_) => send(skb, cx),
    }
}
