// SPDX-License-Identifier: GPL-2.0

//! Rates: every two seconds, all statistics of a namespace take a step. C: `ip_vs_est.c`.
//!
//! It rests while there is no service (see [`crate::control`]), or if users want it to (sysctl
//! `run_estimation`). The C module spreads the work over kernel threads and limits it; here a step
//! costs no more than reading counters, and anyone else may run between two services.

use crate::{
    netns::Model,
    service::Service,
    settings::Settings,
    walk::Cursor, //
};
use core::sync::atomic::{
    AtomicUsize,
    Ordering::Relaxed, //
};
use ipvs_core::est::PERIOD_SECS;
use kernel::sync::Arc;
use linux::{
    jiffies::{
        self,
        HZ, //
    },
    rcu,
    work::{
        Next,
        Run, //
    },
};

/// Ticks from one step to the next.
pub(crate) const PERIOD: usize = PERIOD_SECS as usize * HZ as usize;

/// What makes a namespace's rates go on.
pub(crate) struct Estimation {
    model: Arc<Model>,
    settings: Arc<Settings>,
    /// When the step that comes next is due.
    due: AtomicUsize,
}

impl Estimation {
    /// For the statistics in `model`.
    pub(crate) fn new(model: Arc<Model>, settings: Arc<Settings>) -> Self {
        Self {
            model,
            settings,
            due: AtomicUsize::new(jiffies::now()),
        }
    }

    /// How long to wait for the next step. Steps keep their distance on average, whatever holds up
    /// a single one; after a rest, they begin anew.
    fn pause(&self) -> usize {
        let now = jiffies::now();
        let late = now.wrapping_sub(self.due.load(Relaxed));
        let late = if late < PERIOD { late } else { 0 };
        let pause = PERIOD.saturating_sub(late);

        self.due.store(now.wrapping_add(pause), Relaxed);
        pause
    }
}

impl Run for Estimation {
    fn run(&self) -> Next {
        let services = &self.model.services;
        let mut cursor = Cursor::default();

        if !self.settings.run_estimation.is_set() || services.count() == 0 {
            return Next::Done;
        }
        self.model.stats.estimate();
        while !cursor.ended() {
            rcu::read(|rcu| {
                let batch = cursor
                    .take(|place, visit| services.scan(rcu, place, |service| visit(service.get())));
                batch.into_iter().flatten().for_each(estimate);
            });
        }
        Next::After(self.pause())
    }
}

/// Lets the rates of a service and its servers take a step.
fn estimate(service: &Service) {
    service.stats().estimate();
    rcu::read(|rcu| service.for_each_dest(rcu, |dest| dest.stats().estimate()));
}
