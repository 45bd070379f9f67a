// SPDX-License-Identifier: GPL-2.0

//! Locks, counted references, barriers and RCU.

use crate::{
    alloc::{
        AllocError,
        Flags,
        KBox, //
    },
    context,
    error::Result, //
};
use pin_init::PinInit;
use std::{
    ops::{
        Deref,
        DerefMut, //
    },
    pin::Pin,
    sync::atomic::{
        AtomicI32,
        Ordering::SeqCst, //
    },
};

pub mod atomic;

pub mod barrier {
    pub use super::atomic::Full;
    use std::sync::atomic::{
        fence,
        Ordering::SeqCst, //
    };

    pub fn smp_mb(_: Full) {
        fence(SeqCst);
    }
}

/// A count of references.
pub struct Refcount(AtomicI32);

impl Refcount {
    pub const fn new(value: i32) -> Self {
        Self(AtomicI32::new(value))
    }

    pub fn inc(&self) {
        assert!(
            self.0.fetch_add(1, SeqCst) > 0,
            "a reference to what is gone"
        );
    }

    pub fn dec_and_test(&self) -> bool {
        let before = self.0.fetch_sub(1, SeqCst);
        assert!(before > 0, "a reference is given back twice");
        before == 1
    }
}

/// A grace period ends as soon as there is no reader: as early as it may, so that what is used for
/// too long was overwritten.
pub mod rcu {
    use crate::context::Atomic;
    use std::sync::{
        Mutex,
        MutexGuard,
        PoisonError, //
    };

    type Callback = Box<dyn FnOnce() + Send>;

    struct State {
        readers: usize,
        waiting: Vec<Callback>,
    }

    static STATE: Mutex<State> = Mutex::new(State {
        readers: 0,
        waiting: Vec::new(),
    });

    fn state() -> MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read-side critical section.
    pub struct Guard(#[allow(dead_code, reason = "ends when it is dropped")] Option<Atomic>);

    pub fn read_lock() -> Guard {
        state().readers += 1;
        Guard(Some(Atomic::enter()))
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            drop(self.0.take());
            state().readers -= 1;
            run_ready();
        }
    }

    /// Runs the callbacks, which may make new ones, if there is no reader.
    fn run_ready() {
        loop {
            let callbacks = {
                let mut state = state();
                if state.readers != 0 || state.waiting.is_empty() {
                    return;
                }
                // Callbacks run in softirq context.
                state.readers += 1;
                std::mem::take(&mut state.waiting)
            };
            let softirq = Atomic::enter();
            for callback in callbacks {
                callback();
            }
            drop(softirq);
            state().readers -= 1;
        }
    }

    /// Calls `callback` after a grace period.
    pub fn call(callback: impl FnOnce() + Send + 'static) {
        state().waiting.push(Box::new(callback));
        run_ready();
    }

    /// Waits for the readers that there are.
    #[track_caller]
    pub fn synchronize() {
        crate::context::might_sleep();
        run_ready();
    }
}

/// A counted reference to an object that stays where it is.
pub struct Arc<T>(std::sync::Arc<Pin<KBox<T>>>);

impl<T> Arc<T> {
    #[track_caller]
    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        crate::error::Error: From<E>,
    {
        // SAFETY: Passes on what `init` promises, with another error.
        let init = unsafe {
            pin_init::pin_init_from_closure::<T, crate::error::Error>(move |slot: *mut T| {
                Ok(pin_init::raw_try_init(slot, init)?)
            })
        };
        Ok(Self(std::sync::Arc::new(KBox::try_pin_init(init, flags)?)))
    }

    #[track_caller]
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(Self(std::sync::Arc::new(KBox::pin(value, flags)?)))
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(std::sync::Arc::clone(&self.0))
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A mutex; locking it sleeps.
pub struct Mutex<T>(std::sync::Mutex<T>);

pub struct MutexGuard<'a, T>(std::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    #[allow(clippy::new_ret_no_self)]
    pub fn new(value: T) -> impl PinInit<Self> {
        // SAFETY: Writes a whole mutex, which need not stay where it is.
        unsafe {
            pin_init::pin_init_from_closure(move |slot: *mut Self| {
                slot.write(Self(std::sync::Mutex::new(value)));
                Ok(())
            })
        }
    }

    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        context::might_sleep();
        match self.0.try_lock() {
            Ok(guard) => MutexGuard(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => MutexGuard(poisoned.into_inner()),
            // Threads of the module give way to each other only where they sleep.
            Err(std::sync::TryLockError::WouldBlock) => panic!("deadlock: locks a mutex twice"),
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A class of locks for lockdep, which the host has not.
pub struct LockClassKey;
