// SPDX-License-Identifier: GPL-2.0

//! Stands in for the `linux` crate.
//!
//! The modules in [`real`] are the files that the kernel module is made of, over `bindings`. The
//! others have the interface of their namesakes in `linux/`, and behind it a small kernel that a
//! test holds in its hands: time passes when [`clock::advance`] says so, routes, devices and
//! packets are what the test makes, and what leaves the module is in [`events`].

pub(crate) mod bindings;
pub mod capability;
pub mod clock;
pub mod cpumask;
pub mod events;
pub mod genetlink;
pub mod icmp;
pub mod kthread;
pub mod memory;
pub mod net;
pub mod netdevice;
pub mod netfilter;
pub mod nf_conntrack;
pub mod nf_nat;
pub mod percpu;
pub mod printk;
pub mod random;
pub mod route;
pub mod seq_file;
pub mod skb;
pub mod socket;
pub mod sockopt;
pub mod spinlock;
pub mod sysctl;
pub mod work;
pub mod xfrm;
pub mod xtables;

#[path = "../../../../linux"]
#[allow(dead_code, reason = "the module needs not all of it")]
mod real {
    pub mod active_list;
    pub mod atomic;
    pub mod expiring;
    pub mod extensible;
    pub mod jiffies;
    pub mod module;
    pub mod rcu;
    pub mod rcu_slots;
    pub mod sched;
    pub mod slab;
    pub mod table;
}

pub use real::{
    active_list,
    atomic,
    expiring,
    extensible,
    jiffies,
    module,
    rcu,
    rcu_slots,
    sched,
    slab,
    table, //
};
