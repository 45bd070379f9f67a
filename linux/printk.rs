// SPDX-License-Identifier: GPL-2.0

//! Lines of the kernel's log, each behind a name that the module chooses, and within a limit.
//!
//! The macros of the `kernel` crate put the name of the module's file in front, and know no limits.
//!
//! C headers: [`include/linux/printk.h`](srctree/include/linux/printk.h),
//! [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::bindings;
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
    /// Permits a line that is not limited: for what happens when a module is loaded or unloaded.
    pub const fn unlimited() -> Self {
        Self(())
    }

    /// Permits a line about a packet, unless there have been too many such lines of late. The limit
    /// is shared by the network stack as a whole, and set by the sysctls `net.core.message_burst`
    /// (lines) and `net.core.message_cost` (in so many seconds). C: `net_ratelimit()`.
    ///
    /// # Context
    ///
    /// Any.
    pub fn for_packet() -> Option<Self> {
        // SAFETY: No requirement.
        (unsafe { bindings::net_ratelimit() } != 0).then_some(Self(()))
    }
}

/// The kernel's log, as far as a module writes it.
pub struct Log {
    name: &'static CStr,
}

impl Log {
    /// Returns the log whose lines begin with `name` and a colon. C: `pr_fmt()`.
    pub const fn new(name: &'static CStr) -> Self {
        Self { name }
    }

    /// Permits a line about a user's request, unless there have been too many such lines of late:
    /// 10 in 5 seconds, for all requests together. When lines are permitted again, the kernel says
    /// how many there would have been. C: `printk_ratelimited()`, of which each use has a limit of
    /// its own.
    ///
    /// # Context
    ///
    /// Any.
    pub fn permit_for_request(&self) -> Option<Permit> {
        // SAFETY: The name is a string that ends with a NUL.
        let permitted = unsafe { bindings::linux_request_ratelimit(self.name.as_char_ptr()) };
        (permitted != 0).then_some(Permit(()))
    }

    /// Writes a line, which `line` has without its end, at level "error".
    pub fn error(&self, permit: Permit, line: fmt::Arguments<'_>) {
        self.print(&format_strings::ERR, permit, line);
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
        // SAFETY: `format` is one of `format_strings`, as both callers show, and the name ends with a
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
