// SPDX-License-Identifier: GPL-2.0

//! Atomic variables with the kernel's names. All orderings are the strongest one: nothing runs
//! concurrently here.

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
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum OrderingType {
        Full,
        Acquire,
        Release,
        Relaxed,
    }

    pub trait Ordering {
        const TYPE: OrderingType;
    }

    pub trait AcquireOrRelaxed: Ordering {}
    pub trait ReleaseOrRelaxed: Ordering {}

    macro_rules! orderings {
        ($($name:ident: $($also:ident)*;)*) => {
            $(
                #[derive(Clone, Copy)]
                pub struct $name;

                impl Ordering for $name {
                    const TYPE: OrderingType = OrderingType::$name;
                }

                $(impl $also for $name {})*
            )*
        };
    }

    orderings! {
        Full: ;
        Acquire: AcquireOrRelaxed;
        Release: ReleaseOrRelaxed;
        Relaxed: AcquireOrRelaxed ReleaseOrRelaxed;
    }
}

pub use ordering::{
    Acquire,
    Full,
    Relaxed,
    Release, //
};

use ordering::Ordering;

#[repr(transparent)]
pub struct Atomic<T>(UnsafeCell<T>);

// SAFETY: All accesses are atomic.
unsafe impl<T: Send> Send for Atomic<T> {}
// SAFETY: As above.
unsafe impl<T: Send> Sync for Atomic<T> {}

impl<T> Atomic<T> {
    /// # Safety
    ///
    /// `ptr` is valid for `'a`, and accessed by atomic operations only.
    pub const unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
        // SAFETY: By the safety requirement.
        unsafe { &*ptr.cast() }
    }
}

macro_rules! exchange {
    ([$($t:ident)?] $value:ty, $std:ty) => {
        impl $(<$t>)? Atomic<$value> {
            fn std(&self) -> &$std {
                // SAFETY: By the requirement of `from_ptr`.
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
    ($value:ty) => {
        impl Atomic<$value> {
            pub fn add<O: Ordering>(&self, v: $value, _: O) {
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
exchange!([] i32, AtomicI32);
exchange!([] u32, AtomicU32);
exchange!([] u64, AtomicU64);
exchange!([] usize, AtomicUsize);
exchange!([T] *mut T, AtomicPtr<T>);

arithmetic!(i32);
arithmetic!(u32);
arithmetic!(u64);
arithmetic!(usize);
