// SPDX-License-Identifier: GPL-2.0

//! The transmitters: how a packet of a connection gets to the server.
//!
//! They are called on LOCAL_IN, for clients elsewhere, on LOCAL_OUT, for those on this host, and
//! for ICMP on FORWARD too. On LOCAL_OUT the packet has no device yet, and it is only there that a
//! socket is its sender's.
//!
//! Each takes the packet, and ends with it sent, accepted or freed. IPv4's header checksum is right
//! whenever a packet gets here, so it is updated along with what changes, not computed anew.
//!
//! C: `ip_vs_xmit.c`.

mod dr;
mod icmp;
mod nat;
mod route;
mod tunnel;

pub(crate) use icmp::{
    icmp_xmit,
    IcmpError, //
};
pub(crate) use nat::snat;

use crate::{
    conn::Conn,
    family::{
        Family,
        Header, //
    },
    netns::Netns,
    settings::Settings, //
};
use ipvs_core::forward::FwdMethod;
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
struct Context<'a, 'rcu, F: Family> {
    conn: &'a Conn<F>,
    net: &'a Net,
    settings: &'a Settings,
    rcu: ReadLocked<'rcu>,
    /// Whether the packet is an ICMP error, about which no other may be sent.
    is_icmp: bool,
}

/// Sends a packet to the server of its connection, by the method of that.
#[inline]
pub(crate) fn transmit<F: Family>(
    skb: Skb,
    conn: &Conn<F>,
    header: &F::Header,
    netns: &Netns,
    rcu: ReadLocked<'_>,
) -> Verdict {
    let cx = Context {
        conn,
        net: netns.net(),
        settings: &netns.settings,
        rcu,
        is_icmp: false,
    };
    match conn.fwd_method() {
        FwdMethod::Masq => nat::xmit(skb, &cx, header.transport_at()),
        method => forward(skb, &cx, method),
    }
}

/// Sends a packet that is not translated.
fn forward<F: Family>(skb: Skb, cx: &Context<'_, '_, F>, method: FwdMethod) -> Verdict {
    match method {
        FwdMethod::Masq | FwdMethod::LocalNode => accept(skb),
        FwdMethod::Tunnel => tunnel::xmit(skb, cx),
        FwdMethod::DRoute => dr::xmit(skb, cx),
        FwdMethod::Bypass => dr::bypass_xmit(skb, cx),
    }
}

/// Lets a packet go on, to this host.
fn accept(mut skb: Skb) -> Verdict {
    skb.set_ipvs_property();
    skb.set_untracked();
    Verdict::Accept(skb)
}

/// Sends a packet, changed or not, along the route that it has by now.
#[inline]
fn send<F: Family>(mut skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
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
fn drop_early_demux_sk(skb: &mut Skb) {
    if skb.device().is_some() {
        skb.orphan();
    }
}

/// Forgets what held for a packet only where it came in.
#[inline]
fn prepare_forward(skb: &mut Skb) {
    skb.forward_checksum();
    if skb.device().is_some() {
        skb.clear_timestamp();
    }
}
