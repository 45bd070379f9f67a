// SPDX-License-Identifier: GPL-2.0

//! Walks over the chains of a table, bucket by bucket.

use super::{
    buckets::{
        Buckets,
        Link, //
    },
    Chains,
    Node, //
};
use crate::{
    atomic::Acquire,
    rcu::{
        self,
        ReadLocked, //
    },
    sched::cond_resched, //
};

impl<N: Node> Chains<N> {
    /// Visits the entries of one bucket, with its chains locked if there are any, and returns the
    /// cursor of the next one, 0 after the last. A walk starts with 0. Entries that are there from
    /// the first call to the last are visited at least once, even if the table is resized in
    /// between.
    ///
    /// The cursor counts in the high bits first, so that the buckets visited so far stay visited
    /// when a table doubles or halves.
    pub(crate) fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        cursor: usize,
        mut visit: impl FnMut(&'rcu N),
    ) -> usize {
        let first = self.current(rcu);
        if Self::is_empty_place(first, cursor) {
            return Self::next_place(first, cursor);
        }
        let _lock = self.lock(cursor as u32);
        let first = self.current(rcu);
        let second = self.next(first, rcu);
        let (small, large) = match second {
            Some(second) if second.mask < first.mask => (second, Some(first)),
            second => (first, second),
        };
        let cursor = cursor & small.mask;
        self.visit_bucket(rcu, small, cursor, &mut visit);
        if let Some(large) = large {
            let step = small.mask.wrapping_add(1);
            let mut bucket = cursor;
            while bucket <= large.mask {
                self.visit_bucket(rcu, large, bucket, &mut visit);
                bucket = bucket.wrapping_add(step);
            }
        }
        Self::next_place(small, cursor)
    }

    /// Returns whether no entry is at a place. Needs no lock.
    fn is_empty_place(buckets: &Buckets, cursor: usize) -> bool {
        let head = buckets.head(cursor).load(Acquire);
        // In this order: who sees a bucket that was moved away sees where to.
        Link(head).is_end() && buckets.next.load(Acquire).is_null()
    }

    fn next_place(buckets: &Buckets, cursor: usize) -> usize {
        let place = cursor | !buckets.mask;
        place.reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// Counts the buckets by the lengths of their chains; the last number includes longer ones. If
    /// the table is resized meanwhile, some buckets are counted before and some after. May sleep.
    pub(crate) fn chain_lengths<const L: usize>(&self) -> [usize; L] {
        let mut counts = [0; L];
        let mut bucket = 0;
        loop {
            let length = rcu::read(|rcu| {
                let _lock = self.lock(bucket as u32);
                let first = self.current(rcu);
                let buckets = self.next(first, rcu).unwrap_or(first);
                (bucket <= buckets.mask)
                    .then(|| self.chain_length(rcu, buckets, bucket, L.saturating_sub(1)))
            });
            let Some(length) = length else {
                return counts;
            };
            if let Some(count) = counts.get_mut(length) {
                *count = usize::saturating_add(*count, 1);
            }
            bucket = usize::wrapping_add(bucket, 1);
            if bucket % 256 == 0 {
                cond_resched();
            }
        }
    }

    /// Returns the length of a chain, up to `most`. Under the lock of the bucket.
    fn chain_length(
        &self,
        rcu: ReadLocked<'_>,
        buckets: &Buckets,
        bucket: usize,
        most: usize,
    ) -> usize {
        let mut length = 0;
        let mut link = Link(buckets.head(bucket).load(Acquire));
        while !link.is_end() && length < most {
            length = usize::wrapping_add(length, 1);
            let node = self.node(link, rcu);
            link = Link(node.link(link.slot()).load(Acquire));
        }
        length
    }

    fn visit_bucket<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        buckets: &Buckets,
        bucket: usize,
        visit: &mut impl FnMut(&'rcu N),
    ) {
        let mut link = Link(buckets.head(bucket).load(Acquire));
        while !link.is_end() {
            let node = self.node(link, rcu);
            if link.slot() == 0 {
                visit(node);
            }
            link = Link(node.link(link.slot()).load(Acquire));
        }
    }
}
