// SPDX-License-Identifier: GPL-2.0

//! Connections. C: `struct ip_vs_conn`, `ip_vs_conn.c`.

mod bits;
pub(crate) mod expire_nodest;
mod lifetime;
pub(crate) mod sizing;
pub(crate) mod template;

pub(crate) use bits::Bits;

use crate::{
    family::{
        Family,
        V4,
        V6, //
    },
    service::dest::Dest,
};
use bits::{
    AtomicBits,
    F_FORCED,
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
    netlink::CONN_F_ONE_PACKET,
    proto::Protocol, //
};
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
use template::Control;

/// A connection of a client with a real server, by way of a virtual service.
///
/// Packets read it under RCU, without a reference and without a lock. What identifies it is
/// constant; [`Bits`] change in one atomic step, so that of several packets one does what a change
/// of state entails. The order of fields is the compiler's; with the links of the table in front,
/// they fill one cache line for IPv4.
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
    control: Option<Control<F>>,
}

/// The table of a namespace's connections of a family.
pub(crate) type ConnTable<F> = expiring::Table<Conn<F>>;

/// A connection in its table.
pub(crate) type PublishedConn<F> = Expiring<Conn<F>>;

/// What is known when a connection is made.
pub(crate) struct NewConn<F: Family> {
    /// The protocol of `flow`.
    pub(crate) protocol: Protocol,
    /// The client's first packet.
    pub(crate) flow: Flow<F::Addr>,
    /// The flow's hash in the table of connections.
    pub(crate) hash: u32,
    /// The server's address. One of the other family is found with the server only.
    pub(crate) daddr: Addr,
    /// The server's port.
    pub(crate) dport: Be16,
    /// The server.
    pub(crate) dest: Option<Shared<Dest>>,
    /// The template that it was made by, in use by this connection.
    pub(crate) control: Option<Control<F>>,
    /// Flags as [`Dest::conn_flags`] has them.
    pub(crate) flags: u32,
    /// How long it lasts without a packet, in ticks.
    pub(crate) timeout: u32,
}

