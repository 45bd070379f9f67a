// SPDX-License-Identifier: GPL-2.0

//! Atomic variables with the names and orderings of [`kernel::sync::atomic`], and loads and stores
//! that compile to a single instruction.
//!
//! This is the only file that uses the atomics of `core`. Everything else says what it means in the
//! terms of the kernel's memory model (LKMM), by [`Relaxed`], [`Acquire`], [`Release`] and [`Full`].
//!
//! # Why not `kernel::sync::atomic` alone
//!
//! Without `CONFIG_RUST_INLINE_HELPERS` each of its operations, even a load, is a call into C. That
//! is more than a packet of an established connection may cost. So:
//!
//! - [`Atomic`] loads and stores inline, and leaves each read-modify-write to
//!   [`kernel::sync::atomic::Atomic`];
//! - [`InlineAtomic`] does read-modify-writes inline too. It is for what each new connection, or each
//!   change of a connection's state, writes.
//!
//! Both could be replaced by the kernel's type where the helpers are inlined.
//!
//! # What the inline operations map to
//!
//! ============================  =========================  ==================  ====================
//! LKMM                          `core`                     x86-64              arm64
//! ============================  =========================  ==================  ====================
//! `load(Relaxed)`, `READ_ONCE`  `Relaxed`                  `mov`               `ldr`
//! `load(Acquire)`               `Acquire`                  `mov`               `ldar`
//! `store(Relaxed)`              `Relaxed`                  `mov`               `str`
//! `store(Release)`              `Release`                  `mov`               `stlr`
//! RMW, `Relaxed`                `Relaxed`                  `lock` prefix       `ldxr`, `stxr`
//! RMW, `Acquire`                `Acquire`                  `lock` prefix       `ldaxr`, `stxr`
//! RMW, `Release`                `Release`                  `lock` prefix       `ldxr`, `stlxr`
//! RMW, `Full`                   `SeqCst`, and a            `lock` prefix       `ldaxr`, `stlxr`,
//!                               `SeqCst` fence behind it                       `dmb ish`
//!                               but on x86-64
//! ============================  =========================  ==================  ====================
//!
//! These are the instructions of the kernel's own operations, or stronger ones (LKMM's arm64 `Full`
//! begins with `ldxr`; with LSE atomics, `casal` and the like stand for each pair). What LKMM takes
//! from hardware therefore holds here too: locked instructions of x86-64 are full barriers, and so
//! is `dmb ish`. The order between an inline operation, one of the kernel's and one of C on the same
//! variable follows from the same instructions.
//!
//! The compiler may not do more to them than LKMM allows: it keeps accesses after an acquire
//! operation and before a release operation in place, and a `SeqCst` read-modify-write is both, in
//! one instruction. LKMM's `READ_ONCE()` and `WRITE_ONCE()` are volatile besides. The compiler could
//! merge relaxed loads of the same variable; nothing here relies on two relaxed loads being two.
//! Readers that follow a pointer load it with [`Acquire`], which costs nothing on x86-64. A pointer that
//! C publishes for `rcu_dereference()` may be loaded with [`Relaxed`]: the compiler can't know it, so
//! that the address dependency stays, which both architectures order.
//!
//! C header: [`include/linux/atomic.h`](srctree/include/linux/atomic.h)

use core::{
    cell::UnsafeCell,
    ops::Deref,
    sync::atomic as hw, //
};
use kernel::sync::atomic::ordering::{
    AcquireOrRelaxed,
    Ordering,
    OrderingType,
    ReleaseOrRelaxed, //
};

pub use kernel::sync::{
    atomic::{
        Acquire,
        Full,
        Relaxed,
        Release, //
    },
    barrier::smp_mb,
    Refcount, //
};

mod sealed {
    pub trait Sealed {}
}

/// Types that [`Atomic`] is implemented for.
pub trait AtomicType: sealed::Sealed + Copy {}

/// A variable that several contexts may access at a time.
///
/// Loads and stores are inline; a read-modify-write is a call of the kernel's.
///
/// # Invariants
///
/// The cell is only accessed by atomic operations while it is shared.
#[repr(transparent)]
pub struct Atomic<T: AtomicType>(UnsafeCell<T>);

