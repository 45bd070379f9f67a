// SPDX-License-Identifier: GPL-2.0

//! Lines of the kernel's log, each behind a name that the module chooses, and within a limit.
//!
//! The macros of the `kernel` crate put the name of the module's file in front, and know no limits.
//!
//! C headers: [`include/linux/printk.h`](srctree/include/linux/printk.h),
//! [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::{
    bindings,
    net::Net, //
};
use kernel::{
    fmt,
    prelude::*,
    print::{
        call_printk,
        format_strings, //
    },
};

/// Permits one line of the log.
#[must_use]
pub struct Permit(());

impl Permit {
    /// Permits a line that is not limited: for what happens when a module is loaded or
    /// unloaded, and for what is said seldom by itself.
    pub const fn unlimited() -> Self {
        Self(())
    }
}

/// The kernel's log, as far as a module writes it.
///
/// Root of a user namespace can cause lines about packets and requests in its network namespaces, and
/// so reach any limit. Therefore lines about network namespaces that belong to the initial user
/// namespace have limits of their own, which no other namespace uses up. All other namespaces share
/// one limit for each kind of line, so the log stays bounded however many of them there are.
pub struct Log {
    name: &'static CStr,
}

impl Log {
    /// Returns the log whose lines begin with `name` and a colon. C: `pr_fmt()`.
    pub const fn new(name: &'static CStr) -> Self {
        Self { name }
    }

    /// Permits a line about a packet in `net`, unless there have been too many such lines of late.
    ///
    /// In namespaces of the initial user namespace the limit is that of the whole network stack, set
    /// by the sysctls `net.core.message_burst` (lines) and `net.core.message_cost` (in so many
    /// seconds). In all others together it is 10 lines in 5 seconds.
    ///
    /// C: `net_ratelimit()`, for all namespaces.
    ///
    /// # Context
    ///
    /// Any.
    pub fn permit_for_packet(&self, net: &Net) -> Option<Permit> {
        let permitted = if net.is_of_init_user_ns() {
            // SAFETY: No requirement.
            unsafe { bindings::net_ratelimit() }
        } else {
            // SAFETY: The name is a string that ends with a NUL.
            unsafe { bindings::linux_user_ns_packet_ratelimit(self.name.as_char_ptr()) }
        };
        (permitted != 0).then_some(Permit(()))
    }

    /// Permits a line about a user's request in `net`, unless there have been too many such lines of
    /// late: 10 in 5 seconds, for all requests in namespaces of the initial user namespace together,
    /// and as many for those in all other namespaces. When lines are permitted again, the kernel says
    /// how many were suppressed.
    ///
    /// C: `printk_ratelimited()`, of which each use has a limit of its own.
    ///
    /// # Context
    ///
    /// Any.
    pub fn permit_for_request(&self, net: &Net) -> Option<Permit> {
        let name = self.name.as_char_ptr();
        let permitted = if net.is_of_init_user_ns() {
            // SAFETY: The name is a string that ends with a NUL.
            unsafe { bindings::linux_request_ratelimit(name) }
        } else {
            // SAFETY: As above.
            unsafe { bindings::linux_user_ns_request_ratelimit(name) }
        };
        (permitted != 0).then_some(Permit(()))
    }

    /// Writes a line, which `line` has without its end, at level "error".
    pub fn error(&self, permit: Permit, line: fmt::Arguments<'_>) {
        self.print(&format_strings::ERR, permit, line);
    }

    /// Writes a line, which `line` has without its end, at level "warning".
    pub fn warning(&self, permit: Permit, line: fmt::Arguments<'_>) {
        self.print(&format_strings::WARNING, permit, line);
    }

    /// Writes a line, which `line` has without its end, at level "info".
    pub fn info(&self, permit: Permit, line: fmt::Arguments<'_>) {
        self.print(&format_strings::INFO, permit, line);
    }

    fn print(
        &self,
        format: &'static [u8; format_strings::LENGTH],
        _: Permit,
        line: fmt::Arguments<'_>,
    ) {
        // SAFETY: `format` is one of `format_strings`, as its callers show, and the name ends with a
        // NUL.
        unsafe {
            call_printk(
                format,
                self.name.to_bytes_with_nul(),
                format_args!("{line}\n"),
            )
        };
    }
}
