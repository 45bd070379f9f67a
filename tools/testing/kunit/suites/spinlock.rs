// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::spinlock`]: locks that softirqs take, too.

use crate::{
    ledger::{
        Ledger,
        Token, //
    },
    wait,
};
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
    new_spinlock_bh,
    spinlock::SpinLockBh,
    work::{
        Next,
        Run,
        Work, //
    },
};

const ADDITIONS: u64 = 20_000;

/// A number under a lock.
#[pin_data]
struct Locked {
    #[pin]
    sum: SpinLockBh<u64>,
    done: Atomic<usize>,
}

struct Worker(Arc<Locked>);

impl Run for Worker {
    fn run(&self) -> Next {
        for _ in 0..ADDITIONS {
            *self.0.sum.lock() += 1;
        }
        self.0.done.fetch_add(1, Release);
        Next::Done
    }
}

fn locked() -> Result<Arc<Locked>> {
    let init = pin_init!(Locked {
        sum <- new_spinlock_bh!(0, "kunit_locked"),
        done: Atomic::new(0),
    });
    Arc::pin_init(init, GFP_KERNEL)
}

#[kunit_tests(linux_spinlock)]
mod cases {
    use super::*;

    #[test]
    fn a_guard_keeps_others_out_until_it_is_dropped() -> Result {
        let locked = locked()?;
        let guard = locked.sum.lock();
        let while_held = locked.sum.try_lock().is_some();
        drop(guard);
        let afterwards = locked.sum.try_lock().is_some();
        let again = locked.sum.try_lock().is_some();
        assert!(!while_held);
        assert!(afterwards && again);
        Ok(())
    }

    #[test]
    fn one_owner_at_a_time_changes_what_is_locked() -> Result {
        const WORKERS: usize = 4;
        let locked = locked()?;
        let mut works = KVec::with_capacity(WORKERS, GFP_KERNEL)?;
        for _ in 0..WORKERS {
            let class = static_lock_class!();
            works.push(
                Work::new(Worker(locked.clone()), c"kunit adder", class)?,
                GFP_KERNEL,
            )?;
        }
        works.iter().for_each(|work| work.schedule(0));
        assert!(wait::until(|| locked.done.load(Acquire) == WORKERS));
        let sum = *locked.sum.lock();
        assert!(sum == WORKERS as u64 * ADDITIONS);
        Ok(())
    }

    #[test]
    fn what_is_locked_is_dropped_with_the_lock() -> Result {
        let ledger = Ledger::new(1)?;
        let token = ledger.token(0);
        let lock: Pin<KBox<SpinLockBh<Token>>> =
            KBox::pin_init(new_spinlock_bh!(token, "kunit_token"), GFP_KERNEL)?;
        let number = lock.lock().number();
        assert!(number == 0);
        assert!(ledger.dropped() == 0);
        drop(lock);
        assert!(ledger.each_once());
        Ok(())
    }
}
