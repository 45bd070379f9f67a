// SPDX-License-Identifier: GPL-2.0

//! Rates: every two seconds, all statistics of a namespace take a step. C: `ip_vs_est.c`.
//!
//! A kernel thread of the namespace does it, from the first service on (see [`crate::control`]), as
//! long as users want it to (sysctls `run_estimation` and `est_cpulist`). After the last service has
//! gone, the rates of the namespace still have to go down. A step is for those servers and services
//! only that have had packets lately: what has had none for so long that its rates are 0 costs
//! nothing until the next one. The C module looks at all, spreads that over several threads, and
//! limits it.

use crate::{
    netns::services::ServiceTables,
    settings::Settings,
    stats::packet::NetnsStats,
    walk::Cursor, //
};
use core::ops::ControlFlow;
use ipvs_core::est::PERIOD_SECS;
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    cpumask::{
        self,
        Cpus, //
    },
    jiffies::{
        self,
        HZ, //
    },
    kthread::{
        self,
        Main,
        This,
        Thread, //
    },
    rcu, //
};

/// Ticks from one step to the next.
const PERIOD: usize = PERIOD_SECS as usize * HZ as usize;

/// What makes a namespace's rates go on.
///
/// It belongs to users, who may start and stop it at the same time; the thread takes no lock that
/// they hold meanwhile.
#[pin_data]
pub(crate) struct Estimation {
    rates: Arc<Rates>,
    settings: Arc<Settings>,
    /// What the thread is called.
    name: CString,
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// Whether there has been a service.
    begun: bool,
    /// Where the thread runs, if users have said so.
    cpus: Option<Cpus>,
    thread: Option<Thread<Estimator>>,
}

/// What a thread is to be like.
struct Plan<'a> {
    begun: bool,
    run: bool,
    nice: i32,
    cpus: Option<&'a Cpus>,
}

impl Estimation {
    /// For the statistics in `model`, of the namespace with this number.
    pub(crate) fn new(
        service_tables: Arc<ServiceTables>,
        settings: Arc<Settings>,
        number: u32,
    ) -> Result<impl PinInit<Self, Error>> {
        let rates = Arc::new(
            Rates {
                service_tables,
                due: Atomic::new(jiffies::now()),
                unused: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;
        let name = CString::try_from_fmt(fmt!("ipvs-e:{number}:0"))?;
        Ok(try_pin_init!(Self {
            rates,
            settings,
            name,
            state <- new_mutex!(
                State {
                    begun: false,
                    cpus: None,
                    thread: None,
                },
                "ipvs_estimation"
            ),
        }? Error))
    }

    /// Lets rates go on, from now on: there is to be a service. May sleep.
    ///
    /// Errors: those of [`Thread::new`], and everything is as before.
    pub(crate) fn start(&self) -> Result {
        let mut state = self.state.lock();
        if state.begun {
            return Ok(());
        }
        let thread = self.thread(Plan {
            begun: true,
            ..self.plan(&state)
        })?;
        state.begun = true;
        state.exchange(thread);
        Ok(())
    }

    /// Makes no thread any more, and lets the last one end without a wait for who counts: the
    /// namespace ends, and the thread a grace period after this. May sleep.
    pub(crate) fn shut(&self) {
        self.state.lock().begun = false;
        self.rates.unused.store(true, Relaxed);
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        usize::from(self.state.lock().thread.is_some())
    }

    /// Says whether rates go on. C: `ipvs_proc_run_estimation()`.
    ///
    /// Errors: as for [`Self::start`].
    pub(crate) fn set_run(&self, number: i32) -> Result {
        let run = &self.settings.run_estimation;
        let mut state = self.state.lock();
        if run.get() == number {
            return Ok(());
        }
        let thread = self.thread(Plan {
            run: number != 0,
            ..self.plan(&state)
        })?;
        run.set(number);
        state.exchange(thread);
        Ok(())
    }

    /// Sets the nice value of the thread. C: `ipvs_proc_est_nice()`.
    ///
    /// Errors: `EINVAL` for what is none; those of [`Self::start`].
    pub(crate) fn set_nice(&self, number: i32) -> Result {
        if !kthread::NICE.contains(&number) {
            return Err(EINVAL);
        }
        let nice = &self.settings.est_nice;
        let mut state = self.state.lock();
        if nice.get() == number {
            return Ok(());
        }
        let thread = self.thread(Plan {
            nice: number,
            ..self.plan(&state)
        })?;
        nice.set(number);
        state.exchange(thread);
        Ok(())
    }

    /// Sets the CPUs that the thread runs on, from a list of which those count that the writer may
    /// run on; without any, there is no thread. C: `ipvs_proc_est_cpumask_set()`.
    ///
    /// Errors: those of [`Cpus::parse_allowed`] and [`Self::start`].
    pub(crate) fn set_cpus(&self, list: &[u8]) -> Result {
        let cpus = Cpus::parse_allowed(list)?;
        let mut state = self.state.lock();
        let thread = self.thread(Plan {
            cpus: Some(&cpus),
            ..self.plan(&state)
        })?;
        state.cpus = Some(cpus);
        state.exchange(thread);
        Ok(())
    }

    /// Writes the list of those CPUs as [`cpumask::print_list`] does. C:
    /// `ipvs_proc_est_cpumask_get()`.
    pub(crate) fn show_cpus(&self, buffer: &mut [u8]) -> usize {
        match &self.state.lock().cpus {
            Some(cpus) => cpumask::print_list(cpus, buffer),
            None => rcu::read(|rcu| cpumask::print_list(cpumask::housekeeping(rcu), buffer)),
        }
    }

    /// What is wanted now.
    fn plan<'a>(&self, state: &'a State) -> Plan<'a> {
        Plan {
            begun: state.begun,
            run: self.settings.run_estimation.is_set(),
            nice: self.settings.est_nice.get(),
            cpus: state.cpus.as_ref(),
        }
    }

