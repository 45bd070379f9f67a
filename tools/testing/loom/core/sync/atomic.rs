// SPDX-License-Identifier: GPL-2.0

//! loom's atomics, which notice that they are used after they were freed, and of which there can be
//! constants.

pub use ::core::sync::atomic::Ordering;
pub use loom::sync::atomic::fence;

use crate::memory::check;
use ::core::intrinsics::const_eval_select;
use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    rc::Rc, //
};

thread_local! {
    /// What stands behind those that were made as constants, which loom's can't be: it is made at
    /// the first use.
    static LATE: RefCell<HashMap<usize, Rc<dyn Any>>> = RefCell::default();
}

/// Forgets the run before.
pub(crate) fn reset() {
    LATE.take();
}

macro_rules! atomic {
    ($name:ident $(<$t:ident>)?, $value:ty, $loom:ty) => {
        pub struct $name $(<$t: 'static>)? {
            first: $value,
            inner: Option<$loom>,
        }

        // SAFETY: As for the atomics of `core`; loom runs everything on one thread.
        unsafe impl $(<$t>)? Send for $name $(<$t>)? {}
        // SAFETY: As above.
        unsafe impl $(<$t>)? Sync for $name $(<$t>)? {}

        impl $(<$t: 'static>)? $name $(<$t>)? {
            const fn late(first: $value) -> Self {
                Self { first, inner: None }
            }

            fn now(first: $value) -> Self {
                Self { first, inner: Some(<$loom>::new(first)) }
            }

            pub const fn new(first: $value) -> Self {
                const_eval_select((first,), Self::late, Self::now)
            }

            #[track_caller]
            fn with<R>(&self, f: impl FnOnce(&$loom) -> R) -> R {
                check(self);
                if let Some(inner) = &self.inner {
                    return f(inner);
                }
                let at = self as *const Self as usize;
                let known = LATE.with_borrow(|late| late.get(&at).cloned());
                let inner = known.unwrap_or_else(|| {
                    let inner: Rc<dyn Any> = Rc::new(<$loom>::new(self.first));
                    LATE.with_borrow_mut(|late| late.insert(at, inner.clone()));
                    inner
                });
                f(inner.downcast_ref().unwrap())
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.with(|inner| inner.load(order))
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.with(|inner| inner.store(value, order))
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.with(|inner| inner.swap(value, order))
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.with(|inner| inner.compare_exchange(old, new, success, failure))
            }

            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, success, failure)
            }

            pub fn get_mut(&mut self) -> &mut $value {
                let value = self.load(Ordering::Relaxed);
                (self.first, self.inner) = (value, None);
                &mut self.first
            }
        }
    };
}

macro_rules! arithmetic {
    ($name:ident, $value:ty) => {
        impl $name {
            #[track_caller]
            pub fn fetch_add(&self, n: $value, order: Ordering) -> $value {
                self.with(|inner| inner.fetch_add(n, order))
            }

            #[track_caller]
            pub fn fetch_sub(&self, n: $value, order: Ordering) -> $value {
                self.with(|inner| inner.fetch_sub(n, order))
            }
        }
    };
}

atomic!(AtomicUsize, usize, loom::sync::atomic::AtomicUsize);
atomic!(AtomicU32, u32, loom::sync::atomic::AtomicU32);
atomic!(AtomicI32, i32, loom::sync::atomic::AtomicI32);
atomic!(AtomicBool, bool, loom::sync::atomic::AtomicBool);
atomic!(AtomicPtr<T>, *mut T, loom::sync::atomic::AtomicPtr<T>);
arithmetic!(AtomicUsize, usize);
arithmetic!(AtomicU32, u32);
