// SPDX-License-Identifier: GPL-2.0

//! Forwards packets unchanged to the server, which has the virtual address too (direct routing).
//!
//! C: `ip_vs_dr_xmit()`, `ip_vs_dr_xmit_v6()`.

use super::{
    route::take_out_rt,
    send::{
        accept,
        send,
        Context, //
    },
};
use crate::family::{
    Family,
    Mode, //
};
use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

/// The routing mode: the server is the next hop, whatever the packet's destination.
const DIRECT: Mode = Mode {
    known_nh: true,
    ..Mode::ANY
};

/// Sends a packet to the server's link-layer address.
#[inline(never)]
pub(super) fn dr_xmit<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    let conn = cx.conn;

    match take_out_rt(&mut skb, cx, conn.dest(), conn.daddr(), DIRECT) {
        Err(unsent) => unsent.verdict(skb),
        Ok(true) => accept(skb, conn),
        Ok(false) => send(skb, cx),
    }
}
