// SPDX-License-Identifier: GPL-2.0

//! Forwards packets to their own destination, where no cache server is available (`cache_bypass`).
//!
//! C: `ip_vs_bypass_xmit()`, `ip_vs_bypass_xmit_v6()`.

use super::{
    route::take_out_rt,
    send::{
        send,
        Context, //
    },
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

/// Sends a packet to its own destination.
#[inline(never)]
pub(super) fn bypass_xmit<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    let Some(header) = F::header(&skb) else {
        return Verdict::Stolen;
    };
    match take_out_rt(&mut skb, cx, None, header.dst(), Mode::NON_LOCAL) {
        Err(unsent) => unsent.verdict(skb),
        Ok(_) => send(skb, cx),
    }
}
