// SPDX-License-Identifier: GPL-2.0

//! Removes old entries of `lblc` and `lblcr` once a minute.

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

/// The ticks between two sweeps.
pub(crate) const PERIOD: usize = SWEEP_SECS as usize * HZ as usize;

/// The work that sweeps the services of a namespace. It is not queued while no scheduler needs it.
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
