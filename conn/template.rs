// SPDX-License-Identifier: GPL-2.0

//! Persistence templates: the server that the clients of a network are assigned to. C: connections
//! with `IP_VS_CONN_F_TEMPLATE`, `ip_vs_ct_in_get()`, `ip_vs_check_template()`.
//!
//! Templates have a type and a table of their own, so the look-up of a connection never meets them.
//! A connection holds a reference to the template that it was made from.
//!
//! A template without connections ends when its timeout expires. One with connections is extended
//! by a minute, and has a timeout of a minute from then on, as in the C module.
//!
//! In the C module a template and a connection that are due at the same time end together: both
//! timers are in one slot of the kernel's timer wheel, which runs the timer that was armed last
//! first, and that is the connection's. Here timers are armed at other times than deadlines are
//! set. Therefore a template that expires while it still has connections becomes overdue: it waits
//! until the tick by which the C module's timer would have fired at the latest, and ends if its
//! last connection ends before then.

use super::{
    lifetime::{
        Deadline,
        PacketCount, //
    },
    sent::Sent, //
};
use crate::{
    family::Family,
    pe::PeData,
    service::dest::Dest,
    settings::Settings, //
};
use ipvs_core::{
    flow::{
        Flow,
        HashKey, //
    },
    net::{
        Addr,
        Be16, //
    },
    netlink::{
        CONN_F_NFCT,
        CONN_F_ONE_PACKET,
        CONN_F_SYNC,
        CONN_F_TEMPLATE, //
    },
    sched::Server, //
};
use linux::{
    atomic::{
        Atomic,
        Full,
        InlineAtomic,
        Relaxed, //
    },
    expiring::{
        self,
        EntryRef,
        Expiring,
        RefCounted,
        Refused,
        TableRef, //
    },
    jiffies::{
        self,
        HZ, //
    },
    rcu::{
        ReadLocked,
        Shared, //
    },
    table::{
        Hashed,
        Seed, //
    },
};

/// The server that the clients of a network are assigned to for a persistent service.
///
/// Packets read it under RCU; connections that were made from it hold a reference. The key and the
/// persistence engine's data never change.
pub(crate) struct Template<F: Family> {
    key: TemplateKey<F>,
    pe: Option<PeData>,
    dport: Be16,
    daddr: F::Addr,
    /// The server; `None` if another director has told of the template and the server is not known here.
    dest: Option<Shared<Dest>>,
    /// `true` if the service is scheduled packet by packet. C: `IP_VS_CONN_F_ONE_PACKET`.
    one_packet: bool,
    /// `true` if another director has told of it. C: `IP_VS_CONN_F_SYNC`.
    synced: bool,
    /// `false` once [`Template::check`] has found the server unfit for new connections.
    valid: Atomic<bool>,
    /// Set once a connection was established (TCP) or answered (UDP): the client exists. C:
    /// `IP_VS_CTPL_S_ASSURED`.
    assured: Atomic<bool>,
    /// Set if the template must end with its last connection, since its server was removed.
    orphan: Atomic<bool>,
    /// Set while the template has expired but waits for connections that may be due at the same
    /// time.
    overdue: Atomic<bool>,
    packets: PacketCount,
    /// The number of connections, or [`ENDED`].
    conns: InlineAtomic<u32>,
    /// The timeout after the last use, in ticks.
    timeout: Atomic<u32>,
    deadline: Deadline,
    /// What the master of a synchronisation remembers.
    sent: Sent,
}

/// The value of `conns` once the template has expired without connections: it accepts no new ones.
const ENDED: u32 = u32::MAX;

/// The extension of a template that has connections when it expires, in ticks (C: `60 * HZ`).
const AGAIN: u32 = 60 * HZ;

/// The look-up key of a template: the source is the client network with port 0, the destination is
/// chosen by the `key` function of `schedule/persist.rs`.
pub(crate) type TemplateKey<F> = Flow<<F as Family>::Addr>;

/// The template table of a namespace for one address family.
pub(crate) type TemplateTable<F> = expiring::Table<Template<F>>;

/// A template in its table.
pub(crate) type PublishedTemplate<F> = Expiring<Template<F>>;

