// SPDX-License-Identifier: GPL-2.0

//! Tables of objects that end by themselves when their time is up.
//!
//! An object lives in three steps: [`New`], where its maker alone has it; published, where readers
//! find it under RCU and nobody holds a count; retired, where it has left the table and waits for
//! the readers that still see it. Its deadline is a field of its own, which is cheap to move: the
//! timer looks at it when it fires, and waits on.
//!
//! An object is retired by its timer, or by [`Table::clear`] in process context, which waits for
//! the timer. So nobody touches the timer of an object that has been retired.
//!
//! Others may keep the memory of an object beyond that, if its type allows it: see [`EntryRef`].

use crate::{
    atomic::{
        Atomic,
        InlineAtomic,
        Refcount,
        Relaxed, //
    },
    bindings, jiffies,
    rcu::{
        self,
        ReadLocked,
        Shared, //
    },
    sched::cond_resched,
    slab,
    table::{
        Chains,
        Hashed,
        Node,
        Seed,
        Sizing, //
    },
};
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// An object with a deadline.
pub trait Entry: Hashed {
    /// Who keeps its memory: the table alone (`()`), or each [`EntryRef`] too ([`RefCounted`]).
    type Holds: Holds;

    /// The tick (see [`jiffies`]) at which the object ends. It may move at any time; if it moves
    /// to an earlier one, [`Expiring::mod_earlier`] has to be told.
    fn deadline(&self) -> usize;

    /// Whether the object may end now that its deadline has passed. If not, it has set itself a
    /// later one. Softirq context.
    fn may_end(&self) -> bool;

    /// Tells the object that it has left the table. Called once, before its readers are gone.
    /// Softirq context, or process context in [`Table::clear`].
    fn retired(&self);
}

mod sealed {
    pub trait Sealed {}
}

/// How it is known when nobody keeps the memory of an object any more.
///
/// # Safety
///
/// `put` must return `true` exactly once: for as many calls as there were of `get`, and one.
pub unsafe trait Holds: sealed::Sealed + Send + Sync + 'static {
    /// Kept by one.
    #[doc(hidden)]
    fn new() -> Self;

    /// One keeps it less; whether that was the last.
    #[doc(hidden)]
    fn put(&self) -> bool;
}

impl sealed::Sealed for () {}

// SAFETY: The table puts once, and there is no `get`.
unsafe impl Holds for () {
    #[inline]
    fn new() -> Self {}

    #[inline]
    fn put(&self) -> bool {
        true
    }
}

/// A count of those who keep the memory of an object.
pub struct RefCounted(Refcount);

impl RefCounted {
    /// One keeps it more. Somebody does already.
    fn get(&self) {
        self.0.inc();
    }
}

impl sealed::Sealed for RefCounted {}

// SAFETY: The count gets to 0 once, after as many calls. If it saturates it never does, and the memory
// is never freed.
unsafe impl Holds for RefCounted {
    fn new() -> Self {
        Self(Refcount::new(1))
    }

    fn put(&self) -> bool {
        self.0.dec_and_test()
    }
}

/// The memory of an [`Entry`].
#[repr(C)]
pub struct Expiring<T: Entry> {
    links: [Atomic<usize>; 2],
    // Right behind the links: what a lookup compares is in the first cache line.
    value: T,
    holds: T::Holds,
    table: NonNull<Table<T>>,
    timer: Opaque<bindings::timer_list>,
    rcu: Opaque<bindings::callback_head>,
}

// SAFETY: Two slots, two words.
unsafe impl<T: Entry> Node for Expiring<T> {
    type Value = T;

    #[inline]
    fn link(&self, slot: usize) -> &Atomic<usize> {
        // Links carry one bit for the slot, so that the index is in range.
        &self.links[slot & 1]
    }

    #[inline]
    fn value(&self) -> &T {
        &self.value
    }
}

impl<T: Entry> Deref for Expiring<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Entry> Expiring<T> {
    /// To be called after the deadline of a published object was moved to an earlier tick.
    pub fn mod_earlier(&self) {
        // SAFETY: The timer was set up before the object was published. Whoever can call this sees
        // the object, so that its memory is valid, and a retired one's timer ignores the call.
        unsafe { bindings::mod_timer_pending(self.timer.get(), self.value.deadline()) };
    }

