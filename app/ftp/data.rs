// SPDX-License-Identifier: GPL-2.0

//! The data connections of FTP: made when they are announced, and completed when they come.

use crate::{
    conn::{
        self,
        session::{
            Place,
            Session, //
        },
        Conn,
        Found,
        NewConn,
        PublishedConn, //
    },
    family::Family,
    netns::Netns,
    packet::Packet,
    proto::nat::Untranslatable,
    schedule::{
        self,
        SchedTrigger, //
    },
};
use ipvs_core::{
    flow::Flow,
    net::Be16,
    netlink::CONN_F_NFCT,
    proto::Protocol,
    tcp::TcpState, //
};
use kernel::sync::Arc;
use linux::rcu::ReadLocked;

/// Finds the connection of a flow, which may be one that waits for the client's port.
pub(super) fn find<'rcu, F: Family>(
    netns: &'rcu Netns,
    flow: &Flow<F::Addr>,
    rcu: ReadLocked<'rcu>,
) -> Option<Found<'rcu, F>> {
    let state = netns.state::<F>();
    let found = Conn::find(&state.conns, flow.hash(&state.conn_key), rcu, flow);
    found.or_else(|| {
        if !state.conns.owner().has_no_cport() {
            return None;
        }
        waiting::<F>(netns, flow, rcu).map(Found::Request)
    })
}

/// Finds the connection to the destination of a client's flow that waits for the client's port.
#[cold]
pub(crate) fn waiting<'rcu, F: Family>(
    netns: &Netns,
    flow: &Flow<F::Addr>,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let state = netns.state::<F>();
    let flow = Flow {
        src_port: Be16::ZERO,
        ..*flow
    };
    match Conn::find(&state.conns, flow.hash(&state.conn_key), rcu, &flow) {
        Some(Found::Request(conn)) if conn.bits().no_cport() => Some(conn),
        _ => None,
    }
}

/// Finds the connection that waits for the client's port, which `packet` says, if there is one, and
/// puts one with that port in its place. C: `ip_vs_conn_fill_cport()`.
///
/// The new one is found before the old one isn't any more, so that no packet finds none. Of two
/// clients' ports at the same time, both may get a connection, to the same port of the server.
///
/// # Errors
///
/// There is no memory or no room for the new one; the packet must be dropped.
#[cold]
pub(crate) fn with_cport<'rcu, F: Family>(
    netns: &'rcu Netns,
    packet: &Packet<F>,
    rcu: ReadLocked<'rcu>,
) -> Result<Option<&'rcu PublishedConn<F>>, Untranslatable> {
    let Some(old) = waiting::<F>(netns, &packet.flow, rcu) else {
        // Another packet may have put one in its place since it was looked for.
        let conns = &netns.state::<F>().conns;
        return Ok(match Conn::find(conns, packet.hash, rcu, &packet.flow) {
            Some(Found::Request(conn)) => Some(conn),
            _ => None,
        });
    };
    let conn = match old.parent() {
        Some(parent) => in_place_of(netns, old, parent, packet, rcu),
        None => told_in_place_of(netns, old, packet, rcu),
    };
    let conn = conn.ok_or(Untranslatable)?;
    // A data connection has none of its own.
    let _ = conn::expire_now(old, netns.state::<F>().conns.owner(), true);
    Ok(Some(conn))
}

fn in_place_of<'rcu, F: Family>(
    netns: &'rcu Netns,
    old: &PublishedConn<F>,
    parent: &Arc<Session<F>>,
    packet: &Packet<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let place = Place::new(parent)?;
    let new = NewConn {
        protocol: old.protocol(),
        flow: packet.flow,
        hash: packet.hash,
        daddr: old.daddr().into(),
        dport: old.dport(),
        dest: old.shared_dest(),
        control: None,
        flags: conn::flags_with_cport(old.bits()),
        timeout: schedule::INITIAL_TIMEOUT,
    };
    publish(netns, new, place, SchedTrigger::Request, rcu)
}

/// The same for a connection that another director has told of: it stays in its state, and belongs to no
/// control connection here.
fn told_in_place_of<'rcu, F: Family>(
    netns: &Netns,
    old: &PublishedConn<F>,
    packet: &Packet<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let bits = old.bits();
    let new = NewConn {
        protocol: old.protocol(),
        flow: packet.flow,
        hash: packet.hash,
        daddr: old.server_addr(),
        dport: old.dport(),
        dest: old.shared_dest(),
        control: None,
        flags: bits.inherited().word(),
        timeout: schedule::INITIAL_TIMEOUT,
    };
    let (conn, is_new) = schedule::publish_synced(netns, new, Some(old), rcu)?;
    if is_new {
        conn.update(|new| new.with_active(bits.active()));
    }
    Some(conn)
}

/// Publishes a data connection that listens. One that another packet has just made begins to listen
/// again. C: `ip_vs_tcp_conn_listen()`.
fn publish<'rcu, F: Family>(
    netns: &'rcu Netns,
    new: NewConn<F>,
    place: Place<'_, F>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let (conn, is_new) = schedule::publish_data(netns, new, Some(place.session()), trigger, rcu)?;
    if is_new {
        place.hand_over();
    }
    listen(netns, conn);
    Some(conn)
}

pub(super) fn listen<F: Family>(netns: &Netns, conn: &PublishedConn<F>) {
    conn.update(|bits| bits.with_state(TcpState::Listen.number()));
    conn::restart_timer(conn, netns.timeouts.tcp(TcpState::Listen));
}

/// Makes a data connection of a control connection, to its server, with additional flags.
pub(super) fn data_conn<'rcu, F: Family>(
    netns: &'rcu Netns,
    control: &Conn<F>,
    session: &Arc<Session<F>>,
    flow: Flow<F::Addr>,
    server: (F::Addr, Be16),
    flags: u32,
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let place = Place::new(session)?;
    let dest = control.shared_dest();
    let of_method = match &dest {
        Some(dest) => dest.conn_flags(),
        None => control.fwd_method().conn_flags(),
    };
    let new = NewConn {
        protocol: Protocol::Tcp,
        flow,
        hash: flow.hash(&netns.state::<F>().conn_key),
        daddr: server.0.into(),
        dport: server.1,
        flags: of_method | CONN_F_NFCT | flags,
        dest,
        control: None,
        timeout: schedule::INITIAL_TIMEOUT,
    };
    // One of the same client and port that waits for another server is not this one.
    publish(netns, new, place, SchedTrigger::Replacement, rcu)
}

/// Finds or makes the connection that waits for the client to connect to a server that has announced
/// its address and port.
pub(super) fn announced<'rcu, F: Family>(
    netns: &'rcu Netns,
    control: &Conn<F>,
    session: &Arc<Session<F>>,
    server: (F::Addr, Be16),
    rcu: ReadLocked<'rcu>,
) -> Option<&'rcu PublishedConn<F>> {
    let state = netns.state::<F>();
    let answers = Flow {
        protocol: Protocol::Tcp.number(),
        src: server.0,
        src_port: server.1,
        dst: control.caddr(),
        dst_port: Be16::ZERO,
    };
    let hash = answers.hash(&state.conn_key);
    if let Some(Found::Answer(conn)) = Conn::find(&state.conns, hash, rcu, &answers) {
        listen(netns, conn);
        return Some(conn);
    }
    let flow = Flow {
        protocol: Protocol::Tcp.number(),
        src: control.caddr(),
        src_port: Be16::ZERO,
        dst: control.vaddr(),
        dst_port: server.1,
    };
    data_conn(netns, control, session, flow, server, conn::NO_CPORT, rcu)
}
