// SPDX-License-Identifier: GPL-2.0

//! `linux/spinlock.rs` over loom's mutex.

pub(crate) type SpinLockBh<T> = crate::sync::Mutex<T>;
pub(crate) type SpinLockBhGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

#[macro_export]
macro_rules! new_spinlock_bh {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::Mutex::new($inner)
    };
}