/// The initial values of a template.
pub(crate) struct NewTemplate<F: Family> {
    pub(crate) key: TemplateKey<F>,
    /// The data of the service's persistence engine, which is part of the look-up key.
    pub(crate) pe: Option<PeData>,
    /// The server; `None` if it is not known.
    pub(crate) dest: Option<Shared<Dest>>,
    /// The server's address, of the family of the template, while the server is not known.
    pub(crate) daddr: F::Addr,
    /// The server's port, as shown to users.
    pub(crate) dport: Be16,
    /// `true` if the service is scheduled packet by packet.
    pub(crate) one_packet: bool,
    /// `true` if another director has told of it.
    pub(crate) synced: bool,
    /// The timeout after the last use, in ticks.
    pub(crate) timeout: u32,
}

/// A template that is in use while a connection is made from it: it does not end.
pub(crate) struct TemplateRef<'rcu, F: Family>(&'rcu PublishedTemplate<F>);

impl<'rcu, F: Family> TemplateRef<'rcu, F> {
    /// Returns the template.
    pub(crate) fn get(&self) -> &'rcu PublishedTemplate<F> {
        self.0
    }

    /// Restarts the timeout. The template is no longer an orphan.
    pub(crate) fn restart(&self) {
        if self.0.orphan.load(Relaxed) {
            self.0.orphan.store(false, Relaxed);
        }
        restart(self.0, self.0.timeout());
    }

    /// Restarts the timeout, which is `timeout` ticks from now on, in the state that another director has
    /// told.
    pub(crate) fn restart_as_told(&self, is_assured: bool, timeout: u32) {
        self.0.assured.store(is_assured, Relaxed);
        self.0.timeout.store(timeout, Relaxed);
        restart(self.0, timeout);
    }

    /// Transfers the use to the connection that was made, which ends it by [`release`].
    pub(crate) fn hand_over(self) {
        core::mem::forget(self);
    }
}

impl<F: Family> Drop for TemplateRef<'_, F> {
    fn drop(&mut self) {
        release(self.0, false);
    }
}

