// SPDX-License-Identifier: GPL-2.0

//! The statistics of servers, services and namespaces. They are exact whenever they are read. C:
//! `struct ip_vs_stats`, whose counters may be two seconds old.

pub(crate) mod est;
pub(crate) mod packet;

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
        PerCpu, //
    },
    spinlock::SpinLockBh, //
};

/// The indices of the counters in a [`CpuCounters`].
pub(crate) const CONNS: usize = 0;
pub(crate) const INPKTS: usize = 1;
pub(crate) const OUTPKTS: usize = 2;
pub(crate) const INBYTES: usize = 3;
pub(crate) const OUTBYTES: usize = 4;

/// The [`Counters`] of one CPU.
pub(crate) type CpuCounters = [Counter; 5];

fn sum(counters: &CpuCounters) -> Counters {
    Counters {
        conns: counters[CONNS].get(),
        inpkts: counters[INPKTS].get(),
        outpkts: counters[OUTPKTS].get(),
        inbytes: counters[INBYTES].get(),
        outbytes: counters[OUTBYTES].get(),
    }
}

/// The part that zeroing and rate estimation change.
struct Base {
    /// The counters when they were last zeroed.
    zero: Counters,
    estimator: Estimator,
}

/// The statistics of one object.
#[pin_data]
pub(crate) struct Stats {
    pub(crate) counters: PerCpu<CpuCounters>,
    #[pin]
    base: SpinLockBh<Base>,
}

impl Stats {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            counters: PerCpu::new()?,
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
        self.counters
            .iter()
            .fold(Counters::ZERO, |total, (_, share)| {
                total.wrapping_add(sum(share))
            })
    }

    /// Returns the counters since the last zeroing, and the rates.
    pub(crate) fn read(&self) -> Shown {
        let base = self.base.lock();
        Shown {
            counters: self.total().wrapping_sub(base.zero),
            rates: base.estimator.rates(),
        }
    }

    /// Iterates over the counters of each CPU since the module was loaded. C:
    /// `ip_vs_stats_percpu_show()`.
    pub(crate) fn per_cpu(&self) -> impl Iterator<Item = (u32, Counters)> + '_ {
        self.counters
            .iter()
            .map(|(cpu, counters)| (cpu, sum(counters)))
    }

    /// Zeroes the statistics: remembers the counters as the new zero, and restarts the rates at 0.
    pub(crate) fn zero(&self) {
        let mut base = self.base.lock();
        base.zero = self.total();
        base.estimator = Estimator::new(base.zero);
    }

    /// Updates the rates, every [`ipvs_core::est::PERIOD_SECS`]. Returns `true` if they change
    /// further without new packets.
    pub(crate) fn estimate(&self) -> bool {
        let mut base = self.base.lock();
        let total = self.total();
        base.estimator.update(&total);
        !base.estimator.rates_are_zero()
    }

    /// Returns `true` if another update would change nothing.
    pub(crate) fn is_at_rest(&self) -> bool {
        let estimator = &self.base.lock().estimator;
        estimator.rates_are_zero() && !estimator.has_new_counts(&self.total())
    }
}
