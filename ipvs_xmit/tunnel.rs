// SPDX-License-Identifier: GPL-2.0

//! Forwards packets through tunnels (IP, GUE or GRE), with any combination of inner and outer
//! family.
//!
//! C: `ip_vs_tunnel_xmit()`, `ip_vs_tunnel_xmit_v6()`.

use super::{
    route::{
        get_out_rt,
        OutRoute,
        RouteRef, //
    },
    send::{
        accept,
        drop_early_demux_sk,
        prepare_forward,
        Context, //
    },
};
use crate::{
    family::{
        Family,
        Header,
        Mode,
        V4,
        V6, //
    },
    nfct,
    service::dest::Dest, //
};
use ipvs_core::{
    forward::Outer,
    net::{
        Addr,
        Be128, //
    },
    tunnel::Tunnel, //
};
use linux::{
    netfilter::{
        ip_local_out,
        Verdict, //
    },
    skb::{
        Encapsulation,
        Skb,
        Summed, //
    },
};

/// The parameters of encapsulating a packet.
struct How {
    tunnel: Tunnel,
    encapsulation: Encapsulation,
    /// The length of the headers between both IP headers, in bytes.
    between: usize,
}

/// Encapsulates a packet and sends it to the server, which decapsulates it.
#[inline(never)]
pub(super) fn tunnel_xmit<F: Family>(skb: Skb, cx: &Context<'_, '_, F>) -> Verdict {
    match cx.conn.server_addr() {
        Addr::V4(addr) => xmit_to::<F, V4>(skb, cx, addr),
        Addr::V6(addr) => xmit_to6(skb, cx, addr),
    }
}

/// Sends through a tunnel over IPv6. Not inlined, so that tunnels over IPv4 do not pay for its
/// stack frame.
#[inline(never)]
fn xmit_to6<F: Family>(skb: Skb, cx: &Context<'_, '_, F>, server: Be128) -> Verdict {
    xmit_to::<F, V6>(skb, cx, server)
}

#[inline]
fn xmit_to<F: Family, D: Family>(
    mut skb: Skb,
    cx: &Context<'_, '_, F>,
    server: D::Addr,
) -> Verdict {
    let tunnel = cx.conn.dest().map_or(Tunnel::Ipip, Dest::tunnel);
    let encapsulation = encapsulation(tunnel);
    let between = encapsulation.len(skb.summed() == Summed::Partial);
    // The outer header needs a source address of this host.
    let mode = Mode {
        connect: true,
        tunnel: Some(between),
        ..Mode::ANY
    };
    match get_out_rt::<F, D>(&mut skb, cx, cx.conn.dest(), server, mode) {
        Err(unsent) => unsent.verdict(skb),
        Ok(OutRoute::Local) => accept(skb, cx.conn),
        Ok(OutRoute::Out { route, source }) => {
            let how = How {
                tunnel,
                encapsulation,
                between,
            };
            if let Some(skb) = encapsulate::<F, D>(skb, cx, route, (source, server), &how) {
                ip_local_out(skb, cx.net);
            }
            Verdict::Stolen
        }
    }
}

/// Returns the encapsulation between the outer and the inner header.
#[inline]
fn encapsulation(tunnel: Tunnel) -> Encapsulation {
    match tunnel {
        Tunnel::Ipip => Encapsulation::Ip,
        Tunnel::Gue {
            port,
            checksum,
            remote_checksum,
        } => Encapsulation::Gue {
            port: port.raw(),
            checksum,
            remote_checksum,
        },
        Tunnel::Gre { checksum } => Encapsulation::Gre { checksum },
    }
}

/// Prepends the outer headers to a packet, and sets its route. Frees the packet and returns `None`
/// if there is no memory. C: `ip_vs_prepare_tunneled_skb()`.
#[inline]
fn encapsulate<'rcu, F: Family, D: Family>(
    mut skb: Skb,
    cx: &Context<'_, 'rcu, F>,
    route: RouteRef<'rcu, D::Route>,
    ends: (D::Addr, D::Addr),
    how: &How,
) -> Option<Skb> {
    let device = route.device(cx.rcu)?;

    drop_early_demux_sk(&mut skb);
    let mut skb = skb
        .with_headroom(device.reserved_space() + D::HEADER_LEN + how.between)
        .ok()?;
    let inner = F::header(&skb)?;
    let outer = Outer {
        inner_tos: inner.tos(),
        ttl: inner.ttl(),
        protocol: how.tunnel.protocol(F::PROTO_INNER),
        dont_fragment: cx.settings.pmtu_disc.is_set() && inner.dont_fragment(),
    };

    D::encapsulate(&mut skb, cx.net, outer, ends, how.encapsulation).ok()?;
    route.give_to(&mut skb, cx.rcu);
    skb.set_ignore_df();

    skb.set_ipvs_property();
    if !nfct::leave(&mut skb, cx.conn) {
        return None;
    }
    prepare_forward(&mut skb);
    Some(skb)
}