impl<F: Family> Template<F> {
    /// Finds a template that new connections may be made from. C: `ip_vs_ct_in_get()`.
    pub(crate) fn find<'rcu>(
        table: &TemplateTable<F>,
        rcu: ReadLocked<'rcu>,
        key: &TemplateKey<F>,
        pe: Option<&PeData>,
    ) -> Option<TemplateRef<'rcu, F>> {
        table.find(rcu, hash::<F>(key, pe, table.seed()), |template, _| {
            let takes = template.takes(key, pe);
            takes.then(|| begin(template)).flatten()
        })
    }

    /// Makes a template and publishes it. If another one for the same key has just been published that
    /// `serves` too, returns that one instead, or `None` if it has just ended.
    ///
    /// # Errors
    ///
    /// There is no memory, or the namespace already has `most` connections and templates.
    pub(crate) fn publish<'rcu>(
        table: &TableRef<Self>,
        rcu: ReadLocked<'rcu>,
        new: NewTemplate<F>,
        most: usize,
        serves: impl Fn(&Self) -> bool,
    ) -> Result<Option<TemplateRef<'rcu, F>>, Refused> {
        let NewTemplate {
            key,
            pe,
            dest,
            daddr,
            dport,
            one_packet,
            synced,
            timeout,
        } = new;
        let template = Self {
            key,
            pe: pe.clone(),
            dport,
            daddr,
            dest,
            one_packet,
            synced,
            valid: Atomic::new(true),
            assured: Atomic::new(false),
            orphan: Atomic::new(false),
            overdue: Atomic::new(false),
            packets: PacketCount::new(),
            // The user is the `TemplateRef` that is returned.
            conns: InlineAtomic::new(1),
            timeout: Atomic::new(timeout),
            deadline: Deadline::after(timeout),
            sent: Sent::new(0),
        };
        let new = TemplateTable::alloc(table, template, most)?;
        let same = |other: &Self| other.takes(&key, pe.as_ref()) && serves(other);
        Ok(match new.publish(rcu, same) {
            Ok(template) => {
                if let Some(dest) = template.dest() {
                    dest.bind_template();
                }
                Some(TemplateRef(template))
            }
            // It may have ended by now. Then the client's next packet makes another one.
            Err(other) => begin(other),
        })
    }

    /// Returns whether the template has this key and may be used for new connections. A template
    /// with data of a persistence engine may be used even after [`Template::check`] failed: the
    /// server may be back, and the dialogue still belongs to it.
    ///
    /// C: the comparison in `ip_vs_ct_in_get()`; `ip_vs_sip_ct_match()`, which likewise accepts a
    /// template that is no longer valid.
    fn takes(&self, key: &TemplateKey<F>, pe: Option<&PeData>) -> bool {
        self.key == *key
            && self.pe() == pe
            && (pe.is_some() || self.valid.load(Relaxed))
            && self.conns.load(Relaxed) != ENDED
    }

    /// Returns the look-up key.
    pub(crate) fn key(&self) -> &TemplateKey<F> {
        &self.key
    }

    /// Returns the data of the service's persistence engine. C: `cp->pe_data`.
    pub(crate) fn pe(&self) -> Option<&PeData> {
        self.pe.as_ref()
    }

    /// Returns the server; `None` if it is not known.
    #[inline]
    pub(crate) fn dest(&self) -> Option<&Shared<Dest>> {
        self.dest.as_ref()
    }

    /// Returns the server's address, which may be of the other family.
    pub(crate) fn server_addr(&self) -> Addr {
        self.dest()
            .map_or_else(|| self.daddr.into(), |dest| dest.addr())
    }

    /// Returns the server's port as shown to users: 0xffff if [`Template::check`] has failed.
    pub(crate) fn dport(&self) -> Be16 {
        if self.valid.load(Relaxed) {
            self.dport
        } else {
            Be16::new(0xffff)
        }
    }

    /// Returns the name of the state, as shown to users.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_assured() {
            "ASSURED"
        } else {
            "NONE"
        }
    }

    /// Returns whether new connections may be made to the template's server, which must be `wanted`
    /// if that is given. If not, marks the template invalid: it is not used for new connections any
    /// more, except that a template of a persistence engine is checked again each time. C:
    /// `ip_vs_check_template()`.
    pub(crate) fn check(&self, settings: &Settings, wanted: Option<&Dest>) -> bool {
        let good = self.dest().is_some_and(|dest| {
            let quiescent = settings.expire_quiescent_template.is_set() && dest.weight() == 0;
            dest.available() && !quiescent && wanted.is_none_or(|wanted| dest.same(wanted))
        });
        if !good {
            self.valid.store(false, Relaxed);
        }
        good
    }

    /// Returns whether the template is assured: a connection was established (TCP) or answered
    /// (UDP).
    pub(crate) fn is_assured(&self) -> bool {
        self.assured.load(Relaxed)
    }

    /// Marks the template as assured. C: `ip_vs_control_assure_ct()`.
    #[inline]
    pub(crate) fn set_assured(&self) {
        if !self.is_assured() {
            self.assured.store(true, Relaxed);
        }
    }

    /// Returns what the master of a synchronisation remembers of the template.
    pub(crate) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Returns the flags as other directors are told them. `tracked` tells whether connection tracking
    /// keeps entries. C: `cp->flags`.
    pub(crate) fn told(&self, tracked: bool) -> u32 {
        let of_dest = self
            .dest()
            .map_or(0, |dest| dest.conn_flags() & !CONN_F_ONE_PACKET);
        let synced = if self.synced { CONN_F_SYNC } else { 0 };
        let tracked = if tracked { CONN_F_NFCT } else { 0 };
        CONN_F_TEMPLATE | of_dest | synced | tracked
    }

    /// Returns whether another director has told of the template.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Returns whether the service is scheduled packet by packet.
    pub(crate) fn is_one_packet(&self) -> bool {
        self.one_packet
    }

    /// Returns whether the template has connections.
    pub(crate) fn has_conns(&self) -> bool {
        self.conns.load(Relaxed) != 0
    }

    /// Returns whether the template has expired and waits for its connections. `false` if it was
    /// restarted while the timer set the flag.
    fn is_overdue(&self) -> bool {
        self.overdue.load(Relaxed) && self.deadline.is_over()
    }

    /// Makes the template end with its last connection.
    pub(crate) fn mark_orphan(&self) {
        // Whoever asks for its connections afterwards, or ends the last one, sees what the other did.
        self.orphan.xchg(true, Full);
    }

    /// Counts a packet that was scheduled by the template without a connection in the table.
    pub(crate) fn count_packet(&self) {
        self.packets.add();
    }

    /// Counts on from this number of packets.
    pub(crate) fn set_packets(&self, packets: u32) {
        self.packets.set(packets);
    }

    /// Returns the timeout after the last use, in ticks.
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.load(Relaxed)
    }

    /// Returns the number of packets counted by [`Template::count_packet`]; saturates, see
    /// [`PacketCount`].
    pub(crate) fn packets(&self) -> u8 {
        self.packets.get()
    }

    /// Returns the number of ticks until the template expires.
    pub(crate) fn remaining(&self) -> usize {
        self.deadline.remaining()
    }
}

