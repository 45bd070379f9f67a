// SPDX-License-Identifier: GPL-2.0

//! Creates connections: selects a service and a server for a client's first packet. C:
//! `ip_vs_schedule()`.

pub(crate) mod conn_out;
pub(crate) mod persist;

use crate::{
    app::Bound,
    conn::{
        session::Session,
        Conn,
        NewConn,
        PublishedConn, //
    },
    family::Family,
    log,
    netns::{
        services::{
            FTPDATA,
            FTPPORT, //
        },
        Netns, //
    },
    nfct,
    packet::Packet,
    service::dest::Dest,
    service::Service,
    stats::packet::PacketStats,
};
use ipvs_core::{
    flow::Flow,
    forward::FwdMethod,
    net::{
        Be16, //
    },
    proto::Protocol,
    sched::SchedRequest, //
};
use kernel::sync::Arc;
use linux::{
    expiring::Refused,
    icmp::{
        self,
        Problem, //
    },
    jiffies::HZ,
    netfilter::Verdict,
    rcu::{
        Borrowed,
        ReadLocked, //
    },
    skb::Skb, //
};

/// The timeout of a new connection until its protocol sets another one, in ticks (C: `3 * HZ`).
pub(crate) const INITIAL_TIMEOUT: u32 = 3 * HZ;

/// The result of scheduling a packet that has no connection.
pub(crate) enum Scheduled<'rcu, F: Family> {
    /// A connection, new or just made by another packet.
    Conn(Skb, &'rcu PublishedConn<F>),
    /// A connection for this packet alone.
    OnePacket(Skb, Conn<F>),
    /// No connection; the verdict on the packet.
    Verdict(Verdict),
}

/// The kind of packet that a connection is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchedTrigger {
    /// A client's packet without a connection.
    Request,
    /// A client's packet whose old connection was ended in order to be replaced.
    Replacement,
    /// An ICMP error about a packet to the client.
    Error,
    /// A server's packet to a client.
    Server,
}

/// A packet to be scheduled.
struct Request<'a, F: Family> {
    protocol: Protocol,
    flow: &'a Flow<F::Addr>,
    /// The flow's hash in the table of connections.
    hash: u32,
    trigger: SchedTrigger,
}

/// Schedules a client's packet: finds its service, and makes a connection to a server of that. C:
/// `tcp_conn_schedule()`, `udp_conn_schedule()`, `sctp_conn_schedule()`.
pub(crate) fn request<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: Skb,
    packet: &Packet<F>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Scheduled<'rcu, F> {
    if !packet.transport.complete {
        return Scheduled::Verdict(Verdict::Drop(skb));
    }
    if !packet.transport.may_start(&netns.settings) {
        return Scheduled::Verdict(Verdict::Accept(skb));
    }
    let request = Request {
        protocol: packet.protocol,
        flow: &packet.flow,
        hash: packet.hash,
        trigger,
    };
    schedule(netns, skb, &request, rcu)
}

/// Schedules an ICMP error about an answer, like a request of the opposite flow (sysctl
/// `schedule_icmp`). `flow` is the flow of requests, `hash` its hash in the table of connections.
/// Only the ports of the embedded packet are known, not its TCP flags or SCTP chunks.
pub(crate) fn request_of_error<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: Skb,
    protocol: Protocol,
    flow: &Flow<F::Addr>,
    hash: u32,
    rcu: ReadLocked<'rcu>,
) -> Scheduled<'rcu, F> {
    let request = Request {
        protocol,
        flow,
        hash,
        trigger: SchedTrigger::Error,
    };
    schedule(netns, skb, &request, rcu)
}

