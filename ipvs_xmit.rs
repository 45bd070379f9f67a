// SPDX-License-Identifier: GPL-2.0

//! The transmitters, which forward a packet of a connection to the server. C: `ip_vs_xmit.c`.
//!
//! They are called on LOCAL_IN for clients on other hosts, on LOCAL_OUT for clients on this host,
//! and for ICMP errors on FORWARD too. On LOCAL_OUT the packet has no device yet, and only there
//! its socket is that of the sender.
//!
//! Each takes ownership of the packet, which ends up sent, accepted or freed. The IPv4 header
//! checksum is valid whenever a packet gets here, so it is updated with each change of the header
//! instead of being recomputed.

mod bypass;
mod dr;
mod icmp;
mod ipsec;
mod nat;
mod null;
mod route;
mod send;
mod tunnel;

pub(crate) use icmp::{
    icmp_xmit,
    snat_icmp, //
};
pub(crate) use ipsec::{
    ipsec_snat,
    ipsec_xmit, //
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

/// Sends a packet to the server of its connection, by the connection's forwarding method. C:
/// `cp->packet_xmit`.
#[inline]
pub(crate) fn packet_xmit<'rcu, F: Family>(
    skb: Skb,
    conn: &Conn<F>,
    header: &F::Header,
    netns: &'rcu Netns,
    rcu: ReadLocked<'rcu>,
) -> Verdict {
    let cx = Context::new(conn, netns, rcu, false);
    xmit(skb, &cx, header.transport_at())
}

/// Sends a packet by the forwarding method of its connection. `transport_at` is the offset of the
/// transport header in bytes.
#[inline]
fn xmit<F: Family>(skb: Skb, cx: &Context<'_, '_, F>, transport_at: usize) -> Verdict {
    match cx.conn.fwd_method() {
        FwdMethod::Masq => nat_xmit(skb, cx, transport_at),
        FwdMethod::LocalNode => null_xmit(skb, cx.conn),
        FwdMethod::Tunnel => tunnel_xmit(skb, cx),
        FwdMethod::DRoute => dr_xmit(skb, cx),
        FwdMethod::Bypass => bypass_xmit(skb, cx),
    }
}
