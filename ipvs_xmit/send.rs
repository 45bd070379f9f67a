// SPDX-License-Identifier: GPL-2.0

//! The code shared by the transmitters: their context, and sending a packet. C:
//! `ip_vs_send_or_cont()`.

use crate::{
    conn::Conn,
    family::Family,
    netns::Netns,
    nfct,
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

/// The context of a transmitter: everything but the packet.
#[derive(Clone, Copy)]
pub(super) struct Context<'a, 'rcu, F: Family> {
    pub(super) conn: &'a Conn<F>,
    pub(super) netns: &'rcu Netns,
    pub(super) net: &'a Net,
    pub(super) settings: &'a Settings,
    pub(super) rcu: ReadLocked<'rcu>,
    /// `true` if the packet is an ICMP error, for which no ICMP error may be sent.
    pub(super) is_icmp: bool,
}

impl<'a, 'rcu: 'a, F: Family> Context<'a, 'rcu, F> {
    /// Makes the context for a packet of `conn`.
    #[inline]
    pub(super) fn new(
        conn: &'a Conn<F>,
        netns: &'rcu Netns,
        rcu: ReadLocked<'rcu>,
        is_icmp: bool,
    ) -> Self {
        Self {
            conn,
            netns,
            net: netns.net(),
            settings: &netns.settings,
            rcu,
            is_icmp,
        }
    }
}

/// Accepts a packet for delivery on this host, marked as handled by IPVS.
pub(super) fn accept<F: Family>(mut skb: Skb, conn: &Conn<F>) -> Verdict {
    skb.set_ipvs_property();
    nfct::keep(&mut skb, conn);
    Verdict::Accept(skb)
}

/// Sends a packet along the route that was set in it.
#[inline]
pub(super) fn send<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    // The MTU has been checked already, and the sender told if needed: do not check DF again.
    skb.set_ignore_df();
    skb.set_ipvs_property();
    nfct::keep(&mut skb, cx.conn);
    drop_early_demux_sk(&mut skb);
    prepare_forward(&mut skb);
    send_local_out(skb, cx.net);
    Verdict::Stolen
}

/// Detaches a received packet from the local socket that early demux found: it may be in TIME-WAIT,
/// and the output path expects full sockets. C: `ip_vs_drop_early_demux_sk()`.
#[inline]
pub(super) fn drop_early_demux_sk(skb: &mut Skb) {
    if skb.device().is_some() {
        skb.orphan();
    }
}

/// Clears the checksum status and the timestamp that are valid only for reception.
#[inline]
pub(super) fn prepare_forward(skb: &mut Skb) {
    skb.forward_checksum();
    if skb.device().is_some() {
        skb.clear_timestamp();
    }
}
