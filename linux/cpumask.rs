// SPDX-License-Identifier: GPL-2.0

//! Sets of CPUs that are kept, and their text: `0-3,8`.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use crate::{
    bindings,
    rcu::ReadLocked, //
};
use core::ops::Deref;
use kernel::{
    alloc::KVVec,
    cpumask::{
        Cpumask,
        CpumaskVar, //
    },
    error::to_result,
    prelude::*, //
};

/// A set of CPUs, which does not change. It may be moved: the kernel's is pinned where it is part of
/// its variable (`CONFIG_CPUMASK_OFFSTACK` says whether).
pub struct Cpus(KBox<CpumaskVar>);

// SAFETY: It owns its bits, which are freed by any thread.
unsafe impl Send for Cpus {}
// SAFETY: Through a `&Cpus` its bits are only read.
unsafe impl Sync for Cpus {}

impl Cpus {
    /// Parses a list of CPUs and returns those that the current process may run on. The text ends
    /// at a NUL, if it has one. Process context; may sleep. C counterpart: `cpulist_parse()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` and `ERANGE` for what is no list, `ERANGE` also for CPUs that the machine can't
    /// have; `EOVERFLOW` for numbers that are none of an `unsigned int`; `ENOMEM`.
    pub fn parse_allowed(text: &[u8]) -> Result<Self> {
        let mut string = KVVec::with_capacity(text.len().saturating_add(1), GFP_KERNEL)?;
        string.extend_from_slice(text, GFP_KERNEL)?;
        string.push(0u8, GFP_KERNEL)?;
        let cpus = KBox::new(CpumaskVar::new_zero(GFP_KERNEL)?, GFP_KERNEL)?;
        // SAFETY: The string ends with a NUL; the mask is valid and ours alone.
        to_result(unsafe {
            bindings::linux_cpulist_parse(string.as_ptr().cast_mut().cast(), cpus.as_raw())
        })?;
        // SAFETY: As above.
        unsafe { bindings::linux_cpumask_and_current(cpus.as_raw()) };
        Ok(Self(cpus))
    }
}

impl Deref for Cpus {
    type Target = Cpumask;

    fn deref(&self) -> &Cpumask {
        &self.0
    }
}

/// Returns the CPUs that the machine has for kernel threads.
pub fn housekeeping(_rcu: ReadLocked<'_>) -> &Cpumask {
    // SAFETY: The mask is valid within the read-side critical section.
    unsafe { Cpumask::from_raw(bindings::linux_housekeeping_kthread_mask()) }
}

/// Writes the list of the set's CPUs and a NUL, as far as there is room. Returns the length of the
/// list, without the NUL.
pub fn print_list(cpus: &Cpumask, buffer: &mut [u8]) -> usize {
    // SAFETY: The buffer is valid for its length, and the mask is valid.
    let length = unsafe {
        bindings::linux_cpulist_print(buffer.as_mut_ptr().cast(), buffer.len(), cpus.as_raw())
    };
    usize::try_from(length).unwrap_or(0)
}
