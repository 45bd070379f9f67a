// SPDX-License-Identifier: GPL-2.0

//! KUnit suites for the `linux` crate, as a module: KUnit runs them when it is loaded.
//!
//! One file for each wrapper, one case for each promise. What a case makes is on the heap, and what
//! is found out in a critical section is checked after it: a failed assertion ends the thread where
//! it stands, and drops nothing.

#![deny(unsafe_code)]

mod item;
mod ledger;
mod suites;
mod wait;

use kernel::prelude::*;

module! {
    type: LinuxKunit,
    name: "linux_kunit",
    authors: ["The ipvs-rs developers"],
    description: "KUnit suites for the linux crate",
    license: "GPL",
}

/// The loaded module: KUnit finds the suites by their section.
struct LinuxKunit;

impl kernel::Module for LinuxKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

impl Drop for LinuxKunit {
    fn drop(&mut self) {
        // No callback of this module may be left when its code goes.
        linux::rcu::drain();
    }
}
