// SPDX-License-Identifier: GPL-2.0

//! Keeps the entries of connection tracking in step with the translation of packets; `conn/nfct.rs`
//! drops them when connections end. C: `ip_vs_nfct.c`.

use crate::{
    conn::{
        Bits,
        Conn, //
    },
    family::Family,
    netns::Netns, //
};
use ipvs_core::{
    forward::FwdMethod,
    net::{
        Address,
        Be16, //
    },
    netlink::CONN_F_NFCT,
    transport::End, //
};
use linux::skb::Skb;

/// Returns the flags that a new connection has because of the namespace's setting.
#[inline]
pub(crate) fn conn_flags(netns: &Netns) -> u32 {
    match netns.settings.conntrack.is_set() {
        true => CONN_F_NFCT,
        false => 0,
    }
}

/// Leaves a translated packet to connection tracking if its connection is to be tracked, with an entry
/// that knows the translation; otherwise takes the packet away from it. `bits` are the flags of the
/// connection, `end` is what was translated.
#[inline]
pub(crate) fn track<F: Family>(skb: &mut Skb, conn: &Conn<F>, bits: Bits, end: End) {
    if bits.nfct() {
        update(skb, conn, bits, end);
    } else {
        skb.set_untracked();
    }
}

/// Takes a packet that is sent as it is away from connection tracking, unless its connection is to be
/// tracked.
#[inline]
pub(crate) fn keep<F: Family>(skb: &mut Skb, conn: &Conn<F>) {
    if !conn.bits().nfct() {
        skb.set_untracked();
    }
}

/// Takes a packet away from connection tracking before it goes into a tunnel, after confirming its
/// entry if its connection is to be tracked. Returns `false` if the packet must be dropped. C:
/// `ip_vs_tunnel_xmit_prepare()`.
#[inline]
#[must_use = "the packet must be dropped if this returns false"]
pub(crate) fn leave<F: Family>(skb: &mut Skb, conn: &Conn<F>) -> bool {
    let confirmed = !conn.bits().nfct() || skb.confirm_conntrack();
    if confirmed {
        skb.reset_conntrack();
    }
    confirmed
}

/// Sets what replies to the packet's entry look like, as long as the entry belongs to this packet
/// alone: they come from the server, or go to the virtual address. Other methods than NAT have no
/// translation, and a connection for one packet expects no reply. C: `ip_vs_update_conntrack()`.
#[inline(never)]
fn update<F: Family>(skb: &mut Skb, conn: &Conn<F>, bits: Bits, end: End) {
    if bits.fwd_method() != FwdMethod::Masq || bits.one_packet() {
        return;
    }
    let Some(mut entry) = skb.conntrack_entry() else {
        return;
    };
    if !entry.is_unconfirmed() || !entry.is_original() {
        return;
    }
    // What is said in the connection may get longer or shorter.
    if bits.app() && !entry.add_seqadj() {
        return;
    }
    let mut reply = entry.reply();
    let has_ports = reply.protocol() != F::PROTO_ICMP;
    let port = |port: Be16| has_ports.then_some(port.host());
    match end {
        End::Dst => reply.set_src(conn.daddr().ip(), port(conn.dport())),
        End::Src => reply.set_dst(conn.vaddr().ip(), port(conn.vport())),
    }
    entry.set_reply(reply);
}
