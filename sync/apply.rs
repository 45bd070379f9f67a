// SPDX-License-Identifier: GPL-2.0

//! What a backup does with a connection or template that another director has told of. C:
//! `ip_vs_proc_conn()`, `ip_vs_try_bind_dest()`.
//!
//! One whose server is not known is kept all the same. Its packets are forwarded in the way that the
//! other director does it, it counts nowhere but in `conn_max`, and no new connection is made from such
//! a template. When it is told again and the server is known by then, one with the server takes its
//! place: it is published first, so that no packet finds none, and then the old one ends.

use crate::{
    app,
    conn::{
        self,
        template::{
            self,
            NewTemplate,
            Template,
            TemplateRef, //
        },
        Bits,
        Conn,
        NewConn,
        PublishedConn, //
    },
    family::{
        Family,
        V4,
        V6, //
    },
    log,
    netns::{
        services::Sought,
        Netns, //
    },
    pe::PeData,
    proto,
    schedule::{
        self,
        persist, //
    },
    service::{
        dest::Dest,
        Service, //
    },
};
use ipvs_core::{
    flow::Flow,
    forward::FwdMethod,
    net::Be16,
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_NFCT,
        CONN_F_NOOUTPUT,
        CONN_F_NO_CPORT,
        CONN_F_ONE_PACKET,
        CONN_F_SYNC, //
    },
    pe::PeKind,
    proto::Protocol,
    sync::{
        Entry,
        PeEntry,
        Received,
        TEMPLATE_ASSURED, //
    },
};
use linux::{
    jiffies::HZ,
    rcu::{
        self,
        Borrowed,
        ReadLocked, //
    },
};

/// The timeout of a template that comes without one, in ticks (C: `3 * 60 * HZ`).
const TEMPLATE_TIMEOUT: u32 = 3 * 60 * HZ;

/// Makes a connection or template that another director has told of, or brings it up to date. `packets`
/// is the number of packets that it counts from (sysctl `sync_threshold`).
///
/// AH and ESP have no connections of their own, also if somebody tells of one.
///
/// # Context
///
/// Process context, also within an RCU read-side critical section; after [`PerFamily::prepare`].
///
/// [`PerFamily::prepare`]: crate::netns::tables::PerFamily::prepare
pub(crate) fn apply(netns: &Netns, received: &Received<'_>, packets: u32) {
    match received {
        Received::V4(entry) => Told::<V4> {
            netns,
            entry,
            packets,
        }
        .apply(),
        Received::V6(entry) => Told::<V6> {
            netns,
            entry,
            packets,
        }
        .apply(),
    }
}

/// An entry of a datagram, and the namespace that it is for.
struct Told<'a, F: Family> {
    netns: &'a Netns,
    entry: &'a Entry<'a, F::Addr>,
    packets: u32,
}

