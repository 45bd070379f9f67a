// SPDX-License-Identifier: GPL-2.0

//! Time, and what happens when it has come: timers, works and the wake-ups of threads.

use crate::{
    bindings,
    jiffies, //
};
use kernel::{
    context,
    sync::rcu, //
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        Mutex,
        MutexGuard,
        PoisonError, //
    },
};

/// As large as in the kernel. It is known by its address.
#[allow(non_camel_case_types, dead_code)]
pub(crate) struct timer_list([usize; 5]);

type Function = unsafe extern "C" fn(*mut timer_list);

struct Timer {
    function: Function,
    /// The order of those that are due together.
    number: usize,
    /// The tick at which it fires, while it is pending.
    expires: Option<usize>,
}

/// An action that is called in process context when its time has come.
pub(crate) type Call = Arc<dyn Fn() + Send + Sync>;

struct Clock {
    timers: BTreeMap<usize, Timer>,
    /// By numbers that those who put them there have.
    calls: BTreeMap<usize, (usize, Call)>,
    last_number: usize,
}

static CLOCK: Mutex<Clock> = Mutex::new(Clock {
    timers: BTreeMap::new(),
    calls: BTreeMap::new(),
    last_number: 0,
});

fn clock() -> MutexGuard<'static, Clock> {
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) unsafe fn linux_timer_setup(timer: *mut timer_list, function: Option<Function>) {
    let number = new_number();
    let new = Timer {
        function: function.unwrap(),
        number,
        expires: None,
    };
    clock().timers.insert(timer as usize, new);
}

/// Without effect on one that was shut down, as the others.
pub(crate) unsafe fn mod_timer(timer: *mut timer_list, expires: usize) {
    if let Some(timer) = clock().timers.get_mut(&(timer as usize)) {
        timer.expires = Some(expires);
    }
}

pub(crate) unsafe fn mod_timer_pending(timer: *mut timer_list, expires: usize) {
    if let Some(timer) = clock().timers.get_mut(&(timer as usize)) {
        timer.expires = timer.expires.map(|_| expires);
    }
}

pub(crate) unsafe fn timer_shutdown(timer: *mut timer_list) {
    clock().timers.remove(&(timer as usize));
}

pub(crate) unsafe fn timer_shutdown_sync(timer: *mut timer_list) {
    // No timer runs while others do.
    clock().timers.remove(&(timer as usize));
}

/// A number for calls.
pub(crate) fn new_number() -> usize {
    let mut clock = clock();
    clock.last_number += 1;
    clock.last_number
}

/// Puts a call off until `expires`, unless it is waiting already.
pub(crate) fn call_at(number: usize, expires: usize, call: Call) {
    clock().calls.entry(number).or_insert((expires, call));
}

/// Takes a waiting call back.
pub(crate) fn cancel(number: usize) {
    // Dropped without the lock: that may cancel others.
    let cancelled = clock().calls.remove(&number);
    drop(cancelled);
}

/// Returns the numbers of pending timers, and of works and threads that wait for their time.
pub fn waiting() -> (usize, usize) {
    let clock = clock();
    let timers = clock.timers.values();
    (
        timers.filter(|timer| timer.expires.is_some()).count(),
        clock.calls.len(),
    )
}

enum Due {
    Timer(usize, Function),
    Call(Call),
}

impl Clock {
    /// Takes what is due first, if it is by `end`; when, and what.
    fn take_first(&mut self, now: usize, end: usize) -> Option<(usize, Due)> {
        // Of what is late, none is later than the others.
        let left = |expires: usize| (expires.wrapping_sub(now) as isize).max(0) as usize;
        let timers = self.timers.iter();
        let timer = timers
            .filter_map(|(&at, timer)| Some((left(timer.expires?), timer.number, at)))
            .min()
            .map(|(left, _, at)| (left, at));
        let calls = self.calls.iter();
        let call = calls
            .map(|(&number, (expires, _))| (left(*expires), number))
            .min();
        let first = [timer, call]
            .into_iter()
            .flatten()
            .map(|(left, _)| left)
            .min()?;
        if first > end.wrapping_sub(now) {
            return None;
        }
        let when = now.wrapping_add(first);
        match (timer, call) {
            (Some((left, at)), _) if left == first => {
                let timer = self.timers.get_mut(&at)?;
                timer.expires = None;
                Some((when, Due::Timer(at, timer.function)))
            }
            (_, Some((_, number))) => {
                let (_, call) = self.calls.remove(&number)?;
                Some((when, Due::Call(call)))
            }
            _ => None,
        }
    }
}

fn set_now(now: usize) {
    // SAFETY: No other thread runs.
    unsafe { (&raw mut bindings::jiffies).write(now) };
}

/// Advances the clock by so many ticks, and runs what is due meanwhile.
#[track_caller]
pub fn advance(ticks: usize) {
    context::might_sleep();
    let end = jiffies::now().wrapping_add(ticks);
    for _ in 0..10_000_000 {
        let due = clock().take_first(jiffies::now(), end);
        let Some((when, due)) = due else {
            set_now(end);
            return;
        };
        set_now(when);
        match due {
            Due::Timer(at, function) => {
                let softirq = rcu::read_lock();
                // SAFETY: As the one who set it up promised, in softirq context.
                unsafe { function(at as *mut timer_list) };
                drop(softirq);
            }
            Due::Call(call) => call(),
        }
    }
    panic!("something comes back again and again");
}

/// Advances the clock by so many ticks without an interrupt: what is due happens at the next
/// [`advance`].
pub fn fall_behind(ticks: usize) {
    set_now(jiffies::now().wrapping_add(ticks));
}

/// Begins anew. What waits must be gone.
pub fn reset() {
    let mut clock = clock();
    clock.timers.clear();
    clock.calls.clear();
    set_now(bindings::INITIAL_JIFFIES);
}
