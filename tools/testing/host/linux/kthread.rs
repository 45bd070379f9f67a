// SPDX-License-Identifier: GPL-2.0

//! Threads: each runs until it sleeps, and then the one that woke it goes on.

use crate::{
    clock,
    cpumask::Cpumask,
    jiffies, //
};
use kernel::{
    context,
    prelude::*, //
};
use std::{
    cell::RefCell,
    marker::PhantomData,
    ops::RangeInclusive,
    panic::{
        catch_unwind,
        resume_unwind,
        AssertUnwindSafe, //
    },
    sync::{
        Arc,
        Condvar,
        Mutex, //
    },
};

pub const NICE: RangeInclusive<i32> = -20..=19;

pub trait Main: Send + Sync + 'static {
    fn main(&self, this: &This);
}

#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    pub nice: i32,
    pub cpus: Option<&'a Cpumask>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The thread runs.
    Its,
    /// It sleeps.
    Others,
    /// It has ended.
    Over,
}

struct State {
    turn: Turn,
    stop: bool,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

struct Shared {
    number: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// Runs the thread until it sleeps or ends.
    fn run(&self) {
        let mut state = self.state.lock().unwrap();
        if state.turn == Turn::Over {
            return;
        }
        state.turn = Turn::Its;
        self.changed.notify_all();
        let mut state = self
            .changed
            .wait_while(state, |state| state.turn == Turn::Its)
            .unwrap();
        if let Some(panic) = state.panic.take() {
            drop(state);
            resume_unwind(panic);
        }
    }

    /// On the thread: waits for its turn.
    fn wait(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |state| state.turn != Turn::Its)
                .unwrap(),
        );
    }

    fn give_way(&self, turn: Turn) {
        self.state.lock().unwrap().turn = turn;
        self.changed.notify_all();
    }
}

fn wake_at(shared: &Arc<Shared>, at: usize) {
    let weak = Arc::downgrade(shared);
    let call = move || {
        if let Some(shared) = weak.upgrade() {
            shared.run();
        }
    };
    clock::call_at(shared.number, at, Arc::new(call));
}

#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Lets the thread run when time goes on.
    pub fn wake(&self) {
        wake_at(&self.0, jiffies::now());
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Returns what wakes the thread that runs.
pub(crate) fn current() -> Waker {
    Waker(CURRENT.with_borrow(|shared| shared.clone().expect("this is such a thread")))
}

/// Lets the others go on until the thread is woken, or is to stop.
pub(crate) fn block() {
    let Waker(shared) = current();
    shared.give_way(Turn::Others);
    shared.wait();
}

pub struct This {
    shared: Arc<Shared>,
    _not_send: PhantomData<*mut ()>,
}

impl This {
    pub fn should_stop(&self) -> bool {
        self.shared.state.lock().unwrap().stop
    }

    pub fn sleep(&self, ticks: usize) -> bool {
        self.wait(ticks, || false)
    }

    pub fn wait(&self, ticks: usize, ready: impl Fn() -> bool) -> bool {
        context::might_sleep();
        let end = jiffies::now().wrapping_add(ticks);
        while !self.should_stop() && jiffies::after(end, jiffies::now()) && !ready() {
            wake_at(&self.shared, end);
            self.shared.give_way(Turn::Others);
            self.shared.wait();
        }
        !self.should_stop()
    }
}

pub struct Thread<T: Main> {
    shared: Arc<Shared>,
    handle: Option<std::thread::JoinHandle<()>>,
    _memory: KBox<()>,
    _main: PhantomData<T>,
}

impl<T: Main> Thread<T> {
    pub fn new(main: T, _name: &CStr, settings: Settings<'_>) -> Result<Self> {
        if !NICE.contains(&settings.nice) {
            return Err(EINVAL);
        }
        let memory = KBox::new((), GFP_KERNEL)?;
        let shared = Arc::new(Shared {
            number: clock::new_number(),
            state: Mutex::new(State {
                turn: Turn::Others,
                stop: false,
                panic: None,
            }),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let handle = std::thread::spawn(move || {
            own.wait();
            CURRENT.set(Some(Arc::clone(&own)));
            let this = This {
                shared: Arc::clone(&own),
                _not_send: PhantomData,
            };
            let end = catch_unwind(AssertUnwindSafe(|| {
                // One that is stopped before it was started does nothing.
                if !this.should_stop() {
                    main.main(&this);
                }
                drop(main);
            }));
            own.state.lock().unwrap().panic = end.err();
            own.give_way(Turn::Over);
        });
        Ok(Self {
            shared,
            handle: Some(handle),
            _memory: memory,
            _main: PhantomData,
        })
    }

    pub fn start(&self) {
        self.waker().wake();
    }

    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.shared))
    }
}

impl<T: Main> Drop for Thread<T> {
    fn drop(&mut self) {
        context::might_sleep();
        clock::cancel(self.shared.number);
        self.shared.state.lock().unwrap().stop = true;
        while self.shared.state.lock().unwrap().turn != Turn::Over {
            self.shared.run();
        }
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
        clock::cancel(self.shared.number);
    }
}
