// SPDX-License-Identifier: GPL-2.0

//! The netfilter hooks, through which packets enter IPVS. C: `ip_vs_core.c`.
//!
//! On LOCAL_IN and LOCAL_OUT the C module has two hooks with adjacent priorities, one for answers
//! and one for requests, each with its own look-up of the connection. Here one hook handles both
//! with one look-up.

mod icmp;
mod icmp_tunnel;
mod ipsec;

use crate::{
    app,
    conn::{
        self,
        Bits,
        Conn,
        Found,
        PublishedConn, //
    },
    family::{
        Defrag,
        Family,
        Header,
        V4,
        V6, //
    },
    ipvs_xmit, master,
    netns::{
        tables::PerFamily,
        Netns, //
    },
    nfct,
    packet::Packet,
    proto::{
        self,
        Transport, //
    },
    schedule::{
        self,
        conn_out::Outgoing,
        SchedTrigger,
        Scheduled, //
    },
    service::dest,
    stats::packet::PacketStats,
};
use core::marker::PhantomData;
use ipvs_core::{
    flow::Flow,
    forward::FwdMethod,
    proto::{
        Direction,
        Protocol as IpProtocol, //
    },
    sched::Server,
    transport::End, //
};
use kernel::prelude::*;
use linux::{
    netfilter::{
        DefragUser,
        Hook,
        HookNum,
        HookOps,
        HookState,
        Protocol,
        Verdict,
        NF_IP_PRI_NAT_DST,
        NF_IP_PRI_NAT_SRC, //
    },
    rcu::ReadLocked,
    skb::Skb, //
};

/// The LOCAL_IN hook, after filtering: requests, and answers to clients on this host. C:
/// `ip_vs_out_hook()`, `ip_vs_in_hook()`.
struct LocalIn<F>(PhantomData<F>);

/// The LOCAL_OUT hook: requests of clients on this host, and answers of servers on this host. C:
/// `ip_vs_out_hook()`, `ip_vs_in_hook()`.
struct LocalOut<F>(PhantomData<F>);

/// The FORWARD hook, after filtering: answers, and ICMP errors of either direction. C:
/// `ip_vs_forward_icmp()`, `ip_vs_out_hook()`.
struct Forward<F>(PhantomData<F>);

/// Returns the hooks of an address family.
const fn ops<F: Family>() -> [HookOps<Netns>; 3] {
    [
        HookOps::new::<LocalIn<F>>(),
        HookOps::new::<LocalOut<F>>(),
        HookOps::new::<Forward<F>>(),
    ]
}

/// The hooks for IPv4. C: `ip_vs_ops4`.
pub(crate) static OPS4: [HookOps<Netns>; 3] = ops::<V4>();

/// The hooks for IPv6, with the same priorities. C: `ip_vs_ops6`.
pub(crate) static OPS6: [HookOps<Netns>; 3] = ops::<V6>();

impl<F: Family> Hook for LocalIn<F> {
    type Context = Netns;
    const PROTOCOL: Protocol = F::PROTOCOL;
    const HOOK: HookNum = HookNum::LocalIn;
    const PRIORITY: i32 = NF_IP_PRI_NAT_SRC - 2;

    fn run<'rcu>(
        netns: Pin<&'rcu Netns>,
        skb: Skb,
        state: &HookState<'rcu>,
        rcu: ReadLocked<'rcu>,
    ) -> Verdict {
        if skb.ipvs_property() || skb.route().is_none() {
            return Verdict::Accept(skb);
        }
        // A packet that the link layer addressed to another host must not create a connection.
        let takes_requests = skb.is_for_this_host() && !netns.settings.is_backup_only();
        let cx = Context::<F>::new(netns.get_ref(), state, rcu, takes_requests);
        cx.packet(skb)
    }
}

impl<F: Family> Hook for LocalOut<F> {
    type Context = Netns;
    const PROTOCOL: Protocol = F::PROTOCOL;
    const HOOK: HookNum = HookNum::LocalOut;
    const PRIORITY: i32 = NF_IP_PRI_NAT_DST + 1;

    fn run<'rcu>(
        netns: Pin<&'rcu Netns>,
        skb: Skb,
        state: &HookState<'rcu>,
        rcu: ReadLocked<'rcu>,
    ) -> Verdict {
        if skb.ipvs_property() || skb.is_nodefrag() || skb.route().is_none() {
            return Verdict::Accept(skb);
        }
        let takes_requests = !netns.settings.is_backup_only();
        Context::<F>::new(netns.get_ref(), state, rcu, takes_requests).packet(skb)
    }
}

