// SPDX-License-Identifier: GPL-2.0

//! The chains of a table, and how they are moved when it is resized.

use super::{
    Hashed,
    Seed,
    Sizing, //
};
use crate::{
    atomic::{
        Acquire,
        Atomic,
        Full,
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
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    alloc::flags::*,
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

/// A link is the address of a node, with the slot in bit 1, or the mark of a chain's end, odd.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(usize);

impl Link {
    const END: usize = 1;
    const SLOT_SHIFT: u32 = 1;
    const ADDRESS: usize = !7;
    const GENERATION_BITS: u32 = 8;

    /// Returns the mark at the end of `bucket`. Generations distinguish a table from the one that
    /// replaces it.
    const fn end(bucket: usize, generation: u8) -> Self {
        Self((bucket << (Self::GENERATION_BITS + 1)) | ((generation as usize) << 1) | Self::END)
    }

    fn new<N: Node>(node: NonNull<N>, slot: usize) -> Self {
        Self(node.as_ptr() as usize | (slot << Self::SLOT_SHIFT))
    }

    #[inline]
    const fn is_end(self) -> bool {
        self.0 & Self::END != 0
    }

    #[inline]
    const fn slot(self) -> usize {
        (self.0 >> Self::SLOT_SHIFT) & 1
    }

    #[inline]
    const fn address(self) -> usize {
        self.0 & Self::ADDRESS
    }
}

/// The most that a table grows or shrinks at once, as a power of two. Meanwhile [`Chains::scan`]
/// visits all buckets that one bucket is moved to or from, under a lock.
const STEP_BITS: u32 = 6;

/// One generation of buckets.
struct Buckets {
    /// The generation that this one is being replaced by, or null.
    next: Atomic<*mut Buckets>,
    mask: usize,
    generation: u8,
    /// The load factor that it was sized by.
    load_factor: Atomic<i32>,
    /// `mask + 1` of them.
    heads: KVVec<Atomic<usize>>,
}

impl Buckets {
    fn new(bits: u32, generation: u8, load_factor: i32) -> Result<KBox<Self>> {
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
                heads,
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the size, as a power of two.
    #[inline]
    fn bits(&self) -> u32 {
        self.mask.wrapping_add(1).trailing_zeros()
    }

    #[inline]
    fn bucket(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }

    #[inline]
    fn head(&self, bucket: usize) -> &Atomic<usize> {
        // SAFETY: Callers mask `bucket`, and there are `mask + 1` heads.
        unsafe { self.heads.get_unchecked(bucket & self.mask) }
    }

    #[inline]
    fn end(&self, bucket: usize) -> Link {
        Link::end(bucket, self.generation)
    }
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
            let buckets = Buckets::new(sizing.initial_bits, 0, 0)?;
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

    /// Returns whether the table should be resized, or, during a resize, the new generation. Reads
    /// a counter only.
    #[inline]
    pub(crate) fn unbalanced(&self, rcu: ReadLocked<'_>) -> bool {
        let current = self.current(rcu);
        let newest = self.next(current, rcu).unwrap_or(current);
        self.wanted_bits(newest, self.load_factor.load(Relaxed))
            .is_some()
    }

    /// Sets the load factor that [`Sizing::wanted`] gets from now on.
    pub(crate) fn set_load_factor(&self, load_factor: i32) {
        self.load_factor.store(load_factor, Relaxed);
    }

    /// Returns the size that the load asks for, if it is not that of `buckets`.
    #[inline]
    fn wanted_bits(&self, buckets: &Buckets, load_factor: i32) -> Option<u32> {
        let bits = buckets.bits();
        let same = buckets.load_factor.load(Relaxed) == load_factor;
        let wanted = (self.sizing.wanted)(self.count(), same.then_some(bits), load_factor)?;
        let wanted = wanted.max(self.lock_mask.trailing_ones());
        (wanted != bits).then_some(wanted)
    }

    /// Moves everything to a table of the size that the load asks for, if it's not of that size.
    /// Sleeps. Without memory, it stays as large as it is by then.
    pub(crate) fn resize(&self) -> Result {
        let _resizing = self.resizing.lock();
        // SAFETY: Nobody but `replace` replaces the generation, and the lock is held for it.
        let old = unsafe { &*self.buckets.load(Acquire) };
        let load_factor = self.load_factor.load(Relaxed);
        let Some(wanted) = self.wanted_bits(old, load_factor) else {
            old.load_factor.store(load_factor, Relaxed);
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
        let new = KBox::into_raw(Buckets::new(bits, generation, load_factor)?);
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

#[pinned_drop]
impl<N: Node> PinnedDrop for Chains<N> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; no resize and no reader is left.
        drop(unsafe { KBox::from_raw(self.buckets.load(Relaxed)) });
    }
}
