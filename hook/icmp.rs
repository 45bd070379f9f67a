// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about packets of connections. C: `ip_vs_out_icmp()`, `ip_vs_in_icmp()`,
//! `ip_vs_out_icmp_v6()`, `ip_vs_in_icmp_v6()`.

use super::{
    icmp_tunnel,
    Context, //
};
use crate::{
    app,
    conn::{
        Conn,
        Found,
        PublishedConn, //
    },
    family::{
        Defrag,
        Family,
        Header, //
    },
    ipvs_xmit::{
        icmp_xmit,
        snat_icmp, //
    },
    packet::IcmpError,
    proto,
    schedule::{
        self,
        Scheduled, //
    },
};
use ipvs_core::{
    flow::Flow,
    forward::FwdMethod,
    icmp::{
        IcmpHeader,
        HEADER_LEN, //
    },
    proto::Protocol,
    transport::Ports, //
};
use linux::{
    netfilter::{
        HookNum,
        Verdict, //
    },
    skb::Skb, //
};

/// The reason why no connection can be looked up for an embedded packet.
pub(super) enum Unreadable {
    /// Services do not support its protocol, or it has no ports.
    OfNoService,
    /// It is truncated before its ports.
    Cut,
}

/// The headers of the packet that an ICMP error embeds.
pub(super) struct InnerHeader<F: Family> {
    pub(super) header: F::Header,
    /// The protocol and ports by which its connection is found.
    protocol: Protocol,
    ports: Ports,
    /// `true` if the ports are those of the packet; `false` for IPsec, which has none.
    has_ports: bool,
}

impl<F: Family> InnerHeader<F> {
    /// Reads the headers at `offset` bytes from the network header of `skb`, from the linear part
    /// or the fragments. Of IPsec only the network header is needed, be it that of a fragment.
    pub(super) fn read(skb: &Skb, offset: usize) -> Result<Self, Unreadable> {
        let header = F::embedded(skb, offset).ok_or(Unreadable::OfNoService)?;
        if proto::is_ipsec(header.protocol()) {
            let (protocol, ports) = proto::ISAKMP;
            return Ok(Self {
                header,
                protocol,
                ports,
                has_ports: false,
            });
        }
        if header.is_later_fragment() {
            return Err(Unreadable::OfNoService);
        }
        let protocol = Protocol::from_number(header.protocol()).ok_or(Unreadable::OfNoService)?;
        let ports = offset
            .checked_add(header.transport_at())
            .and_then(|at| skb.header::<4>(at))
            .and_then(|bytes| Ports::parse(&bytes))
            .ok_or(Unreadable::Cut)?;
        Ok(Self {
            header,
            protocol,
            ports,
            has_ports: true,
        })
    }

    /// Returns the flow of the embedded packet, in the direction that it was sent in; see
    /// [`proto::ISAKMP`] for that of IPsec.
    pub(super) fn flow(&self) -> Flow<F::Addr> {
        Flow {
            protocol: self.protocol.number(),
            src: self.header.src(),
            src_port: self.ports.src,
            dst: self.header.dst(),
            dst_port: self.ports.dst,
        }
    }
}

/// Handles an ICMP message of any type.
pub(super) fn packet<F: Family>(cx: &Context<'_, F>, skb: Skb, header: F::Header) -> Verdict {
    if !header.is_fragment() {
        return whole(cx, skb, header);
    }
    match cx.defrag(skb, header) {
        Defrag::Whole(skb, header) => whole(cx, skb, header),
        // IPv6: a fragment inside another one, which netfilter has not reassembled.
        Defrag::Alone(skb) => Verdict::Drop(skb),
        Defrag::Kept => Verdict::Stolen,
    }
}

