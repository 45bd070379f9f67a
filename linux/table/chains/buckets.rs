// SPDX-License-Identifier: GPL-2.0

//! The buckets of a table, and what leads from one entry of a chain to the next.

use super::Node;
use crate::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    sched::cond_resched, //
};
use core::{
    ops::Range,
    ptr::NonNull, //
};
use kernel::{
    alloc::flags::*,
    prelude::*, //
};

/// A link is the address of a node, with the slot in bit 1, or the mark of a chain's end, odd.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) usize);

impl Link {
    const END: usize = 1;
    const SLOT_SHIFT: u32 = 1;
    const ADDRESS: usize = !7;
    const GENERATION_BITS: u32 = 8;

    /// Returns the mark at the end of `bucket`. Generations distinguish a table from the one that
    /// replaces it.
    pub(super) const fn end(bucket: usize, generation: u8) -> Self {
        Self((bucket << (Self::GENERATION_BITS + 1)) | ((generation as usize) << 1) | Self::END)
    }

    pub(super) fn new<N: Node>(node: NonNull<N>, slot: usize) -> Self {
        Self(node.as_ptr() as usize | (slot << Self::SLOT_SHIFT))
    }

    #[inline]
    pub(super) const fn is_end(self) -> bool {
        self.0 & Self::END != 0
    }

    #[inline]
    pub(super) const fn slot(self) -> usize {
        (self.0 >> Self::SLOT_SHIFT) & 1
    }

    #[inline]
    pub(super) const fn address(self) -> usize {
        self.0 & Self::ADDRESS
    }
}

/// One generation of buckets.
pub(super) struct Buckets {
    /// The generation that this one is being replaced by, or null.
    pub(super) next: Atomic<*mut Buckets>,
    pub(super) mask: usize,
    pub(super) generation: u8,
    /// The load factor that it was sized by, and the numbers of entries that it is right for then.
    load_factor: Atomic<i32>,
    fewest: Atomic<usize>,
    too_many: Atomic<usize>,
    /// `mask + 1` of them.
    heads: KVVec<Atomic<usize>>,
}

impl Buckets {
    /// Makes 2^`bits` empty buckets, which are right for `fitting` numbers of entries with that load
    /// factor.
    pub(super) fn new(
        bits: u32,
        generation: u8,
        load_factor: i32,
        fitting: Range<usize>,
    ) -> Result<KBox<Self>> {
        let size = 1usize.checked_shl(bits).ok_or(EINVAL)?;
        let mut heads = KVVec::with_capacity(size, GFP_KERNEL | __GFP_NOWARN)?;
        for bucket in 0..size {
            heads.push_within_capacity(Atomic::new(Link::end(bucket, generation).0))?;
            if bucket % 4096 == 4095 {
                cond_resched();
            }
        }
        Ok(KBox::new(
            Self {
                next: Atomic::new(core::ptr::null_mut()),
                mask: size - 1,
                generation,
                load_factor: Atomic::new(load_factor),
                fewest: Atomic::new(fitting.start),
                too_many: Atomic::new(fitting.end),
                heads,
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the size, as a power of two.
    #[inline]
    pub(super) fn bits(&self) -> u32 {
        self.mask.wrapping_add(1).trailing_zeros()
    }

    /// Sets the load factor, and the numbers of entries that this size is right for then.
    pub(super) fn set_load(&self, load_factor: i32, fitting: Range<usize>) {
        self.fewest.store(fitting.start, Relaxed);
        self.too_many.store(fitting.end, Relaxed);
        // Whoever sees the load factor sees its numbers.
        self.load_factor.store(load_factor, Release);
    }

    /// Returns the load factor that it was sized by.
    pub(super) fn load_factor(&self) -> i32 {
        self.load_factor.load(Relaxed)
    }

    /// Returns whether this size is right for `count` entries with that load factor.
    #[inline]
    pub(super) fn fits(&self, count: usize, load_factor: i32) -> bool {
        self.load_factor.load(Acquire) == load_factor
            && count >= self.fewest.load(Relaxed)
            && count < self.too_many.load(Relaxed)
    }

    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }

    #[inline]
    pub(super) fn head(&self, bucket: usize) -> &Atomic<usize> {
        // SAFETY: Callers mask `bucket`, and there are `mask + 1` heads.
        unsafe { self.heads.get_unchecked(bucket & self.mask) }
    }

    #[inline]
    pub(super) fn end(&self, bucket: usize) -> Link {
        Link::end(bucket, self.generation)
    }
}
