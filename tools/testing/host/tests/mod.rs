// SPDX-License-Identifier: GPL-2.0

//! Tests of the whole module on the host: the files that the kernel module is made of, over the
//! stand-ins for `kernel` and `linux` beside this directory.
//!
//! A test makes a [`world::World`], adds services by `control`, lets packets pass the hooks, moves
//! the clock, and looks at what became of the packets, of the connections and of the counters. At
//! its end the module is unloaded, and everything must have come back.

mod apply;
mod daemons;
mod extensible;
mod failures;
mod ftp;
mod icmp;
mod ipsec;
mod model;
mod nfct;
mod packet;
mod persist;
mod schedule;
mod sctp;
mod time;
mod world;
mod xmit;
mod xt;
