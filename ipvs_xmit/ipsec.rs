// SPDX-License-Identifier: GPL-2.0

//! AH and ESP packets: with NAT only the address is translated, since there are no ports, and the
//! checksums inside are encrypted or authenticated.
//!
//! C: `ip_vs_nat_xmit()` and `handle_response()` for `ip_vs_protocol_ah` and `ip_vs_protocol_esp`.

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
        Header,
        Mode, //
    },
    netns::Netns,
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
    skb::Skb, //
};

/// Sends an IPsec packet to the server of its connection, by the connection's forwarding method.
pub(crate) fn ipsec_xmit<'rcu, F: Family>(
    mut skb: Skb,
    conn: &Conn<F>,
    header: &F::Header,
    netns: &'rcu Netns,
    rcu: ReadLocked<'rcu>,
) -> Verdict {
    let cx = Context::new(conn, netns, rcu, false);
    match conn.fwd_method() {
        FwdMethod::Masq => (),
        FwdMethod::LocalNode | FwdMethod::Tunnel | FwdMethod::DRoute | FwdMethod::Bypass => {
            return xmit(skb, &cx, header.transport_at());
        }
    }
    let is_local = match route(&mut skb, &cx, Mode::REDIRECT) {
        Ok(is_local) => is_local,
        Err(unsent) => return unsent.verdict(skb),
    };
    if nat::translate_addr(&mut skb, conn, End::Dst).is_err() {
        return Verdict::Stolen;
    }
    send_or_cont(skb, &cx, is_local)
}

/// Translates the source address of a server's IPsec packet to the virtual address, and routes the
/// packet to the client again.
///
/// # Errors
///
/// The packet can't be translated or routed, and must be dropped.
pub(crate) fn ipsec_snat<F: Family>(
    skb: &mut Skb,
    conn: &Conn<F>,
    hook: HookNum,
    netns: &Netns,
) -> Result<(), Untranslatable> {
    nat::translate_addr(skb, conn, End::Src)?;
    reroute(skb, netns, hook)
}
