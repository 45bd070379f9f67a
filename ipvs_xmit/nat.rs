// SPDX-License-Identifier: GPL-2.0

//! Translates addresses and ports, of requests here and of answers for the hooks; the translation
//! itself is in `proto/nat.rs`.
//!
//! C: `ip_vs_nat_xmit()`, the translation in `handle_response()`.

use super::{
    route::{
        take_out_rt,
        Unsent, //
    },
    send::{
        drop_early_demux_sk,
        prepare_forward,
        Context, //
    },
};
use crate::{
    conn::Conn,
    family::{
        Family,
        Header,
        Mode, //
    },
    netns::Netns,
    proto::nat::{
        self,
        Untranslatable, //
    },
};
use ipvs_core::transport::End;
use linux::{
    netfilter::{
        send_local_out,
        HookNum,
        Verdict, //
    },
    route,
    skb::Skb,
    xfrm, //
};

/// Sends a request to the server, as if the client had addressed that.
#[inline]
pub(super) fn nat_xmit<F: Family>(
    mut skb: Skb,
    cx: &Context<'_, '_, F>,
    header_len: usize,
) -> Verdict {
    let is_local = match route(&mut skb, cx, Mode::REDIRECT) {
        Ok(is_local) => is_local,
        Err(unsent) => return unsent.verdict(skb),
    };
    if nat::translate(&mut skb, cx.conn, header_len, End::Dst).is_err() {
        return Verdict::Stolen;
    }
    send_or_cont(skb, cx, is_local)
}

/// Finds the way for a packet that will be translated, and makes room for the link header there.
/// Whether it leads to this host.
///
/// # Errors
///
/// If the packet must not be sent; see [`Unsent::verdict`].
#[inline]
pub(super) fn route<F: Family>(
    skb: &mut Skb,
    cx: &Context<'_, '_, F>,
    mode: Mode,
) -> Result<bool, Unsent> {
    let conn = cx.conn;
    let is_local = take_out_rt(skb, cx, conn.dest(), conn.daddr(), mode)?;

    // What comes from the network must not reach what listens on the loopback address. A packet to
    // this host has the route that it came with.
    if is_local && F::is_loopback(conn.daddr()) && F::is_from_outside(skb, cx.rcu) {
        return Err(Unsent::Dropped);
    }
    let device = skb
        .route()
        .and_then(|rt| rt.device(cx.rcu))
        .ok_or(Unsent::Dropped)?;
    skb.cow(device.hard_header_len())
        .map_err(|_| Unsent::Dropped)?;
    Ok(is_local)
}

/// Sends a translated packet, or lets it go on to this host.
#[inline]
pub(super) fn send_or_cont<F: Family>(
    mut skb: Skb,
    cx: &Context<'_, '_, F>,
    is_local: bool,
) -> Verdict {
    let conn = cx.conn;

    skb.set_ignore_df();
    skb.set_ipvs_property();
    skb.set_untracked();
    // The socket that the packet was taken to be for is the right one only if nothing changed.
    if !is_local || conn.vport() != conn.dport() || conn.vaddr() != conn.daddr() {
        drop_early_demux_sk(&mut skb);
    }
    if is_local {
        return Verdict::Accept(skb);
    }
    prepare_forward(&mut skb);
    send_local_out(skb, cx.net);
    Verdict::Stolen
}

/// Makes a server's answer one of the virtual service, and finds its way to the client anew. If
/// that fails, the packet is to be freed.
#[inline]
pub(crate) fn snat<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    header: &F::Header,
    netns: &Netns,
    hook: HookNum,
) -> Result<(), Untranslatable> {
    nat::translate(skb, conn, header.transport_at(), End::Src)?;
    reroute(skb, netns, hook)
}

/// Finds the way to the client anew for an answer, since its new source address may matter.
#[inline]
pub(super) fn reroute(skb: &mut Skb, netns: &Netns, hook: HookNum) -> Result<(), Untranslatable> {
    // On LOCAL_IN the client is on this host.
    if hook == HookNum::LocalIn {
        return Ok(());
    }
    if netns.settings.snat_reroute.is_set() {
        return route::reroute(netns.net(), skb).map_err(|_| Untranslatable);
    }
    // The route stays, but the policies that it met were those for the packet before translation.
    if xfrm::has_output_policies(netns.net()) {
        xfrm::forward(skb).map_err(|_| Untranslatable)?;
    }
    Ok(())
}
