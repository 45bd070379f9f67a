// SPDX-License-Identifier: GPL-2.0

//! Delivers packets locally: the server is this host. C: `ip_vs_null_xmit()`.

use super::send::accept;
use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

/// Lets a packet go on to this host as it is.
pub(super) fn null_xmit(skb: Skb) -> Verdict {
    accept(skb)
}
