// SPDX-License-Identifier: GPL-2.0

//! Timers as their definition has them: one lock, taken for a moment by each call and by the timer
//! interrupt, and nothing else that orders anything.

use crate::{
    bindings::jiffies,
    jiffies::after,
    rcu_model, //
};
use core::{
    memory,
    sync::atomic::{
        Atomic,
        Full, //
    },
};
use std::{
    cell::RefCell,
    collections::BTreeMap, //
};

#[allow(non_camel_case_types)]
pub(crate) struct timer_list;

type Function = unsafe extern "C" fn(*mut timer_list);

struct Timer {
    /// `None` once it has been shut down.
    function: Option<Function>,
    /// The tick at which it fires, while it is pending.
    expires: Option<usize>,
    running: bool,
}

thread_local! {
    static TIMERS: RefCell<BTreeMap<usize, Timer>> = RefCell::default();
}

static LOCK: Atomic<usize> = Atomic::new(0);

/// For a new run. To be called before there are threads.
pub(crate) fn reset() {
    TIMERS.take();
    LOCK.fetch_add(1, Full);
}

/// Under the lock: what loom does not see can't be interrupted, and the lock's order is that of the
/// calls.
fn with<R>(timer: *mut timer_list, f: impl FnOnce(&mut Timer) -> R) -> R {
    LOCK.fetch_add(1, Full);
    memory::check(timer);
    TIMERS.with_borrow_mut(|timers| f(timers.get_mut(&(timer as usize)).expect("set up")))
}

pub(crate) unsafe fn linux_timer_setup(timer: *mut timer_list, function: Option<Function>) {
    memory::check(timer);
    let new = Timer {
        function,
        expires: None,
        running: false,
    };
    TIMERS.with_borrow_mut(|timers| timers.insert(timer as usize, new));
}

pub(crate) unsafe fn mod_timer(timer: *mut timer_list, expires: usize) {
    with(timer, |timer| {
        timer.expires = timer.function.map(|_| expires);
    });
}

pub(crate) unsafe fn mod_timer_pending(timer: *mut timer_list, expires: usize) {
    with(timer, |timer| {
        timer.expires = timer.expires.map(|_| expires);
    });
}

pub(crate) unsafe fn timer_shutdown(timer: *mut timer_list) {
    with(timer, |timer| {
        (timer.function, timer.expires) = (None, None);
    });
}

pub(crate) unsafe fn timer_shutdown_sync(timer: *mut timer_list) {
    while with(timer, |timer| {
        (timer.function, timer.expires) = (None, None);
        timer.running
    }) {
        loom::thread::yield_now();
    }
}

/// The timer interrupt: runs every timer that is due by `tick`, one after the other.
pub(crate) fn interrupt(tick: usize) {
    loop {
        let softirq = rcu_model::read_lock();
        LOCK.fetch_add(1, Full);
        let due = TIMERS.with_borrow_mut(|timers| {
            timers.iter_mut().find_map(|(at, timer)| {
                let expires = timer.expires?;
                if after(expires, tick) {
                    return None;
                }
                timer.expires = None;
                timer.running = true;
                Some((*at as *mut timer_list, timer.function.unwrap()))
            })
        });
        let Some((timer, function)) = due else {
            break;
        };
        memory::check(timer);
        // SAFETY: As whoever set it up promised, in softirq context.
        unsafe { function(timer) };
        LOCK.fetch_add(1, Full);
        TIMERS.with_borrow_mut(|timers| timers.get_mut(&(timer as usize)).unwrap().running = false);
        drop(softirq);
    }
}

/// When the earliest timer fires that is pending.
pub(crate) fn earliest() -> Option<usize> {
    LOCK.fetch_add(1, Full);
    TIMERS.with_borrow(|timers| {
        let ticks = timers.values().filter_map(|timer| timer.expires);
        ticks.min_by_key(|tick| tick.wrapping_sub(jiffies) as isize)
    })
}

/// Returns whether any timer is pending.
pub(crate) fn any_pending() -> bool {
    earliest().is_some()
}
