// SPDX-License-Identifier: GPL-2.0

//! Defence against floods: dropping first packets, dropping connections, and TCP states that do not
//! take a client's word. C: `update_defense_level()`, `ip_vs_random_dropentry()`.
//!
//! Once a second it is looked whether memory is low, as long as a defence may be wanted.

use crate::{
    conn::{
        self,
        template::{
            expire_template,
            PublishedTemplate, //
        },
        ConnTables,
        PublishedConn,
        Tables, //
    },
    family::Family,
    netns::Timeouts,
    proto,
    settings::Settings, //
};
use ipvs_core::{
    defence::{
        self,
        FEW_PACKETS,
        MODES, //
    },
    ipv4::PROTO_TCP,
    tcp::{
        self,
        TcpState, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use linux::{
    atomic::{
        Atomic,
        InlineAtomic,
        Relaxed, //
    },
    jiffies::HZ,
    memory, random, rcu,
    sched::cond_resched,
    sysctl::Int,
    work::{
        Next,
        Run, //
    },
};

/// What users set, and what is in force.
#[pin_data]
pub(crate) struct Defence {
    /// Below how many free pages memory is low.
    pub(crate) amemthresh: Int,
    /// Of how many first packets one is dropped when that is always done.
    pub(crate) am_droprate: Int,
    /// Mode of dropping connections.
    pub(crate) drop_entry: Int,
    /// Mode of dropping first packets.
    pub(crate) drop_packet: Int,
    /// Mode of careful TCP states.
    pub(crate) secure_tcp: Int,
    /// EntryRef while modes change, or what is in force.
    #[pin]
    update: Mutex<()>,
    drops_entries: Atomic<bool>,
    /// Of how many first packets one is dropped; 0 for none.
    drop_rate: Atomic<i32>,
    /// How many are left until one is.
    drop_counter: InlineAtomic<i32>,
    is_careful: Atomic<bool>,
}

impl Defence {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            amemthresh: Int::new(1024),
            am_droprate: Int::new(10),
            drop_entry: Int::new(0),
            drop_packet: Int::new(0),
            secure_tcp: Int::new(0),
            update <- new_mutex!((), "ipvs_defence"),
            drops_entries: Atomic::new(false),
            drop_rate: Atomic::new(0),
            drop_counter: InlineAtomic::new(0),
            is_careful: Atomic::new(false),
        })
    }

    /// Sets a mode, which takes effect at once. May sleep.
    ///
    /// Errors: `EINVAL` for what is none.
    pub(crate) fn set_mode(&self, mode: &Int, number: i32) -> Result {
        if !MODES.contains(&number) {
            return Err(EINVAL);
        }
        let _update = self.update.lock();
        mode.set(number);
        self.update_locked();
        Ok(())
    }

    /// Looks at the memory, and puts in force what the modes say. Whether a defence may be wanted
    /// later.
    fn update(&self) -> bool {
        let _update = self.update.lock();
        self.update_locked();
        [&self.drop_entry, &self.drop_packet, &self.secure_tcp]
            .iter()
            .any(|mode| mode.is_set())
    }

    fn update_locked(&self) {
        let threshold = self.amemthresh.get().max(0);
        let available = i32::try_from(memory::available_pages()).unwrap_or(i32::MAX);
        let step = |mode: &Int| {
            let (number, on) = defence::next(mode.get(), available < threshold);
            mode.set(number);
            on
        };
        self.drops_entries.store(step(&self.drop_entry), Relaxed);
        self.is_careful.store(step(&self.secure_tcp), Relaxed);
        let rate = match (step(&self.drop_packet), self.drop_packet.get()) {
            (false, _) => 0,
            (true, 3) => self.am_droprate.get(),
            (true, _) => {
                let rate = defence::drop_rate(threshold, available);
                self.drop_counter.store(rate, Relaxed);
                rate
            }
        };
        self.drop_rate.store(rate, Relaxed);
    }

    /// Whether a first packet is dropped. C: `ip_vs_todrop()`.
    #[inline]
    pub(crate) fn drops_packet(&self) -> bool {
        let rate = self.drop_rate.load(Relaxed);
        rate != 0 && self.counts_to_drop(rate)
    }

    #[cold]
    fn counts_to_drop(&self, rate: i32) -> bool {
        if self.drop_counter.fetch_sub(1, Relaxed) > 1 {
            return false;
        }
        self.drop_counter.store(rate, Relaxed);
        true
    }

    /// How TCP connections go from state to state.
    #[inline]
    pub(crate) fn tcp_table(&self) -> tcp::Table {
        if self.is_careful.load(Relaxed) {
            tcp::Table::Secure
        } else {
            tcp::Table::Normal
        }
    }
}

/// Looks after the memory once a second.
pub(crate) struct DefenceWork {
    settings: Arc<Settings>,
    timeouts: Arc<Timeouts>,
    conns: ConnTables,
    /// Of the connections with one packet and more, how many are spared until one is dropped.
    spared: [Atomic<u8>; FEW_PACKETS as usize],
}

/// How often.
pub(crate) const PERIOD: usize = HZ as usize;

/// How long a connection must have been idle to be dropped, in ticks.
const LONG_IDLE: u32 = 60 * HZ;

impl DefenceWork {
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
        if conn.protocol() != PROTO_TCP {
            return is_sampled();
        }
        match TcpState::from_number(conn.bits().state()) {
            Some(TcpState::SynRecv | TcpState::SynAck) => true,
            Some(TcpState::Established) => is_sampled(),
            _ => false,
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

/// How long something has been idle, in ticks, if it lasts `timeout` after its last packet.
fn idle(timeout: u32, remaining: usize) -> usize {
    (timeout as usize).saturating_sub(remaining)
}

impl Run for DefenceWork {
    fn run(&self) -> Next {
        let defence = &self.settings.defence;
        let goes_on = defence.update();
        if defence.drops_entries.load(Relaxed) {
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
