// SPDX-License-Identifier: GPL-2.0

//! Spinlocks that softirqs take too: held with bottom halves disabled.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings;
use kernel::{
    prelude::*,
    sync::lock::{
        Backend,
        Guard,
        Lock, //
    },
};

/// A spinlock that process context and softirqs share.
pub type SpinLockBh<T> = Lock<T, SpinLockBhBackend>;

/// The guard that keeps a [`SpinLockBh`] locked.
pub type SpinLockBhGuard<'a, T> = Guard<'a, T, SpinLockBhBackend>;

/// The backend of [`SpinLockBh`]: `spin_lock_bh()` and `spin_unlock_bh()`.
pub struct SpinLockBhBackend;

// SAFETY: The operations are those of one `spinlock_t`, which lets one owner in at a time.
unsafe impl Backend for SpinLockBhBackend {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the safety requirements of `init`, `ptr` is valid for writes, and `name` and
        // `key` live as long as the lock.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: By the safety requirements of `lock`, `ptr` is an initialised lock.
        unsafe { bindings::linux_spin_lock_bh(ptr) }
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: By the safety requirements of `unlock`, the caller holds the lock.
        unsafe { bindings::linux_spin_unlock_bh(ptr) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: By the safety requirements of `try_lock`, `ptr` is an initialised lock.
        (unsafe { bindings::linux_spin_trylock_bh(ptr) } != 0).then_some(())
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the safety requirements of `assert_is_held`, `ptr` is an initialised lock.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}

/// Initialises a [`SpinLockBh`] with a lockdep class of its own.
#[macro_export]
macro_rules! new_spinlock_bh {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::spinlock::SpinLockBh::new(
            $inner,
            ::kernel::optional_name!($($name)?),
            ::kernel::static_lock_class!(),
        )
    };
}
