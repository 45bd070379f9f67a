// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets of connections.
//!
//! C: `ip_vs_icmp_xmit()`, the translation in `handle_response_icmp()`.

use super::{
    forward,
    nat::{
        reroute,
        route,
        send_or_cont, //
    },
    Context, //
};
use crate::{
    conn::Conn,
    family::{
        Family,
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
    skb::Skb,
    xfrm, //
};

/// An ICMP error, by where it is, and the header of the packet that it is about.
#[derive(Clone, Copy)]
pub(crate) struct IcmpError<'a, F: Family> {
    /// The offset of the ICMP header.
    pub(crate) offset: usize,
    /// The embedded header, right behind the ICMP header.
    pub(crate) embedded: &'a F::Header,
}

/// Sends an ICMP error about an answer to the server of the connection.
pub(crate) fn icmp_xmit<F: Family>(
    mut skb: Skb,
    conn: &Conn<F>,
    related: IcmpError<'_, F>,
    hook: HookNum,
    netns: &Netns,
    rcu: ReadLocked<'_>,
) -> Verdict {
    let cx = Context {
        conn,
        net: netns.net(),
        settings: &netns.settings,
        rcu,
        is_icmp: true,
    };
    match conn.fwd_method() {
        FwdMethod::Masq => (),
        method => {
            // As with C, a translated error does not count for `drop_entry`.
            conn.count_packet();
            return forward(skb, &cx, method);
        }
    }
    // What is being forwarded can't be turned to this host any more.
    let mode = match hook {
        HookNum::Forward => Mode::NON_LOCAL,
        HookNum::LocalIn | HookNum::LocalOut => Mode::REDIRECT,
    };
    let is_local = match route(&mut skb, &cx, mode) {
        Ok(is_local) => is_local,
        Err(unsent) => return unsent.verdict(skb),
    };
    if nat::translate_icmp(&mut skb, conn, related, End::Dst).is_err() {
        return Verdict::Stolen;
    }
    if !is_local && xfrm::has_output_policies(cx.net) && xfrm::forward(&mut skb).is_err() {
        return Verdict::Stolen;
    }
    send_or_cont(skb, &cx, is_local)
}

impl<F: Family> IcmpError<'_, F> {
    /// Makes an ICMP error of the server, or of a router next to it, one about the virtual
    /// service, and finds its way to the client anew. If that fails, the packet is to be dropped.
    pub(crate) fn snat(
        self,
        skb: &mut Skb,
        conn: &Conn<F>,
        netns: &Netns,
        hook: HookNum,
    ) -> Result<(), Untranslatable> {
        nat::translate_icmp(skb, conn, self, End::Src)?;
        reroute(skb, netns, hook)
    }
}