    /// Arms the timer for the deadline. Without effect if it has been shut down.
    ///
    /// # Safety
    ///
    /// The timer must be set up.
    unsafe fn arm(&self) {
        loop {
            let deadline = self.value.deadline();
            // SAFETY: By the safety requirement.
            unsafe { bindings::mod_timer(self.timer.get(), deadline) };
            // `mod_earlier` passes over a timer that is not pending, as this one was until now.
            if self.value.deadline() == deadline {
                return;
            }
        }
    }

    /// Takes the object out of its chains; if it was there, it is this caller's to retire.
    fn unlink(&self, rcu: ReadLocked<'_>) -> Option<Unlinked> {
        // SAFETY: The table outlives its objects.
        let table = unsafe { self.table.as_ref() };
        if !table.chains.unlink(rcu, self, 0) {
            return None;
        }
        table.quota.give_back();
        Some(Unlinked {
            wholly: self.leave_second(rcu, &table.chains),
        })
    }

    /// Takes the object out of its second chain; whether it is not there any more.
    fn leave_second(&self, rcu: ReadLocked<'_>, chains: &Chains<Self>) -> bool {
        // A link is never 0 once it was used.
        self.links[1].load(Relaxed) == 0 || chains.unlink(rcu, self, 1)
    }

    /// Hands the memory over to be freed when the last reader is gone.
    ///
    /// # Safety
    ///
    /// `unlinked` must be of this object, and the timer must not fire any more.
    unsafe fn retire(&self, unlinked: Unlinked) {
        self.value.retired();
        // If its hash has changed, a chain still leads to it: it is never freed then.
        if unlinked.wholly {
            // SAFETY: The object was published, so it came from the slab; nobody else retires it.
            unsafe { bindings::call_rcu(self.rcu.get(), Some(free_after_readers::<T>)) };
        }
    }
}

/// An object that was taken out of its first chain by the one who has this.
struct Unlinked {
    /// And out of the second one, if it was in it.
    wholly: bool,
}

/// Gives up an object for its table after its last reader.
///
/// # Safety
///
/// `rcu` must be that field of a retired [`Expiring<T>`].
unsafe extern "C" fn free_after_readers<T: Entry>(rcu: *mut bindings::callback_head) {
    let offset = core::mem::offset_of!(Expiring<T>, rcu);
    // SAFETY: By the safety requirement; a field's object is not at null.
    let entry = unsafe { NonNull::new_unchecked(rcu.byte_sub(offset).cast::<Expiring<T>>()) };
    // SAFETY: No reader is left that came by the table, which kept it until now.
    unsafe { put(entry) };
}

/// One keeps an object less; the last one drops and frees it.
///
/// # Safety
///
/// The caller must keep it, and not use it again.
unsafe fn put<T: Entry>(entry: NonNull<Expiring<T>>) {
    // SAFETY: By the safety requirement it is still there.
    if !unsafe { entry.as_ref() }.holds.put() {
        return;
    }
    // SAFETY: Nobody keeps it and no reader is left, so that the memory is ours alone.
    unsafe {
        core::ptr::drop_in_place(&raw mut (*entry.as_ptr()).value);
        slab::free(entry);
    }
}

/// Keeps the memory of an object, which may have been retired meanwhile.
///
/// Whoever is last frees it: the destructor of `T` must not sleep. All have to be gone before
/// [`slab::Cache`], where it came from, is dropped, or be on their way by RCU callbacks.
///
/// # Invariants
///
/// The object is valid, and this is counted as one that keeps it.
pub struct EntryRef<T: Entry<Holds = RefCounted>> {
    entry: NonNull<Expiring<T>>,
}

// SAFETY: It gives out only `&Expiring<T>`, and may drop `T`, which is `Send + Sync`, on another CPU.
unsafe impl<T: Entry<Holds = RefCounted>> Send for EntryRef<T> {}
// SAFETY: As above.
unsafe impl<T: Entry<Holds = RefCounted>> Sync for EntryRef<T> {}

impl<T: Entry<Holds = RefCounted>> EntryRef<T> {
    /// Keeps a published object. Any context.
    pub fn new(entry: &Expiring<T>) -> Self {
        // Whoever sees it does so while its table keeps it, or another holder.
        entry.holds.get();
        // INVARIANT: Just counted.
        Self {
            entry: NonNull::from(entry),
        }
    }
}

