// SPDX-License-Identifier: GPL-2.0

//! Statistics of servers, services and namespaces: exact, and current whenever they are read.
//!
//! C: `struct ip_vs_stats`, whose counters are up to two seconds old.

use ipvs_core::{
    est::Estimator,
    stats::{
        Counters,
        Stats as Shown, //
    },
};
use kernel::prelude::*;
use linux::{
    new_spinlock_bh,
    percpu::{
        Counter,
        PerCpu,
        Section, //
    },
    rcu::{
        Borrowed,
        Reader, //
    },
    roll::{
        Entry,
        Roll, //
    },
    spinlock::SpinLockBh, //
};

const CONNS: usize = 0;
const INPKTS: usize = 1;
const OUTPKTS: usize = 2;
const INBYTES: usize = 3;
const OUTBYTES: usize = 4;

/// One CPU's share of [`Counters`].
type Share = [Counter; 5];

fn sum(share: &Share) -> Counters {
    Counters {
        conns: share[CONNS].get(),
        inpkts: share[INPKTS].get(),
        outpkts: share[OUTPKTS].get(),
        inbytes: share[INBYTES].get(),
        outbytes: share[OUTBYTES].get(),
    }
}

/// What changes with users and time.
struct Base {
    /// The counters when they were last zeroed.
    zero: Counters,
    estimator: Estimator,
}

/// The statistics of one object.
#[pin_data]
pub(crate) struct Stats {
    shares: PerCpu<Share>,
    #[pin]
    base: SpinLockBh<Base>,
}

impl Stats {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            shares: PerCpu::new()?,
            base <- new_spinlock_bh!(
                Base {
                    zero: Counters::ZERO,
                    estimator: Estimator::new(Counters::ZERO),
                },
                "stats"
            ),
        }? Error)
    }

    fn total(&self) -> Counters {
        self.shares
            .iter()
            .fold(Counters::ZERO, |total, (_, share)| {
                total.wrapping_add(sum(share))
            })
    }

    /// Counters since the last zeroing, and rates.
    pub(crate) fn read(&self) -> Shown {
        let base = self.base.lock();
        Shown {
            counters: self.total().wrapping_sub(base.zero),
            rates: base.estimator.rates(),
        }
    }

    /// The counters of each CPU since the module was loaded. C: `ip_vs_stats_percpu_show()`.
    pub(crate) fn per_cpu(&self) -> impl Iterator<Item = (u32, Counters)> + '_ {
        self.shares.iter().map(|(cpu, share)| (cpu, sum(share)))
    }

    /// Makes the present counters the zero point; the rates start from 0.
    pub(crate) fn zero(&self) {
        let mut base = self.base.lock();
        base.zero = self.total();
        base.estimator = Estimator::new(base.zero);
    }

    /// Lets the rates take another step, every [`ipvs_core::est::PERIOD_SECS`]; whether they would
    /// go on without anything to count.
    pub(crate) fn estimate(&self) -> bool {
        let mut base = self.base.lock();
        let total = self.total();
        base.estimator.update(&total);
        !base.estimator.is_at_rest()
    }

    /// Whether something was counted since the last step.
    pub(crate) fn is_behind(&self) -> bool {
        self.base.lock().estimator.is_behind(&self.total())
    }
}

/// The statistics of a server or a service, whose rates are estimated while they have any.
pub(crate) type Estimated = Entry<Stats>;

/// All statistics of a namespace: in total, and those whose rates are estimated.
#[pin_data]
pub(crate) struct Ledger {
    #[pin]
    pub(crate) total: Stats,
    #[pin]
    pub(crate) estimated: Roll<Stats>,
}

impl Ledger {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            total <- Stats::new(),
            estimated <- Roll::new(),
        }? Error)
    }
}

/// All that one packet counts for: its server, the service and the namespace.
pub(crate) struct Accounts<'a, 'rcu> {
    pub(crate) parts: [Borrowed<'rcu, Estimated>; 2],
    pub(crate) ledger: &'a Ledger,
    pub(crate) rcu: Reader<'rcu>,
}

impl Accounts<'_, '_> {
    /// This CPU's shares of all of them.
    #[inline]
    fn shares<'s>(&'s self, section: &'s Section) -> [&'s Share; 3] {
        let [dest, service] = &self.parts;
        [
            section.get(&dest.shares),
            section.get(&service.shares),
            section.get(&self.ledger.total.shares),
        ]
    }

    /// To be called once they have been counted for.
    #[inline]
    fn enrol(&self) {
        for stats in self.parts {
            self.ledger.estimated.enrol(stats, self.rcu);
        }
    }

    #[inline]
    fn add(&self, packets: usize, bytes: usize, len: usize) {
        let section = Section::enter();
        for share in self.shares(&section) {
            share[packets].add(1);
            share[bytes].add(len as u64);
        }
        self.enrol();
    }

    /// Counts a request of `len` bytes.
    #[inline]
    pub(crate) fn request(&self, len: usize) {
        self.add(INPKTS, INBYTES, len);
    }

    /// Counts an answer of `len` bytes.
    #[inline]
    pub(crate) fn answer(&self, len: usize) {
        self.add(OUTPKTS, OUTBYTES, len);
    }

    /// Counts a new connection.
    pub(crate) fn connection(&self) {
        let section = Section::enter();
        for share in self.shares(&section) {
            share[CONNS].add(1);
        }
        self.enrol();
    }
}
