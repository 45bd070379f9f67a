// SPDX-License-Identifier: GPL-2.0

//! What users see and change: thin translations between the model (see [`crate::control`]) and the
//! interfaces of the kernel.

pub(crate) mod genl;
pub(crate) mod procfs;
pub(crate) mod sockopt;
pub(crate) mod sysctl;

mod show;
