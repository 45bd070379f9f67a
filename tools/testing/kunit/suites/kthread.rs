// SPDX-License-Identifier: GPL-2.0

//! Tests of [`linux::kthread`]: kernel threads.

use crate::{
    ledger::{
        Ledger,
        Token, //
    },
    wait,
};
use kernel::{
    cpumask::CpumaskVar,
    prelude::*,
    sync::Arc, //
};
use linux::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    kthread::{
        Main,
        Settings,
        This,
        Thread,
        NICE, //
    },
};

/// The orders and the record of the thread.
#[derive(Default)]
struct Doings {
    /// The ticks that it sleeps between two rounds. If 0, it returns after the first round.
    pause: Atomic<usize>,
    started: Atomic<usize>,
    rounds: Atomic<usize>,
    /// At its end, it had been asked to stop.
    asked: Atomic<bool>,
    /// It must not return yet, even if asked to stop.
    held: Atomic<bool>,
    ended: Atomic<usize>,
}

struct Job {
    doings: Arc<Doings>,
    token: Token,
}

impl Main for Job {
    fn main(&self, this: &This) {
        let doings = &self.doings;
        doings.started.fetch_add(1, Release);
        loop {
            doings.rounds.fetch_add(1, Release);
            let pause = doings.pause.load(Relaxed);
            if pause == 0 || !this.sleep(pause) {
                break;
            }
        }
        doings.asked.store(this.should_stop(), Relaxed);
        if doings.held.load(Relaxed) {
            wait::a_while();
        }
        // The data that it uses still exists.
        let number = self.token.number() as usize;
        doings.ended.fetch_add(1 + number, Release);
    }
}

impl Doings {
    fn rounds(&self) -> usize {
        self.rounds.load(Acquire)
    }

    fn ended(&self) -> usize {
        self.ended.load(Acquire)
    }
}

fn thread(pause: usize, settings: Settings<'_>) -> Result<(Thread<Job>, Arc<Doings>, Arc<Ledger>)> {
    let ledger = Ledger::new(1)?;
    let doings = Arc::new(Doings::default(), GFP_KERNEL)?;
    doings.pause.store(pause, Relaxed);
    let job = Job {
        doings: doings.clone(),
        token: ledger.token(0),
    };
    Ok((Thread::new(job, c"kunit thread", settings)?, doings, ledger))
}

#[kunit_tests(linux_kthread)]
mod cases {
    use super::*;

    #[test]
    fn it_does_nothing_before_it_is_started() -> Result {
        let (thread, doings, _ledger) = thread(1, Settings::default())?;
        wait::a_while();
        assert!(doings.started.load(Acquire) == 0);
        thread.start();
        assert!(wait::until(|| doings.rounds() > 3));
        assert!(doings.started.load(Acquire) == 1);
        Ok(())
    }

    #[test]
    fn a_thread_that_never_started_frees_its_work() -> Result {
        let (thread, doings, ledger) = thread(1, Settings::default())?;
        drop(thread);
        assert!(ledger.each_once());
        assert!(doings.started.load(Acquire) == 0);
        Ok(())
    }

    #[test]
    fn a_thread_that_is_stopped_as_it_starts_frees_its_work() -> Result {
        for _ in 0..100 {
            let (thread, doings, ledger) = thread(wait::NEVER, Settings::default())?;
            thread.start();
            drop(thread);
            assert!(ledger.each_once());
            // It ran to its end, or did not run at all.
            assert!(doings.started.load(Acquire) == doings.ended());
        }
        Ok(())
    }

    #[test]
    fn a_sleeping_thread_stops_at_once() -> Result {
        // Otherwise this case would take an hour.
        let (thread, doings, ledger) = thread(wait::NEVER, Settings::default())?;
        thread.start();
        assert!(wait::until(|| doings.rounds() == 1));
        drop(thread);
        assert!(doings.asked.load(Relaxed));
        assert!((doings.rounds(), doings.ended()) == (1, 1));
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn drop_waits_for_the_end_and_frees_the_work_then() -> Result {
        let (thread, doings, ledger) = thread(wait::NEVER, Settings::default())?;
        doings.held.store(true, Relaxed);
        thread.start();
        assert!(wait::until(|| doings.rounds() == 1));
        assert!(ledger.dropped() == 0);
        drop(thread);
        assert!(doings.ended() == 1);
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_thread_that_has_returned_keeps_its_work_until_it_is_dropped() -> Result {
        let (thread, doings, ledger) = thread(0, Settings::default())?;
        thread.start();
        assert!(wait::until(|| doings.ended() == 1));
        assert!(!doings.asked.load(Relaxed));
        wait::a_while();
        assert!(ledger.dropped() == 0);
        drop(thread);
        assert!(ledger.each_once());
        Ok(())
    }

    #[test]
    fn a_wake_up_does_not_shorten_its_sleep() -> Result {
        let (thread, doings, _ledger) = thread(wait::NEVER, Settings::default())?;
        thread.start();
        assert!(wait::until(|| doings.rounds() == 1));
        for _ in 0..10 {
            thread.start();
            wait::a_while();
        }
        assert!(doings.rounds() == 1);
        Ok(())
    }

    #[test]
    fn a_nice_value_that_does_not_exist_is_refused() -> Result {
        for nice in [NICE.start() - 1, NICE.end() + 1, i32::MIN, i32::MAX] {
            let settings = Settings { nice, cpus: None };
            assert!(thread(1, settings).err() == Some(EINVAL));
        }
        for nice in [*NICE.start(), *NICE.end()] {
            let settings = Settings { nice, cpus: None };
            let (thread, doings, _ledger) = thread(1, settings)?;
            thread.start();
            assert!(wait::until(|| doings.rounds() > 1));
        }
        Ok(())
    }

    #[test]
    fn a_thread_with_cpus_runs_also_if_there_are_none() -> Result {
        let mut cpus = CpumaskVar::new_zero(GFP_KERNEL)?;
        for full in [false, true] {
            if full {
                cpus.setall();
            }
            let settings = Settings {
                nice: 0,
                cpus: Some(&cpus),
            };
            let (thread, doings, ledger) = thread(1, settings)?;
            thread.start();
            assert!(wait::until(|| doings.rounds() > 1));
            drop(thread);
            assert!(ledger.each_once());
        }
        Ok(())
    }
}
