// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::percpu`]: a copy for each CPU.

use crate::wait;
use kernel::{
    alloc::KVec,
    prelude::*,
    static_lock_class,
    sync::Arc, //
};
use linux::{
    atomic::{
        Acquire,
        Atomic,
        Release, //
    },
    percpu::{
        possible_cpus,
        Counter,
        PerCpu,
        Section, //
    },
    work::{
        Next,
        Run,
        Work, //
    },
};

const ADDITIONS: u64 = 20_000;

/// The counters of several concurrent workers.
struct Shared {
    counter: PerCpu<Counter>,
    done: Atomic<usize>,
}

struct Worker(Arc<Shared>);

impl Run for Worker {
    fn run(&self) -> Next {
        for _ in 0..ADDITIONS {
            Section::enter().get(&self.0.counter).add(1);
        }
        self.0.done.fetch_add(1, Release);
        Next::Done
    }
}

#[kunit_tests(linux_percpu)]
mod cases {
    use super::*;

    #[test]
    fn each_possible_cpu_has_a_copy_of_its_own_and_it_is_zero() -> Result {
        let counters = PerCpu::<Counter>::new()?;
        assert!(possible_cpus().count() >= 2);
        assert!(counters.iter().map(|(cpu, _)| cpu).eq(possible_cpus()));
        assert!(counters.iter().all(|(_, counter)| counter.get() == 0));
        let one = |at: u32| {
            counters
                .iter()
                .find(|&(cpu, _)| cpu == at)
                .map(|(_, one)| one)
        };
        if let (Some(first), Some(second)) = (one(0), one(1)) {
            first.add(1);
            second.add(2);
        }
        let sum: u64 = counters.iter().map(|(_, counter)| counter.get()).sum();
        assert!(one(0).is_some_and(|counter| counter.get() == 1));
        assert!(one(1).is_some_and(|counter| counter.get() == 2));
        assert!(sum == 3);
        Ok(())
    }

    #[test]
    fn a_section_has_one_cpus_copy_and_nests() -> Result {
        let counters = PerCpu::<Counter>::new()?;
        let outer = Section::enter();
        outer.get(&counters).add(5);
        let inner = Section::enter();
        let same = core::ptr::eq(outer.get(&counters), inner.get(&counters));
        drop(inner);
        outer.get(&counters).add(6);
        drop(outer);
        let changed = counters.iter().filter(|(_, counter)| counter.get() != 0);
        assert!(same);
        assert!(changed.map(|(_, counter)| counter.get()).eq([11]));
        Ok(())
    }

    #[test]
    fn no_addition_is_lost_among_cpus_and_tasks() -> Result {
        const WORKERS: usize = 6;
        let shared = Shared {
            counter: PerCpu::new()?,
            done: Atomic::new(0),
        };
        let shared = Arc::new(shared, GFP_KERNEL)?;
        let mut works = KVec::with_capacity(WORKERS, GFP_KERNEL)?;
        for _ in 0..WORKERS {
            let class = static_lock_class!();
            works.push(
                Work::new(Worker(shared.clone()), c"kunit counter", class)?,
                GFP_KERNEL,
            )?;
        }
        works.iter().for_each(|work| work.schedule(0));
        assert!(wait::until(|| shared.done.load(Acquire) == WORKERS));
        let sum: u64 = shared
            .counter
            .iter()
            .map(|(_, counter)| counter.get())
            .sum();
        assert!(sum == WORKERS as u64 * ADDITIONS);
        Ok(())
    }
}
