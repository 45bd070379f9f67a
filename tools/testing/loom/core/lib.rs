// SPDX-License-Identifier: GPL-2.0

//! `core` with loom's atomics, for the crate that takes it as its `core`.

#![feature(core_intrinsics, const_eval_select)]
#![allow(internal_features)]

pub use ::core::*;

pub mod memory;

pub mod hint {
    pub use ::core::hint::*;
    // Lets the others go on.
    pub use loom::hint::spin_loop;
}

pub mod sync {
    pub mod atomic;
}
