// SPDX-License-Identifier: GPL-2.0

//! The suites.

mod kthread;
mod net;
mod numbers;
mod percpu;
mod rcu;
mod roll;
mod roster;
mod spinlock;
mod table;
mod timed;
mod work;
