// SPDX-License-Identifier: GPL-2.0

//! Safe interfaces of Linux that the `kernel` crate lacks.
//!
//! Written as a patch series to `rust/kernel/` would be: it knows the kernel, and nothing of IPVS.
//! All `unsafe` code of the module is here.

mod bindings;

pub mod active_list;
pub mod atomic;
pub mod capability;
pub mod cpumask;
pub mod expiring;
pub mod extensible;
pub mod genetlink;
pub mod icmp;
pub mod jiffies;
pub mod kthread;
pub mod memory;
pub mod module;
pub mod net;
pub mod netdevice;
pub mod netfilter;
pub mod nf_conntrack;
pub mod nf_nat;
pub mod percpu;
pub mod printk;
pub mod random;
pub mod rcu;
pub mod rcu_slots;
pub mod route;
pub mod sched;
pub mod seq_file;
pub mod skb;
pub mod slab;
pub mod socket;
pub mod sockopt;
pub mod spinlock;
pub mod sysctl;
pub mod table;
pub mod work;
pub mod xfrm;
pub mod xtables;
