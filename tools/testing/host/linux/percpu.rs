// SPDX-License-Identifier: GPL-2.0

//! Objects of which each CPU has its own. A test says on which CPU it is.

use kernel::{
    context::Atomic,
    prelude::*, //
};
use std::sync::atomic::{
    AtomicU64,
    AtomicUsize,
    Ordering::SeqCst, //
};

pub const CPUS: usize = 4;

static CURRENT: AtomicUsize = AtomicUsize::new(0);

/// Goes on on that CPU.
pub fn run_on(cpu: usize) {
    assert!(cpu < CPUS);
    CURRENT.store(cpu, SeqCst);
}

pub struct PerCpu<T: Zeroable + Sync>(Pin<KBox<[T; CPUS]>>);

impl<T: Zeroable + Sync> PerCpu<T> {
    pub fn new() -> Result<Self> {
        let zeroed = std::array::from_fn(|_| T::zeroed());
        Ok(Self(KBox::pin(zeroed, GFP_KERNEL)?))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.0.iter())
    }
}

pub fn possible_cpus() -> impl Iterator<Item = u32> {
    0..CPUS as u32
}

pub struct Section {
    cpu: usize,
    _atomic: Atomic,
}

impl Section {
    pub fn enter() -> Self {
        Self {
            cpu: CURRENT.load(SeqCst),
            _atomic: Atomic::enter(),
        }
    }

    pub fn get<'a, T: Zeroable + Sync>(&'a self, percpu: &'a PerCpu<T>) -> &'a T {
        &percpu.0[self.cpu]
    }
}

#[repr(transparent)]
pub struct Counter(AtomicU64);

// SAFETY: All bits zero is the number zero.
unsafe impl Zeroable for Counter {}

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, SeqCst);
    }

    pub fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }
}