// SAFETY: All accesses to a shared one are atomic, and a pointer that it holds does nothing unless it
// is dereferenced, which is `unsafe`.
unsafe impl<T: AtomicType> Send for Atomic<T> {}
// SAFETY: As above.
unsafe impl<T: AtomicType> Sync for Atomic<T> {}

impl<T: AtomicType> Atomic<T> {
    /// Creates a variable with the value `v`.
    #[inline(always)]
    pub const fn new(v: T) -> Self {
        Self(UnsafeCell::new(v))
    }

    /// Returns a reference to the variable at `ptr`, which may be one of C's.
    ///
    /// # Safety
    ///
    /// `ptr` must be aligned, and valid for reads and writes for all of `'a`; all accesses to it in
    /// that time must be atomic.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
        // SAFETY: By the safety requirement; `Self` is a transparent wrapper of `T`.
        unsafe { &*ptr.cast() }
    }

    /// Returns a mutable reference to the value. It is not shared, so that no atomicity is needed.
    #[inline(always)]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T: AtomicType + Default> Default for Atomic<T> {
    #[inline(always)]
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// An [`Atomic`] whose read-modify-writes are inline, for what is written for each connection.
#[repr(transparent)]
pub struct InlineAtomic<T: AtomicType>(Atomic<T>);

impl<T: AtomicType> InlineAtomic<T> {
    /// Creates a variable with the value `v`.
    #[inline(always)]
    pub const fn new(v: T) -> Self {
        Self(Atomic::new(v))
    }
}

impl<T: AtomicType> Deref for InlineAtomic<T> {
    type Target = Atomic<T>;

    #[inline(always)]
    fn deref(&self) -> &Atomic<T> {
        &self.0
    }
}

/// Returns the ordering of `core` for `O`.
#[inline(always)]
const fn order<O: Ordering>() -> hw::Ordering {
    match O::TYPE {
        OrderingType::Relaxed => hw::Ordering::Relaxed,
        OrderingType::Acquire => hw::Ordering::Acquire,
        OrderingType::Release => hw::Ordering::Release,
        OrderingType::Full => hw::Ordering::SeqCst,
    }
}

/// Completes a read-modify-write of ordering `O`.
#[inline(always)]
fn complete<O: Ordering>() {
    // A locked instruction of x86-64 is a full barrier already.
    if matches!(O::TYPE, OrderingType::Full) && !cfg!(CONFIG_X86_64) {
        hw::fence(hw::Ordering::SeqCst);
    }
}

/// Implements loads and stores of `Atomic<$value>` by `$hw`.
macro_rules! basic {
    ([$($t:ident)?] $value:ty, $hw:ty) => {
        impl $(<$t>)? sealed::Sealed for $value {}
        impl $(<$t>)? AtomicType for $value {}

        impl $(<$t>)? Atomic<$value> {
            #[inline(always)]
            fn hw(&self) -> &$hw {
                const {
                    assert!(size_of::<$value>() == size_of::<$hw>());
                    assert!(align_of::<$value>() == align_of::<$hw>());
                }
                // SAFETY: `core`'s type has the size, alignment and bit validity of the value, and
                // allows other atomic accesses to it; by the type invariant there are no others.
                unsafe { &*self.0.get().cast() }
            }

            /// Returns the value.
            ///
            /// C counterpart: `READ_ONCE()`, `smp_load_acquire()`.
            #[inline(always)]
            pub fn load<O: AcquireOrRelaxed>(&self, _: O) -> $value {
                self.hw().load(order::<O>())
            }

            /// Sets the value.
            ///
            /// C counterpart: `WRITE_ONCE()`, `smp_store_release()`.
            #[inline(always)]
            pub fn store<O: ReleaseOrRelaxed>(&self, v: $value, _: O) {
                self.hw().store(v, order::<O>());
            }
        }
    };
}

