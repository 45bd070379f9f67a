// SPDX-License-Identifier: GPL-2.0

//! Atomic variables with the kernel's interface. Each operation is ordered with all others.

use ordering::Ordering;
use std::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool,
        AtomicI32,
        AtomicPtr,
        AtomicU32,
        AtomicU64,
        AtomicUsize,
        Ordering::SeqCst, //
    },
};

pub mod ordering {
    pub enum OrderingType {
        Relaxed,
        Acquire,
        Release,
        Full,
    }

    pub trait Ordering {
        const TYPE: OrderingType;
    }

    pub trait AcquireOrRelaxed: Ordering {}
    pub trait ReleaseOrRelaxed: Ordering {}

    macro_rules! ordering {
        ($name:ident $(, $also:ident)*) => {
            pub struct $name;

            impl Ordering for $name {
                const TYPE: OrderingType = OrderingType::$name;
            }

            $(impl $also for $name {})*
        };
    }

    ordering!(Relaxed, AcquireOrRelaxed, ReleaseOrRelaxed);
    ordering!(Acquire, AcquireOrRelaxed);
    ordering!(Release, ReleaseOrRelaxed);
    ordering!(Full);
}

pub use ordering::{
    Acquire,
    Full,
    Relaxed,
    Release, //
};

#[repr(transparent)]
pub struct Atomic<T>(UnsafeCell<T>);

impl<T> Atomic<T> {
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`, and all accesses to it atomic.
    pub unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
        // SAFETY: By the safety requirement.
        unsafe { &*ptr.cast() }
    }
}

macro_rules! exchange {
    ([$($t:ident)?] $value:ty, $std:ty) => {
        impl $(<$t>)? Atomic<$value> {
            fn std(&self) -> &$std {
                // SAFETY: All accesses are atomic, by the requirement of `from_ptr`.
                unsafe { <$std>::from_ptr(self.0.get()) }
            }

            pub fn xchg<O: Ordering>(&self, v: $value, _: O) -> $value {
                self.std().swap(v, SeqCst)
            }

            pub fn cmpxchg<O: Ordering>(
                &self,
                old: $value,
                new: $value,
                _: O,
            ) -> Result<$value, $value> {
                self.std().compare_exchange(old, new, SeqCst, SeqCst)
            }
        }
    };
}

macro_rules! arithmetic {
    ($value:ty, $std:ty) => {
        exchange!([] $value, $std);

        impl Atomic<$value> {
            pub fn add(&self, v: $value, _: Relaxed) {
                self.std().fetch_add(v, SeqCst);
            }

            pub fn fetch_add<O: Ordering>(&self, v: $value, _: O) -> $value {
                self.std().fetch_add(v, SeqCst)
            }

            pub fn fetch_sub<O: Ordering>(&self, v: $value, _: O) -> $value {
                self.std().fetch_sub(v, SeqCst)
            }
        }
    };
}

exchange!([] bool, AtomicBool);
exchange!([T] *mut T, AtomicPtr<T>);
arithmetic!(i32, AtomicI32);
arithmetic!(u32, AtomicU32);
arithmetic!(u64, AtomicU64);
arithmetic!(usize, AtomicUsize);

/// A count of references, which must not be used once it is 0.
pub struct Refcount(AtomicI32);

impl Refcount {
    pub fn new(value: i32) -> Self {
        Self(AtomicI32::new(value))
    }

    pub fn inc(&self) {
        assert!(self.0.fetch_add(1, SeqCst) > 0, "counted up from 0");
    }

    #[must_use]
    pub fn dec_and_test(&self) -> bool {
        let old = self.0.fetch_sub(1, SeqCst);
        assert!(old > 0, "counted below 0");
        old == 1
    }
}
