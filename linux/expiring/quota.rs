// SPDX-License-Identifier: GPL-2.0

//! A limit on the number of entries.

use crate::atomic::{
    InlineAtomic,
    Relaxed, //
};

/// The reason why an entry was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The quota is used up.
    Full,
    /// There is no memory.
    NoMemory,
}

/// Counts the entries of several tables, to limit their number.
///
/// An entry counts from [`super::Table::alloc`] on, until it has left its table.
pub struct Quota(InlineAtomic<usize>);

impl Quota {
    /// Creates a quota of which nothing is taken.
    pub const fn new() -> Self {
        Self(InlineAtomic::new(0))
    }

    /// Returns the number of entries.
    #[inline]
    pub fn taken(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts one more entry, unless there are `most`; returns whether it did.
    pub(super) fn take(&self, most: usize) -> bool {
        let mut taken = self.taken();
        while taken < most {
            let more = taken.wrapping_add(1);
            match self.0.cmpxchg(taken, more, Relaxed) {
                Ok(_) => return true,
                Err(now) => taken = now,
            }
        }
        false
    }

    /// Counts one entry less.
    pub(super) fn give_back(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::new()
    }
}
