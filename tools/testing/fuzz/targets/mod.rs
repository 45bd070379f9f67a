// SPDX-License-Identifier: GPL-2.0

//! The fuzz targets. Each takes arbitrary bytes, passes them to `ipvs_core`, and panics if the
//! result is wrong.
//!
//! `make fuzz` searches for such bytes, and `make test` runs the targets on the inputs in
//! `corpus/`. Both use the list below.

mod checksum;
mod estimates;
mod ftp;
mod icmp;
mod input;
mod ipv4;
mod ipv6;
mod netlink_answers;
mod netlink_requests;
mod resize;
mod schedulers;
mod sctp_states;
mod sip;
mod sockopt;
mod sync;
mod sync_due;
mod tcp_states;
mod text;
mod transport;

/// A fuzz target.
pub(crate) type Target = fn(&[u8]);

/// All targets, by the names of their files in `corpus/`.
pub(crate) const ALL: [(&str, Target); 18] = [
    ("checksum", checksum::run),
    ("estimates", estimates::run),
    ("ftp", ftp::run),
    ("icmp", icmp::run),
    ("ipv4", ipv4::run),
    ("ipv6", ipv6::run),
    ("netlink_answers", netlink_answers::run),
    ("netlink_requests", netlink_requests::run),
    ("resize", resize::run),
    ("schedulers", schedulers::run),
    ("sctp_states", sctp_states::run),
    ("sip", sip::run),
    ("sockopt", sockopt::run),
    ("sync", sync::run),
    ("sync_due", sync_due::run),
    ("tcp_states", tcp_states::run),
    ("text", text::run),
    ("transport", transport::run),
];