impl<F: Family> Hook for Forward<F> {
    type Context = Netns;
    const PROTOCOL: Protocol = F::PROTOCOL;
    const HOOK: HookNum = HookNum::Forward;
    // In the C module ICMP has priority 99 on this hook, and answers 100.
    const PRIORITY: i32 = 99;

    fn run<'rcu>(
        netns: Pin<&'rcu Netns>,
        skb: Skb,
        state: &HookState<'rcu>,
        rcu: ReadLocked<'rcu>,
    ) -> Verdict {
        if skb.ipvs_property() || skb.route().is_none() {
            return Verdict::Accept(skb);
        }
        Context::<F>::new(netns.get_ref(), state, rcu, false).packet(skb)
    }
}

/// Returns whether connection tracking has an entry for a packet that other packets may find.
fn has_confirmed_entry(skb: &mut Skb) -> bool {
    skb.conntrack_entry()
        .is_some_and(|entry| entry.is_confirmed())
}

/// The environment of a packet on its path through a hook.
struct Context<'rcu, F> {
    netns: &'rcu Netns,
    hook: HookNum,
    rcu: ReadLocked<'rcu>,
    takes_requests: bool,
    _family: PhantomData<F>,
}

impl<'rcu, F: Family> Context<'rcu, F> {
    #[inline]
    fn new(
        netns: &'rcu Netns,
        state: &HookState<'rcu>,
        rcu: ReadLocked<'rcu>,
        takes_requests: bool,
    ) -> Self {
        Self {
            netns,
            hook: state.hook(),
            rcu,
            takes_requests,
            _family: PhantomData,
        }
    }

