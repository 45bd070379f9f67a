// SPDX-License-Identifier: GPL-2.0

//! The messages of the generic netlink family "IPVS", version 1: parsing requests and building
//! answers.
//!
//! C: the parsing and filling functions of `ip_vs_ctl.c`, and the part of `lib/nlattr.c` that they
//! use. Numbers in attributes are in host byte order, except addresses, netmasks and ports. The
//! module's `ctl/genl.rs` carries the requests out.

pub mod attr;
pub mod consts;
pub mod daemon;
pub mod dest;
pub mod dump;
pub mod service;
pub mod timeout;

pub use attr::{
    parse,
    Attr,
    AttrError,
    Errno,
    Kind,
    Policy, //
};
pub use consts::*;

use attr::policy;

/// An address of either family: 16 bytes, of which an IPv4 address takes the first four (C: `union
/// nf_inet_addr`).
pub type Addr = [u8; 16];

/// Policies for the attributes of a request itself (C: `ip_vs_cmd_policy`).
pub const COMMAND_POLICY: [Policy; ATTRS_COMMAND] = [
    Policy::ANY,
    policy!(IPVS_CMD_ATTR_SERVICE, Kind::Nested),
    policy!(IPVS_CMD_ATTR_DEST, Kind::Nested),
    policy!(IPVS_CMD_ATTR_DAEMON, Kind::Nested),
    policy!(IPVS_CMD_ATTR_TIMEOUT_TCP, Kind::U32),
    policy!(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, Kind::U32),
    policy!(IPVS_CMD_ATTR_TIMEOUT_UDP, Kind::U32),
];

/// Checks an address family (C: `ip_vs_is_af_valid()`). `ipv6` tells whether the kernel supports
/// IPv6. `attr` is the attribute with the family.
///
/// # Errors
///
/// `EAFNOSUPPORT` if the module does not support the family.
pub(crate) fn check_family(
    family: u16,
    ipv6: bool,
    attr: Option<Attr<'_>>,
) -> Result<(), AttrError> {
    match family {
        AF_INET => Ok(()),
        AF_INET6 if ipv6 => Ok(()),
        _ => Err(AttrError {
            errno: Errno::AFNOSUPPORT,
            message: "address family is neither IPv4 nor (available) IPv6",
            at: attr.map(|attr| attr.offset),
            missing: None,
            about: None,
        }),
    }
}
