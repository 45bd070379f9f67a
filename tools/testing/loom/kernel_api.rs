// SPDX-License-Identifier: GPL-2.0

//! The parts of the `kernel` crate that `linux/` uses.

pub mod error {
    #[derive(Debug)]
    pub struct Error;

    pub const EINVAL: Error = Error;
    pub const ENOMEM: Error = Error;

    pub type Result<T = (), E = Error> = ::core::result::Result<T, E>;

    impl From<super::alloc::AllocError> for Error {
        fn from(_: super::alloc::AllocError) -> Self {
            Self
        }
    }

    impl From<::core::convert::Infallible> for Error {
        fn from(never: ::core::convert::Infallible) -> Self {
            match never {}
        }
    }
}

pub mod alloc {
    use core::memory;
    use pin_init::PinInit;
    use std::{
        alloc::Layout,
        mem::ManuallyDrop,
        ops::{
            Deref,
            DerefMut, //
        },
        pin::Pin,
        ptr::NonNull, //
    };

    #[derive(Debug)]
    pub struct AllocError;

    #[derive(Clone, Copy)]
    pub struct Flags;

    impl std::ops::BitOr for Flags {
        type Output = Self;

        fn bitor(self, _: Self) -> Self {
            self
        }
    }

    pub mod flags {
        use super::Flags;

        pub const GFP_KERNEL: Flags = Flags;
        pub const GFP_ATOMIC: Flags = Flags;
        #[allow(non_upper_case_globals)]
        pub const __GFP_NOWARN: Flags = Flags;
    }

    /// A box whose memory stays when it is freed.
    pub struct KBox<T>(NonNull<T>);

    // SAFETY: It owns the `T`.
    unsafe impl<T: Send> Send for KBox<T> {}
    // SAFETY: As above.
    unsafe impl<T: Sync> Sync for KBox<T> {}

    impl<T> KBox<T> {
        fn allocate() -> NonNull<T> {
            let ptr = Box::into_raw(Box::<T>::new_uninit()).cast::<T>();
            memory::allocated(ptr as usize, Layout::new::<T>());
            NonNull::new(ptr).unwrap()
        }

        pub fn new(value: T, _: Flags) -> Result<Self, AllocError> {
            let ptr = Self::allocate();
            // SAFETY: Just allocated.
            unsafe { ptr.write(value) };
            Ok(Self(ptr))
        }

        pub fn into_pin(this: Self) -> Pin<Self> {
            // SAFETY: What it owns stays where it is.
            unsafe { Pin::new_unchecked(this) }
        }

        pub fn try_pin_init<E>(init: impl PinInit<T, E>, _: Flags) -> Result<Pin<Self>, E> {
            let ptr = Self::allocate();
            // SAFETY: Just allocated, and it stays there.
            unsafe {
                if let Err(error) = pin_init::raw_try_init(ptr.as_ptr(), init) {
                    memory::freed(ptr.as_ptr() as usize);
                    return Err(error);
                }
                Ok(Pin::new_unchecked(Self(ptr)))
            }
        }

        pub fn leak<'a>(this: Self) -> &'a mut T {
            // SAFETY: Nobody drops it any more.
            unsafe { ManuallyDrop::new(this).0.as_mut() }
        }

        pub fn into_raw(this: Self) -> *mut T {
            ManuallyDrop::new(this).0.as_ptr()
        }

        /// # Safety
        ///
        /// As for `Box::from_raw`.
        pub unsafe fn from_raw(ptr: *mut T) -> Self {
            memory::check(ptr);
            Self(NonNull::new(ptr).unwrap())
        }
    }