    /// A thread that is to be started, if one is wanted.
    fn thread(&self, plan: Plan<'_>) -> Result<Option<Thread<Estimator>>> {
        if !plan.begun || !plan.run || plan.cpus.is_some_and(|cpus| cpus.empty()) {
            return Ok(None);
        }
        let settings = kthread::Settings {
            nice: plan.nice,
            cpus: plan.cpus.map(|cpus| &**cpus),
        };
        Thread::new(Estimator(self.rates.clone()), &self.name, settings).map(Some)
    }
}

impl State {
    /// Lets `thread` take the place of the one that there is, which ends first.
    fn exchange(&mut self, thread: Option<Thread<Estimator>>) {
        self.thread = None;
        self.thread = thread;
        if let Some(thread) = &self.thread {
            thread.start();
        }
    }
}

/// What the threads of a namespace work on, one after the other.
struct Rates {
    service_tables: Arc<ServiceTables>,
    /// When the next step is due.
    due: Atomic<usize>,
    /// The namespace ends: by the time that the thread does, nobody counts any more.
    unused: Atomic<bool>,
}

impl Rates {
    /// How long to wait for the next step. Steps keep their distance on average, whatever holds up
    /// a single one; after a rest, they begin anew.
    fn pause(&self) -> usize {
        let now = jiffies::now();
        let due = self.due.load(Relaxed);
        let ahead = due.wrapping_sub(now);
        if ahead <= PERIOD {
            return ahead;
        }
        if now.wrapping_sub(due) < PERIOD {
            return 0;
        }
        self.due.store(now.wrapping_add(PERIOD), Relaxed);
        PERIOD
    }

    /// Begins with all that there is: it may have been counted before.
    fn begin(&self, this: &This) {
        let ServiceTables {
            services,
            dests,
            stats,
            ..
        } = &*self.service_tables;

        stats.services.open();
        stats.dests.open();
        let go_on = || match this.should_stop() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        Cursor::default().for_each(services, |service, rcu| {
            stats.services.activate(service, rcu);
            go_on()
        });
        Cursor::default().for_each(dests, |dest, rcu| {
            if dest.available() {
                stats.dests.activate(dest, rcu);
            }
            go_on()
        });
    }

    /// Lets all statistics take a step, but those that are at rest; ends early if the thread is to
    /// stop.
    fn step(&self, this: &This) {
        let stats = &self.service_tables.stats;
        stats.total.estimate();
        stats.services.visit(
            |service| service.stats().estimate(),
            |service| !service.stats().is_at_rest(),
            || this.should_stop(),
        );
        // Nobody asks for the rates of one that has left its service.
        stats.dests.visit(
            |dest| dest.available() && dest.stats().estimate(),
            |dest| dest.available() && !dest.stats().is_at_rest(),
            || this.should_stop(),
        );
        let due = self.due.load(Relaxed);
        self.due.store(due.wrapping_add(PERIOD), Relaxed);
    }

    /// Ends: what is counted from now on is not looked at.
    fn end(&self) {
        let NetnsStats {
            services, dests, ..
        } = &self.service_tables.stats;
        if self.unused.load(Relaxed) {
            services.close_unused();
            dests.close_unused();
        } else {
            services.close();
            dests.close();
        }
    }
}

/// What one thread does.
struct Estimator(Arc<Rates>);

impl Main for Estimator {
    fn main(&self, this: &This) {
        self.0.begin(this);
        while this.sleep(self.0.pause()) {
            self.0.step(this);
        }
        self.0.end();
    }
}
