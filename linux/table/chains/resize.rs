// SPDX-License-Identifier: GPL-2.0

//! Moves the chains of a table to another number of buckets, while readers go on.

use super::{
    buckets::{
        Buckets,
        Link, //
    },
    Chains,
    Node,
    LOCK_BITS, //
};
use crate::{
    atomic::{
        Acquire,
        Full,
        Relaxed,
        Release, //
    },
    rcu::{
        self,
        ReadLocked, //
    },
    sched::cond_resched,
    table::{
        Hashed,
        Sizing, //
    },
};
use core::ops::Range;
use kernel::prelude::*;

/// The most that a table grows or shrinks at once, as a power of two. Meanwhile [`Chains::scan`]
/// visits all buckets that one bucket is moved to or from, under a lock.
const STEP_BITS: u32 = 6;

/// Returns the least number for which `is` holds, as it does for each that is greater;
/// `usize::MAX` if there is none.
fn first(is: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0usize, usize::MAX);
    while low < high {
        let middle = low.midpoint(high);
        if is(middle) {
            high = middle;
        } else {
            low = middle.wrapping_add(1);
        }
    }
    low
}

/// Returns what [`Sizing::wanted`] does, but no fewer buckets than there are locks.
fn wanted(sizing: &Sizing, entries: usize, bits: Option<u32>, load_factor: i32) -> Option<u32> {
    let least = sizing.initial_bits.min(LOCK_BITS);
    Some((sizing.wanted)(entries, bits, load_factor)?.max(least))
}

/// Returns the numbers of entries for which 2^`bits` buckets are right.
pub(super) fn fitting(sizing: &Sizing, bits: u32, load_factor: i32) -> Range<usize> {
    let size = |entries| wanted(sizing, entries, Some(bits), load_factor).unwrap_or(bits);
    first(|entries| size(entries) >= bits)..first(|entries| size(entries) > bits)
}

impl<N: Node> Chains<N> {
    /// Returns whether the table should be resized, or, during a resize, the new generation. Reads
    /// a counter only.
    #[inline]
    pub(crate) fn unbalanced(&self, rcu: ReadLocked<'_>) -> bool {
        let current = self.current(rcu);
        let newest = self.next(current, rcu).unwrap_or(current);
        !newest.fits(self.count(), self.load_factor.load(Relaxed))
    }

    /// Sets the load factor that [`Sizing::wanted`] gets from now on.
    pub(crate) fn set_load_factor(&self, load_factor: i32) {
        self.load_factor.store(load_factor, Relaxed);
    }

    /// Returns the size that the load asks for, if it is not that of `buckets`.
    fn wanted_bits(&self, buckets: &Buckets, load_factor: i32) -> Option<u32> {
        let bits = buckets.bits();
        let same = buckets.load_factor() == load_factor;
        wanted(
            &self.sizing,
            self.count(),
            same.then_some(bits),
            load_factor,
        )
        .filter(|&wanted| wanted != bits)
    }

    /// Moves everything to a table of the size that the load asks for, if it's not of that size.
    /// Sleeps. Without memory, it stays as large as it is by then.
    pub(crate) fn resize(&self) -> Result {
        let _resizing = self.resizing.lock();
        // SAFETY: Nobody but `replace` replaces the generation, and the lock is held for it.
        let old = unsafe { &*self.buckets.load(Acquire) };
        let load_factor = self.load_factor.load(Relaxed);
        let Some(wanted) = self.wanted_bits(old, load_factor) else {
            old.set_load(load_factor, fitting(&self.sizing, old.bits(), load_factor));
            return Ok(());
        };
        let mut bits = old.bits();
        while bits != wanted {
            // Not `clamp()`, which may panic.
            bits = wanted
                .max(bits.saturating_sub(STEP_BITS))
                .min(bits.saturating_add(STEP_BITS));
            self.replace(bits, load_factor)?;
        }
        Ok(())
    }

    /// Moves everything to a table of that size. Under the lock for resizing.
    fn replace(&self, bits: u32, load_factor: i32) -> Result {
        // SAFETY: Nobody but this function replaces the generation, and its caller holds the lock.
        let old = unsafe { &*self.buckets.load(Acquire) };
        let generation = old.generation.wrapping_add(1);
        let fitting = fitting(&self.sizing, bits, load_factor);
        let new = KBox::into_raw(Buckets::new(bits, generation, load_factor, fitting)?);
        old.next.store(new, Release);
        // Who has not seen that has linked by then, so that what is empty stays so.
        self.locks.iter().for_each(|lock| drop(lock.lock()));
        for bucket in 0..=old.mask {
            if !Link(old.head(bucket).load(Acquire)).is_end() {
                // SAFETY: Published just now, and freed by the next resize at the earliest.
                self.move_bucket(old, unsafe { &*new }, bucket);
            }
            if bucket % 256 == 255 {
                cond_resched();
            }
        }
        let old = self.buckets.xchg(new, Full);
        rcu::synchronize();
        // SAFETY: The last readers that could see the old generation are gone.
        drop(unsafe { KBox::from_raw(old) });
        Ok(())
    }

    /// Returns the hash of a node in a bucket. If the node says a hash of another bucket by now,
    /// returns the number of this one, which is under the lock that is held.
    fn hash_in(&self, node: &N, slot: usize, buckets: &Buckets, bucket: usize) -> u32 {
        match node.value().hash(slot, &self.seed) {
            Some(hash) if buckets.bucket(hash) == bucket => hash,
            _ => bucket as u32,
        }
    }

    fn move_bucket(&self, old: &Buckets, new: &Buckets, bucket: usize) {
        let from = old.head(bucket);
        let _lock = self.lock(bucket as u32);
        rcu::read(|rcu| loop {
            let link = Link(from.load(Relaxed));
            if link.is_end() {
                break;
            }
            let node = self.node(link, rcu);
            let rest = node.link(link.slot()).load(Relaxed);
            let to = new.head(new.bucket(self.hash_in(node, link.slot(), old, bucket)));
            // In the new chain first: a reader finds it in one of the two at any time.
            node.link(link.slot()).store(to.load(Relaxed), Release);
            to.store(link.0, Release);
            from.store(rest, Release);
        });
    }
}
