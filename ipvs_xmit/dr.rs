// SPDX-License-Identifier: GPL-2.0

//! Forwarding packets as they are.
//!
//! C: `ip_vs_dr_xmit()`, `ip_vs_bypass_xmit()`, and those for IPv6.

use super::{
    accept,
    route::take_out_rt,
    send,
    Context, //
};
use crate::family::{
    Family,
    Header,
    Mode, //
};
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
pub(super) fn xmit<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    let conn = cx.conn;

    match take_out_rt(&mut skb, cx, conn.dest(), conn.daddr(), DIRECT) {
        Err(unsent) => unsent.verdict(skb),
        Ok(true) => accept(skb),
        Ok(false) => send(skb, cx),
    }
}

/// Sends a packet to its own destination, past a cache that is not there.
pub(super) fn bypass_xmit<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    let Some(header) = F::header(&skb) else {
        return Verdict::Stolen;
    };
    match take_out_rt(&mut skb, cx, None, header.dst(), Mode::NON_LOCAL) {
        Err(unsent) => unsent.verdict(skb),
        Ok(_) => send(skb, cx),
    }
}
