// SPDX-License-Identifier: GPL-2.0

//! What the transmitters have in common: what they know beside the packet, and how a packet leaves.

use crate::{
    conn::Conn,
    family::Family,
    netns::Netns,
    settings::Settings, //
};
use linux::{
    net::Net,
    netfilter::{
        send_local_out,
        Verdict, //
    },
    rcu::ReadLocked,
    skb::Skb, //
};

/// What all transmitters need to know beside the packet.
#[derive(Clone, Copy)]
pub(super) struct Context<'a, 'rcu, F: Family> {
    pub(super) conn: &'a Conn<F>,
    pub(super) net: &'a Net,
    pub(super) settings: &'a Settings,
    pub(super) rcu: ReadLocked<'rcu>,
    /// Whether the packet is an ICMP error, about which no other may be sent.
    pub(super) is_icmp: bool,
}

impl<'a, 'rcu, F: Family> Context<'a, 'rcu, F> {
    /// Makes it for a packet of `conn`.
    #[inline]
    pub(super) fn new(
        conn: &'a Conn<F>,
        netns: &'a Netns,
        rcu: ReadLocked<'rcu>,
        is_icmp: bool,
    ) -> Self {
        Self {
            conn,
            net: netns.net(),
            settings: &netns.settings,
            rcu,
            is_icmp,
        }
    }
}

/// Lets a packet go on, to this host.
pub(super) fn accept(mut skb: Skb) -> Verdict {
    skb.set_ipvs_property();
    skb.set_untracked();
    Verdict::Accept(skb)
}

/// Sends a packet, changed or not, along the route that it has by now.
#[inline]
pub(super) fn send<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    // Not to be fragmented without a chance to say so: its sender was told the MTU already.
    skb.set_ignore_df();
    skb.set_ipvs_property();
    skb.set_untracked();
    drop_early_demux_sk(&mut skb);
    prepare_forward(&mut skb);
    send_local_out(skb, cx.net);
    Verdict::Stolen
}

/// Takes a packet that came in from the local socket that it was taken to be for: that may be in
/// TIME-WAIT, and what sends packets expects full sockets.
#[inline]
pub(super) fn drop_early_demux_sk(skb: &mut Skb) {
    if skb.device().is_some() {
        skb.orphan();
    }
}

/// Forgets what held for a packet only where it came in.
#[inline]
pub(super) fn prepare_forward(skb: &mut Skb) {
    skb.forward_checksum();
    if skb.device().is_some() {
        skb.clear_timestamp();
    }
}