/// Which way a packet goes in a connection that was found for it.
pub(crate) enum Found<'rcu, F: Family> {
    /// From the client.
    Request(&'rcu PublishedConn<F>),
    /// From the server.
    Answer(&'rcu PublishedConn<F>),
}

impl<F: Family> Conn<F> {
    /// Makes a connection of `table` that nobody sees yet, unless there are `most` in the namespace.
    pub(crate) fn new(
        table: &TableRef<Self>,
        new: NewConn<F>,
        most: usize,
    ) -> Result<expiring::New<'_, Self>, expiring::Refused> {
        ConnTable::alloc(table, Self::with_bits(new, F_HASHED), most)
    }

    /// Makes what stands for a connection for as long as a single packet is sent: nobody finds it, and
    /// it counts for nobody. C: `IP_VS_CONN_F_ONE_PACKET`.
    pub(crate) fn one_packet(new: NewConn<F>) -> Self {
        Self::with_bits(new, 0)
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
            control: new.control,
        }
    }

    /// The connection that a packet belongs to. An answer comes before a request, should one packet
    /// be both. Under RCU.
    ///
    /// C: `ip_vs_conn_out_get()`, then `ip_vs_conn_in_get()`; here it is one search, since both
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
                // An answer that was not translated here.
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

    /// Whether `flow` is an answer of any connection's virtual service, translated or not.
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

    /// Whether it takes the packets of a client's flow; one that ends takes none.
    pub(crate) fn takes(&self, flow: &Flow<F::Addr>) -> bool {
        self.protocol.number() == flow.protocol && self.is_request(flow) && self.bits().hashed()
    }

    /// The server, its port, and how packets get there: connections of one flow may differ in that.
    pub(crate) fn way(&self) -> (Option<*const Dest>, Be16, FwdMethod) {
        let dest = self.dest().map(core::ptr::from_ref);
        (dest, self.dport, self.fwd_method())
    }

    /// The flow of the client's packets.
    pub(crate) fn request(&self) -> Flow<F::Addr> {
        Flow {
            protocol: self.protocol.number(),
            src: self.caddr,
            src_port: self.cport,
            dst: self.vaddr,
            dst_port: self.vport,
        }
    }

    /// The client's address.
    #[inline]
    pub(crate) fn caddr(&self) -> F::Addr {
        self.caddr
    }

    /// The client's port.
    #[inline]
    pub(crate) fn cport(&self) -> Be16 {
        self.cport
    }

    /// The address that the client sent to.
    #[inline]
    pub(crate) fn vaddr(&self) -> F::Addr {
        self.vaddr
    }

    /// The port that the client sent to.
    #[inline]
    pub(crate) fn vport(&self) -> Be16 {
        self.vport
    }

    /// The server's address, 0 if it is of the other family.
    #[inline]
    pub(crate) fn daddr(&self) -> F::Addr {
        self.daddr
    }

    /// The server's address, of whichever family.
    pub(crate) fn server_addr(&self) -> Addr {
        match self.dest() {
            Some(dest) => dest.addr(),
            None => self.daddr.into(),
        }
    }

    /// The server's port.
    #[inline]
    pub(crate) fn dport(&self) -> Be16 {
        self.dport
    }

    /// The transport protocol.
    #[inline]
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The server; a connection that bypasses has none.
    #[inline]
    pub(crate) fn dest(&self) -> Option<&Dest> {
        self.dest.as_deref()
    }

    /// The same for as long as `rcu`, even if the connection ends.
    #[inline]
    pub(crate) fn borrow_dest<'rcu>(&self, rcu: ReadLocked<'rcu>) -> Option<Borrowed<'rcu, Dest>> {
        self.dest.as_ref().map(|dest| dest.borrow(rcu))
    }

    /// The template that it was made by (C: `cp->control`).
    #[inline]
    pub(crate) fn control(&self) -> Option<&Control<F>> {
        self.control.as_ref()
    }

    /// Flags and state.
    #[inline]
    pub(crate) fn bits(&self) -> Bits {
        self.bits.load()
    }

    /// How its packets get to the server.
    #[inline]
    pub(crate) fn fwd_method(&self) -> FwdMethod {
        self.bits().fwd_method()
    }

    /// Changes flags and state by `change`, and counts the connection as active or not for its
    /// server. Without a change nothing is written; one that ends changes no more, so that its
    /// server counts it out as what it is.
    #[inline]
    pub(crate) fn update(&self, change: impl Fn(Bits) -> Bits) -> Bits {
        self.bits.update(change, |active| {
            if let Some(dest) = self.dest() {
                dest.set_active(active);
            }
        })
    }

    /// Returns how many packets of the client have come, as far as anyone asks.
    pub(crate) fn packets(&self) -> u8 {
        self.packets.get()
    }

    /// Counts a packet of the client.
    #[inline]
    pub(crate) fn count_packet(&self) {
        self.packets.add();
    }

    /// Returns how many ticks are left to it if no packet comes.
    pub(crate) fn remaining(&self) -> usize {
        self.deadline.remaining()
    }
}

/// Lets the connection last `timeout` more ticks.
#[inline]
pub(crate) fn restart_timer<F: Family>(conn: &PublishedConn<F>, timeout: u32) {
    if conn.deadline.restart(timeout) {
        conn.mod_earlier();
    }
}

/// Ends the connection as soon as possible; no packet finds it any more. Under RCU.
///
/// C: `ip_vs_conn_expire_now()`.
pub(crate) fn expire_now<F: Family>(conn: &PublishedConn<F>) {
    conn.update(|bits| bits.with(F_HASHED, false));
    restart_timer(conn, 0);
}

/// The same, and if it is the last one of a template whose clients have not shown that they are
/// there, ends that too. Under RCU.
///
/// C: `ip_vs_conn_del()`.
pub(crate) fn expire_forced<F: Family>(conn: &PublishedConn<F>) {
    conn.update(|bits| bits.with(F_HASHED, false).with(F_FORCED, true));
    restart_timer(conn, 0);
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

    fn deadline(&self) -> usize {
        self.deadline.get()
    }

    fn may_end(&self) -> bool {
        true
    }

    fn retired(&self) {
        let last = self.update(|bits| bits.with(F_HASHED, false));
        if let Some(dest) = self.dest() {
            dest.unbind(last.active());
        }
        if let Some(control) = self.control() {
            template::release(control, last.forced());
        }
    }
}

// Less than half of what the C module takes: two cache lines, and three; lock debugging makes each
// timer bigger.
#[cfg(not(CONFIG_LOCKDEP))]
const _: () = assert!(size_of::<PublishedConn<V4>>() <= 128);
#[cfg(not(CONFIG_LOCKDEP))]
const _: () = assert!(size_of::<PublishedConn<V6>>() <= 192);
