// SPDX-License-Identifier: GPL-2.0

//! The work item of the defence against floods: checks the available memory once a second, and
//! drops connections while `drop_entry` is on. C: `defense_work_handler()`,
//! `ip_vs_random_dropentry()`.

use crate::{
    conn::{
        self,
        template::{
            expire_template,
            PublishedTemplate, //
        },
        Conn, //
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
    sctp::SctpState,
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

/// The work item, which runs once a second while any defence mode is not 0.
pub(crate) struct DefenceWork {
    settings: Arc<Settings>,
    timeouts: Arc<Timeouts>,
    conns: ConnTables,
    /// For each packet count from 1, the number of connections with that count up to the next one
    /// to drop (C: `dropentry_counters`).
    spared: [Atomic<u8>; FEW_PACKETS as usize],
}

/// The interval of the work item, in ticks (C: `DEFENSE_TIMER_PERIOD`).
pub(crate) const PERIOD: usize = HZ as usize;

/// The idle time in ticks before which [`DefenceWork::is_sampled`] never drops a connection.
const LONG_IDLE: u32 = 60 * HZ;

impl DefenceWork {
    /// Makes the work item of a namespace.
    pub(crate) fn new(settings: Arc<Settings>, timeouts: Arc<Timeouts>, conns: ConnTables) -> Self {
        Self {
            settings,
            timeouts,
            conns,
            spared: [const { Atomic::new(0) }; FEW_PACKETS as usize],
        }
    }

    /// Drops expendable connections and templates in 1/32 of the buckets, from a random one on. C:
    /// `ip_vs_random_dropentry()`.
    fn drop_entries<F: Family>(&self, tables: &Tables<F>) {
        let mut random = [0; size_of::<usize>()];
        random::fill(&mut random);
        let start = usize::from_ne_bytes(random);
        let mut cursor = start;
        for _ in 0..tables.conns.size() / 32 {
            // If there are more of them at the place, they are left for another time.
            (cursor, _) = rcu::read(|rcu| {
                conn::expire_at(&tables.conns, cursor, rcu, |conn| {
                    !conn.has_data_conns() && self.is_expendable(conn)
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

    /// Returns whether a template without connections may be dropped: if it is not assured, or, for
    /// a service that is scheduled packet by packet, if it is sampled like a connection.
    fn is_expendable_template<F: Family>(&self, template: &PublishedTemplate<F>) -> bool {
        if template.is_one_packet() {
            let idle = idle(template.timeout(), template.remaining());
            return self.is_sampled(idle, template.packets());
        }
        !template.is_assured()
    }

    fn is_expendable<F: Family>(&self, conn: &Conn<F>) -> bool {
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
            Protocol::Sctp => match SctpState::from_number(conn.bits().state()) {
                Some(SctpState::Init1 | SctpState::Init) => true,
                Some(SctpState::Established) => is_sampled(),
                _ => false,
            },
        }
    }

    /// Returns whether a connection that has been idle for `idle` ticks and received `packets`
    /// packets is to be dropped. C: `todrop_entry()`.
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

/// Returns the idle time in ticks of an entry with this timeout and remaining time.
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
