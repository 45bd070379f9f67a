// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets of connections. C: `ip_vs_out_icmp()`, `ip_vs_in_icmp()`.

use super::Context;
use crate::{
    conn::{
        Conn,
        Found,
        FwdMethod,
        PublishedConn, //
    },
    ipvs_xmit::{
        icmp_xmit,
        Related, //
    },
    proto,
};
use ipvs_core::{
    flow::Flow4,
    icmp::{
        IcmpHeader,
        HEADER_LEN, //
    },
    ipv4::{
        Ipv4Header,
        MIN_HEADER_LEN,
        PROTO_ICMP, //
    },
    transport::Ports, //
};
use linux::{
    netfilter::{
        HookNum,
        Verdict, //
    },
    skb::Skb, //
};

/// The header of a packet that an error embeds, and where it is.
struct Embedded {
    header: Ipv4Header,
    ports: Ports,
}

impl Embedded {
    /// Reads it at `offset`, wherever it lies in the packet.
    fn read(skb: &Skb, offset: usize) -> Option<Self> {
        let first: [u8; MIN_HEADER_LEN] = skb.header(offset)?;
        let [version_ihl, ..] = first;
        // Options are passed over, but have to be there.
        let mut whole = [0; 60];
        let len = usize::from(version_ihl & 0x0f) << 2;
        whole.first_chunk_mut().map(|start| *start = first)?;
        let header = Ipv4Header::parse_header(whole.get(..len.max(MIN_HEADER_LEN))?).ok()?;
        if !proto::is_supported(header.protocol) || header.is_later_fragment() {
            return None;
        }
        let ports: [u8; 4] = skb.header(offset.checked_add(header.header_len())?)?;
        Some(Self {
            header,
            ports: Ports::parse(&ports)?,
        })
    }

    /// The flow that the error travels in: against the packet that it embeds.
    fn flow(&self) -> Flow4 {
        Flow4 {
            protocol: self.header.protocol,
            src: self.header.dst,
            src_port: self.ports.dst,
            dst: self.header.src,
            dst_port: self.ports.src,
        }
    }
}

/// An ICMP packet of any kind.
pub(super) fn packet(cx: &Context<'_>, skb: Skb, header: Ipv4Header) -> Verdict {
    if !header.is_fragment() {
        return whole(cx, skb, header);
    }
    match cx.defrag(skb) {
        Some((skb, header)) => whole(cx, skb, header),
        None => Verdict::Stolen,
    }
}

fn whole(cx: &Context<'_>, skb: Skb, header: Ipv4Header) -> Verdict {
    let offset = header.header_len();
    let Some(icmp) = skb
        .header::<HEADER_LEN>(offset)
        .and_then(|bytes| IcmpHeader::parse(&bytes))
    else {
        return Verdict::Drop(skb);
    };
    if !icmp.is_error() {
        return Verdict::Accept(skb);
    }
    let Some(embedded) = Embedded::read(&skb, offset.saturating_add(HEADER_LEN)) else {
        return Verdict::Accept(skb);
    };
    let netns = cx.netns;
    let found = Conn::find(netns.conns(), netns.conn_key(), cx.rcu, &embedded.flow());
    let related = Related {
        offset,
        embedded: &embedded.header,
    };
    match found {
        Some(Found::Answer(conn)) => from_server(cx, skb, conn, related),
        Some(Found::Request(conn)) if cx.takes_requests || cx.hook == HookNum::Forward => {
            from_client(cx, skb, conn, related)
        }
        _ => Verdict::Accept(skb),
    }
}

/// An error from the server's side about a request. C: `handle_response_icmp()`.
fn from_server(
    cx: &Context<'_>,
    mut skb: Skb,
    conn: &PublishedConn,
    related: Related<'_>,
) -> Verdict {
    if conn.fwd_method() == FwdMethod::Masq
        && (!skb.checksum_is_valid(related.offset, PROTO_ICMP)
            || related
                .snat(&mut skb, conn, cx.netns.net(), cx.hook)
                .is_err())
    {
        return Verdict::Drop(skb);
    }
    cx.count_answer(conn, &skb);
    skb.set_ipvs_property();
    skb.set_untracked();
    Verdict::Accept(skb)
}

/// An error from the client's side about an answer.
fn from_client(
    cx: &Context<'_>,
    mut skb: Skb,
    conn: &PublishedConn,
    related: Related<'_>,
) -> Verdict {
    if conn.fwd_method() == FwdMethod::Masq && !skb.checksum_is_valid(related.offset, PROTO_ICMP) {
        return Verdict::Drop(skb);
    }
    cx.count_request(conn, &skb);
    icmp_xmit(skb, conn, related, cx.hook, cx.netns.net(), cx.rcu)
}
