// SPDX-License-Identifier: GPL-2.0

//! Memory that each CPU has its own copy of.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use crate::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    bindings, //
};
use core::marker::PhantomData;
use kernel::prelude::*;
use pin_init::Zeroable;

/// One zeroed `T` for each possible CPU.
///
/// # Invariants
///
/// `ptr` comes from `__alloc_percpu()` with the layout of `T`, and is freed by `drop` alone.
pub struct PerCpu<T: Zeroable + Sync> {
    ptr: *mut T,
}

// SAFETY: Only `&T` is given out, and `T: Sync`.
unsafe impl<T: Zeroable + Sync> Send for PerCpu<T> {}
// SAFETY: As above.
unsafe impl<T: Zeroable + Sync> Sync for PerCpu<T> {}

impl<T: Zeroable + Sync> PerCpu<T> {
    /// Allocates the copies. May sleep.
    pub fn new() -> Result<Self> {
        // SAFETY: Any size and alignment may be asked for.
        let ptr = unsafe { bindings::linux_alloc_percpu(size_of::<T>(), align_of::<T>()) };
        if ptr.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Just allocated; zeroed memory is a `T`.
        Ok(Self { ptr: ptr.cast() })
    }

    /// Iterates over the copies, with the numbers of their CPUs.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        possible_cpus().map(move |cpu| {
            // SAFETY: By the type invariant and since `cpu` is possible, the copy is there for as
            // long as `self`.
            (cpu, unsafe {
                &*bindings::linux_per_cpu_ptr(self.ptr.cast(), cpu).cast::<T>()
            })
        })
    }
}

impl<T: Zeroable + Sync> Drop for PerCpu<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::free_percpu(self.ptr.cast()) };
    }
}

/// Iterates over the numbers of all possible CPUs. C counterpart: `for_each_possible_cpu()`.
pub fn possible_cpus() -> impl Iterator<Item = u32> {
    let mut cpu = -1;
    core::iter::from_fn(move || {
        // SAFETY: `cpu` is -1 or the number of a possible CPU.
        let next = unsafe { bindings::linux_next_possible_cpu(cpu) };
        // SAFETY: Set at boot and constant from then on.
        if next >= unsafe { bindings::nr_cpu_ids } {
            return None;
        }
        cpu = next as i32;
        Some(next)
    })
}

/// A section of code that stays on its CPU, with bottom halves disabled: nobody else touches this
/// CPU's copies in the meantime, if all do it in such a section. Whoever had disabled them before must
/// not enable them within; counts might get lost.
///
/// # Invariants
///
/// `offset` is that of a possible CPU: the one that entered.
pub struct Section {
    offset: usize,
    /// `true` if bottom halves were enabled before, and are again afterwards.
    enables: bool,
    _not_send: PhantomData<*mut ()>,
}

impl Section {
    /// Enters a section. Does not touch bottom halves that are disabled already, as where packets come
    /// in.
    ///
    /// # Context
    ///
    /// Any but hard interrupts. Sections nest.
    #[inline]
    pub fn enter() -> Self {
        // SAFETY: It only reads the state of the running task.
        let enables = !unsafe { bindings::linux_in_softirq() };
        if enables {
            // SAFETY: Paired with the enable in `drop`, on the same CPU, since `Self` is not `Send`.
            unsafe { bindings::linux_local_bh_disable() };
        }
        // SAFETY: It only reads, and with bottom halves disabled the CPU stays the same.
        let offset = unsafe { bindings::linux_my_cpu_offset() };
        // INVARIANT: As the kernel says.
        Self {
            offset,
            enables,
            _not_send: PhantomData,
        }
    }

    /// Returns this CPU's copy. C counterpart: `this_cpu_ptr()`.
    #[inline]
    pub fn get<'a, T: Zeroable + Sync>(&'a self, percpu: &'a PerCpu<T>) -> &'a T {
        // SAFETY: By the type invariants, a CPU's copy lies `offset` bytes behind the allocation's
        // handle.
        unsafe { &*percpu.ptr.wrapping_byte_add(self.offset) }
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        if self.enables {
            // SAFETY: Paired with `enter`.
            unsafe { bindings::linux_local_bh_enable() };
        }
    }
}

/// A counter in a [`PerCpu`] that only its own CPU advances, in a [`Section`].
#[repr(transparent)]
pub struct Counter(Atomic<u64>);

// SAFETY: Zero is a value of `Atomic<u64>`.
unsafe impl Zeroable for Counter {}

impl Counter {
    /// Adds `n`. Additions outside of a [`Section`] may get lost.
    #[inline]
    pub fn add(&self, n: u64) {
        let sum = self.0.load(Relaxed).wrapping_add(n);
        self.0.store(sum, Relaxed);
    }

    /// Returns the value. Any CPU may ask.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
