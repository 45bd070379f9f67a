// SPDX-License-Identifier: GPL-2.0

//! Connections. C: `struct ip_vs_conn`, `ip_vs_conn.c`.

mod bits;
mod expire;
pub(crate) mod expire_nodest;
mod lifetime;
mod nfct;
mod no_cport;
mod sent;
pub(crate) mod session;
pub(crate) mod sizing;
pub(crate) mod template;
mod ties;

pub(crate) use bits::Bits;
pub(crate) use expire::{
    expire_at,
    expire_now,
    keep_entry, //
};
pub(crate) use no_cport::{
    flags_with_cport,
    Owner,
    NO_CPORT, //
};

use crate::{
    app::Bound,
    family::Family,
    service::dest::Dest, //
};
use bits::{
    AtomicBits,
    F_APP,
    F_HASHED, //
};
use ipvs_core::{
    flow::{
        Flow,
        HashKey, //
    },
    forward::FwdMethod,
    net::{
        Addr,
        Address,
        Be16, //
    },
    netlink::{
        CONN_F_NFCT,
        CONN_F_ONE_PACKET, //
    },
    proto::Protocol, //
};
use kernel::sync::Arc;
use lifetime::{
    Deadline,
    PacketCount, //
};
use linux::{
    expiring::{
        self,
        Expiring,
        TableRef, //
    },
    jiffies,
    rcu::{
        Borrowed,
        ReadLocked,
        Shared, //
    },
    table::{
        Hashed,
        Seed, //
    },
};
use session::Session;
use template::Control;
use ties::Ties;

/// A connection between a client and a real server through a virtual service. C: `struct
/// ip_vs_conn`.
///
/// Packets read it under RCU, without a reference or a lock. The addresses, ports and protocol
/// never change. [`Bits`] change in one atomic step, so that exactly one of several concurrent
/// packets carries out the consequences of a change of state. The compiler orders the fields; with
/// the links of the table in front, they fill one cache line for IPv4.
pub(crate) struct Conn<F: Family> {
    caddr: F::Addr,
    vaddr: F::Addr,
    daddr: F::Addr,
    cport: Be16,
    vport: Be16,
    dport: Be16,
    protocol: Protocol,
    packets: PacketCount,
    bits: AtomicBits,
    deadline: Deadline,
    dest: Option<Shared<Dest>>,
    ties: Ties<F>,
}

/// The connection table of a namespace for one address family.
pub(crate) type ConnTable<F> = expiring::Table<Conn<F>>;

/// A connection in its table.
pub(crate) type PublishedConn<F> = Expiring<Conn<F>>;

/// The initial values of a connection. C: the arguments of `ip_vs_conn_new()`.
pub(crate) struct NewConn<F: Family> {
    /// The protocol of `flow`.
    pub(crate) protocol: Protocol,
    /// The client's first packet.
    pub(crate) flow: Flow<F::Addr>,
    /// The flow's hash in the table of connections.
    pub(crate) hash: u32,
    /// The server's address. An address of the other family is not stored in the connection; it is
    /// read from `dest`.
    pub(crate) daddr: Addr,
    /// The server's port.
    pub(crate) dport: Be16,
    /// The server; `None` for a connection that bypasses the servers, or whose server is not known.
    pub(crate) dest: Option<Shared<Dest>>,
    /// The template that the connection was made from. The connection counts as one of its users.
    pub(crate) control: Option<Control<F>>,
    /// Flags as returned by [`Dest::conn_flags`]; with a state, those of [`Bits::word`].
    pub(crate) flags: u32,
    /// The idle timeout, in ticks.
    pub(crate) timeout: u32,
}