impl<F: Family> Told<'_, F> {
    fn apply(&self) {
        // One of an engine that does not exist here is passed over, whatever it would be for.
        let is_known = |told: &PeEntry<'_>| PeKind::from_name(told.name).is_some();
        if !self.entry.pe.as_ref().is_none_or(is_known) {
            return;
        }
        rcu::read(|rcu| {
            if self.entry.is_template() {
                self.template(rcu);
            } else {
                self.conn(rcu);
            }
        });
    }

    /// The flow of the client's packets, or the key of the template.
    fn flow(&self) -> Flow<F::Addr> {
        Flow {
            protocol: self.entry.protocol,
            src: self.entry.caddr,
            src_port: self.entry.cport,
            dst: self.entry.vaddr,
            dst_port: self.entry.vport,
        }
    }

    fn is_active(&self) -> bool {
        self.entry.flags & CONN_F_INACTIVE == 0
    }

    fn waits_for_cport(&self) -> bool {
        self.entry.flags & CONN_F_NO_CPORT != 0
    }

    /// The server, if it is known, with its service.
    fn server<'rcu>(
        &self,
        flow: Flow<F::Addr>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<(Borrowed<'rcu, Service>, Borrowed<'rcu, Dest>)> {
        let &Entry {
            daddr,
            dport,
            flags,
            fwmark,
            ..
        } = self.entry;
        let sought = Sought::<F> {
            flow,
            fwmark,
            server: (daddr, dport),
            method: FwdMethod::from_flags(flags),
        };
        let counts = &self.netns.state::<F>().service_counts;
        self.netns
            .service_tables()
            .find_dest(counts, self.netns.net(), &sought, rcu)
    }

    fn timeout(&self, protocol: Protocol, bits: Bits) -> u32 {
        match self.entry.timeout {
            0 => proto::timeout(protocol, bits, &self.netns.timeouts),
            secs => secs.saturating_mul(HZ),
        }
    }

    fn conn(&self, rcu: ReadLocked<'_>) {
        let Some(protocol) = Protocol::from_number(self.entry.protocol) else {
            return;
        };
        // With a port nobody would find it.
        if self.waits_for_cport() && self.entry.cport != Be16::ZERO {
            return;
        }
        let flow = self.flow();
        let owner = self.netns.state::<F>().conns.owner();
        let there = self.find(&flow, rcu);
        let unbound = match there {
            Some(conn) if !self.is_of_server(conn) => {
                // One that is not active was replaced on the other director, too, and this is its end.
                if !self.is_active() {
                    return;
                }
                let _ = conn::expire_now(conn, owner, false);
                None
            }
            Some(conn) if conn.dest().is_some() => return self.update(conn),
            there => there,
        };
        let flow = unbound.map_or(flow, |conn| conn.request());
        let dest = self.server(flow, rcu).map(|(_, dest)| dest);
        if let Some(conn) = unbound {
            // Data connections belong to this very one, which is bound when there are none.
            if dest.is_none() || conn.has_data_conns() {
                return self.update(conn);
            }
        }
        let new = self.new_conn(protocol, flow, dest, unbound);
        let there = there.map(|conn| &**conn);
        match (
            schedule::publish_synced(self.netns, new, there, rcu),
            unbound,
        ) {
            (Some((conn, _)), Some(old)) => {
                self.update(conn);
                let _ = conn::expire_now(old, owner, true);
            }
            (Some((conn, _)), None) if self.is_of_server(conn) => self.update(conn),
            (None, Some(old)) => self.update(old),
            (Some(_) | None, None) => (),
        }
    }

    /// Finds the connection: that of the flow, or one that waits for the port of its client.
    fn find<'rcu>(
        &self,
        flow: &Flow<F::Addr>,
        rcu: ReadLocked<'rcu>,
    ) -> Option<&'rcu PublishedConn<F>> {
        let state = self.netns.state::<F>();
        let hash = flow.hash(&state.conn_key);
        Conn::find_request(&state.conns, hash, rcu, flow).or_else(|| {
            let waits = state.conns.owner().has_no_cport();
            waits
                .then(|| app::ftp::waiting::<F>(self.netns, flow, rcu))
                .flatten()
        })
    }

    /// Returns whether the connection is to the server that the other director says.
    fn is_of_server(&self, conn: &Conn<F>) -> bool {
        conn.dport() == self.entry.dport && conn.server_addr() == self.entry.daddr.into()
    }

    /// The initial values of a connection to `dest`, or of one whose server is not known; in the place of
    /// `old`, if there is that. It gets active by [`Self::update`].
    ///
    /// C: the part of `ip_vs_bind_dest()` for a connection of another director.
    fn new_conn(
        &self,
        protocol: Protocol,
        flow: Flow<F::Addr>,
        dest: Option<Borrowed<'_, Dest>>,
        old: Option<&PublishedConn<F>>,
    ) -> NewConn<F> {
        let &Entry {
            daddr,
            dport,
            flags,
            state,
            ..
        } = self.entry;
        let dest = dest.and_then(|dest| dest.share());
        let of_method = match &dest {
            Some(dest) => dest.conn_flags() & !CONN_F_ONE_PACKET,
            None => FwdMethod::from_flags(flags).number() | flags & CONN_F_NOOUTPUT,
        };
        let of_conn = match old.map(|conn| conn.bits()) {
            None => flags & CONN_F_NO_CPORT,
            Some(bits) => bits.word() & (CONN_F_NO_CPORT | CONN_F_NFCT),
        };
        let bits = Bits::new(of_method | of_conn | CONN_F_SYNC | CONN_F_INACTIVE, state);
        NewConn {
            protocol,
            flow,
            hash: flow.hash(&self.netns.state::<F>().conn_key),
            daddr: daddr.into(),
            dport,
            dest,
            control: None,
            flags: bits.word(),
            timeout: self.timeout(protocol, bits),
        }
    }

    /// Brings a connection up to date. Its flags stay, but for whether it is active.
    fn update(&self, conn: &PublishedConn<F>) {
        let bits = conn.update(|bits| {
            bits.with_state(self.entry.state)
                .with_active(self.is_active())
        });
        conn.set_packets(self.packets);
        conn::restart_timer(conn, self.timeout(conn.protocol(), bits));
    }

    fn template(&self, rcu: ReadLocked<'_>) {
        let pe = match self.entry.pe {
            None => None,
            Some(told) => {
                let Some(kind) = PeKind::from_name(told.name) else {
                    return;
                };
                let Some(data) = PeData::new(kind, told.data) else {
                    return log::no_memory(self.netns.net(), "a template");
                };
                Some(data)
            }
        };
        let key = self.flow();
        let templates = &self.netns.state::<F>().templates;
        let there = Template::find(templates, rcu, &key, pe.as_ref());
        // Whatever its server.
        if let Some(bound) = there.as_ref().filter(|there| there.get().dest().is_some()) {
            return self.update_template(bound);
        }
        let server = self.server(key, rcu);
        if let (Some(unbound), None) = (&there, server) {
            return self.update_template(unbound);
        }
        let new = NewTemplate {
            key,
            pe,
            dest: server.and_then(|(_, dest)| dest.share()),
            daddr: self.entry.daddr,
            dport: self.entry.dport,
            one_packet: server.is_some_and(|(service, _)| service.is_one_packet()),
            synced: true,
            timeout: self.template_timeout(),
        };
        let old = there.as_ref().map(|there| &**there.get());
        match (persist::synced(self.netns, new, old, rcu), there) {
            (Some(template), Some(old)) => {
                self.update_template(&template);
                let superseded = old.get();
                // Nobody uses it any more, so that it can end at once.
                drop(old);
                template::supersede(superseded);
            }
            (Some(template), None) | (None, Some(template)) => self.update_template(&template),
            (None, None) => (),
        }
    }

    fn template_timeout(&self) -> u32 {
        match self.entry.timeout {
            0 => TEMPLATE_TIMEOUT,
            secs => secs.saturating_mul(HZ),
        }
    }

    fn update_template(&self, template: &TemplateRef<'_, F>) {
        template.get().set_packets(self.packets);
        template.restart_as_told(
            self.entry.state & TEMPLATE_ASSURED != 0,
            self.template_timeout(),
        );
    }
}