impl<T: Entry<Holds = RefCounted>> Deref for EntryRef<T> {
    type Target = Expiring<T>;

    #[inline]
    fn deref(&self) -> &Expiring<T> {
        // SAFETY: By the type invariant.
        unsafe { self.entry.as_ref() }
    }
}

impl<T: Entry<Holds = RefCounted>> Drop for EntryRef<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { put(self.entry) };
    }
}

/// What the timer of an object does.
///
/// # Safety
///
/// `timer` must be that field of a published [`Expiring<T>`]; softirq context, which RCU waits for.
unsafe extern "C" fn fired<T: Entry>(timer: *mut bindings::timer_list) {
    let offset = core::mem::offset_of!(Expiring<T>, timer);
    // SAFETY: By the safety requirement. An object whose timer runs has not been freed: `clear`
    // waits for the timer, and nobody else but the timer retires.
    let entry = unsafe { &*timer.byte_sub(offset).cast::<Expiring<T>>() };
    // SAFETY: Softirqs are read-side critical sections.
    let rcu = unsafe { ReadLocked::assume() };

    if !jiffies::after(entry.deadline(), jiffies::now()) && entry.may_end() {
        if let Some(unlinked) = entry.unlink(rcu) {
            // SAFETY: Unlinked just above; shut down, the timer is never armed again.
            unsafe {
                bindings::timer_shutdown(timer);
                entry.retire(unlinked);
            }
        }
        return;
    }
    // SAFETY: It has just fired.
    unsafe { entry.arm() };
}

/// An object that only its maker has so far.
pub struct New<'a, T: Entry> {
    entry: NonNull<Expiring<T>>,
    // Keeps the table.
    _table: core::marker::PhantomData<&'a TableRef<T>>,
}

impl<T: Entry> Deref for New<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Initialised in `Table::alloc`, and ours.
        unsafe { &self.entry.as_ref().value }
    }
}

impl<T: Entry> Drop for New<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The table outlives its objects.
        unsafe { self.entry.as_ref().table.as_ref() }
            .quota
            .give_back();
        // SAFETY: Never published, so that nobody else has seen it.
        unsafe {
            core::ptr::drop_in_place(&raw mut (*self.entry.as_ptr()).value);
            slab::free(self.entry);
        }
    }
}

impl<T: Entry> New<'_, T> {
    /// Puts the object into its table and starts its time, unless `same` says that a published one
    /// is its equal: that one is the answer then, and the new object is dropped.
    pub fn publish<'rcu>(
        self,
        rcu: ReadLocked<'rcu>,
        same: impl Fn(&T) -> bool,
    ) -> Result<&'rcu Expiring<T>, &'rcu Expiring<T>> {
        self.publish_at(rcu, None, same)
    }

    /// Does the same as [`Self::publish`] for a caller who knows the hash of the first chain. With a
    /// wrong one, the object never leaves the table.
    pub fn publish_hashed<'rcu>(
        self,
        rcu: ReadLocked<'rcu>,
        hash: u32,
        same: impl Fn(&T) -> bool,
    ) -> Result<&'rcu Expiring<T>, &'rcu Expiring<T>> {
        self.publish_at(rcu, Some(hash), same)
    }

    #[inline]
    fn publish_at<'rcu>(
        self,
        rcu: ReadLocked<'rcu>,
        hash: Option<u32>,
        same: impl Fn(&T) -> bool,
    ) -> Result<&'rcu Expiring<T>, &'rcu Expiring<T>> {
        let entry_ptr = ManuallyDrop::new(self).entry;
        // SAFETY: Initialised in `Table::alloc`; once readers can see it, RCU keeps it for `'rcu`.
        let entry: &'rcu Expiring<T> = unsafe { entry_ptr.as_ref() };
        // SAFETY: The table outlives its objects.
        let Table { chains, quota, .. } = unsafe { entry.table.as_ref() };
        // SAFETY: The timer belongs to this object, and nobody uses it yet.
        unsafe { bindings::linux_timer_setup(entry.timer.get(), Some(fired::<T>)) };

        // The first slot comes last: whoever unlinks it finds the other one in place.
        if let Some(hash) = entry.value.hash(1, chains.seed()) {
            // SAFETY: The object stays valid until a grace period after it was unlinked.
            let _ = unsafe { chains.link(rcu, entry_ptr, 1, hash, |_, _| false) };
        }
        if let Some(hash) = hash.or_else(|| entry.value.hash(0, chains.seed())) {
            debug_assert_eq!(entry.value.hash(0, chains.seed()), Some(hash));
            // SAFETY: As above.
            let linked = unsafe {
                chains.link(rcu, entry_ptr, 0, hash, |other, slot| {
                    slot == 0 && same(&other.value)
                })
            };
            if let Err(other) = linked {
                quota.give_back();
                if entry.leave_second(rcu, chains) {
                    // SAFETY: In no chain any more, and its timer was never armed; readers may have
                    // seen it in the other one.
                    unsafe { bindings::call_rcu(entry.rcu.get(), Some(free_after_readers::<T>)) };
                }
                return Err(other);
            }
        }
        // SAFETY: Set up above; without effect if `clear` has retired the object meanwhile.
        unsafe { entry.arm() };
        Ok(entry)
    }
}

