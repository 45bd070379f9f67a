// SPDX-License-Identifier: GPL-2.0

//! Which servers have changed since a scheduler looked last: a set of slots that any number of CPUs
//! add to while one at a time takes all out, without a lock.
//!
//! A slot is a bit; a second layer has a bit for each word with bits in it, so that taking out what
//! is there does not cost a look at every word.

use core::{
    ops::Deref,
    sync::atomic::{
        AtomicU64,
        Ordering::{
            Relaxed,
            SeqCst, //
        },
    },
};

const BITS: usize = u64::BITS as usize;

/// The set. Storage is the caller's: as many words as [`DirtyBits::words_for`] says, all 0.
#[derive(Debug)]
pub struct DirtyBits<B> {
    words: B,
    /// How many words of the second layer there are; they come first.
    summaries: usize,
}

/// The numbers of the bits in a word.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let mut left = word;
    core::iter::from_fn(move || {
        let bit = left.trailing_zeros();
        left &= left.checked_sub(1)?;
        Some(bit as usize)
    })
}

impl<B: Deref<Target = [AtomicU64]>> DirtyBits<B> {
    const fn summaries_for(slots: usize) -> usize {
        slots.div_ceil(BITS * BITS)
    }

    /// How many words a set of so many slots needs.
    pub const fn words_for(slots: usize) -> usize {
        slots
            .div_ceil(BITS)
            .saturating_add(Self::summaries_for(slots))
    }

    /// An empty set for slots below `slots`.
    pub fn new(words: B, slots: usize) -> Self {
        Self {
            words,
            summaries: Self::summaries_for(slots),
        }
    }

    fn word(&self, number: usize) -> Option<&AtomicU64> {
        self.words.get(self.summaries.wrapping_add(number))
    }

    /// Adds a slot; ignored if it is out of range. Who takes it out sees all that was written before.
    #[inline]
    pub fn mark(&self, slot: usize) {
        let number = slot / BITS;
        let Some(word) = self.word(number) else {
            return;
        };
        // Always written, also if the bit is set: this is what orders the change before the look
        // that takes the bit out.
        word.fetch_or(1 << (slot % BITS), SeqCst);
        // Whoever marked another slot of the word may not have got here yet. In the one order that
        // these have, a bit that is still set here is taken out later, and the word after it.
        if let Some(summary) = self.words.get(number / BITS) {
            let bit = 1 << (number % BITS);
            if summary.load(SeqCst) & bit == 0 {
                summary.fetch_or(bit, SeqCst);
            }
        }
    }

    /// Takes all slots out, each once. One caller at a time.
    #[inline]
    pub fn drain(&self, mut changed: impl FnMut(usize)) {
        for (at, summary) in self.words.iter().take(self.summaries).enumerate() {
            if summary.load(Relaxed) == 0 {
                continue;
            }
            for bit in bits(summary.swap(0, SeqCst)) {
                let number = at.wrapping_mul(BITS).wrapping_add(bit);
                let Some(word) = self.word(number) else {
                    continue;
                };
                for bit in bits(word.swap(0, SeqCst)) {
                    changed(number.wrapping_mul(BITS).wrapping_add(bit));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
