// SPDX-License-Identifier: GPL-2.0

//! The chains of a table: entries are found in them, put in and taken out.

mod buckets;
mod resize;
mod scan;

use super::{
    Hashed,
    Seed,
    Sizing, //
};
use crate::{
    atomic::{
        Acquire,
        Atomic,
        InlineAtomic,
        Relaxed,
        Release, //
    },
    new_spinlock_bh,
    rcu::{
        self,
        ReadLocked, //
    },
    sched::cond_resched,
    spinlock::{
        SpinLockBh,
        SpinLockBhGuard, //
    },
};
use buckets::{
    Buckets,
    Link, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// Memory that can be chained.
///
/// # Safety
///
/// `link(slot)` must be a distinct word for each of the slots 0 and 1 that nothing but this module
/// writes. The alignment must be eight or more.
pub(crate) unsafe trait Node: Sized + 'static {
    type Value: Hashed;

    fn link(&self, slot: usize) -> &Atomic<usize>;
    fn value(&self) -> &Self::Value;
}

/// The number of locks that a table spreads its chains over at most, as a power of two. Few in
/// models, which could not be explored otherwise.
const LOCK_BITS: u32 = if cfg!(loom) { 1 } else { 6 };
const LOCKS: usize = 1 << LOCK_BITS;

/// The chains, without ownership of what they hold.
///
/// # Invariants
///
/// `buckets` is valid; a generation that it pointed to before stays valid for a grace period. Every
/// node in a chain is valid, and stays so for a grace period after it was unlinked. A node is in the
/// chain of the hash that it had when it was linked, whatever hash it has later.
#[pin_data(PinnedDrop)]
pub(crate) struct Chains<N: Node> {
    buckets: Atomic<*mut Buckets>,
    /// Entries in their first chain.
    count: InlineAtomic<usize>,
    seed: Seed,
    sizing: Sizing,
    load_factor: Atomic<i32>,
    /// The bits of a hash that choose the lock: no generation has fewer buckets than these tell apart.
    lock_mask: usize,
    #[pin]
    locks: [SpinLockBh<()>; LOCKS],
    /// Held during a resize.
    #[pin]
    resizing: Mutex<()>,
    _nodes: PhantomData<*mut N>,
}

// SAFETY: Chains are changed under their lock and read under RCU; values are `Send + Sync`.
unsafe impl<N: Node> Send for Chains<N> {}
// SAFETY: As above.
unsafe impl<N: Node> Sync for Chains<N> {}

