// SPDX-License-Identifier: GPL-2.0

//! The items that every file imports.

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

/// The kernel's name for `as_ptr` of strings.
pub trait CStrExt {
    fn as_char_ptr(&self) -> *const std::ffi::c_char;
}

impl CStrExt for CStr {
    fn as_char_ptr(&self) -> *const std::ffi::c_char {
        self.as_ptr()
    }
}