fn schedule<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: Skb,
    request: &Request<'_, F>,
    rcu: ReadLocked<'rcu>,
) -> Scheduled<'rcu, F> {
    let &Request { flow, protocol, .. } = request;
    let (tables, state) = (netns.service_tables(), netns.state::<F>());
    let counts = &state.service_counts;
    let Some(service) = tables.find_for_packet::<F>(counts, netns.net(), skb.mark(), flow, rcu)
    else {
        return Scheduled::Verdict(Verdict::Accept(skb));
    };
    if netns.settings.defence.drops_packet() {
        return Scheduled::Verdict(Verdict::Drop(skb));
    }
    // An FTP data connection belongs to a control connection, and is never scheduled by itself.
    if flow.src_port == FTPDATA {
        return Scheduled::Verdict(Verdict::Accept(skb));
    }
    // Answers of servers on this host are no requests.
    let is_of_this_host = skb.device().is_none_or(|device| device.is_loopback());
    if is_of_this_host && Conn::is_reply_of_service(&state.conns, request.hash, rcu, flow) {
        return Scheduled::Verdict(Verdict::Accept(skb));
    }
    if service.is_persistent() {
        return persist::schedule(netns, skb, request, service, rcu);
    }
    if service.fwmark() == 0 && service.port() != flow.dst_port {
        if service.port() == Be16::ZERO {
            log::port_zero(netns.net(), service.label());
        }
        return leave(netns, skb, request, service, rcu);
    }
    let Some(dest) = service.schedule(netns.net(), &sched_request(request), rcu) else {
        return leave(netns, skb, request, service, rcu);
    };

    let Some(shared) = dest.share() else {
        return Scheduled::Verdict(Verdict::Drop(skb));
    };
    let new = NewConn {
        protocol,
        flow: *flow,
        hash: request.hash,
        daddr: dest.addr(),
        dport: match dest.port() {
            Be16::ZERO => flow.dst_port,
            port => port,
        },
        flags: dest.conn_flags(),
        dest: Some(shared),
        control: None,
        timeout: INITIAL_TIMEOUT,
    };
    if is_one_packet(&service, Some(&dest), protocol) {
        return one_packet(netns, service, skb, new, rcu);
    }
    match connect(netns, service, new, request.trigger, rcu) {
        Some((conn, _)) => Scheduled::Conn(skb, conn),
        None => Scheduled::Verdict(Verdict::Drop(skb)),
    }
}

/// Returns whether each packet of a flow is scheduled on its own: only for UDP, if the service or
/// the selected server has the flag. C: `IP_VS_SVC_F_ONEPACKET`, `IP_VS_CONN_F_ONE_PACKET`.
fn is_one_packet(service: &Service, dest: Option<&Dest>, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Tcp | Protocol::Sctp => false,
        Protocol::Udp => service.is_one_packet() || dest.is_some_and(Dest::is_one_packet),
    }
}

/// Makes a connection for a single packet, or drops the packet if there is no room.
fn one_packet<'rcu, F: Family>(
    netns: &Netns,
    service: Borrowed<'rcu, Service>,
    skb: Skb,
    new: NewConn<F>,
    rcu: ReadLocked<'rcu>,
) -> Scheduled<'rcu, F> {
    match one_packet_conn(netns, service, new, rcu) {
        Some(conn) => Scheduled::OnePacket(skb, conn),
        None => Scheduled::Verdict(Verdict::Drop(skb)),
    }
}

/// Makes and counts a connection for a single packet, which is in no table and needs no allocation.
/// `None` if the namespace has `conn_max` connections already: the C module's connection would
/// count as one more while the packet is sent.
fn one_packet_conn<'rcu, F: Family>(
    netns: &Netns,
    service: Borrowed<'rcu, Service>,
    mut new: NewConn<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<Conn<F>> {
    if !netns.has_room() {
        return None;
    }
    new.flags |= nfct::conn_flags(netns);
    let conn = Conn::one_packet(new);
    count_connection(netns, service, &conn, rcu);
    Some(conn)
}

/// Counts a new connection in the statistics of its server, of `service` and of the namespace. C:
/// `ip_vs_conn_stats()`.
#[inline]
fn count_connection<'rcu, F: Family>(
    netns: &Netns,
    service: Borrowed<'rcu, Service>,
    conn: &Conn<F>,
    rcu: ReadLocked<'rcu>,
) {
    let stats = &netns.service_tables().stats;
    if let Some(packet_stats) = PacketStats::of_new_conn(conn, service, stats, rcu) {
        packet_stats.connection();
    }
}

