// SPDX-License-Identifier: GPL-2.0

//! Stands in for the `kernel` crate: as much of it as the module and the files of `linux/` use.
//!
//! Checks that the kernel makes only when it is built for debugging are always made: sleeping in atomic
//! context panics ([`context`]), memory is overwritten when it is freed, and an allocation can be
//! made to fail ([`memory`]).

#![feature(coerce_unsized, unsize)]

pub mod alloc;
pub mod context;
pub mod error;
pub mod memory;
pub mod module;
pub mod prelude;
pub mod sync;

pub use module::{
    Module,
    ModuleMetadata,
    ThisModule, //
};
pub use std::{
    ffi,
    fmt, //
};

pub mod types {
    use std::{
        cell::UnsafeCell,
        mem::MaybeUninit, //
    };

    /// Memory that C code writes.
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

pub mod str {
    use crate::error::Error;
    use std::ops::Deref;

    /// A string that was formatted.
    pub struct CString(std::ffi::CString);

    impl CString {
        pub fn try_from_fmt(args: std::fmt::Arguments<'_>) -> Result<Self, Error> {
            let text = std::ffi::CString::new(args.to_string());
            text.map(Self).map_err(|_| crate::error::code::EINVAL)
        }
    }

    impl TryFrom<&std::ffi::CStr> for CString {
        type Error = Error;

        fn try_from(text: &std::ffi::CStr) -> Result<Self, Error> {
            Ok(Self(text.to_owned()))
        }
    }

    impl Deref for CString {
        type Target = std::ffi::CStr;

        fn deref(&self) -> &std::ffi::CStr {
            &self.0
        }
    }
}

pub mod seq_file {
    use std::cell::RefCell;

    /// A file that is being read: the text so far.
    #[derive(Default)]
    pub struct SeqFile(pub RefCell<String>);
}

#[macro_export]
macro_rules! fmt {
    ($($args:tt)*) => {
        ::core::format_args!($($args)*)
    };
}

#[macro_export]
macro_rules! new_mutex {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::Mutex::new($inner)
    };
}

#[macro_export]
macro_rules! static_lock_class {
    () => {{
        static KEY: $crate::sync::LockClassKey = $crate::sync::LockClassKey;
        ::core::pin::Pin::static_ref(&KEY)
    }};
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
