// SPDX-License-Identifier: GPL-2.0

//! `linux/atomic.rs` over loom's atomics. They notice that they are used after they were freed, and
//! there can be constants of them.
//!
//! A read-modify-write that is [`Full`] only acquires and releases here. That is less than the
//! kernel's memory model promises, so what holds here holds there.

use crate::memory::check;
use ::core::{
    intrinsics::const_eval_select,
    sync::atomic::Ordering as Hw, //
};
use loom::sync::atomic::fence;
use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    rc::Rc, //
};

thread_local! {
    /// The loom variable behind those that were made as constants, which loom's can't be: it is made at
    /// the first use.
    static LATE: RefCell<HashMap<usize, Rc<dyn Any>>> = RefCell::default();
}

/// Forgets the run before.
pub(crate) fn reset() {
    LATE.take();
}

/// An ordering, as loom has it.
pub trait Ordering {
    const HW: Hw;
}

macro_rules! ordering {
    ($name:ident, $hw:expr) => {
        #[derive(Clone, Copy)]
        pub struct $name;

        impl Ordering for $name {
            const HW: Hw = $hw;
        }
    };
}

ordering!(Relaxed, Hw::Relaxed);
ordering!(Acquire, Hw::Acquire);
ordering!(Release, Hw::Release);
ordering!(Full, Hw::AcqRel);

/// A full memory barrier.
pub fn smp_mb(_: Full) {
    fence(Hw::SeqCst);
}

/// A type that loom has an atomic for.
pub trait AtomicType: Copy + 'static {
    type Loom: 'static;

    fn atomic(first: Self) -> Self::Loom;
    fn load(atomic: &Self::Loom, order: Hw) -> Self;
    fn store(atomic: &Self::Loom, v: Self, order: Hw);
    fn swap(atomic: &Self::Loom, v: Self, order: Hw) -> Self;
    fn compare_exchange(atomic: &Self::Loom, old: Self, new: Self, order: Hw)
        -> Result<Self, Self>;
}

/// A number.
pub trait AtomicAdd: AtomicType {
    fn fetch_add(atomic: &Self::Loom, v: Self, order: Hw) -> Self;
    fn fetch_sub(atomic: &Self::Loom, v: Self, order: Hw) -> Self;
}

/// Stands for both types of `linux/atomic.rs`.
pub struct Atomic<T: AtomicType> {
    first: T,
    inner: Option<T::Loom>,
}

pub type InlineAtomic<T> = Atomic<T>;

// SAFETY: As for the atomics of `core`; loom runs everything on one thread.
unsafe impl<T: AtomicType> Send for Atomic<T> {}
// SAFETY: As above.
unsafe impl<T: AtomicType> Sync for Atomic<T> {}

impl<T: AtomicType> Atomic<T> {
    const fn late(first: T) -> Self {
        Self { first, inner: None }
    }

    fn now(first: T) -> Self {
        Self {
            first,
            inner: Some(T::atomic(first)),
        }
    }

    pub const fn new(v: T) -> Self {
        const_eval_select((v,), Self::late, Self::now)
    }

    #[track_caller]
    fn with<R>(&self, f: impl FnOnce(&T::Loom) -> R) -> R {
        check(self);
        if let Some(inner) = &self.inner {
            return f(inner);
        }
        let at = self as *const Self as usize;
        let known = LATE.with_borrow(|late| late.get(&at).cloned());
        let inner = known.unwrap_or_else(|| {
            let inner: Rc<dyn Any> = Rc::new(T::atomic(self.first));
            LATE.with_borrow_mut(|late| late.insert(at, inner.clone()));
            inner
        });
        f(inner.downcast_ref().unwrap())
    }

    #[track_caller]
    pub fn load<O: Ordering>(&self, _: O) -> T {
        self.with(|inner| T::load(inner, O::HW))
    }

    #[track_caller]
    pub fn store<O: Ordering>(&self, v: T, _: O) {
        self.with(|inner| T::store(inner, v, O::HW))
    }

    #[track_caller]
    pub fn xchg<O: Ordering>(&self, v: T, _: O) -> T {
        self.with(|inner| T::swap(inner, v, O::HW))
    }

    #[track_caller]
    pub fn cmpxchg<O: Ordering>(&self, old: T, new: T, _: O) -> Result<T, T> {
        self.with(|inner| T::compare_exchange(inner, old, new, O::HW))
    }

    pub fn get_mut(&mut self) -> &mut T {
        let value = self.load(Relaxed);
        (self.first, self.inner) = (value, None);
        &mut self.first
    }
}

impl<T: AtomicAdd> Atomic<T> {
    #[track_caller]
    pub fn add(&self, v: T, order: Relaxed) {
        self.fetch_add(v, order);
    }

    #[track_caller]
    pub fn fetch_add<O: Ordering>(&self, v: T, _: O) -> T {
        self.with(|inner| T::fetch_add(inner, v, O::HW))
    }

    #[track_caller]
    pub fn fetch_sub<O: Ordering>(&self, v: T, _: O) -> T {
        self.with(|inner| T::fetch_sub(inner, v, O::HW))
    }
}

macro_rules! atomic {
    ([$($t:ident)?] $value:ty, $loom:ty) => {
        impl $(<$t: 'static>)? AtomicType for $value {
            type Loom = $loom;

            fn atomic(first: Self) -> $loom {
                <$loom>::new(first)
            }

            #[track_caller]
            fn load(atomic: &$loom, order: Hw) -> Self {
                atomic.load(order)
            }

            #[track_caller]
            fn store(atomic: &$loom, v: Self, order: Hw) {
                atomic.store(v, order)
            }

            #[track_caller]
            fn swap(atomic: &$loom, v: Self, order: Hw) -> Self {
                atomic.swap(v, order)
            }

            #[track_caller]
            fn compare_exchange(
                atomic: &$loom,
                old: Self,
                new: Self,
                order: Hw,
            ) -> Result<Self, Self> {
                atomic.compare_exchange(old, new, order, Hw::Relaxed)
            }
        }
    };
}

macro_rules! arithmetic {
    ($value:ty, $loom:ty) => {
        atomic!([] $value, $loom);

        impl AtomicAdd for $value {
            #[track_caller]
            fn fetch_add(atomic: &$loom, v: Self, order: Hw) -> Self {
                atomic.fetch_add(v, order)
            }

            #[track_caller]
            fn fetch_sub(atomic: &$loom, v: Self, order: Hw) -> Self {
                atomic.fetch_sub(v, order)
            }
        }
    };
}

arithmetic!(usize, loom::sync::atomic::AtomicUsize);
arithmetic!(u32, loom::sync::atomic::AtomicU32);
arithmetic!(i32, loom::sync::atomic::AtomicI32);
atomic!([] bool, loom::sync::atomic::AtomicBool);
atomic!([T] *mut T, loom::sync::atomic::AtomicPtr<T>);

/// A count of references, with the orderings that `refcount_t` promises and no others.
pub struct Refcount(Atomic<u32>);

impl Refcount {
    pub fn new(value: i32) -> Self {
        Self(Atomic::new(value as u32))
    }

    #[track_caller]
    pub fn inc(&self) {
        assert_ne!(self.0.fetch_add(1, Relaxed), 0, "counted up from 0");
    }

    #[track_caller]
    #[must_use]
    pub fn dec_and_test(&self) -> bool {
        let last = self.0.fetch_sub(1, Release) == 1;
        if last {
            fence(Hw::Acquire);
        }
        last
    }
}
