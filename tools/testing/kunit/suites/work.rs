// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::work`]: deferred work.

use crate::{
    ledger::{
        Ledger,
        Token, //
    },
    wait,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::Arc, //
};
use linux::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    work::{
        Next,
        Run,
        Work, //
    },
};

/// The orders and the record of the work.
#[derive(Default)]
struct Doings {
    /// The number of times it asks to run again.
    again: Atomic<usize>,
    /// It takes some time.
    slow: Atomic<bool>,
    started: Atomic<usize>,
    ended: Atomic<usize>,
}

struct Job {
    doings: Arc<Doings>,
    _token: Token,
}

impl Run for Job {
    fn run(&self) -> Next {
        let doings = &self.doings;
        doings.started.fetch_add(1, Release);
        if doings.slow.load(Relaxed) {
            wait::a_while();
        }
        doings.ended.fetch_add(1, Release);
        if doings.again.load(Relaxed) == 0 {
            return Next::Done;
        }
        doings.again.fetch_sub(1, Relaxed);
        Next::After(1)
    }
}

impl Doings {
    fn started(&self) -> usize {
        self.started.load(Acquire)
    }

    fn ended(&self) -> usize {
        self.ended.load(Acquire)
    }
}

fn work() -> Result<(Work<Job>, Arc<Doings>, Arc<Ledger>)> {
    let ledger = Ledger::new(1)?;
    let doings = Arc::new(Doings::default(), GFP_KERNEL)?;
    let job = Job {
        doings: doings.clone(),
        _token: ledger.token(0),
    };
    let work = Work::new(job, c"kunit work", static_lock_class!())?;
    Ok((work, doings, ledger))
}

#[kunit_tests(linux_work)]
mod cases {
    use super::*;

    #[test]
    fn it_runs_once_for_each_time_it_is_scheduled() -> Result {
        let (work, doings, ledger) = work()?;
        wait::a_while();
        assert!(doings.started() == 0);
        work.schedule(0);
        assert!(wait::until(|| doings.ended() == 1));
        work.schedule(1);
        assert!(wait::until(|| doings.ended() == 2));
        wait::a_while();
        assert!(doings.started() == 2);
        drop(work);
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn scheduling_what_waits_changes_nothing() -> Result {
        let (work, doings, _ledger) = work()?;
        work.schedule(wait::NEVER);
        work.schedule(0);
        wait::a_while();
        assert!(doings.started() == 0);
        Ok(())
    }

    #[test]
    fn what_is_hurried_runs_at_once_and_once() -> Result {
        let (work, doings, _ledger) = work()?;
        work.schedule(wait::NEVER);
        work.hurry();
        assert!(wait::until(|| doings.ended() == 1));
        wait::a_while();
        assert!(doings.started() == 1);
        work.hurry();
        assert!(wait::until(|| doings.ended() == 2));
        Ok(())
    }

    #[test]
    fn it_runs_again_as_often_as_it_asks_to() -> Result {
        let (work, doings, _ledger) = work()?;
        doings.again.store(4, Relaxed);
        work.schedule(0);
        assert!(wait::until(|| doings.ended() == 5));
        wait::a_while();
        assert!(doings.started() == 5);
        Ok(())
    }

    #[test]
    fn what_is_scheduled_while_it_runs_runs_once_more() -> Result {
        let (work, doings, _ledger) = work()?;
        doings.slow.store(true, Relaxed);
        work.schedule(0);
        assert!(wait::until(|| doings.started() == 1));
        work.schedule(0);
        assert!(wait::until(|| doings.ended() == 2));
        wait::a_while();
        assert!(doings.started() == 2);
        Ok(())
    }

    #[test]
    fn cancel_waits_for_what_runs() -> Result {
        let (work, doings, _ledger) = work()?;
        doings.slow.store(true, Relaxed);
        work.schedule(0);
        assert!(wait::until(|| doings.started() == 1));
        work.cancel();
        assert!(doings.ended() == 1);
        Ok(())
    }

    #[test]
    fn what_is_cancelled_does_not_run_until_it_is_scheduled_again() -> Result {
        let (work, doings, _ledger) = work()?;
        work.schedule(10);
        work.cancel();
        wait::a_while();
        assert!(doings.started() == 0);
        work.schedule(0);
        assert!(wait::until(|| doings.ended() == 1));
        Ok(())
    }

    #[test]
    fn cancel_ends_what_runs_again_and_again() -> Result {
        let (work, doings, _ledger) = work()?;
        doings.again.store(usize::MAX, Relaxed);
        work.schedule(0);
        assert!(wait::until(|| doings.started() > 2));
        work.cancel();
        let started = doings.started();
        assert!(doings.ended() == started);
        wait::a_while();
        assert!(doings.started() == started);
        Ok(())
    }

    #[test]
    fn dropping_it_cancels_it() -> Result {
        let (work, doings, ledger) = work()?;
        work.schedule(10);
        drop(work);
        assert!(ledger.each_once());
        wait::a_while();
        assert!(doings.started() == 0);
        Ok(())
    }

    #[test]
    fn dropping_it_waits_for_what_runs() -> Result {
        let (work, doings, ledger) = work()?;
        doings.slow.store(true, Relaxed);
        work.schedule(0);
        assert!(wait::until(|| doings.started() == 1));
        drop(work);
        assert!(doings.ended() == 1);
        assert!(ledger.each_once());
        Ok(())
    }
}