/// Returns the parameters of a packet for a scheduler.
fn sched_request<F: Family>(request: &Request<'_, F>) -> SchedRequest {
    let flow = request.flow;
    SchedRequest {
        client: flow.src.into(),
        client_port: flow.src_port,
        target: match request.trigger {
            // C's schedulers by destination use that of the embedded packet, which is the client.
            SchedTrigger::Error => flow.src.into(),
            _ => flow.dst.into(),
        },
    }
}

/// Makes a connection and counts it, unless another packet has just made it. Returns it, and `true`
/// if it is new. `None` as for [`publish`].
fn connect<'rcu, F: Family>(
    netns: &'rcu Netns,
    service: Borrowed<'rcu, Service>,
    new: NewConn<F>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, bool)> {
    let (conn, is_new) = publish(netns, new, trigger, rcu)?;
    if is_new {
        count_connection(netns, service, conn, rcu);
    }
    Some((conn, is_new))
}

/// Makes a connection and publishes it, unless another packet has just done so. Returns the
/// connection, and `true` if it is new. `None` if there is no memory, or the namespace has
/// `conn_max` connections already. (The C module may make such a connection twice.)
///
/// For [`SchedTrigger::Request`] and [`SchedTrigger::Error`] no connection was found before, so any
/// that has been published meanwhile is used, whatever its server. For the other triggers, there
/// may be an older connection of the same flow with another server. It is used only if its server,
/// port and forwarding method are those of the new one. Otherwise both connections exist from then
/// on: the client's packets find the newer one, as in the C module, and the answers of each server
/// find their own.
fn publish<'rcu, F: Family>(
    netns: &'rcu Netns,
    new: NewConn<F>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, bool)> {
    publish_data(netns, new, None, trigger, rcu)
}

/// Makes a connection and publishes it as [`publish`] does: a data connection of `parent`, which counts
/// it, if there is one.
pub(crate) fn publish_data<'rcu, F: Family>(
    netns: &Netns,
    new: NewConn<F>,
    parent: Option<&Arc<Session<F>>>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, bool)> {
    let takes_any = matches!(trigger, SchedTrigger::Request | SchedTrigger::Error);
    let like = |new: &Conn<F>| {
        let way = (!takes_any).then(|| new.way());
        move |other: &Conn<F>| way.is_none_or(|way| other.way() == way)
    };
    enter(netns, new, parent, netns.conn_max(), like, rcu)
}

/// Makes a connection that another director has told of, and publishes it as [`publish`] does, unless
/// any of the same flow has just been published. `old` is one of the same flow in whose place the new
/// one is; it is found until the caller ends it.
pub(crate) fn publish_synced<'rcu, F: Family>(
    netns: &Netns,
    new: NewConn<F>,
    old: Option<&Conn<F>>,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, bool)> {
    let most = netns.conn_max().saturating_add(usize::from(old.is_some()));
    let like =
        |_: &Conn<F>| move |other: &Conn<F>| old.is_none_or(|old| !core::ptr::eq(old, other));
    enter(netns, new, None, most, like, rcu)
}