/// Adds a user to a template from which a connection is being made. `None` if the template has
/// ended.
fn begin<F: Family>(template: &PublishedTemplate<F>) -> Option<TemplateRef<'_, F>> {
    let mut conns = template.conns.load(Relaxed);
    while conns != ENDED {
        match template.conns.cmpxchg(conns, conns.wrapping_add(1), Full) {
            Ok(_) => return Some(TemplateRef(template)),
            Err(now) => conns = now,
        }
    }
    None
}

/// Restarts the template's timer to expire in `timeout` ticks.
fn restart<F: Family>(template: &PublishedTemplate<F>, timeout: u32) {
    let is_earlier = template.deadline.replace(timeout);
    let waited = template.overdue.load(Relaxed);
    if waited {
        template.overdue.store(false, Relaxed);
    }
    if waited || is_earlier {
        template.mod_earlier();
    }
}

/// Ends a template whose place another one has taken: it is not used for new connections any more.
pub(crate) fn supersede<F: Family>(template: &PublishedTemplate<F>) {
    template.valid.store(false, Relaxed);
    expire_template(template);
}

/// Ends a template as soon as possible, unless it has connections.
pub(crate) fn expire_template<F: Family>(template: &PublishedTemplate<F>) {
    restart(template, 0);
}

/// Removes a connection from its template. If it was the last one, ends the template if that is
/// overdue or an orphan; and also if the connection was `forced` to end and the template is not
/// assured. C: `ip_vs_control_del()`, and what follows it in `ip_vs_conn_expire()`.
///
/// # Context
///
/// Any.
pub(super) fn release<F: Family>(template: &PublishedTemplate<F>, forced: bool) {
    let left = template.conns.fetch_sub(1, Full).wrapping_sub(1);
    let ends = template.orphan.load(Relaxed) || template.is_overdue();
    if left == 0 && (ends || (forced && !template.is_assured())) {
        expire_template(template);
    }
}

/// A connection's reference to its template.
pub(crate) type Control<F> = EntryRef<Template<F>>;

fn hash<F: Family>(key: &TemplateKey<F>, pe: Option<&PeData>, seed: &Seed) -> u32 {
    let seed = HashKey::new(*seed);
    key.hash(&seed) ^ pe.map_or(0, |data| data.hash(&seed))
}

impl<F: Family> Hashed for Template<F> {
    fn hash(&self, slot: usize, seed: &Seed) -> Option<u32> {
        (slot == 0).then(|| hash::<F>(&self.key, self.pe(), seed))
    }
}

impl<F: Family> expiring::Entry for Template<F> {
    type Holds = RefCounted;
    type Owner = ();

    fn deadline(&self) -> usize {
        let deadline = self.deadline.get();
        if self.is_overdue() {
            jiffies::fires_by(deadline, self.timeout() as usize)
        } else {
            deadline
        }
    }

    /// Returns `false` while the template has connections: the clients of those stay at their
    /// server. Each such attempt makes the template overdue, or extends it if it already was.
    fn may_end(&self) -> bool {
        if self.conns.cmpxchg(0, ENDED, Full).is_ok() {
            return true;
        }
        if self.is_overdue() {
            self.timeout.store(AGAIN, Relaxed);
            self.deadline.set(AGAIN);
            self.overdue.store(false, Relaxed);
        } else {
            self.overdue.store(true, Relaxed);
        }
        false
    }

    fn retired(&self, _table: &TemplateTable<F>) {
        if let Some(dest) = self.dest() {
            dest.unbind_template();
        }
    }
}
