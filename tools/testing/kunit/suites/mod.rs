// SPDX-License-Identifier: GPL-2.0

//! The KUnit suites.

mod active_list;
mod expiring;
mod kthread;
mod net;
mod numbers;
mod percpu;
mod rcu;
mod rcu_slots;
mod spinlock;
mod table;
mod work;