/// The connection that a packet belongs to, and the packet's direction in it.
pub(crate) enum Found<'rcu, F: Family> {
    /// The packet comes from the client.
    Request(&'rcu PublishedConn<F>),
    /// The packet comes from the server.
    Answer(&'rcu PublishedConn<F>),
}

impl<F: Family> Conn<F> {
    /// Allocates a connection of `table`, which is not published yet. C: `ip_vs_conn_new()`.
    ///
    /// # Errors
    ///
    /// There is no memory, or the namespace already has `most` connections and templates.
    pub(crate) fn new(
        table: &TableRef<Self>,
        new: NewConn<F>,
        most: usize,
    ) -> Result<expiring::New<'_, Self>, expiring::Refused> {
        ConnTable::alloc(table, Self::with_bits(new, F_HASHED), most)
    }

    /// Allocates a connection as [`Self::new`] does, for an application: with `bound` the control
    /// connection of a new session, with `parent` a data connection of that session, which counts it.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    #[cold]
    #[inline(never)]
    pub(crate) fn of_application<'a>(
        table: &'a TableRef<Self>,
        mut new: NewConn<F>,
        bound: Option<Bound>,
        parent: Option<&Arc<Session<F>>>,
        most: usize,
    ) -> Result<expiring::New<'a, Self>, expiring::Refused> {
        let bits = match &bound {
            Some(_) => F_HASHED | F_APP | CONN_F_NFCT,
            None => F_HASHED,
        };
        let session = bound.map(|bound| Session::new(new.flow, bound));
        let ties = Ties::of_application(new.control.take(), session, parent.cloned())
            .map_err(|_| expiring::Refused::NoMemory)?;
        let conn = Self {
            ties,
            ..Self::with_bits(new, bits)
        };
        ConnTable::alloc(table, conn, most)
    }

    /// Makes a connection that only lives while a single packet is sent. It is in no table, and is
    /// not counted among the connections of its server, nor for `conn_max`. C:
    /// `IP_VS_CONN_F_ONE_PACKET`.
    pub(crate) fn one_packet(new: NewConn<F>) -> Self {
        Self::with_bits(new, CONN_F_ONE_PACKET)
    }

    fn with_bits(new: NewConn<F>, bits: u32) -> Self {
        Self {
            caddr: new.flow.src,
            vaddr: new.flow.dst,
            daddr: F::Addr::of(new.daddr).unwrap_or_default(),
            cport: new.flow.src_port,
            vport: new.flow.dst_port,
            dport: new.dport,
            protocol: new.protocol,
            packets: PacketCount::new(),
            bits: AtomicBits::new(Bits((new.flags & !CONN_F_ONE_PACKET) | bits)),
            deadline: Deadline::after(new.timeout),
            dest: new.dest,
            ties: Ties::of_template(new.control),
        }
    }

    /// Finds the connection that a packet belongs to. If the packet matches one connection as an
    /// answer and another as a request, the answer wins.
    ///
    /// C: `ip_vs_conn_out_get()`, then `ip_vs_conn_in_get()`. One search does both here, since both
    /// directions have the same hash.
    #[inline]
    pub(crate) fn find<'rcu>(
        table: &ConnTable<F>,
        hash: u32,
        rcu: ReadLocked<'rcu>,
        flow: &Flow<F::Addr>,
    ) -> Option<Found<'rcu, F>> {
        let mut request = None;
        let answer = table.find(rcu, hash, |conn, slot| {
            if conn.protocol.number() != flow.protocol {
                return None;
            }
            if slot == 0 {
                if conn.is_request(flow) {
                    if request.is_none() && conn.bits().hashed() {
                        request = Some(conn);
                    }
                    return None;
                }
                // An answer that keeps the virtual address, since its server is not reached by NAT.
                return (conn.is_direct_answer(flow)
                    && conn.bits().fwd_method() != FwdMethod::Masq
                    && conn.bits().hashed())
                .then_some(conn);
            }
            (conn.is_answer(flow) && conn.bits().hashed()).then_some(conn)
        });
        match (answer, request) {
            (Some(conn), _) => Some(Found::Answer(conn)),
            (None, Some(conn)) => Some(Found::Request(conn)),
            (None, None) => None,
        }
    }

    /// Finds the connection of a client's `flow`, also if the flow is an answer of another one. C:
    /// `ip_vs_conn_in_get()`.
    pub(crate) fn find_request<'rcu>(
        table: &ConnTable<F>,
        hash: u32,
        rcu: ReadLocked<'rcu>,
        flow: &Flow<F::Addr>,
    ) -> Option<&'rcu PublishedConn<F>> {
        table.find(rcu, hash, |conn, slot| {
            (slot == 0 && conn.takes(flow)).then_some(conn)
        })
    }

    /// Returns whether `flow` goes from the virtual address and port of a connection to its client,
    /// whatever the forwarding method.
    pub(crate) fn is_reply_of_service(
        table: &ConnTable<F>,
        hash: u32,
        rcu: ReadLocked<'_>,
        flow: &Flow<F::Addr>,
    ) -> bool {
        table
            .find(rcu, hash, |conn, slot| {
                (slot == 0
                    && conn.protocol.number() == flow.protocol
                    && conn.is_direct_answer(flow)
                    && conn.bits().hashed())
                .then_some(())
            })
            .is_some()
    }

    #[inline]
    fn is_request(&self, flow: &Flow<F::Addr>) -> bool {
        self.caddr == flow.src
            && self.cport == flow.src_port
            && self.vaddr == flow.dst
            && self.vport == flow.dst_port
    }

    #[inline]
    fn is_direct_answer(&self, flow: &Flow<F::Addr>) -> bool {
        self.caddr == flow.dst
            && self.cport == flow.dst_port
            && self.vaddr == flow.src
            && self.vport == flow.src_port
    }

    #[inline]
    fn is_answer(&self, flow: &Flow<F::Addr>) -> bool {
        self.caddr == flow.dst
            && self.cport == flow.dst_port
            && self.daddr == flow.src
            && self.dport == flow.src_port
    }

    /// Returns whether the packets of a client's `flow` belong to this connection. `false` once the
    /// connection is ending.
    pub(crate) fn takes(&self, flow: &Flow<F::Addr>) -> bool {
        self.protocol.number() == flow.protocol && self.is_request(flow) && self.bits().hashed()
    }

    /// Returns the server, its address and port, and the forwarding method, in which two connections of
    /// the same client flow may differ.
    pub(crate) fn way(&self) -> (Option<*const Dest>, F::Addr, Be16, FwdMethod) {
        let dest = self.dest().map(core::ptr::from_ref);
        (dest, self.daddr, self.dport, self.fwd_method())
    }

    /// Returns the flow of the client's packets.
    pub(crate) fn request(&self) -> Flow<F::Addr> {
        Flow {
            protocol: self.protocol.number(),
            src: self.caddr,
            src_port: self.cport,
            dst: self.vaddr,
            dst_port: self.vport,
        }
    }

    /// Returns the client's address.
    #[inline]
    pub(crate) fn caddr(&self) -> F::Addr {
        self.caddr
    }

    /// Returns the client's port.
    #[inline]
    pub(crate) fn cport(&self) -> Be16 {
        self.cport
    }

    /// Returns the virtual address, which the client sends to.
    #[inline]
    pub(crate) fn vaddr(&self) -> F::Addr {
        self.vaddr
    }

    /// Returns the virtual port, which the client sends to.
    #[inline]
    pub(crate) fn vport(&self) -> Be16 {
        self.vport
    }

    /// Returns the server's address, or 0 if it is of the other family; see [`Conn::server_addr`].
    #[inline]
    pub(crate) fn daddr(&self) -> F::Addr {
        self.daddr
    }

    /// Returns the server's address, which may be of the other family.
    pub(crate) fn server_addr(&self) -> Addr {
        match self.dest() {
            Some(dest) if F::Addr::of(dest.addr()).is_none() => dest.addr(),
            _ => self.daddr.into(),
        }
    }

    /// Returns the server's port.
    #[inline]
    pub(crate) fn dport(&self) -> Be16 {
        self.dport
    }

    /// Returns the transport protocol.
    #[inline]
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the server; `None` for a connection that bypasses the servers, or one that another
    /// director has told of and whose server is not known here.
    #[inline]
    pub(crate) fn dest(&self) -> Option<&Dest> {
        self.dest.as_deref()
    }

    /// Returns the server as [`Conn::dest`] does, valid until `rcu` ends even if the connection
    /// ends earlier.
    #[inline]
    pub(crate) fn borrow_dest<'rcu>(&self, rcu: ReadLocked<'rcu>) -> Option<Borrowed<'rcu, Dest>> {
        self.dest.as_ref().map(|dest| dest.borrow(rcu))
    }

    /// Returns a reference to the server.
    pub(crate) fn shared_dest(&self) -> Option<Shared<Dest>> {
        self.dest.clone()
    }

    /// Returns the virtual port of what controls the connection, if anything does: the template that
    /// it was made from, or the control connection that has announced it. C: `cp->control->vport`.
    pub(crate) fn control_vport(&self) -> Option<Be16> {
        let of_parent = || self.parent().map(|parent| parent.vport());
        let of_template = self.template().map(|template| template.key().dst_port);
        of_template.or_else(of_parent)
    }

    /// Returns the flags and the protocol state.
    #[inline]
    pub(crate) fn bits(&self) -> Bits {
        self.bits.load()
    }

    /// Returns the forwarding method. C: `IP_VS_FWD_METHOD()`.
    #[inline]
    pub(crate) fn fwd_method(&self) -> FwdMethod {
        self.bits().fwd_method()
    }

    /// Returns whether packets are translated.
    pub(crate) fn is_nat(&self) -> bool {
        self.fwd_method() == FwdMethod::Masq
    }

    /// Applies `change` to the flags and the state, and returns the result. If the connection
    /// becomes active or inactive, updates the counters of its server.
    ///
    /// Writes nothing if nothing changes. The bits of an ending connection stay as they are, so
    /// that the server's counters are decremented for what was counted.
    #[inline]
    pub(crate) fn update(&self, change: impl Fn(Bits) -> Bits) -> Bits {
        self.bits.update(change, |active| {
            if let Some(dest) = self.dest() {
                dest.set_active(active);
            }
        })
    }

    /// Returns the number of packets received from the client; saturates, see [`PacketCount`]. C:
    /// `cp->in_pkts`.
    pub(crate) fn packets(&self) -> u8 {
        self.packets.get()
    }

    /// Counts on from this number of packets.
    pub(crate) fn set_packets(&self, packets: u32) {
        self.packets.set(packets);
        if let Some(sent) = self.sent() {
            sent.told(packets, self.bits().state());
        }
    }

    /// Counts a packet from the client, and returns the number; `None` if there were too many for
    /// [`Self::packets`] to tell.
    #[inline]
    pub(crate) fn count_packet(&self) -> Option<u32> {
        self.packets.add()
    }

    /// Returns the ticks until the connection expires if no packet comes.
    pub(crate) fn remaining(&self) -> usize {
        self.deadline.remaining()
    }
}