fn whole<F: Family>(cx: &Context<'_, F>, skb: Skb, header: F::Header) -> Verdict {
    let offset = header.transport_at();
    let Some(icmp) = skb
        .header::<HEADER_LEN>(offset)
        .and_then(|bytes| IcmpHeader::parse(&bytes))
    else {
        return Verdict::Drop(skb);
    };
    if !F::is_error(&icmp) {
        return cx.of_no_service(skb, header.protocol());
    }
    // Still marked as a fragment (IPv6) and yet an error: ICMPv6 errors are never fragmented.
    if header.is_fragment() {
        return Verdict::Drop(skb);
    }
    let inner = offset.saturating_add(HEADER_LEN);
    let Some(outer) = F::embedded(&skb, inner) else {
        return Verdict::Accept(skb);
    };
    let outer_error = icmp_tunnel::Error::<F> {
        offset,
        icmp,
        outer,
    };
    let is_backup_only = cx.netns.settings.is_backup_only();
    let skb = if is_backup_only {
        skb
    } else {
        match icmp_tunnel::packet(cx, skb, &outer_error) {
            Ok(verdict) => return verdict,
            Err(skb) => skb,
        }
    };
    let is_forwarded = cx.hook == HookNum::Forward && !is_backup_only;
    let takes_requests = cx.takes_requests || is_forwarded;
    let schedules = takes_requests && cx.netns.settings.schedule_icmp.is_set();
    let embedded = match InnerHeader::<F>::read(&skb, inner) {
        Ok(embedded) => embedded,
        Err(Unreadable::Cut) if schedules => return Verdict::Drop(skb),
        Err(_) => return Verdict::Accept(skb),
    };
    let state = cx.state();
    // The error is sent in the direction opposite to that of the packet that it embeds.
    let flow = embedded.flow().reversed();
    let hash = flow.hash(&state.conn_key);
    let found = match Conn::find(&state.conns, hash, cx.rcu, &flow) {
        // It may be about an answer of a data connection that waits for the client's port.
        None if takes_requests && state.conns.owner().has_no_cport() => {
            app::ftp::waiting(cx.netns, &flow, cx.rcu).map(Found::Request)
        }
        found => found,
    };
    let error = IcmpError {
        offset,
        embedded: &embedded.header,
        has_ports: embedded.has_ports,
    };
    match found {
        Some(Found::Answer(conn)) => from_server(cx, skb, conn, error),
        Some(Found::Request(conn)) if takes_requests => from_client(cx, skb, conn, error),
        None if schedules && embedded.has_ports => {
            match schedule::request_of_error(cx.netns, skb, embedded.protocol, &flow, hash, cx.rcu)
            {
                Scheduled::Conn(skb, conn) => from_client(cx, skb, conn, error),
                Scheduled::OnePacket(skb, conn) => from_client(cx, skb, &conn, error),
                Scheduled::Verdict(verdict) => verdict,
            }
        }
        _ => Verdict::Accept(skb),
    }
}

/// Passes an error from the server's side, about a request, on to the client. C:
/// `handle_response_icmp()`.
fn from_server<F: Family>(
    cx: &Context<'_, F>,
    mut skb: Skb,
    conn: &PublishedConn<F>,
    error: IcmpError<'_, F>,
) -> Verdict {
    if conn.fwd_method() == FwdMethod::Masq
        && (!skb.checksum_is_valid(error.offset, F::PROTO_ICMP)
            || snat_icmp(&mut skb, conn, error, cx.hook, cx.netns).is_err())
    {
        return Verdict::Drop(skb);
    }
    cx.mark_answer(&mut skb, conn, conn.bits());
    Verdict::Accept(skb)
}

/// Sends an error from the client's side, about an answer, to the server.
fn from_client<F: Family>(
    cx: &Context<'_, F>,
    mut skb: Skb,
    conn: &Conn<F>,
    error: IcmpError<'_, F>,
) -> Verdict {
    if conn.fwd_method() == FwdMethod::Masq && !skb.checksum_is_valid(error.offset, F::PROTO_ICMP) {
        return Verdict::Drop(skb);
    }
    cx.count_request(conn, &skb);
    icmp_xmit(skb, conn, error, cx.hook, cx.netns, cx.rcu)
}
