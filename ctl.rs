// SPDX-License-Identifier: GPL-2.0

//! The interfaces to users: translates between the operations of [`crate::control`] and the
//! kernel's interfaces (Generic Netlink, socket options, proc, sysctl).

pub(crate) mod genl;
pub(crate) mod procfs;
pub(crate) mod sockopt;
pub(crate) mod sysctl;

mod show;