/// Makes a connection and publishes it, unless there is one of the same flow that the function which
/// `like` makes of the new one approves.
#[inline]
fn enter<'rcu, F: Family, L: Fn(&Conn<F>) -> bool>(
    netns: &Netns,
    mut new: NewConn<F>,
    parent: Option<&Arc<Session<F>>>,
    most: usize,
    like: impl FnOnce(&Conn<F>) -> L,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, bool)> {
    new.flags |= nfct::conn_flags(netns);
    let state = netns.state::<F>();
    let conns = &state.conns;
    let hash = new.hash;
    let conn = match (bind(netns, &new, rcu), parent) {
        (None, None) => Conn::new(conns, new, most),
        (bound, parent) => Conn::of_application(conns, new, bound, parent, most),
    };
    let conn = match conn {
        Ok(conn) => conn,
        Err(Refused::Full) => return None,
        Err(Refused::NoMemory) => {
            log::no_memory(netns.net(), "a connection");
            return None;
        }
    };
    let flow = conn.request();
    let like = like(&conn);
    // Counted first, so that packets look for it as soon as it is there.
    let waits = conn.bits().no_cport();
    if waits {
        conns.owner().add_no_cport();
    }
    let published = conn.publish_hashed(rcu, hash, |other| other.takes(&flow) && like(other));
    if conns.unbalanced(rcu) {
        state.conn_resize.hurry();
    }
    match published {
        Ok(conn) => {
            if let Some(dest) = conn.dest() {
                dest.bind();
            }
            Some((conn, true))
        }
        Err(conn) => {
            if waits {
                conns.owner().remove_no_cport();
            }
            Some((conn, false))
        }
    }
}

/// Binds a new connection to the application of its virtual port, if there is one and addresses are
/// translated.
#[inline]
fn bind<F: Family>(netns: &Netns, new: &NewConn<F>, rcu: ReadLocked<'_>) -> Option<Bound> {
    let has_applications = match new.protocol {
        Protocol::Tcp => true,
        Protocol::Udp | Protocol::Sctp => false,
    };
    let may_be_bound = has_applications && FwdMethod::from_flags(new.flags) == FwdMethod::Masq;
    may_be_bound
        .then(|| Bound::new(&netns.app_uses, new.flow.dst_port, rcu))
        .flatten()
}

/// Handles a packet whose service has no server for it. C: `ip_vs_leave()`.
///
/// With `cache_bypass`, a packet of a firewall mark service gets a connection that forwards it to
/// its own destination, if that is a unicast address. Otherwise the packet is accepted if it
/// matched an FTP service only as a possible data connection, and refused if not. An ICMP error
/// never gets a connection, and is dropped instead of refused.
#[cold]
fn leave<'rcu, F: Family>(
    netns: &'rcu Netns,
    skb: Skb,
    request: &Request<'_, F>,
    service: Borrowed<'rcu, Service>,
    rcu: ReadLocked<'rcu>,
) -> Scheduled<'rcu, F> {
    let &Request {
        protocol,
        flow,
        trigger,
        ..
    } = request;
    if trigger == SchedTrigger::Error
        || !netns.settings.cache_bypass.is_set()
        || service.fwmark() == 0
        || !F::is_unicast(netns.net(), flow.dst)
    {
        // It matched the FTP service as a possible data connection, but may be for another local
        // service.
        return Scheduled::Verdict(if service.port() == FTPPORT && flow.dst_port != FTPPORT {
            Verdict::Accept(skb)
        } else if trigger == SchedTrigger::Error {
            Verdict::Drop(skb)
        } else {
            refuse(skb, netns)
        });
    }
    let new = NewConn {
        protocol,
        flow: *flow,
        hash: request.hash,
        daddr: F::Addr::default().into(),
        dport: Be16::ZERO,
        flags: FwdMethod::Bypass.number(),
        dest: None,
        control: None,
        timeout: INITIAL_TIMEOUT,
    };
    if is_one_packet(&service, None, protocol) {
        return one_packet(netns, service, skb, new, rcu);
    }
    match publish(netns, new, trigger, rcu) {
        Some((conn, _)) => Scheduled::Conn(skb, conn),
        None => Scheduled::Verdict(Verdict::Drop(skb)),
    }
}

/// Drops a packet and sends an ICMP "port unreachable" error to its sender: a client whose service
/// has no server, or a server whose connection is gone.
pub(crate) fn refuse(mut skb: Skb, netns: &Netns) -> Verdict {
    icmp::send(&mut skb, netns.net(), Problem::PortUnreachable);
    Verdict::Drop(skb)
}
