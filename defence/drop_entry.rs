// SPDX-License-Identifier: GPL-2.0

//! The work of the defence against floods: once a second it looks whether memory is low, and drops
//! connections if that is wanted. C: `defense_work_handler()`, `ip_vs_random_dropentry()`.

use crate::{
    conn::{
        self,
        template::{
            expire_template,
            PublishedTemplate, //
        },
        PublishedConn, //
    },
    family::Family,
    netns::{
        tables::{
            ConnTables,
            Tables, //
        },
        timeouts::Timeouts, //
    },
    proto,
    settings::Settings, //
};
use ipvs_core::{
    defence::{
        self,
        FEW_PACKETS, //
    },
    proto::Protocol,
    tcp::TcpState, //
};
use kernel::sync::Arc;
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    jiffies::HZ,
    random, rcu,
    sched::cond_resched,
    work::{
        Next,
        Run, //
    },
};

/// Looks at the memory once a second, while a defence may be wanted.
pub(crate) struct DefenceWork {
    settings: Arc<Settings>,
    timeouts: Arc<Timeouts>,
    conns: ConnTables,
    /// Of the connections with one packet and more, how many are spared until one is dropped.
    spared: [Atomic<u8>; FEW_PACKETS as usize],
}

/// Ticks from one look at the memory to the next.
pub(crate) const PERIOD: usize = HZ as usize;

/// Ticks that a connection must have been idle for to be dropped.
const LONG_IDLE: u32 = 60 * HZ;

impl DefenceWork {
    /// Makes the work of a namespace.
    pub(crate) fn new(settings: Arc<Settings>, timeouts: Arc<Timeouts>, conns: ConnTables) -> Self {
        Self {
            settings,
            timeouts,
            conns,
            spared: [const { Atomic::new(0) }; FEW_PACKETS as usize],
        }
    }

    /// Drops connections that are not worth much, in one part of 32 of a table, at random.
    fn drop_entries<F: Family>(&self, tables: &Tables<F>) {
        let mut random = [0; size_of::<usize>()];
        random::fill(&mut random);
        let start = usize::from_ne_bytes(random);
        let mut cursor = start;
        for _ in 0..tables.conns.size() / 32 {
            cursor = rcu::read(|rcu| {
                tables.conns.scan(rcu, cursor, |conn| {
                    if self.is_expendable(conn) {
                        conn::expire_forced(conn);
                    }
                })
            });
            cond_resched();
        }
        cursor = start;
        for _ in 0..tables.templates.size() / 32 {
            cursor = rcu::read(|rcu| {
                tables.templates.scan(rcu, cursor, |template| {
                    if !template.has_conns() && self.is_expendable_template(template) {
                        expire_template(template);
                    }
                })
            });
            cond_resched();
        }
    }

    /// Templates without connections are worth much if a client has shown that it is there; those for
    /// packets one by one, if many came.
    fn is_expendable_template<F: Family>(&self, template: &PublishedTemplate<F>) -> bool {
        if template.is_one_packet() {
            let idle = idle(template.timeout(), template.remaining());
            return self.is_sampled(idle, template.packets());
        }
        !template.is_assured()
    }

    fn is_expendable<F: Family>(&self, conn: &PublishedConn<F>) -> bool {
        let is_sampled = || {
            let timeout = proto::timeout(conn.protocol(), conn.bits(), &self.timeouts);
            self.is_sampled(idle(timeout, conn.remaining()), conn.packets())
        };
        match conn.protocol() {
            Protocol::Tcp => match TcpState::from_number(conn.bits().state()) {
                Some(TcpState::SynRecv | TcpState::SynAck) => true,
                Some(TcpState::Established) => is_sampled(),
                _ => false,
            },
            Protocol::Udp => is_sampled(),
        }
    }

    /// C: `todrop_entry()`.
    fn is_sampled(&self, idle: usize, packets: u8) -> bool {
        if idle < LONG_IDLE as usize {
            return false;
        }
        let place = usize::from(packets).checked_sub(1);
        let Some(spared) = place.and_then(|place| self.spared.get(place)) else {
            return false;
        };
        let (drop, left) = defence::sample(packets, spared.load(Relaxed));
        spared.store(left, Relaxed);
        drop
    }
}

/// Returns how many ticks something has been idle for, if it lasts `timeout` after its last packet.
fn idle(timeout: u32, remaining: usize) -> usize {
    (timeout as usize).saturating_sub(remaining)
}

impl Run for DefenceWork {
    fn run(&self) -> Next {
        let defence = &self.settings.defence;
        let goes_on = defence.update();
        if defence.drops_entries() {
            self.drop_entries(&self.conns.v4);
            self.drop_entries(&self.conns.v6);
        }
        if goes_on {
            Next::After(PERIOD)
        } else {
            Next::Done
        }
    }
}
