// SPDX-License-Identifier: GPL-2.0

//! Spinlocks: nobody else runs meanwhile, so a lock that is taken is a deadlock.

use kernel::context::Atomic;
use pin_init::PinInit;
use std::ops::{
    Deref,
    DerefMut, //
};

pub struct SpinLockBh<T>(std::sync::Mutex<T>);

pub struct SpinLockBhGuard<'a, T> {
    guard: std::sync::MutexGuard<'a, T>,
    _atomic: Atomic,
}

impl<T> SpinLockBh<T> {
    #[allow(clippy::new_ret_no_self)]
    pub fn new(value: T) -> impl PinInit<Self> {
        // SAFETY: Writes a whole lock, which need not stay where it is.
        unsafe {
            pin_init::pin_init_from_closure(move |slot: *mut Self| {
                slot.write(Self(std::sync::Mutex::new(value)));
                Ok(())
            })
        }
    }

    #[track_caller]
    pub fn lock(&self) -> SpinLockBhGuard<'_, T> {
        let guard = match self.0.try_lock() {
            Ok(guard) => guard,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => panic!("deadlock: locks a spinlock twice"),
        };
        SpinLockBhGuard {
            guard,
            _atomic: Atomic::enter(),
        }
    }
}

impl<T> Deref for SpinLockBhGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for SpinLockBhGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[macro_export]
macro_rules! new_spinlock_bh {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::spinlock::SpinLockBh::new($inner)
    };
}
