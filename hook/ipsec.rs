// SPDX-License-Identifier: GPL-2.0

//! AH and ESP packets, which follow the connection of UDP port 500 between the same hosts, by which
//! the hosts have agreed on them. They have no ports, so fragments need not be reassembled; and none
//! is ever scheduled. C: `ip_vs_proto_ah_esp.c`.
//!
//! With IPv6, AH is an extension header, and the packet is one of the protocol that follows it, as
//! with the C module.

use super::Context;
use crate::{
    conn::{
        Conn,
        Found,
        PublishedConn, //
    },
    family::{
        Family,
        Header, //
    },
    ipvs_xmit,
    proto, //
};
use ipvs_core::{
    flow::Flow,
    forward::FwdMethod, //
};
use linux::{
    netfilter::Verdict,
    skb::Skb, //
};

/// Handles an IPsec packet, which may be a fragment. Accepts one that belongs to no connection. C:
/// `ah_esp_conn_in_get()`, `ah_esp_conn_out_get()`, `ah_esp_conn_schedule()`.
#[cold]
pub(super) fn packet<F: Family>(cx: &Context<'_, F>, skb: Skb, header: &F::Header) -> Verdict {
    let (protocol, ports) = proto::ISAKMP;
    let flow = Flow {
        protocol: protocol.number(),
        src: header.src(),
        src_port: ports.src,
        dst: header.dst(),
        dst_port: ports.dst,
    };
    let state = cx.state();
    match Conn::find(&state.conns, flow.hash(&state.conn_key), cx.rcu, &flow) {
        Some(Found::Answer(conn)) => answer(cx, skb, conn),
        Some(Found::Request(conn)) if cx.takes_requests => request(cx, skb, header, conn),
        _ => Verdict::Accept(skb),
    }
}

/// Passes a packet of the server's on to the client. C: `handle_response()`.
fn answer<F: Family>(cx: &Context<'_, F>, mut skb: Skb, conn: &PublishedConn<F>) -> Verdict {
    if conn.fwd_method() == FwdMethod::Masq
        && ipvs_xmit::ipsec_snat(&mut skb, conn, cx.hook, cx.netns).is_err()
    {
        return Verdict::Stolen;
    }
    cx.mark_answer(&mut skb, conn, conn.bits());
    proto::restart(conn, cx.netns);
    Verdict::Accept(skb)
}

/// Sends a packet of the client's to the server. If the server is gone, the packet is dropped, or,
/// with `expire_nodest_conn`, ends the connection and belongs to none. C: the part of
/// `ip_vs_in_hook()` for a connection that was found.
fn request<F: Family>(
    cx: &Context<'_, F>,
    skb: Skb,
    header: &F::Header,
    conn: &PublishedConn<F>,
) -> Verdict {
    if conn.dest().is_some_and(|dest| !dest.available()) {
        if !cx.netns.settings.expire_nodest_conn.is_set() {
            return Verdict::Drop(skb);
        }
        return cx
            .end(skb, conn)
            .map_or_else(|verdict| verdict, Verdict::Accept);
    }
    cx.count_request(conn, &skb);
    conn.count_packet();
    proto::restart(conn, cx.netns);
    ipvs_xmit::ipsec_xmit(skb, conn, header, cx.netns, cx.rcu)
}