/// Implements exchanges of `Atomic<$value>` by the kernel's, and of `InlineAtomic<$value>` inline.
macro_rules! exchange {
    ([$($t:ident)?] $value:ty) => {
        impl $(<$t>)? Atomic<$value> {
            #[inline(always)]
            fn lkmm(&self) -> &kernel::sync::atomic::Atomic<$value> {
                // SAFETY: Valid for as long as `self`, and by the type invariant all accesses are
                // atomic.
                unsafe { kernel::sync::atomic::Atomic::from_ptr(self.0.get()) }
            }

            /// Sets the value to `v` and returns the one before.
            ///
            /// C counterpart: `atomic_xchg()`.
            #[inline(always)]
            pub fn xchg<O: Ordering>(&self, v: $value, order: O) -> $value {
                self.lkmm().xchg(v, order)
            }

            /// Sets the value to `new` if it is `old`, and returns it; if it is not, returns the
            /// present value as an error, and orders nothing.
            ///
            /// C counterpart: `atomic_try_cmpxchg()`.
            #[inline(always)]
            pub fn cmpxchg<O: Ordering>(
                &self,
                old: $value,
                new: $value,
                order: O,
            ) -> Result<$value, $value> {
                self.lkmm().cmpxchg(old, new, order)
            }
        }

        impl $(<$t>)? InlineAtomic<$value> {
            /// Does what [`Atomic::xchg`] does, inline.
            #[inline(always)]
            pub fn xchg<O: Ordering>(&self, v: $value, _: O) -> $value {
                let old = self.hw().swap(v, order::<O>());
                complete::<O>();
                old
            }

            /// Does what [`Atomic::cmpxchg`] does, inline.
            #[inline(always)]
            pub fn cmpxchg<O: Ordering>(
                &self,
                old: $value,
                new: $value,
                _: O,
            ) -> Result<$value, $value> {
                let failure = hw::Ordering::Relaxed;
                let result = self.hw().compare_exchange(old, new, order::<O>(), failure);
                complete::<O>();
                result
            }
        }
    };
}

/// Implements wrapping arithmetic of `Atomic<$value>` and `InlineAtomic<$value>`.
macro_rules! arithmetic {
    ($value:ty) => {
        impl Atomic<$value> {
            /// Adds `v`, wrapping around, without any ordering.
            ///
            /// C counterpart: `atomic_add()`.
            #[inline(always)]
            pub fn add(&self, v: $value, order: Relaxed) {
                self.lkmm().add(v, order);
            }

            /// Adds `v`, wrapping around, and returns the value before.
            ///
            /// C counterpart: `atomic_fetch_add()`.
            #[inline(always)]
            pub fn fetch_add<O: Ordering>(&self, v: $value, order: O) -> $value {
                self.lkmm().fetch_add(v, order)
            }

            /// Subtracts `v`, wrapping around, and returns the value before.
            ///
            /// C counterpart: `atomic_fetch_sub()`.
            #[inline(always)]
            pub fn fetch_sub<O: Ordering>(&self, v: $value, order: O) -> $value {
                self.lkmm().fetch_sub(v, order)
            }
        }

        impl InlineAtomic<$value> {
            /// Does what [`Atomic::add`] does, inline.
            #[inline(always)]
            pub fn add(&self, v: $value, _: Relaxed) {
                self.hw().fetch_add(v, hw::Ordering::Relaxed);
            }

            /// Does what [`Atomic::fetch_add`] does, inline.
            #[inline(always)]
            pub fn fetch_add<O: Ordering>(&self, v: $value, _: O) -> $value {
                let old = self.hw().fetch_add(v, order::<O>());
                complete::<O>();
                old
            }

            /// Does what [`Atomic::fetch_sub`] does, inline.
            #[inline(always)]
            pub fn fetch_sub<O: Ordering>(&self, v: $value, _: O) -> $value {
                let old = self.hw().fetch_sub(v, order::<O>());
                complete::<O>();
                old
            }
        }
    };
}

basic!([] bool, hw::AtomicBool);
basic!([] u8, hw::AtomicU8);
basic!([] i32, hw::AtomicI32);
basic!([] u32, hw::AtomicU32);
basic!([] u64, hw::AtomicU64);
basic!([] usize, hw::AtomicUsize);
basic!([T] *mut T, hw::AtomicPtr<T>);

exchange!([] bool);
exchange!([] i32);
exchange!([] u32);
exchange!([] u64);
exchange!([] usize);
exchange!([T] *mut T);

arithmetic!(i32);
arithmetic!(u32);
arithmetic!(u64);
arithmetic!(usize);

impl InlineAtomic<u64> {
    /// Sets the bits of `mask` and returns the value before.
    ///
    /// C counterpart: `atomic64_fetch_or()`, which the kernel crate lacks.
    #[inline(always)]
    pub fn fetch_or<O: Ordering>(&self, mask: u64, _: O) -> u64 {
        let old = self.hw().fetch_or(mask, order::<O>());
        complete::<O>();
        old
    }
}
