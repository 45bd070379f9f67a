// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets of connections.
//!
//! C: `ip_vs_icmp_xmit()`, the translation in `handle_response_icmp()`.

use super::{
    nat::{
        reroute,
        route,
        send_or_cont, //
    },
    send::Context,
    xmit, //
};
use crate::{
    conn::Conn,
    family::{
        Family,
        Mode, //
    },
    netns::Netns,
    packet::IcmpError,
    proto::nat::{
        self,
        Untranslatable, //
    },
};
use ipvs_core::{
    forward::FwdMethod,
    transport::End, //
};
use linux::{
    netfilter::{
        HookNum,
        Verdict, //
    },
    rcu::ReadLocked,
    skb::Skb,
    xfrm, //
};

/// Sends an ICMP error about an answer to the server of its connection: for NAT translates it,
/// otherwise uses the transmitter of the forwarding method. C: `ip_vs_icmp_xmit()`,
/// `ip_vs_icmp_xmit_v6()`.
pub(crate) fn icmp_xmit<'rcu, F: Family>(
    mut skb: Skb,
    conn: &Conn<F>,
    error: IcmpError<'_, F>,
    hook: HookNum,
    netns: &'rcu Netns,
    rcu: ReadLocked<'rcu>,
) -> Verdict {
    let cx = Context::new(conn, netns, rcu, true);
    match conn.fwd_method() {
        FwdMethod::Masq => (),
        FwdMethod::LocalNode | FwdMethod::Tunnel | FwdMethod::DRoute | FwdMethod::Bypass => {
            // As with C, a translated error does not count for `drop_entry`.
            conn.count_packet();
            return xmit(skb, &cx, error.offset);
        }
    }
    // On FORWARD it is too late to deliver the packet locally.
    let mode = match hook {
        HookNum::Forward => Mode::NON_LOCAL,
        HookNum::LocalIn | HookNum::LocalOut => Mode::REDIRECT,
    };
    let is_local = match route(&mut skb, &cx, mode) {
        Ok(is_local) => is_local,
        Err(unsent) => return unsent.verdict(skb),
    };
    if nat::translate_icmp(&mut skb, conn, error, End::Dst).is_err() {
        return Verdict::Stolen;
    }
    if !is_local && xfrm::has_output_policies(cx.net) && xfrm::forward(&mut skb).is_err() {
        return Verdict::Stolen;
    }
    send_or_cont(skb, &cx, is_local)
}

/// Translates an ICMP error from the server, or from a router on the path to it, into one from the
/// virtual service, and routes it to the client again. C: the translation in
/// `handle_response_icmp()`.
///
/// # Errors
///
/// The packet can't be translated or routed, and must be dropped.
pub(crate) fn snat_icmp<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    error: IcmpError<'_, F>,
    hook: HookNum,
    netns: &Netns,
) -> Result<(), Untranslatable> {
    nat::translate_icmp(skb, conn, error, End::Src)?;
    reroute(skb, netns, hook)
}