impl<N: Node> Chains<N> {
    pub(crate) fn new(sizing: Sizing) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let bits = sizing.initial_bits;
            let buckets = Buckets::new(bits, 0, 0, resize::fitting(&sizing, bits, 0))?;
            let mut random = [0u8; 16];
            crate::random::fill(&mut random);
            let seed = u128::from_ne_bytes(random);
            let lock_mask = buckets.mask & (LOCKS - 1);
            Ok(try_pin_init!(Self {
                // INVARIANT: Just allocated.
                buckets: Atomic::new(KBox::into_raw(buckets)),
                count: InlineAtomic::new(0),
                seed: [seed as u64, (seed >> 64) as u64],
                sizing,
                load_factor: Atomic::new(0),
                lock_mask,
                locks <- pin_init::pin_init_array_from_fn(|_| new_spinlock_bh!((), "table")),
                resizing <- new_mutex!((), "table_resize"),
                _nodes: PhantomData,
            }? Error))
        })
    }

    #[inline]
    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Returns the number of entries.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Returns the number of buckets.
    pub(crate) fn size(&self) -> usize {
        rcu::read(|rcu| self.current(rcu).mask.wrapping_add(1))
    }

    #[inline]
    fn current<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> &'rcu Buckets {
        // SAFETY: By the type invariant, for as long as `'rcu`.
        unsafe { &*self.buckets.load(Acquire) }
    }

    #[inline]
    fn next<'rcu>(&self, buckets: &'rcu Buckets, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Buckets> {
        // SAFETY: Null, or a generation that a later one has replaced no earlier than `buckets`.
        unsafe { buckets.next.load(Acquire).as_ref() }
    }

    /// Returns the node that `link`, which is not an end, leads to.
    #[inline]
    fn node<'rcu>(&self, link: Link, _rcu: ReadLocked<'rcu>) -> &'rcu N {
        // SAFETY: A link in a chain is the address of a node, which is valid by the type invariant.
        unsafe { &*(link.address() as *const N) }
    }

    /// Calls `visit` with the entries that may have this hash, newest first, until it returns an
    /// answer; returns that. `visit` may get an entry twice, and entries that only share the
    /// bucket.
    #[inline]
    pub(crate) fn find<'rcu, R>(
        &self,
        rcu: ReadLocked<'rcu>,
        hash: u32,
        mut visit: impl FnMut(&'rcu N, usize) -> Option<R>,
    ) -> Option<R> {
        let mut buckets = self.current(rcu);
        loop {
            let bucket = buckets.bucket(hash);
            let head = buckets.head(bucket);
            loop {
                let mut link = Link(head.load(Acquire));
                while !link.is_end() {
                    let node = self.node(link, rcu);
                    if let Some(answer) = visit(node, link.slot()) {
                        return Some(answer);
                    }
                    link = Link(node.link(link.slot()).load(Acquire));
                }
                if link == buckets.end(bucket) {
                    break;
                }
                // Led away by a move, whose store to the head is to be seen next.
                core::hint::spin_loop();
            }
            buckets = self.next(buckets, rcu)?;
        }
    }

    #[inline]
    fn lock(&self, hash: u32) -> SpinLockBhGuard<'_, ()> {
        // `LOCKS` is a power of two, so that the index is in range.
        self.locks[hash as usize & self.lock_mask & (LOCKS - 1)].lock()
    }

    /// Adds `node` to the chain of `slot`. Returns an entry that `same` accepts as its equal, if
    /// there is one, and adds nothing then.
    ///
    /// # Safety
    ///
    /// `node` must be valid, and stay so until a grace period after it was unlinked; it must not be
    /// in a chain of that slot yet.
    pub(crate) unsafe fn link<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        node: NonNull<N>,
        slot: usize,
        hash: u32,
        same: impl Fn(&N, usize) -> bool,
    ) -> Result<(), &'rcu N> {
        let _lock = self.lock(hash);
        if let Some(other) = self.find(rcu, hash, |n, s| same(n, s).then_some(n)) {
            return Err(other);
        }
        let mut newest = self.current(rcu);
        while let Some(next) = self.next(newest, rcu) {
            newest = next;
        }
        let head = newest.head(newest.bucket(hash));
        // SAFETY: By the safety requirement.
        let link = unsafe { node.as_ref() }.link(slot);
        link.store(head.load(Relaxed), Relaxed);
        head.store(Link::new(node, slot).0, Release);
        if slot == 0 {
            self.count.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Takes `node` out of the chain of `slot`; returns whether it was there. If several contexts
    /// try, one succeeds. A node whose hash has changed since it was linked is not found, and
    /// stays.
    pub(crate) fn unlink(&self, rcu: ReadLocked<'_>, node: &N, slot: usize) -> bool {
        let Some(hash) = node.value().hash(slot, &self.seed) else {
            return false;
        };
        let wanted = Link::new(NonNull::from(node), slot);
        let _lock = self.lock(hash);
        let mut buckets = Some(self.current(rcu));
        while let Some(table) = buckets {
            let mut from = table.head(table.bucket(hash));
            loop {
                let link = Link(from.load(Relaxed));
                if link == wanted {
                    from.store(node.link(slot).load(Relaxed), Release);
                    if slot == 0 {
                        self.count.fetch_sub(1, Relaxed);
                    }
                    return true;
                }
                if link.is_end() {
                    break;
                }
                from = self.node(link, rcu).link(link.slot());
            }
            buckets = self.next(table, rcu);
        }
        false
    }

    /// Takes all entries out of their first chain, as [`Self::unlink`] does, and calls `removed`
    /// with each; it may sleep, but must not resize. Entries that are linked meanwhile may stay.
    /// Sleeps.
    pub(crate) fn clear(&self, mut removed: impl FnMut(NonNull<N>)) {
        let _resizing = self.resizing.lock();
        // SAFETY: Nobody but `resize` replaces the generation, and it waits for the lock.
        let buckets = unsafe { &*self.buckets.load(Acquire) };
        for bucket in 0..=buckets.mask {
            while !Link(buckets.head(bucket).load(Acquire)).is_end() {
                let Some(node) = rcu::read(|rcu| self.pop(rcu, buckets, bucket)) else {
                    break;
                };
                removed(node);
                cond_resched();
            }
            if bucket % 256 == 255 {
                cond_resched();
            }
        }
    }

    /// Takes an entry of a bucket out of its first chain, if there is one. Not during a resize.
    fn pop(&self, rcu: ReadLocked<'_>, buckets: &Buckets, bucket: usize) -> Option<NonNull<N>> {
        let mut from = buckets.head(bucket);
        let _lock = self.lock(bucket as u32);
        loop {
            let link = Link(from.load(Relaxed));
            if link.is_end() {
                return None;
            }
            let node = self.node(link, rcu);
            let next = node.link(link.slot());
            if link.slot() == 0 {
                from.store(next.load(Relaxed), Release);
                self.count.fetch_sub(1, Relaxed);
                return Some(NonNull::from(node));
            }
            from = next;
        }
    }
}

#[pinned_drop]
impl<N: Node> PinnedDrop for Chains<N> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; no resize and no reader is left.
        drop(unsafe { KBox::from_raw(self.buckets.load(Relaxed)) });
    }
}