/// Restarts the connection's timer to expire in `timeout` ticks. C: `ip_vs_conn_put()`.
#[inline]
pub(crate) fn restart_timer<F: Family>(conn: &PublishedConn<F>, timeout: u32) {
    if conn.deadline.restart(timeout) {
        conn.mod_earlier();
    }
}

impl<F: Family> Hashed for Conn<F> {
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32> {
        let key = HashKey::new(*seed);
        match slot {
            0 => Some(self.request().hash(&key)),
            _ if self.fwd_method() == FwdMethod::Masq => {
                let request_to_server = Flow {
                    dst: self.daddr,
                    dst_port: self.dport,
                    ..self.request()
                };
                Some(request_to_server.hash(&key))
            }
            _ => None,
        }
    }
}

impl<F: Family> expiring::Entry for Conn<F> {
    type Holds = ();
    type Owner = Owner;

    /// One that has ended is due, also if a packet that had found it before moves its deadline.
    fn deadline(&self) -> usize {
        if self.bits().hashed() {
            self.deadline.get()
        } else {
            jiffies::now()
        }
    }

    /// Returns `false` while the connection has data connections, which extends it.
    fn may_end(&self) -> bool {
        let may_end = self.session().is_none_or(|session| session.end());
        if !may_end {
            self.deadline.extend(session::AGAIN);
        }
        may_end
    }

    fn retired(&self, table: &ConnTable<F>) {
        let last = self.update(|bits| bits.with(F_HASHED, false));
        if let Some(dest) = self.dest() {
            dest.unbind(last.active());
        }
        if let Some(template) = self.template() {
            template::release(template, last.forced());
        }
        if last.no_cport() {
            table.owner().remove_no_cport();
        }
        if let Some(parent) = self.parent() {
            parent.release(table, last.forced());
        }
        if last.nfct() {
            nfct::drop_entry(self, table.owner().net());
        }
    }
}

// Two cache lines for IPv4 and three for IPv6, less than half of the C module's size. Lock
// debugging enlarges the timer.
#[cfg(not(CONFIG_LOCKDEP))]
const _: () = {
    use crate::family::{
        V4,
        V6, //
    };
    assert!(size_of::<PublishedConn<V4>>() <= 128);
    assert!(size_of::<PublishedConn<V6>>() <= 192);
};
