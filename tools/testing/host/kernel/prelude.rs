// SPDX-License-Identifier: GPL-2.0

//! What is imported everywhere.

pub use crate::{
    alloc::{
        flags::*,
        KBox,
        KVVec,
        KVec, //
    },
    error::{
        code::*,
        Error,
        Result, //
    },
    fmt,
    module,
    try_init,
    try_pin_init,
    ThisModule, //
};
pub use pin_init::{
    init,
    pin_data,
    pin_init,
    pinned_drop,
    Init,
    PinInit,
    PinnedDrop,
    Zeroable, //
};
pub use std::{
    ffi::CStr,
    pin::Pin, //
};

/// What the kernel's strings have in place of `as_ptr`.
pub trait CStrExt {
    fn as_char_ptr(&self) -> *const std::ffi::c_char;
}

impl CStrExt for CStr {
    fn as_char_ptr(&self) -> *const std::ffi::c_char {
        self.as_ptr()
    }
}
