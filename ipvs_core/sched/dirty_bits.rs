// SPDX-License-Identifier: GPL-2.0

//! The set of servers that have changed since a scheduler last looked. Any number of CPUs add slots
//! to it while a single one takes them out, without a lock. The module's
//! `service/sched/dirty_slots.rs` connects it with servers and schedulers.
//!
//! Each slot is a bit. A second layer (summary) has a bit for each word in which bits may be set,
//! so that taking out few slots does not read every word.

use core::ops::Deref;

const BITS: usize = u64::BITS as usize;

/// A word that any number of CPUs change at a time.
///
/// The two that change it must be full memory barriers, in the terms of the kernel's memory model.
pub trait Word {
    /// Returns the value, without any ordering.
    fn load(&self) -> u64;

    /// Sets the bits of `mask` and returns the value before. A full memory barrier.
    fn fetch_or(&self, mask: u64) -> u64;

    /// Sets the value to 0 and returns the one before. A full memory barrier.
    fn take(&self) -> u64;
}

/// The set. The caller provides [`DirtyBits::words_for`] words of storage, all 0.
#[derive(Debug)]
pub struct DirtyBits<B> {
    words: B,
    /// The number of words of the summary. They come first.
    summaries: usize,
}

/// Iterates over the numbers of the bits that are set in a word.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let mut left = word;
    core::iter::from_fn(move || {
        let bit = left.trailing_zeros();
        left &= left.checked_sub(1)?;
        Some(bit as usize)
    })
}

impl<W: Word, B: Deref<Target = [W]>> DirtyBits<B> {
    const fn summaries_for(slots: usize) -> usize {
        slots.div_ceil(BITS * BITS)
    }

    /// Returns the number of words that a set of `slots` slots needs.
    pub const fn words_for(slots: usize) -> usize {
        slots
            .div_ceil(BITS)
            .saturating_add(Self::summaries_for(slots))
    }

    /// Creates an empty set for slots below `slots`.
    pub fn new(words: B, slots: usize) -> Self {
        Self {
            words,
            summaries: Self::summaries_for(slots),
        }
    }

    fn word(&self, number: usize) -> Option<&W> {
        self.words.get(self.summaries.wrapping_add(number))
    }

    /// Adds a slot. Does nothing if it is out of range. The CPU that takes the slot out sees all
    /// writes before this call.
    #[inline]
    pub fn mark(&self, slot: usize) {
        let number = slot / BITS;
        let Some(word) = self.word(number) else {
            return;
        };
        // Written even if the bit is already set: the write orders the caller's change before the
        // swap that takes the bit out.
        word.fetch_or(1 << (slot % BITS));
        // Another CPU that has marked a slot of this word may not have set the summary's bit yet. A
        // summary bit that is set here is taken out after the barrier, and the word after it.
        if let Some(summary) = self.words.get(number / BITS) {
            let bit = 1 << (number % BITS);
            if summary.load() & bit == 0 {
                summary.fetch_or(bit);
            }
        }
    }

    /// Takes all slots out and calls `changed` once for each. Only one caller at a time.
    #[inline]
    pub fn drain(&self, mut changed: impl FnMut(usize)) {
        for (at, summary) in self.words.iter().take(self.summaries).enumerate() {
            if summary.load() == 0 {
                continue;
            }
            for bit in bits(summary.take()) {
                let number = at.wrapping_mul(BITS).wrapping_add(bit);
                let Some(word) = self.word(number) else {
                    continue;
                };
                for bit in bits(word.take()) {
                    changed(number.wrapping_mul(BITS).wrapping_add(bit));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{
        AtomicU64,
        Ordering::{
            Relaxed,
            SeqCst, //
        },
    };

    impl Word for AtomicU64 {
        fn load(&self) -> u64 {
            AtomicU64::load(self, Relaxed)
        }

        fn fetch_or(&self, mask: u64) -> u64 {
            AtomicU64::fetch_or(self, mask, SeqCst)
        }

        fn take(&self) -> u64 {
            self.swap(0, SeqCst)
        }
    }

    fn dirty_bits(slots: usize) -> DirtyBits<Vec<AtomicU64>> {
        let words = DirtyBits::<Vec<AtomicU64>>::words_for(slots);
        DirtyBits::new((0..words).map(|_| AtomicU64::new(0)).collect(), slots)
    }

    fn drained(dirty_bits: &DirtyBits<Vec<AtomicU64>>) -> Vec<usize> {
        let mut slots = Vec::new();
        dirty_bits.drain(|slot| slots.push(slot));
        slots
    }

    #[test]
    fn what_is_marked_comes_out_once() {
        let dirty_bits = dirty_bits(10_000);
        for slot in [9999, 0, 63, 64, 4095, 4096, 64] {
            dirty_bits.mark(slot);
        }
        assert_eq!(drained(&dirty_bits), [0, 63, 64, 4095, 4096, 9999]);
        assert_eq!(drained(&dirty_bits), []);
        dirty_bits.mark(64);
        assert_eq!(drained(&dirty_bits), [64]);
    }

    #[test]
    fn slots_out_of_range_are_ignored() {
        let dirty_bits = dirty_bits(64);
        for slot in [64, 4096, usize::MAX] {
            dirty_bits.mark(slot);
        }
        assert_eq!(drained(&dirty_bits), []);
        dirty_bits.mark(63);
        assert_eq!(drained(&dirty_bits), [63]);
    }

    #[test]
    fn no_mark_is_lost_between_threads() {
        let (dirty_bits, taken) = (dirty_bits(200), AtomicU64::new(0));
        let changes: Vec<_> = (0..200).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let (dirty_bits, changes) = (&dirty_bits, &changes);
                    scope.spawn(move || {
                        for round in 0..5_000 {
                            let slot = (worker * 7 + round * 13) % 200;
                            changes[slot].fetch_add(1, Relaxed);
                            dirty_bits.mark(slot);
                        }
                    })
                })
                .collect();
            let take = || {
                dirty_bits.drain(|slot| {
                    taken.fetch_add(changes[slot].swap(0, Relaxed), Relaxed);
                });
            };
            while workers.iter().any(|worker| !worker.is_finished()) {
                take();
            }
            take();
        });
        assert_eq!(taken.into_inner(), 20_000);
    }

    #[test]
    fn a_word_of_the_second_layer_is_for_64_of_the_first() {
        let words = DirtyBits::<Vec<AtomicU64>>::words_for;
        assert_eq!((words(0), words(1), words(64), words(65)), (0, 2, 2, 3));
        assert_eq!((words(64 * 64), words(64 * 64 + 1)), (64 + 1, 65 + 2));
    }
}
