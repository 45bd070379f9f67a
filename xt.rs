// SPDX-License-Identifier: GPL-2.0

//! The match `ipvs` of iptables: rules for packets by the connection that they belong to. C:
//! `xt_ipvs.c`.
//!
//! `xt_ipvs.ko` registers it. What the options mean is in [`ipvs_core::xt`].

use crate::{
    conn::{
        Conn,
        Found,
        PublishedConn, //
    },
    family::{
        Family,
        Header,
        V4,
        V6, //
    },
    log,
    netns::Netns,
    proto, //
};
use ipvs_core::{
    flow::Flow,
    proto::Protocol as IpProtocol,
    transport::Ports,
    xt::{
        Facts,
        Options,
        INFO_LEN, //
    },
};
use kernel::prelude::*;
use linux::{
    net::Net,
    netfilter::Protocol,
    rcu::ReadLocked,
    skb::SkbRef,
    xtables::{
        Match,
        MatchState, //
    },
};

/// The match `ipvs`.
struct Ipvs;

linux::export_xt_match!(Ipvs, ip_vs_xt_match, ip_vs_xt_check);

impl Match for Ipvs {
    type Info = [u8; INFO_LEN];

    /// C: `ipvs_mt()`.
    fn matches(packet: SkbRef<'_>, info: &Self::Info, state: MatchState<'_>) -> bool {
        let options = Options::read(info);
        if let Some(matches) = options.without_conn(packet.ipvs_property()) {
            return matches;
        }
        match state.protocol() {
            Protocol::Ipv4 => of_conn::<V4>(packet, &options, state),
            Protocol::Ipv6 => of_conn::<V6>(packet, &options, state),
        }
    }

    /// C: `ipvs_mt_check()`.
    fn check(net: &Net, family: u8, protocol: Option<Protocol>) -> Result {
        if protocol.is_none() {
            log::xt_family(net, family);
            return Err(EINVAL);
        }
        Ok(())
    }
}

/// Returns whether a packet that IPVS has handled belongs to a connection and meets the options.
fn of_conn<F: Family>(packet: SkbRef<'_>, options: &Options, state: MatchState<'_>) -> bool {
    let Some(netns) = Netns::of(state.net(), state.rcu()) else {
        return false;
    };
    let Some(header) = F::borrowed_header(packet) else {
        return false;
    };
    if !options.meets_protocol(header.protocol()) {
        return false;
    }
    conn::<F>(packet, &header, netns.get_ref(), state.rcu()).is_some_and(|conn| {
        options.meets_conn(&Facts {
            vaddr: conn.vaddr().into(),
            vport: conn.vport(),
            control_vport: conn.control_vport(),
            method: conn.fwd_method(),
            original: packet.is_tracked_original(),
        })
    })
}

/// Finds the connection of a packet from the client to the server, whose destination has been
/// translated if the method is NAT.
///
/// C calls `conn_out_get()`, which finds connections by their answers, with source and destination
/// exchanged (`IP_VS_HDR_INVERSE`). So no connection is found for an answer itself.
fn conn<'rcu, F: Family>(
    packet: SkbRef<'_>,
    header: &F::Header,
    netns: &'rcu Netns,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let (protocol, ports) = if proto::is_ipsec(header.protocol()) {
        proto::ISAKMP
    } else {
        let protocol = IpProtocol::from_number(header.protocol())?;
        // C takes the first bytes of a later fragment for ports.
        if header.is_later_fragment() {
            return None;
        }
        let bytes: [u8; 4] = packet.header(header.transport_at())?;
        (protocol, Ports::parse(&bytes)?)
    };
    let flow = Flow {
        protocol: protocol.number(),
        src: header.dst(),
        src_port: ports.dst,
        dst: header.src(),
        dst_port: ports.src,
    };
    let state = netns.state::<F>();
    match Conn::find(&state.conns, flow.hash(&state.conn_key), rcu, &flow)? {
        Found::Answer(conn) => Some(conn),
        Found::Request(_) => None,
    }
}
