// SPDX-License-Identifier: GPL-2.0

//! The kernel's log: lines that a test can take.

use crate::net::Net;
use kernel::prelude::*;
use std::sync::{
    Mutex,
    PoisonError, //
};

#[must_use]
pub struct Permit(());

impl Permit {
    pub const fn unlimited() -> Self {
        Self(())
    }
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes the lines since the last time.
pub fn take_lines() -> Vec<String> {
    std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
}

pub struct Log {
    name: &'static CStr,
}

impl Log {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name }
    }

    pub fn permit_for_packet(&self, _net: &Net) -> Option<Permit> {
        Some(Permit(()))
    }

    pub fn permit_for_request(&self, _net: &Net) -> Option<Permit> {
        Some(Permit(()))
    }

    pub fn error(&self, permit: Permit, line: std::fmt::Arguments<'_>) {
        self.print(permit, line);
    }

    pub fn info(&self, permit: Permit, line: std::fmt::Arguments<'_>) {
        self.print(permit, line);
    }

    pub fn warning(&self, permit: Permit, line: std::fmt::Arguments<'_>) {
        self.print(permit, line);
    }

    fn print(&self, _: Permit, line: std::fmt::Arguments<'_>) {
        let line = format!("{}: {line}", self.name.to_str().unwrap());
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}