/// Why there is no new object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as there may be.
    Full,
    /// There is no memory.
    NoMemory,
}

/// Counts the objects of several tables, so that there are never more than there may be.
///
/// An object counts from [`Table::alloc`] on, until it has left its table.
pub struct Quota(InlineAtomic<usize>);

impl Quota {
    /// Without any objects.
    pub const fn new() -> Self {
        Self(InlineAtomic::new(0))
    }

    /// How many objects there are.
    #[inline]
    pub fn taken(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn take(&self, most: usize) -> bool {
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

    fn give_back(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::new()
    }
}

/// A table of objects that end when their time is up; its memory is kept by [`TableRef`]s.
#[pin_data]
pub struct Table<T: Entry> {
    #[pin]
    chains: Chains<Expiring<T>>,
    quota: Arc<Quota>,
    /// How many [`TableRef`]s there are.
    refs: Refcount,
}

/// A counted reference to a [`Table`]. The last one to go retires all objects that are left, in
/// process context: it may not be dropped elsewhere. The memory of the table goes a grace period
/// later: a timer that has just unlinked its object still uses the chains.
///
/// # Invariants
///
/// RefCounted in `refs` of the table.
pub struct TableRef<T: Entry> {
    table: Shared<Table<T>>,
    // Not in the table, whose fields are dropped in softirq context.
    cache: Arc<slab::Cache<Expiring<T>>>,
}

impl<T: Entry> TableRef<T> {
    /// An empty table whose objects come from `cache`, and count in `quota`. May sleep.
    pub fn new(
        sizing: Sizing,
        cache: Arc<slab::Cache<Expiring<T>>>,
        quota: Arc<Quota>,
    ) -> Result<Self> {
        let table = try_pin_init!(Table {
            chains <- Chains::new(sizing),
            quota,
            refs: Refcount::new(1),
        }? Error);
        // INVARIANT: The count is 1.
        Ok(Self {
            table: Shared::pin_init(table, GFP_KERNEL)?,
            cache,
        })
    }

    /// Creates what [`Table::alloc`] takes memory from, unless it was created before. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn prepare(&self) -> Result {
        self.cache.prepare()
    }
}

impl<T: Entry> Deref for TableRef<T> {
    type Target = Table<T>;

    #[inline]
    fn deref(&self) -> &Table<T> {
        &self.table
    }
}

impl<T: Entry> Clone for TableRef<T> {
    fn clone(&self) -> Self {
        self.refs.inc();
        // INVARIANT: Just counted.
        Self {
            table: self.table.clone(),
            cache: self.cache.clone(),
        }
    }
}

impl<T: Entry> Drop for TableRef<T> {
    fn drop(&mut self) {
        if !self.refs.dec_and_test() {
            return;
        }
        // Nobody publishes any more: who has a new object has a reference too.
        while self.count() != 0 {
            self.clear();
            // A timer that has unlinked the last object may be about to count it out.
            core::hint::spin_loop();
        }
    }
}

impl<T: Entry> Table<T> {
    /// The secret to hash a key with that is looked for.
    #[inline]
    pub fn seed(&self) -> &Seed {
        self.chains.seed()
    }

