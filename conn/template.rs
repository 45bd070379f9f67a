// SPDX-License-Identifier: GPL-2.0

//! Templates: which server the clients of a network go to. C: connections with
//! `IP_VS_CONN_F_TEMPLATE`, `ip_vs_ct_in_get()`, `ip_vs_check_template()`.
//!
//! They are no connections here, and in a table of their own: packets of connections don't pass
//! them. A connection that was made by one keeps it.
//!
//! A template whose time is over ends if it has no connection. Otherwise it gets another minute, and
//! is one of a minute from then on, as in the C module. There, a template and a connection that are
//! due at the same time end together: both timers are in one place of the kernel's timer wheel, which
//! gives up the one that was armed last first, and that is the connection's. Here timers are armed at
//! other times than deadlines are set, so a template that still has a connection waits until the C
//! module's timer would have fired at the latest, and ends with its last connection up to then.

use super::lifetime::{
    Deadline,
    PacketCount, //
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
    net::Be16,
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

/// Where the clients of a network go for a service.
///
/// Packets read it under RCU; connections that it made keep it. What it is found by is constant.
pub(crate) struct Template<F: Family> {
    key: TemplateKey<F>,
    pe: Option<PeData>,
    dport: Be16,
    dest: Shared<Dest>,
    /// Whether its service schedules packets one by one.
    one_packet: bool,
    /// Whether new connections may go by it.
    valid: Atomic<bool>,
    /// Whether a client has shown that it is there.
    assured: Atomic<bool>,
    /// Whether it ends with its last connection, since its server does not come back.
    orphan: Atomic<bool>,
    /// Set while its time is over and it waits for connections that may be due at the same time.
    overdue: Atomic<bool>,
    packets: PacketCount,
    /// Its connections, or [`ENDED`].
    conns: InlineAtomic<u32>,
    /// How long it lasts after it was used, in ticks.
    timeout: Atomic<u32>,
    deadline: Deadline,
}

/// Its time was over while it had no connection, and it gets none any more.
const ENDED: u32 = u32::MAX;

/// Extends a template that has a connection when its time is over; in ticks (C: `60 * HZ`).
const AGAIN: u32 = 60 * HZ;

/// What a template is found by: the network and, in the place of the service's address and port, what
/// [`crate::schedule`] says. The source port is 0.
pub(crate) type TemplateKey<F> = Flow<<F as Family>::Addr>;

/// The table of a namespace's templates of a family.
pub(crate) type TemplateTable<F> = expiring::Table<Template<F>>;

/// A template in its table.
pub(crate) type PublishedTemplate<F> = Expiring<Template<F>>;

/// What is known when a template is made.
pub(crate) struct NewTemplate<F: Family> {
    pub(crate) key: TemplateKey<F>,
    /// What the service's persistence engine has found, which it is found by too.
    pub(crate) pe: Option<PeData>,
    /// The server.
    pub(crate) dest: Shared<Dest>,
    /// The server's port, as users see it.
    pub(crate) dport: Be16,
    /// Whether its service schedules packets one by one.
    pub(crate) one_packet: bool,
    /// How long it lasts after it was used, in ticks.
    pub(crate) timeout: u32,
}

/// A template that does not end, since a connection is being made.
pub(crate) struct TemplateRef<'rcu, F: Family>(&'rcu PublishedTemplate<F>);