    impl<T> Deref for KBox<T> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: Owned.
            unsafe { self.0.as_ref() }
        }
    }

    impl<T> DerefMut for KBox<T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: Owned.
            unsafe { self.0.as_mut() }
        }
    }

    impl<T> Drop for KBox<T> {
        fn drop(&mut self) {
            // SAFETY: Owned; the memory is left to `memory`.
            unsafe { self.0.drop_in_place() };
            if !std::thread::panicking() {
                memory::freed(self.0.as_ptr() as usize);
            }
        }
    }

    /// A vector of a fixed capacity whose memory stays when it is freed.
    pub struct KVVec<T>(ManuallyDrop<Vec<T>>);

    impl<T> KVVec<T> {
        pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self, AllocError> {
            let vec = ManuallyDrop::new(Vec::with_capacity(capacity));
            let layout = Layout::array::<T>(vec.capacity()).unwrap();
            memory::allocated(vec.as_ptr() as usize, layout);
            Ok(Self(vec))
        }

        pub fn push_within_capacity(&mut self, value: T) -> Result<(), AllocError> {
            if self.0.len() == self.0.capacity() {
                return Err(AllocError);
            }
            self.0.push(value);
            Ok(())
        }
    }

    impl<T> Deref for KVVec<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }

    impl<'a, T> IntoIterator for &'a KVVec<T> {
        type Item = &'a T;
        type IntoIter = std::slice::Iter<'a, T>;

        fn into_iter(self) -> Self::IntoIter {
            self.0.iter()
        }
    }

    impl<T> Drop for KVVec<T> {
        fn drop(&mut self) {
            let at = self.0.as_ptr() as usize;
            self.0.clear();
            if !std::thread::panicking() {
                memory::freed(at);
            }
        }
    }
}

pub mod prelude {
    pub use super::{
        alloc::{
            flags::*,
            KBox,
            KVVec, //
        },
        error::{
            Error,
            Result,
            EINVAL,
            ENOMEM, //
        },
    };
    pub use crate::{
        try_init,
        try_pin_init, //
    };
    pub use pin_init::{
        pin_data,
        pin_init,
        pinned_drop,
        PinInit,
        PinnedDrop, //
    };
    pub use std::{
        ffi::CStr,
        pin::Pin, //
    };

    /// The kernel's name for `as_ptr` of strings.
    pub trait CStrExt {
        fn as_char_ptr(&self) -> *const std::ffi::c_char;
    }

    impl CStrExt for CStr {
        fn as_char_ptr(&self) -> *const std::ffi::c_char {
            self.as_ptr()
        }
    }
}

pub mod sync {
    use super::{
        alloc::{
            AllocError,
            Flags,
            KBox, //
        },
        error::Result, //
    };
    use pin_init::PinInit;
    use std::pin::Pin;

    pub mod rcu {
        pub use crate::rcu_model::read_lock;
    }

    /// A counted reference whose object stays where it is.
    pub struct Arc<T>(std::sync::Arc<Pin<KBox<T>>>);

    impl<T> Arc<T> {
        pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E> {
            Ok(Self(std::sync::Arc::new(KBox::try_pin_init(init, flags)?)))
        }

        pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
            Ok(Self(std::sync::Arc::new(KBox::into_pin(KBox::new(
                value, flags,
            )?))))
        }
    }

    impl<T> Clone for Arc<T> {
        fn clone(&self) -> Self {
            Self(std::sync::Arc::clone(&self.0))
        }
    }

    impl<T> std::ops::Deref for Arc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    /// loom's mutex, with the kernel's way of making it.
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        #[allow(clippy::new_ret_no_self)]
        pub fn new(value: T) -> impl pin_init::PinInit<Self> {
            // SAFETY: Writes a whole mutex, which need not stay where it is.
            unsafe {
                pin_init::pin_init_from_closure(move |slot: *mut Self| {
                    slot.write(Self(loom::sync::Mutex::new(value)));
                    Ok(())
                })
            }
        }

        #[track_caller]
        pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            core::memory::check(self);
            self.0.lock().unwrap()
        }
    }

    pub use loom::sync::MutexGuard;
}

pub mod types {
    use std::{
        cell::UnsafeCell,
        mem::MaybeUninit, //
    };

    #[repr(transparent)]
    pub struct Opaque<T>(UnsafeCell<MaybeUninit<T>>);

    impl<T> Opaque<T> {
        pub const fn uninit() -> Self {
            Self(UnsafeCell::new(MaybeUninit::uninit()))
        }

        pub const fn get(&self) -> *mut T {
            self.0.get().cast()
        }
    }
}

#[macro_export]
macro_rules! new_mutex {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::Mutex::new($inner)
    };
}

#[macro_export]
macro_rules! try_pin_init {
    ($($args:tt)*) => {
        ::pin_init::pin_init!(#[default_error($crate::error::Error)] $($args)*)
    };
}

#[macro_export]
macro_rules! try_init {
    ($($args:tt)*) => {
        ::pin_init::init!(#[default_error($crate::error::Error)] $($args)*)
    };
}
