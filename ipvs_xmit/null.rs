// SPDX-License-Identifier: GPL-2.0

//! Delivers packets locally: the server is this host. C: `ip_vs_null_xmit()`.

use super::send::accept;
use crate::{
    conn::Conn,
    family::Family, //
};
use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

/// Accepts a packet unchanged for delivery on this host.
pub(super) fn null_xmit<F: Family>(skb: Skb, conn: &Conn<F>) -> Verdict {
    accept(skb, conn)
}
