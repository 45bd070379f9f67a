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

mod bypass;
mod dr;
mod icmp;
mod nat;
mod null;
mod route;
mod send;
mod tunnel;

pub(crate) use icmp::{
    icmp_xmit,
    snat_icmp, //
};
pub(crate) use nat::snat;

use crate::{
    conn::Conn,
    family::{
        Family,
        Header, //
    },
    netns::Netns, //
};
use bypass::bypass_xmit;
use dr::dr_xmit;
use ipvs_core::forward::FwdMethod;
use linux::{
    netfilter::Verdict,
    rcu::ReadLocked,
    skb::Skb, //
};
use nat::nat_xmit;
use null::null_xmit;
use send::Context;
use tunnel::tunnel_xmit;

/// Sends a packet to the server of its connection, by the method of that. C: `cp->packet_xmit`.
#[inline]
pub(crate) fn packet_xmit<F: Family>(
    skb: Skb,
    conn: &Conn<F>,
    header: &F::Header,
    netns: &Netns,
    rcu: ReadLocked<'_>,
) -> Verdict {
    let cx = Context::new(conn, netns, rcu, false);
    xmit(skb, &cx, header.transport_at())
}

/// Sends a packet, whose network header is `header_len` bytes long, by the method of its connection.
#[inline]
fn xmit<F: Family>(skb: Skb, cx: &Context<'_, '_, F>, header_len: usize) -> Verdict {
    match cx.conn.fwd_method() {
        FwdMethod::Masq => nat_xmit(skb, cx, header_len),
        FwdMethod::LocalNode => null_xmit(skb),
        FwdMethod::Tunnel => tunnel_xmit(skb, cx),
        FwdMethod::DRoute => dr_xmit(skb, cx),
        FwdMethod::Bypass => bypass_xmit(skb, cx),
    }
}
