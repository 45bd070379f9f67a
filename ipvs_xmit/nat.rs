// SPDX-License-Identifier: GPL-2.0

//! Network address translation: sends requests to the server, and translates answers for the hooks.
//! The changes to the packet itself are in `proto/nat.rs`.
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
    app,
    conn::{
        Bits,
        Conn, //
    },
    family::{
        Family,
        Header,
        Mode, //
    },
    netns::Netns,
    nfct,
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
    rcu::ReadLocked,
    route,
    skb::Skb,
    xfrm, //
};

/// Translates the destination of a request to the server, and sends it.
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
    if cx.conn.bits().app() {
        let looked_at = app::ftp::request(&mut skb, cx.conn, header_len, cx.netns, cx.rcu);
        if looked_at.is_err() {
            return Verdict::Stolen;
        }
    }
    if nat::translate(&mut skb, cx.conn, header_len, End::Dst, cx.rcu).is_err() {
        return Verdict::Stolen;
    }
    send_or_cont(skb, cx, is_local)
}

/// Routes a packet that will be translated, and makes room for the link-layer header of its device.
/// Returns `true` if the server is this host.
///
/// # Errors
///
/// The packet must not be sent; see [`Unsent::verdict`].
#[inline]
pub(super) fn route<F: Family>(
    skb: &mut Skb,
    cx: &Context<'_, '_, F>,
    mode: Mode,
) -> Result<bool, Unsent> {
    let conn = cx.conn;
    let is_local = take_out_rt(skb, cx, conn.dest(), conn.daddr(), mode)?;

    if is_local && !may_be_delivered(skb, cx) {
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

/// Returns whether a packet may be translated to an address of this host. It still has its original
/// route.
#[inline(never)]
fn may_be_delivered<F: Family>(skb: &mut Skb, cx: &Context<'_, '_, F>) -> bool {
    let conn = cx.conn;
    // Replies to a connection that another director has told of would have the tuple of another entry.
    let would_clash = conn.bits().synced() && skb.conntrack_entry().is_some();
    // A packet from another host must not reach a loopback address.
    !(would_clash || F::is_loopback(conn.daddr()) && F::is_from_outside(skb, cx.rcu))
}

/// Sends a translated packet, or accepts it if the server is this host. C:
/// `ip_vs_nat_send_or_cont()`.
#[inline]
pub(super) fn send_or_cont<F: Family>(
    mut skb: Skb,
    cx: &Context<'_, '_, F>,
    is_local: bool,
) -> Verdict {
    let conn = cx.conn;

    skb.set_ignore_df();
    skb.set_ipvs_property();
    nfct::track(&mut skb, conn, conn.bits(), End::Dst);
    // The socket found by early demux is the right one only if the destination is unchanged.
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

/// Translates the source of a server's answer to the virtual service, and routes the packet to the
/// client again. `bits` are the connection's flags. C: the translation in `handle_response()`.
///
/// # Errors
///
/// The packet can't be translated or routed, and must be dropped.
#[inline]
pub(crate) fn snat<'rcu, F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    bits: Bits,
    header: &F::Header,
    netns: &'rcu Netns,
    hook: HookNum,
    rcu: ReadLocked<'rcu>,
) -> Result<(), Untranslatable> {
    if bits.app() {
        app::ftp::answer(skb, conn, header.transport_at(), netns, rcu)?;
    }
    nat::translate(skb, conn, header.transport_at(), End::Src, rcu)?;
    reroute(skb, netns, hook)
}

/// Routes a translated answer to the client again if `snat_reroute` is set, since the route may
/// depend on the source address. C: `ip_vs_route_me_harder()`.
#[inline]
pub(super) fn reroute(skb: &mut Skb, netns: &Netns, hook: HookNum) -> Result<(), Untranslatable> {
    // On LOCAL_IN the client is on this host.
    if hook == HookNum::LocalIn {
        return Ok(());
    }
    if netns.settings.snat_reroute.is_set() {
        let is_forwarded = hook == HookNum::Forward;
        return route::reroute(netns.net(), skb, is_forwarded).map_err(|_| Untranslatable);
    }
    // The route stays, but its IPsec policies were looked up before the translation.
    if xfrm::has_output_policies(netns.net()) {
        xfrm::forward(skb).map_err(|_| Untranslatable)?;
    }
    Ok(())
}
