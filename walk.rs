// SPDX-License-Identifier: GPL-2.0

//! Walks over all entries of a table, for those who take their time at each.
//!
//! A table is walked place by place, with packets shut out of the place's chain meanwhile. So what is
//! there is only noted down, a few entries at a time, and looked at afterwards: RCU keeps it.

use kernel::prelude::*;

/// How many entries are noted down at a time.
pub(crate) const BATCH: usize = 16;

/// Some entries, the first ones filled.
pub(crate) type Batch<'rcu, T> = [Option<&'rcu T>; BATCH];

/// Where a walk is. All zero is the beginning.
///
/// Entries that are there all the time are met, however the table is resized in between. An entry is
/// met twice if the table is resized at a bad moment, or if others come and go in its chain.
#[derive(Clone, Copy, Default, Zeroable)]
pub(crate) struct Cursor {
    /// The place, as the table numbers them.
    place: usize,
    /// Entries of the place that are behind us.
    passed: usize,
    ended: bool,
}

impl Cursor {
    /// Whether there is nothing left.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The same place, `count` entries further on.
    pub(crate) fn advanced(self, count: usize) -> Self {
        Self {
            passed: self.passed.wrapping_add(count),
            ..self
        }
    }

    /// Takes the next entries, which may be none, and moves behind them. `scan` visits the entries
    /// of one place and returns the next place, 0 after the last.
    pub(crate) fn take<'rcu, T>(
        &mut self,
        scan: impl FnOnce(usize, &mut dyn FnMut(&'rcu T)) -> usize,
    ) -> Batch<'rcu, T> {
        let mut batch = [None; BATCH];
        if self.ended {
            return batch;
        }
        let passed = self.passed;
        let mut seen = 0usize;
        let next = scan(self.place, &mut |entry| {
            let slot = seen.checked_sub(passed).and_then(|n| batch.get_mut(n));
            if let Some(slot) = slot {
                *slot = Some(entry);
            }
            seen = seen.wrapping_add(1);
        });
        let taken = passed.wrapping_add(BATCH);
        if seen > taken {
            self.passed = taken;
        } else {
            *self = Self {
                place: next,
                passed: 0,
                ended: next == 0,
            };
        }
        batch
    }
}
