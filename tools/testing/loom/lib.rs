// SPDX-License-Identifier: GPL-2.0

//! Every order in which threads can take their steps through `linux/`, up to a bound.
//!
//! The modules in [`files`] are the files that the kernel module is made of. They see this crate as
//! the crates `linux` and `kernel`, and [`loom_core`] as `core`: atomics (which take the place of
//! `linux/atomic.rs`), locks and threads are loom's, which also lets a load see every value that its
//! ordering allows. RCU ([`rcu_model`]) ends each grace period as early as it may, and memory that is
//! used after it was freed, or never freed, fails the model.

extern crate loom_core as core;
extern crate self as kernel;
extern crate self as linux;

pub(crate) mod bindings;
mod kernel_api;
#[cfg(test)]
mod models;
mod rcu_model;
pub(crate) mod route;
pub(crate) mod spinlock;
mod timer_model;

pub use kernel_api::*;

#[path = "../../../linux"]
#[allow(dead_code)]
#[allow(unused_imports)]
mod files {
    pub(crate) mod active_list;
    pub(crate) mod expiring;
    pub(crate) mod jiffies;
    pub(crate) mod rcu;
    pub(crate) mod rcu_slots;
    pub(crate) mod sched;
    pub(crate) mod slab;
    pub(crate) mod table;

    #[path = "net/slot.rs"]
    pub(crate) mod pernet_slot;
}

pub(crate) use core::sync::atomic;
pub(crate) use files::{
    active_list,
    expiring, //
    jiffies,
    pernet_slot,
    rcu,
    rcu_slots,
    sched,
    slab,
    table,
};
pub(crate) use route::{
    net,
    netdevice, //
};

/// The words that the packets of a connection share, of the module itself.
#[path = "../../../conn/bits.rs"]
#[allow(dead_code, unreachable_pub)]
mod conn_bits;

/// Random numbers, always the same.
pub(crate) mod random {
    pub(crate) fn fill(buf: &mut [u8]) {
        buf.fill(0);
    }
}
