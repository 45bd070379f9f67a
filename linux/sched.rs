// SPDX-License-Identifier: GPL-2.0

//! Scheduling of tasks.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::bindings;

/// Gives way if another task is due. To be called now and then by long loops.
///
/// # Context
///
/// Process context that may sleep: no spinlock is held, and no RCU read-side critical section open.
pub fn cond_resched() {
    // SAFETY: No requirement but a context that may sleep, which is the caller's duty as for any
    // function that sleeps.
    unsafe { bindings::linux_cond_resched() };
}
