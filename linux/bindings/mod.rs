// SPDX-License-Identifier: GPL-2.0

//! Raw bindings: those of the `kernel` crate, what it lacks, and our C shims.
//!
//! Private to this crate: nothing raw leaves it.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ptr_cast_constness,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    dead_code
)]

#[allow(unknown_lints, unnecessary_transmutes)]
mod raw {
    pub use kernel::bindings::*;
    use kernel::ffi;
    use pin_init::MaybeZeroable;
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;

    include!(concat!(env!("LINUX_BINDINGS"), "/bindings_generated.rs"));
}

mod shims {
    use super::raw::*;
    use kernel::ffi;
    include!(concat!(env!("LINUX_BINDINGS"), "/helpers_generated.rs"));
}

pub(crate) use raw::*;
pub(crate) use shims::*;
