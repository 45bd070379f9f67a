// SPDX-License-Identifier: GPL-2.0

//! Capabilities of the current process.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::bindings;
use kernel::ffi::c_int;

/// Returns whether the current process administers the network of the machine: it has
/// `CAP_NET_ADMIN` in the initial user namespace. Process context.
pub fn net_admin() -> bool {
    // SAFETY: It asks about the current process, and has no precondition.
    unsafe { bindings::capable(bindings::CAP_NET_ADMIN as c_int) }
}
