// SPDX-License-Identifier: GPL-2.0

//! Estimates rates: every two seconds, all statistics of a namespace are updated. C: `ip_vs_est.c`.
//! The arithmetic is in [`ipvs_core::est`].
//!
//! A kernel thread of the namespace does this from the first service on (see [`crate::control`]),
//! as long as users allow it (sysctls `run_estimation` and `est_cpulist`). After the last service
//! was removed, the rates of the namespace still have to fall to 0.
//!
//! Only servers and services that have had packets recently are updated: one whose rates are 0
//! costs nothing until its next packet. The C module updates all of them, in several threads, with
//! limits.

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

/// The ticks between two updates.
const PERIOD: usize = PERIOD_SECS as usize * HZ as usize;

/// The estimation of a namespace's rates. Users may start and stop it concurrently; the thread
/// takes none of the locks that they hold meanwhile.
#[pin_data]
pub(crate) struct Estimation {
    rates: Arc<Rates>,
    settings: Arc<Settings>,
    /// The name of the thread.
    name: CString,
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// There has been a service.
    begun: bool,
    /// The CPUs on which the thread may run, if users have set them.
    cpus: Option<Cpus>,
    thread: Option<Thread<Estimator>>,
}

/// The properties of a thread to start.
struct Plan<'a> {
    begun: bool,
    run: bool,
    nice: i32,
    cpus: Option<&'a Cpus>,
}

impl Estimation {
    /// Creates the estimation for the statistics in `service_tables`, of the namespace with this
    /// number.
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

    /// Starts the estimation, before the first service is added. May sleep.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Thread::new`]; nothing is changed then.
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

    /// Stops the estimation for good when the namespace ends. Starts no thread any more, and lets
    /// the present one end after a grace period, without waiting for it. May sleep.
    pub(crate) fn shut(&self) {
        self.state.lock().begun = false;
        self.rates.unused.store(true, Relaxed);
    }

    /// Returns the number of threads.
    pub(crate) fn threads(&self) -> usize {
        usize::from(self.state.lock().thread.is_some())
    }

    /// Sets `run_estimation`. C: `ipvs_proc_run_estimation()`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::start`].
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
    /// # Errors
    ///
    /// `EINVAL` for an invalid value; those of [`Self::start`].
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

    /// Sets the CPUs that the thread runs on from a list. Of these, only CPUs that the writer may
    /// run on count. If there are none, there is no thread. C: `ipvs_proc_est_cpumask_set()`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Cpus::parse_allowed`] and [`Self::start`].
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

    /// Writes the list of these CPUs as [`cpumask::print_list`] does. C:
    /// `ipvs_proc_est_cpumask_get()`.
    pub(crate) fn show_cpus(&self, buffer: &mut [u8]) -> usize {
        match &self.state.lock().cpus {
            Some(cpus) => cpumask::print_list(cpus, buffer),
            None => rcu::read(|rcu| cpumask::print_list(cpumask::housekeeping(rcu), buffer)),
        }
    }

    /// Returns the properties of the thread that is wanted now.
    fn plan<'a>(&self, state: &'a State) -> Plan<'a> {
        Plan {
            begun: state.begun,
            run: self.settings.run_estimation.is_set(),
            nice: self.settings.est_nice.get(),
            cpus: state.cpus.as_ref(),
        }
    }

    /// Creates the thread, if one is wanted.
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
    /// Stops the present thread and replaces it by `thread`.
    fn exchange(&mut self, thread: Option<Thread<Estimator>>) {
        self.thread = None;
        self.thread = thread;
        if let Some(thread) = &self.thread {
            thread.start();
        }
    }
}

/// The data that the namespace's threads, one after the other, work on.
struct Rates {
    service_tables: Arc<ServiceTables>,
    /// The tick at which the next update is due.
    due: Atomic<usize>,
    /// The namespace ends: when the thread does, nothing counts any more.
    unused: Atomic<bool>,
}

impl Rates {
    /// Returns the ticks to wait until the next update. The updates keep their distance on average,
    /// even if single ones are delayed. After a break, they start anew.
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

    /// Begins with all statistics, since packets may have been counted before.
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

    /// Updates all statistics except those whose rates are 0 without new packets. Ends early if the
    /// thread is to stop.
    fn step(&self, this: &This) {
        let stats = &self.service_tables.stats;
        stats.total.estimate();
        stats.services.visit(
            |service| service.stats().estimate(),
            |service| !service.stats().is_at_rest(),
            || this.should_stop(),
        );
        // The rates of a server that was removed from its service are not shown.
        stats.dests.visit(
            |dest| dest.available() && dest.stats().estimate(),
            |dest| dest.available() && !dest.stats().is_at_rest(),
            || this.should_stop(),
        );
        let due = self.due.load(Relaxed);
        self.due.store(due.wrapping_add(PERIOD), Relaxed);
    }

    /// Ends the estimation: what is counted from now on is not considered.
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

/// The function of a thread.
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
