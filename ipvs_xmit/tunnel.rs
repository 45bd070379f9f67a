// SPDX-License-Identifier: GPL-2.0

//! Forwarding packets inside of others: IPv4 in IPv4.
//!
//! C: `ip_vs_tunnel_xmit()`.

use super::{
    accept,
    drop_early_demux_sk,
    prepare_forward,
    route::{
        get_out_rt,
        Mode, //
    },
    Context, //
};
use ipvs_core::{
    forward::ipip_header,
    ipv4::{
        Ipv4Header,
        MIN_HEADER_LEN, //
    },
    net::Be32,
};
use linux::{
    netfilter::{
        ip_local_out,
        Verdict, //
    },
    skb::Skb,
};

/// To the server, from an address of this host.
const TUNNEL: Mode = Mode {
    connect: true,
    tunnel: true,
    ..Mode::ANY
};

/// Sends a packet to the server, which takes the outer header off.
pub(super) fn xmit(mut skb: Skb, cx: &Context<'_, '_>) -> Verdict {
    let conn = cx.conn;
    let Some(routed) = get_out_rt(&mut skb, cx, conn.dest(), conn.daddr(), TUNNEL) else {
        return Verdict::Stolen;
    };
    if routed.is_local {
        return accept(skb);
    }
    if let Some(skb) = encapsulate(skb, cx, routed.source) {
        ip_local_out(skb, cx.net);
    }
    Verdict::Stolen
}

/// Puts the outer header around a packet. `None` if there is no memory for it.
fn encapsulate(mut skb: Skb, cx: &Context<'_, '_>, source: Be32) -> Option<Skb> {
    let device = skb.route().and_then(|rt| rt.device(cx.rcu))?;

    drop_early_demux_sk(&mut skb);
    let mut skb = skb
        .with_headroom(device.reserved_space() + MIN_HEADER_LEN)
        .ok()?;
    let inner = Ipv4Header::parse_header(skb.network()).ok()?;

    skb.become_inner_ipip().ok()?;
    skb.push_ipv4(ipip_header(
        &inner,
        source,
        cx.conn.daddr(),
        cx.settings.pmtu_disc.is_set(),
    ))
    .ok()?;
    skb.select_ident(cx.net);
    skb.set_ignore_df();

    skb.set_ipvs_property();
    skb.reset_conntrack();
    prepare_forward(&mut skb);
    Some(skb)
}
