// SPDX-License-Identifier: GPL-2.0

//! Once a minute, schedulers forget what has not been of use for long.

use crate::{
    netns::services::ServiceTables,
    walk::for_each_shared, //
};
use core::ops::ControlFlow;
use ipvs_core::sched::locality::SWEEP_SECS;
use kernel::sync::Arc;
use linux::{
    jiffies::HZ,
    work::{
        Next,
        Run, //
    },
};

/// Ticks from one sweep to the next.
pub(crate) const PERIOD: usize = SWEEP_SECS as usize * HZ as usize;

/// Sweeps the services of a namespace. It rests while no scheduler needs it.
pub(crate) struct LblcExpiry(pub(crate) Arc<ServiceTables>);

impl Run for LblcExpiry {
    fn run(&self) -> Next {
        let mut next = Next::Done;

        for_each_shared(&self.0.services, |service| {
            if service.scheduler.needs_sweeps() {
                service.scheduler.sweep();
                next = Next::After(PERIOD);
            }
            ControlFlow::Continue(())
        });
        next
    }
}