    /// How many objects there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.chains.count()
    }

    /// How many buckets there are.
    pub fn size(&self) -> usize {
        self.chains.size()
    }

    /// A new object of `table` that nobody sees yet; unless there is no memory, or there are `most` in
    /// the quota. Any context, after [`TableRef::prepare`].
    pub fn alloc(table: &TableRef<T>, value: T, most: usize) -> Result<New<'_, T>, Refused> {
        if !table.quota.take(most) {
            return Err(Refused::Full);
        }
        let Some(memory) = table.cache.alloc() else {
            table.quota.give_back();
            return Err(Refused::NoMemory);
        };
        let entry = memory.cast::<Expiring<T>>();
        let new = Expiring {
            links: [const { Atomic::new(0) }; 2],
            value,
            holds: T::Holds::new(),
            table: NonNull::from(&**table),
            timer: Opaque::uninit(),
            rcu: Opaque::uninit(),
        };
        // SAFETY: The cache gives memory of this layout, and it is ours.
        unsafe { entry.write(new) };
        Ok(New {
            entry,
            _table: core::marker::PhantomData,
        })
    }

    /// The first answer of `visit`, which gets the chain's slot too, for the objects that may have
    /// this hash, newest first. It may see an object twice, and others that only share the bucket.
    #[inline]
    pub fn find<'rcu, R>(
        &self,
        rcu: ReadLocked<'rcu>,
        hash: u32,
        visit: impl FnMut(&'rcu Expiring<T>, usize) -> Option<R>,
    ) -> Option<R> {
        self.chains.find(rcu, hash, visit)
    }

    /// Visits the objects of one bucket, with bottom halves disabled, and says where to go on: 0
    /// after the last. Start with 0. Objects that are there from the first call to the last are
    /// visited at least once, whatever is resized in between. `visit` must not change the table.
    pub fn scan<'rcu>(
        &self,
        rcu: ReadLocked<'rcu>,
        cursor: usize,
        visit: impl FnMut(&'rcu Expiring<T>),
    ) -> usize {
        self.chains.scan(rcu, cursor, visit)
    }

    /// Retires all objects. Process context; objects published meanwhile may stay.
    pub fn clear(&self) {
        const BATCH: usize = 16;
        // Most buckets have one object or none.
        const BUCKETS: usize = 64;
        let mut cursor = 0;
        let mut ended = false;
        while !ended {
            rcu::read(|rcu| {
                let mut batch = [const { None::<&Expiring<T>> }; BATCH];
                let mut found = 0;
                for _ in 0..BUCKETS {
                    let next = self.chains.scan(rcu, cursor, |entry| {
                        if let Some(place) = batch.get_mut(found) {
                            *place = Some(entry);
                        }
                        found = found.saturating_add(1);
                    });
                    // The same bucket again, for those that there was no room for.
                    if found > BATCH {
                        break;
                    }
                    cursor = next;
                    ended = next == 0;
                    if ended {
                        break;
                    }
                }
                for entry in batch.into_iter().flatten() {
                    if let Some(unlinked) = entry.unlink(rcu) {
                        // SAFETY: Unlinked just above. The timer is waited for; it waits for nothing
                        // that is held here.
                        unsafe {
                            bindings::timer_shutdown_sync(entry.timer.get());
                            entry.retire(unlinked);
                        }
                    }
                }
            });
            cond_resched();
        }
    }

    /// Whether [`Table::resize`] has something to do: a look at a counter.
    #[inline]
    pub fn unbalanced(&self, rcu: ReadLocked<'_>) -> bool {
        self.chains.unbalanced(rcu)
    }

    /// How many buckets have chains of each length; the last number stands for longer ones too. May
    /// sleep. What is resized meanwhile is counted as it is by then.
    pub fn chain_lengths<const L: usize>(&self) -> [usize; L] {
        self.chains.chain_lengths()
    }

    /// Has the next resize go by that load factor.
    pub fn set_load_factor(&self, load_factor: i32) {
        self.chains.set_load_factor(load_factor);
    }

    /// Grows or shrinks the table if its load asks for it. Sleeps.
    pub fn resize(&self) -> Result {
        self.chains.resize()
    }
}
