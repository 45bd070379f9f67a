// SPDX-License-Identifier: GPL-2.0

//! Connections that a server starts, as far as a persistence engine wants that: answers to what it
//! sends must get back to it. C: `__ip_vs_rs_conn_out()`, `ip_vs_new_conn_out()`.

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

/// The connection of a server's datagram.
pub(crate) enum Outgoing<'rcu, F: Family> {
    /// A new one.
    Conn(&'rcu PublishedConn<F>),
    /// One for it alone.
    OnePacket(Conn<F>),
}

/// Makes a connection of a datagram that comes from a server whose packets are translated, and is no
/// answer. Under RCU. `None` if its service has no persistence engine, or is one by firewall mark or
/// for all ports, so that it is not known what the client must see; or if there is no room.
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
        // Its sender is there.
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
