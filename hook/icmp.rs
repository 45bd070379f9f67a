// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets of connections. C: `ip_vs_out_icmp()`, `ip_vs_in_icmp()`.

use super::{
    tunnel,
    Context, //
};
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
    forward::PROTO_IPIP,
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

/// The longest IPv4 header.
const MAX_HEADER_LEN: usize = 60;

/// The IPv4 header at `offset`, wherever it lies in the packet. Its options are not looked at.
fn embedded_header(skb: &Skb, offset: usize) -> Option<Ipv4Header> {
    let fixed: [u8; MIN_HEADER_LEN] = skb.header(offset)?;
    let mut padded = [0; MAX_HEADER_LEN];
    *padded.first_chunk_mut()? = fixed;
    Ipv4Header::parse_header(&padded).ok()
}

/// The packet of a connection that an error is about.
pub(super) struct Embedded {
    pub(super) header: Ipv4Header,
    ports: Ports,
}

impl Embedded {
    /// Reads it at `offset`, wherever it lies in the packet. `None` if no service has its protocol,
    /// or if it is cut off before its ports.
    pub(super) fn read(skb: &Skb, offset: usize) -> Option<Self> {
        let header = embedded_header(skb, offset)?;
        if !proto::is_supported(header.protocol) || header.is_later_fragment() {
            return None;
        }
        let ports: [u8; 4] = skb.header(offset.checked_add(header.header_len())?)?;
        Some(Self {
            header,
            ports: Ports::parse(&ports)?,
        })
    }

    /// The flow that it travelled in.
    pub(super) fn flow(&self) -> Flow4 {
        Flow4 {
            protocol: self.header.protocol,
            src: self.header.src,
            src_port: self.ports.src,
            dst: self.header.dst,
            dst_port: self.ports.dst,
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
    let inner = offset.saturating_add(HEADER_LEN);
    let Some(outer) = embedded_header(&skb, inner) else {
        return Verdict::Accept(skb);
    };
    if outer.protocol == PROTO_IPIP {
        return tunnel::packet(
            cx,
            skb,
            tunnel::Error {
                offset,
                icmp,
                outer,
            },
        );
    }
    let Some(embedded) = Embedded::read(&skb, inner) else {
        return Verdict::Accept(skb);
    };
    let netns = cx.netns;
    // An error travels against the packet that it embeds.
    let flow = embedded.flow().reversed();
    let found = Conn::find(netns.conns(), netns.conn_key(), cx.rcu, &flow);
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
            || related.snat(&mut skb, conn, cx.netns, cx.hook).is_err())
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
    icmp_xmit(skb, conn, related, cx.hook, cx.netns, cx.rcu)
}
