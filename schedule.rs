// SPDX-License-Identifier: GPL-2.0

//! New connections: from a client's first packet to a server. C: `ip_vs_schedule()`.

pub(crate) mod conn_out;
mod persist;

use crate::{
    conn::{
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

/// How long a connection lasts until its protocol says something (C: `3 * HZ`).
const INITIAL_TIMEOUT: u32 = 3 * HZ;

/// What came of a packet without a connection.
pub(crate) enum Scheduled<'rcu, F: Family> {
    /// It has one now.
    Conn(Skb, &'rcu PublishedConn<F>),
    /// It has one for itself.
    OnePacket(Skb, Conn<F>),
    /// It gets none, and this is what becomes of it.
    Verdict(Verdict),
}

/// What a connection is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchedTrigger {
    /// A client's packet that has no connection.
    Request,
    /// A client's packet whose connection was ended just now, to make another one.
    Replacement,
    /// An ICMP error about a packet to the client.
    Error,
    /// A server's packet to a client.
    Server,
}

/// What is known of a packet that may get a connection.
struct Request<'a, F: Family> {
    protocol: Protocol,
    flow: &'a Flow<F::Addr>,
    /// The flow's hash in the table of connections.
    hash: u32,
    trigger: SchedTrigger,
}

/// Finds a service for a packet, and a server for a new connection.
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
    if !packet.transport.may_start(packet.protocol, &netns.settings) {
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

/// The same for an ICMP error about an answer, of which only the ports are sure to be there. `flow` is
/// that of the request, `hash` its hash in the table of connections.
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
    // An FTP server's data connection is made by its control connection, if at all.
    if flow.src_port == FTPDATA {
        return Scheduled::Verdict(Verdict::Accept(skb));
    }
    // Nor is an answer of a server on this host a request.
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

/// Returns whether each packet of a flow is scheduled by itself: those of UDP, if the service says so,
/// or the server that this one goes to.
fn is_one_packet(service: &Service, dest: Option<&Dest>, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Tcp => false,
        Protocol::Udp => service.is_one_packet() || dest.is_some_and(Dest::is_one_packet),
    }
}

/// Gives a packet a connection for itself.
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

/// Makes a connection for a packet, which is in no table and allocates nothing, and counts it. `None`
/// if there is no room: it would be one more for as long as that takes.
fn one_packet_conn<'rcu, F: Family>(
    netns: &Netns,
    service: Borrowed<'rcu, Service>,
    new: NewConn<F>,
    rcu: ReadLocked<'rcu>,
) -> Option<Conn<F>> {
    if !netns.has_room() {
        return None;
    }
    let conn = Conn::one_packet(new);
    count_connection(netns, service, &conn, rcu);
    Some(conn)
}

/// Counts a new connection with a server of `service`.
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

/// Returns what a scheduler needs to know of a packet.
fn sched_request<F: Family>(request: &Request<'_, F>) -> SchedRequest {
    let flow = request.flow;
    SchedRequest {
        client: flow.src.into(),
        client_port: flow.src_port,
        target: match request.trigger {
            // C's schedulers by destination take that of the embedded packet, which is the client.
            SchedTrigger::Error => flow.src.into(),
            _ => flow.dst.into(),
        },
    }
}

/// Makes a connection and counts it, or finds it made; says which.
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

/// Makes a connection; or finds that another packet has just made it, which the C module may make
/// twice. Says which.
///
/// A client's packet that has found no connection takes any that is there by now, whatever server
/// that goes to. Otherwise there may be one that was there before, and is another server's: to be
/// taken, it must go the same way as the new one. If it does not, there are two from then on. The
/// client's packets find the newer one, as in the C module, and each server's answers their own.
fn publish<'rcu, F: Family>(
    netns: &'rcu Netns,
    new: NewConn<F>,
    trigger: SchedTrigger,
    rcu: ReadLocked<'rcu>,
) -> Option<(&'rcu PublishedConn<F>, bool)> {
    let state = netns.state::<F>();
    let conns = &state.conns;
    let hash = new.hash;
    let conn = match Conn::new(conns, new, netns.conn_max()) {
        Ok(conn) => conn,
        Err(Refused::Full) => return None,
        Err(Refused::NoMemory) => {
            log::no_memory(netns.net(), "a connection");
            return None;
        }
    };
    let flow = conn.request();
    let takes_any = matches!(trigger, SchedTrigger::Request | SchedTrigger::Error);
    let way = (!takes_any).then(|| conn.way());
    let published = conn.publish_hashed(rcu, hash, |other| {
        other.takes(&flow) && way.is_none_or(|way| other.way() == way)
    });
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
        Err(conn) => Some((conn, false)),
    }
}

/// What becomes of a packet whose service has no server for it. C: `ip_vs_leave()`.
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
        // By its address alone it may have come to a service of FTP, and be for others.
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

/// Tells the sender of a packet that nobody takes it: a client whose service has no server, a server
/// whose client is gone.
pub(crate) fn refuse(mut skb: Skb, netns: &Netns) -> Verdict {
    icmp::send(&mut skb, netns.net(), Problem::PortUnreachable);
    Verdict::Drop(skb)
}
