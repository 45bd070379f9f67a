// SPDX-License-Identifier: GPL-2.0

//! The pure logic of IPVS: everything that needs neither the kernel nor `unsafe`.
//!
//! Packets and messages come in as byte slices, time and randomness as arguments, and the caller
//! owns all storage. The crate builds both as part of `ip_vs.ko` and with Cargo, so it can be
//! unit-tested, property-tested and fuzzed on the host. The module's root crate has the other half:
//! locking, allocation, and what talks to the kernel.
//!
//! # Rules
//!
//! - Nothing that a packet or a user controls may panic: slices are read through `get` and
//!   `first_chunk`, arithmetic that could overflow is checked or wrapping.
//! - No allocation.
//! - Functions that run per packet are `#[inline]`, since the kernel links its crates without LTO.

#![forbid(unsafe_code)]

mod bytes;

pub mod checksum;
pub mod defence;
pub mod est;
pub mod flow;
pub mod forward;
pub mod ftp;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod log;
pub mod net;
pub mod netlink;
pub mod pe;
pub mod proto;
pub mod resize;
pub mod sched;
pub mod sctp;
pub mod sockopt;
pub mod stats;
pub mod status;
pub mod sync;
pub mod tcp;
pub mod text;
pub mod threshold;
pub mod transport;
pub mod tunnel;
pub mod udp;
pub mod xt;