    /// Returns the namespace's state for the address family.
    #[inline]
    fn state(&self) -> &'rcu PerFamily<F> {
        self.netns.state()
    }

    #[inline]
    fn packet(&self, skb: Skb) -> Verdict {
        let Some(header) = F::header(&skb) else {
            return Verdict::Accept(skb);
        };
        if header.protocol() == F::PROTO_ICMP {
            return icmp::packet(self, skb, header);
        }
        let Some(protocol) = IpProtocol::from_number(header.protocol()) else {
            return self.without_service(skb, header);
        };
        if header.is_fragment() {
            return self.fragment(skb, header, protocol);
        }
        self.whole(skb, header, protocol)
    }

    /// Handles a packet of a protocol that services do not support.
    #[inline(never)]
    fn without_service(&self, skb: Skb, header: F::Header) -> Verdict {
        if proto::is_ipsec(header.protocol()) {
            ipsec::packet(self, skb, &header)
        } else {
            self.of_no_service(skb, header.protocol())
        }
    }

    /// Accepts a packet of a protocol that IPVS does not handle. With `ignore_tunneled`, marks a
    /// packet that may be a tunnel, so that the packet decapsulated from it is not scheduled. C:
    /// the check for an unknown protocol in `ip_vs_in_hook()`.
    #[inline(never)]
    fn of_no_service(&self, mut skb: Skb, protocol: u8) -> Verdict {
        if self.takes_requests
            && self.netns.settings.ignore_tunneled.is_set()
            && proto::may_be_tunnel(protocol)
        {
            skb.set_ipvs_property();
        }
        Verdict::Accept(skb)
    }

    /// Passes a fragment to defragmentation. C: `ip_vs_gather_frags()`, `ip_vs_defrag_user()`.
    #[cold]
    fn defrag(&self, skb: Skb, header: F::Header) -> Defrag<F::Header> {
        let user = match self.hook {
            HookNum::LocalIn => DefragUser::VsIn,
            HookNum::Forward => DefragUser::VsFwd,
            HookNum::LocalOut => DefragUser::VsOut,
        };
        F::defrag(skb, header, self.netns.net(), user)
    }

    #[cold]
    fn fragment(&self, skb: Skb, header: F::Header, protocol: IpProtocol) -> Verdict {
        match self.defrag(skb, header) {
            // Fragments of different protocols are never reassembled into one packet.
            Defrag::Whole(skb, header) => self.whole(skb, header, protocol),
            Defrag::Alone(skb) => Verdict::Accept(skb),
            Defrag::Kept => Verdict::Stolen,
        }
    }

    /// Handles a packet that is no fragment, of a protocol that services support.
    #[inline]
    fn whole(&self, skb: Skb, header: F::Header, protocol: IpProtocol) -> Verdict {
        let Some(transport) = Transport::read(&skb, &header, protocol) else {
            // Too short for the ports: it belongs to no connection and can't make one.
            return if self.takes_requests {
                Verdict::Drop(skb)
            } else {
                Verdict::Accept(skb)
            };
        };
        let flow = Flow {
            protocol: protocol.number(),
            src: header.src(),
            src_port: transport.ports.src,
            dst: header.dst(),
            dst_port: transport.ports.dst,
        };
        let packet = Packet {
            header,
            protocol,
            transport,
            flow,
            hash: flow.hash(&self.state().conn_key),
        };
        let (netns, state) = (self.netns, self.state());
        let found = Conn::find(&state.conns, packet.hash, self.rcu, &flow);
        let conn = match found {
            Some(Found::Answer(conn)) => return self.answer(skb, &packet, conn),
            Some(Found::Request(conn)) => Some(conn),
            None if self.takes_requests && state.conns.owner().has_no_cport() => {
                match app::ftp::with_cport(netns, &packet, self.rcu) {
                    Ok(conn) => conn,
                    Err(_) => return Verdict::Drop(skb),
                }
            }
            None => None,
        };
        let skb = if state.service_counts.any_conn_out() {
            match self.started_by_server(skb, &packet) {
                Ok(verdict) => return verdict,
                Err(skb) => skb,
            }
        } else {
            skb
        };
        match conn {
            _ if netns.settings.nat_icmp_send.is_set() && self.is_lost_answer(&packet) => {
                schedule::refuse(skb, netns)
            }
            _ if !self.takes_requests => Verdict::Accept(skb),
            Some(conn) => self.request(skb, &packet, conn),
            None => self.new_request(skb, &packet, SchedTrigger::Request),
        }
    }

    /// Returns whether a packet that answers no known connection comes from the address and port of
    /// a NAT server, so that the server should be told that the connection is gone (sysctl
    /// `nat_icmp_send`). `false` for a TCP reset or SCTP ABORT, which needs no response. C:
    /// `ip_vs_has_real_service()`.
    #[cold]
    fn is_lost_answer(&self, packet: &Packet<F>) -> bool {
        let Flow {
            protocol,
            src,
            src_port,
            ..
        } = packet.flow;
        dest::translated(
            &self.netns.service_tables().dests,
            protocol,
            src.into(),
            src_port,
            self.rcu,
        )
        .is_some()
            && !packet.transport.is_reset()
    }

    /// Handles a UDP packet that is no answer of a known connection, but comes from a server of a
    /// service with a persistence engine: the server starts a connection, or answers a packet that
    /// was scheduled without one. Returns any other packet as `Err`. C: `__ip_vs_rs_conn_out()`.
    #[cold]
    fn started_by_server(&self, mut skb: Skb, packet: &Packet<F>) -> Result<Verdict, Skb> {
        if packet.protocol != IpProtocol::Udp || self.hook == HookNum::LocalIn {
            return Err(skb);
        }
        match schedule::conn_out::of_server(self.netns, &mut skb, packet, self.rcu) {
            Some(Outgoing::Conn(conn)) => Ok(self.answer(skb, packet, conn)),
            Some(Outgoing::OnePacket(conn)) => Ok(match self.give_back(skb, packet, &conn) {
                Some(skb) => Verdict::Accept(skb),
                None => Verdict::Stolen,
            }),
            None => Err(skb),
        }
    }

    /// Handles an answer of a known connection. C: `handle_response()`.
    #[inline]
    fn answer(&self, skb: Skb, packet: &Packet<F>, conn: &'rcu PublishedConn<F>) -> Verdict {
        let Some(skb) = self.give_back(skb, packet, conn) else {
            return Verdict::Stolen;
        };
        proto::step(conn, Direction::Output, &packet.transport, self.netns);
        Verdict::Accept(skb)
    }

    /// Translates an answer, for NAT, and counts it. Frees the packet and returns `None` if there
    /// is no memory or no route to the client.
    #[inline]
    fn give_back(&self, mut skb: Skb, packet: &Packet<F>, conn: &Conn<F>) -> Option<Skb> {
        let bits = conn.bits();
        if bits.fwd_method() == FwdMethod::Masq {
            ipvs_xmit::snat(
                &mut skb,
                conn,
                bits,
                &packet.header,
                self.netns,
                self.hook,
                self.rcu,
            )
            .ok()?;
        }
        self.mark_answer(&mut skb, conn, bits);
        Some(skb)
    }

    /// Counts a packet from the server's side, which has been translated if it had to be, and marks
    /// it as handled. `bits` are those of the connection.
    #[inline]
    fn mark_answer(&self, skb: &mut Skb, conn: &Conn<F>, bits: Bits) {
        self.count_answer(conn, skb);
        skb.set_ipvs_property();
        nfct::track(skb, conn, bits, End::Src);
    }

    /// Handles a request of a known connection. C: the part of `ip_vs_in_hook()` for a connection
    /// that was found.
    #[inline]
    fn request(&self, mut skb: Skb, packet: &Packet<F>, conn: &'rcu PublishedConn<F>) -> Verdict {
        if packet.transport.is_new_conn()
            && (self.is_unwanted(conn)
                || self.may_be_reused(conn)
                    // Data connections need it, and its entry leads to its server.
                    && !(conn.has_data_conns() && has_confirmed_entry(&mut skb)))
        {
            return self.replace(skb, packet, conn);
        }
        if conn.dest().is_some_and(|dest| !dest.available()) {
            return if self.netns.settings.expire_nodest_conn.is_set() {
                self.replace(skb, packet, conn)
            } else {
                Verdict::Drop(skb)
            };
        }
        self.send(skb, packet, conn)
    }

    /// Ends the connection of a request, unless it has data connections, and schedules the packet
    /// anew, unless it is dropped; see [`Self::end`]. Then the client sends again.
    fn replace(&self, skb: Skb, packet: &Packet<F>, old: &PublishedConn<F>) -> Verdict {
        match self.end(skb, old) {
            Ok(skb) => self.new_request(skb, packet, SchedTrigger::Replacement),
            Err(verdict) => verdict,
        }
    }

    /// Ends the connection of a request, unless it has data connections. Drops the packet if
    /// conntrack has a confirmed entry for it, which still leads to the old server.
    fn end(&self, mut skb: Skb, old: &PublishedConn<F>) -> Result<Skb, Verdict> {
        let confirmed = has_confirmed_entry(&mut skb);
        // An entry that is not confirmed is that of the new connection already.
        let has_ended = conn::expire_now(old, self.state().conns.owner(), !confirmed);
        if !has_ended && !confirmed {
            conn::keep_entry(old);
        }
        if confirmed {
            Err(Verdict::Drop(skb))
        } else {
            Ok(skb)
        }
    }

    /// Returns whether a SYN or INIT replaces the connection that it belongs to since its server has
    /// weight 0 and `expire_nodest_conn` is set.
    fn is_unwanted(&self, conn: &Conn<F>) -> bool {
        self.netns.settings.expire_nodest_conn.is_set()
            && conn.dest().is_some_and(|dest| dest.weight() == 0)
    }

    /// Returns whether a SYN or INIT may replace the connection that it belongs to, since that is
    /// closed as far as `conn_reuse_mode` requires. C: `is_new_conn_expected()`.
    fn may_be_reused(&self, conn: &Conn<F>) -> bool {
        let settings = &self.netns.settings;
        // The template, or the control connection, would lead to the same server.
        if conn.is_controlled() {
            return false;
        }
        proto::may_be_reused(conn.protocol(), conn.bits(), settings.conn_reuse_mode.get())
    }

    /// Schedules a request without a connection, and sends it.
    #[inline]
    fn new_request(&self, skb: Skb, packet: &Packet<F>, trigger: SchedTrigger) -> Verdict {
        match schedule::request(self.netns, skb, packet, trigger, self.rcu) {
            Scheduled::Conn(skb, conn) => self.send(skb, packet, conn),
            Scheduled::OnePacket(skb, conn) => {
                self.count_request(&conn, &skb);
                ipvs_xmit::packet_xmit(skb, &conn, &packet.header, self.netns, self.rcu)
            }
            Scheduled::Verdict(verdict) => verdict,
        }
    }

    #[inline]
    fn send(&self, skb: Skb, packet: &Packet<F>, conn: &'rcu PublishedConn<F>) -> Verdict {
        self.count_request(conn, &skb);
        let packets = conn.count_packet();
        proto::step(conn, Direction::Input, &packet.transport, self.netns);
        if self.netns.settings.has_sync_master() {
            master::request(self.netns, conn, packet.hash, packets, self.rcu);
        }
        ipvs_xmit::packet_xmit(skb, conn, &packet.header, self.netns, self.rcu)
    }

    /// Returns the statistics that the packets of a connection are counted in. `None` if its server
    /// is not available.
    #[inline]
    fn packet_stats<I: Family>(&self, conn: &Conn<I>) -> Option<PacketStats<'_, 'rcu>> {
        PacketStats::of_conn(conn, &self.netns.service_tables().stats, self.rcu)
    }

    #[inline]
    fn count_request(&self, conn: &Conn<F>, skb: &Skb) {
        if let Some(packet_stats) = self.packet_stats(conn) {
            packet_stats.request(skb.len());
        }
    }

    #[inline(always)]
    fn count_answer(&self, conn: &Conn<F>, skb: &Skb) {
        if let Some(packet_stats) = self.packet_stats(conn) {
            packet_stats.answer(skb.len());
        }
    }
}