impl<'rcu, F: Family> TemplateRef<'rcu, F> {
    /// The template.
    pub(crate) fn get(&self) -> &'rcu PublishedTemplate<F> {
        self.0
    }

    /// It lasts its time from now on.
    pub(crate) fn restart(&self) {
        if self.0.orphan.load(Relaxed) {
            self.0.orphan.store(false, Relaxed);
        }
        restart(self.0, self.0.timeout());
    }

    /// Leaves it in use by the connection that was made, until [`release`].
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
    /// The template with this key, if connections may go by it. Under RCU.
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

    /// Makes a template; or finds that another packet has just made one that is as good: see
    /// [`Template::check`]. Under RCU. `None` if that one has just ended.
    ///
    /// # Errors
    ///
    /// There is no memory, or there are `most` connections in the namespace.
    pub(crate) fn publish<'rcu>(
        table: &TableRef<Self>,
        rcu: ReadLocked<'rcu>,
        new: NewTemplate<F>,
        most: usize,
        settings: &Settings,
        wanted: Option<&Dest>,
    ) -> Result<Option<TemplateRef<'rcu, F>>, Refused> {
        let NewTemplate {
            key,
            pe,
            dest,
            dport,
            one_packet,
            timeout,
        } = new;
        let template = Self {
            key,
            pe: pe.clone(),
            dport,
            dest,
            one_packet,
            valid: Atomic::new(true),
            assured: Atomic::new(false),
            orphan: Atomic::new(false),
            overdue: Atomic::new(false),
            packets: PacketCount::new(),
            // In use by whoever gets it here.
            conns: InlineAtomic::new(1),
            timeout: Atomic::new(timeout),
            deadline: Deadline::after(timeout),
        };
        let new = TemplateTable::alloc(table, template, most)?;
        let same = |other: &Self| other.takes(&key, pe.as_ref()) && other.check(settings, wanted);
        Ok(match new.publish(rcu, same) {
            Ok(template) => {
                template.dest.bind_template();
                Some(TemplateRef(template))
            }
            // It may have ended by now: then the client's next packet makes another one.
            Err(other) => begin(other),
        })
    }

    /// Whether it is the one of that key, and may be asked where to go. One of a persistence engine
    /// may even if its server was not there the last time: that may be back, and the dialogue is
    /// still its own. C: `ip_vs_ct_in_get()`, and `ip_vs_sip_ct_match()`, which does not look at the
    /// mark.
    fn takes(&self, key: &TemplateKey<F>, pe: Option<&PeData>) -> bool {
        self.key == *key
            && self.pe() == pe
            && (pe.is_some() || self.valid.load(Relaxed))
            && self.conns.load(Relaxed) != ENDED
    }

    /// Its network, and what stands for its service.
    pub(crate) fn key(&self) -> &TemplateKey<F> {
        &self.key
    }

    /// What its service's persistence engine has found.
    pub(crate) fn pe(&self) -> Option<&PeData> {
        self.pe.as_ref()
    }

    /// The server.
    pub(crate) fn dest(&self) -> &Shared<Dest> {
        &self.dest
    }

    /// The server's port, as users see it: 0xffff if it was found unfit for new connections.
    pub(crate) fn dport(&self) -> Be16 {
        if self.valid.load(Relaxed) {
            self.dport
        } else {
            Be16::new(0xffff)
        }
    }

    /// The name of its state, as users see it.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_assured() {
            "ASSURED"
        } else {
            "NONE"
        }
    }

    /// Whether new connections may go to its server, which must be `wanted` if there is one. If not,
    /// none goes by it any more, unless it is one of a persistence engine and passes later. C:
    /// `ip_vs_check_template()`.
    pub(crate) fn check(&self, settings: &Settings, wanted: Option<&Dest>) -> bool {
        let quiescent = settings.expire_quiescent_template.is_set() && self.dest.weight() == 0;
        let good = self.dest.available()
            && !quiescent
            && wanted.is_none_or(|wanted| self.dest.same(wanted));
        if !good {
            self.valid.store(false, Relaxed);
        }
        good
    }

    /// Whether a client has shown that it is there.
    pub(crate) fn is_assured(&self) -> bool {
        self.assured.load(Relaxed)
    }

    /// A client has shown that it is there. C: `ip_vs_control_assure_ct()`.
    #[inline]
    pub(crate) fn set_assured(&self) {
        if !self.is_assured() {
            self.assured.store(true, Relaxed);
        }
    }

    /// Whether its service schedules packets one by one.
    pub(crate) fn is_one_packet(&self) -> bool {
        self.one_packet
    }

    /// Whether connections go by it.
    pub(crate) fn has_conns(&self) -> bool {
        self.conns.load(Relaxed) != 0
    }

    /// Tells whether its time is over and it waits a little longer for its connections. Not if it was
    /// restarted as the timer set the flag.
    fn is_overdue(&self) -> bool {
        self.overdue.load(Relaxed) && self.deadline.is_over()
    }

    /// It ends with its last connection.
    pub(crate) fn mark_orphan(&self) {
        self.orphan.store(true, Relaxed);
    }

    /// Counts a packet that goes by it alone.
    pub(crate) fn count_packet(&self) {
        self.packets.add();
    }

    /// How long it lasts after it was used, in ticks.
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.load(Relaxed)
    }

    /// How many packets went by it one by one, as far as anyone asks.
    pub(crate) fn packets(&self) -> u8 {
        self.packets.get()
    }

    /// How many ticks are left to it.
    pub(crate) fn remaining(&self) -> usize {
        self.deadline.remaining()
    }
}

/// A connection is being made by a template. `None` if it has ended.
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

/// Lets it last `timeout` more ticks.
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

/// Ends a template as soon as possible, unless connections go by it.
pub(crate) fn expire_template<F: Family>(template: &PublishedTemplate<F>) {
    restart(template, 0);
}

/// A connection that went by a template has ended. The last one takes a template along whose time is
/// over; and if it was cut off, one whose client has never shown that it is there. Any context.
pub(super) fn release<F: Family>(template: &PublishedTemplate<F>, forced: bool) {
    let left = template.conns.fetch_sub(1, Full).wrapping_sub(1);
    let ends = template.orphan.load(Relaxed) || template.is_overdue();
    if left == 0 && (ends || (forced && !template.is_assured())) {
        expire_template(template);
    }
}

/// Keeps the template of a connection.
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

    fn deadline(&self) -> usize {
        let deadline = self.deadline.get();
        if self.is_overdue() {
            jiffies::fires_by(deadline, self.timeout() as usize)
        } else {
            deadline
        }
    }

    /// Not while it has connections: those keep their client at its server.
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

    fn retired(&self) {
        self.dest.unbind_template();
    }
}
