// SPDX-License-Identifier: GPL-2.0

//! Once a minute, schedulers forget what has not been of use for long.

use crate::{
    netns::Model,
    walk::Cursor, //
};
use ipvs_core::sched::by_target::SWEEP_SECS;
use kernel::sync::Arc;
use linux::{
    jiffies::HZ,
    rcu,
    work::{
        Next,
        Run, //
    },
};

/// Ticks from one sweep to the next.
pub(crate) const PERIOD: usize = SWEEP_SECS as usize * HZ as usize;

/// Sweeps the services of a namespace. It rests while no scheduler needs it.
pub(crate) struct Sweeper(pub(crate) Arc<Model>);

impl Run for Sweeper {
    fn run(&self) -> Next {
        let services = &self.0.services;
        let mut cursor = Cursor::default();
        let mut next = Next::Done;

        while !cursor.ended() {
            rcu::read(|rcu| {
                let batch = cursor
                    .take(|place, visit| services.scan(rcu, place, |service| visit(service.get())));
                for service in batch.into_iter().flatten() {
                    if service.scheduler.needs_sweeps() {
                        service.scheduler.sweep();
                        next = Next::After(PERIOD);
                    }
                }
            });
        }
        next
    }
}
