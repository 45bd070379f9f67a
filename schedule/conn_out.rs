// SPDX-License-Identifier: GPL-2.0

//! Connections that a server starts, for services with a persistence engine, so that the client's
//! answers reach that server. C: `__ip_vs_rs_conn_out()`, `ip_vs_new_conn_out()`.

use super::{
    connect,
    is_one_packet,
    one_packet_conn,
    persist,
    SchedTrigger,
    INITIAL_TIMEOUT, //
};
use crate::{
    conn::{
        template::Control,
        Conn,
        NewConn,
        PublishedConn, //
    },
    family::Family,
    netns::Netns,
    packet::Packet,
    service::dest, //
};
use ipvs_core::{
    flow::Flow,
    net::{
        Address,
        Be16, //
    },
};
use linux::{
    rcu::ReadLocked,
    skb::Skb, //
};

/// The connection made for a server's datagram.
pub(crate) enum Outgoing<'rcu, F: Family> {
    /// A connection in the table.
    Conn(&'rcu PublishedConn<F>),
    /// A connection for this datagram alone.
    OnePacket(Conn<F>),
}

/// Makes a connection for a datagram from a NAT server that is no answer of a known connection. C:
/// `__ip_vs_rs_conn_out()`.
///
/// Returns `None` if the service has no persistence engine; if it is defined by firewall mark or
/// for all ports, so that the virtual address and port are not known; or if there is no memory or
/// no room for another connection.
pub(crate) fn of_server<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: &mut Skb,
    packet: &Packet<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<Outgoing<'rcu, F>> {
    let Flow {
        protocol,
        src,
        src_port,
        dst,
        dst_port,
    } = packet.flow;
    let dests = &netns.service_tables().dests;
    let dest = dest::translated(dests, protocol, src.into(), src_port, rcu)?;
    let service = netns
        .service_tables()
        .find_service(&dest.key().service, rcu)?;
    service.pe()?;
    if service.fwmark() != 0 || service.port() == Be16::ZERO || src_port == Be16::ZERO {
        return None;
    }
    let request = Flow {
        protocol,
        src: dst,
        src_port: dst_port,
        dst: F::Addr::of(service.addr())?,
        dst_port: service.port(),
    };
    let template = if service.is_persistent() {
        let template =
            persist::of_server::<F>(netns, skb, service.get(), dest, &request, src_port, rcu)?;
        template.restart();
        Some(template)
    } else {
        None
    };
    let new = NewConn {
        protocol: packet.protocol,
        flow: request,
        hash: request.hash(&netns.state::<F>().conn_key),
        daddr: dest.addr(),
        dport: src_port,
        flags: dest.conn_flags(),
        dest: Some(dest.share()?),
        control: None,
        timeout: INITIAL_TIMEOUT,
    };
    if is_one_packet(service.get(), Some(dest.get()), packet.protocol) {
        // A packet from the server assures the template, as an answer would.
        if let Some(template) = template {
            template.get().set_assured();
        }
        return one_packet_conn(netns, service, new, rcu).map(Outgoing::OnePacket);
    }
    let new = NewConn {
        control: template
            .as_ref()
            .map(|template| Control::new(template.get())),
        ..new
    };
    let (conn, is_new) = connect(netns, service, new, SchedTrigger::Server, rcu)?;
    if let (true, Some(template)) = (is_new, template) {
        template.hand_over();
    }
    Some(Outgoing::Conn(conn))
}
