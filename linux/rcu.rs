// SPDX-License-Identifier: GPL-2.0

//! Read-copy-update: readers, and objects that readers share with writers.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use crate::{
    atomic::{
        Acquire,
        Atomic,
        Full,
        InlineAtomic,
        Relaxed,
        Release, //
    },
    bindings, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    types::Opaque, //
};

/// Proves at no cost that an RCU read-side critical section encloses `'rcu`.
///
/// Code that netfilter or a softirq calls already runs in such a section; taking `rcu_read_lock()`
/// once more, as [`kernel::sync::rcu::Guard`] does, would cost two calls for nothing there.
///
/// # Invariants
///
/// A read-side critical section is open for all of `'rcu`.
#[derive(Clone, Copy)]
pub struct ReadLocked<'rcu>(PhantomData<*mut &'rcu ()>);

impl<'rcu> ReadLocked<'rcu> {
    /// States that the caller is in a read-side critical section.
    ///
    /// # Safety
    ///
    /// A read-side critical section must be open for all of `'rcu`.
    #[inline]
    pub(crate) const unsafe fn assume() -> Self {
        // INVARIANT: By the safety requirement.
        Self(PhantomData)
    }
}

/// Runs `f` in a read-side critical section. `f` must not sleep.
#[inline]
pub fn read<R>(f: impl for<'rcu> FnOnce(ReadLocked<'rcu>) -> R) -> R {
    let _guard = kernel::sync::rcu::read_lock();
    // SAFETY: `_guard` keeps the section open until `f` has returned, and `f` can't choose `'rcu`.
    f(unsafe { ReadLocked::assume() })
}

/// Waits until every read-side critical section that is open now has ended. Sleeps.
///
/// C counterpart: `synchronize_rcu()`.
pub fn synchronize() {
    // SAFETY: No requirement but a context that may sleep, which is the caller's duty as for any
    // function that sleeps.
    unsafe { bindings::synchronize_rcu() };
}

/// The number of callbacks of [`call`] that have not ended.
static PENDING: Atomic<usize> = Atomic::new(0);

/// Calls `callback` after a grace period, in softirq context; its last step is to call [`called`].
/// [`drain`] waits for it.
///
/// # Safety
///
/// `head` must be unused, and stay valid until the callback uses it. `callback` must be safe to call
/// with it, and call [`called`] once: a module is unloaded when all have.
pub(crate) unsafe fn call(
    head: *mut bindings::callback_head,
    callback: unsafe extern "C" fn(*mut bindings::callback_head),
) {
    PENDING.fetch_add(1, Relaxed);
    // SAFETY: By the safety requirement.
    unsafe { bindings::call_rcu(head, Some(callback)) };
}

/// Ends a callback of [`call`].
pub(crate) fn called() {
    // What it released is counted by now.
    PENDING.fetch_sub(1, Release);
}

/// Waits until everything whose last reference is gone is freed, with all that it held references
/// to. Nothing may take or release references meanwhile. May sleep.
///
/// One `rcu_barrier()` is not enough: an object that is freed releases others, which then wait for
/// a grace period of their own. A module must not go before the last of them.
pub fn drain() {
    loop {
        let none = PENDING.load(Acquire) == 0;
        // If none was pending, this also waits for the one that made it so, which may still be about
        // to return; but what it waits for may release objects.
        barrier();
        if none && PENDING.load(Acquire) == 0 {
            return;
        }
    }
}

/// Waits until every callback that waits for a grace period now has returned. May sleep.
fn barrier() {
    // SAFETY: As for `synchronize`.
    unsafe { bindings::rcu_barrier() };
}

/// A type that can be shared by [`Shared`].
pub trait Object: Send + Sync + 'static {
    /// Links that the memory of an object has beside the object itself.
    ///
    /// `()` if no structure chains the object; [`crate::table::Links`] to be in a
    /// [`crate::table::Table`]; [`crate::active_list::Link`] to be in a
    /// [`crate::active_list::ActiveList`]; the pair of these two, in this order, for both.
    type Links: Links;
}

/// Links of an [`Object`].
pub trait Links: Send + Sync + 'static {
    /// Returns the links of an object that is in no structure.
    #[doc(hidden)]
    fn new() -> Self;
}

impl Links for () {
    #[inline]
    fn new() -> Self {}
}

impl<A: Links, B: Links> Links for (A, B) {
    fn new() -> Self {
        (A::new(), B::new())
    }
}

/// The memory behind a [`Shared`].
#[pin_data]
#[repr(C)]
pub(crate) struct SharedInner<T: Object> {
    /// Used once the last reference is gone.
    rcu: Opaque<bindings::callback_head>,
    pub(crate) links: T::Links,
    refs: InlineAtomic<u32>,
    #[pin]
    pub(crate) value: T,
}

/// A counted reference to an object that readers may also use without one, under RCU.
///
/// Like [`kernel::sync::Arc`], but the object is dropped only after a grace period has passed since
/// the last reference went, in softirq context: its destructor must not sleep.
///
/// # Invariants
///
/// The pointer is to a valid, pinned [`SharedInner`], and owns one of its references.
pub struct Shared<T: Object> {
    inner: NonNull<SharedInner<T>>,
}

// SAFETY: A `Shared` gives out only `&T`, and may drop `T` on another CPU.
unsafe impl<T: Object> Send for Shared<T> {}
// SAFETY: As above.
unsafe impl<T: Object> Sync for Shared<T> {}

impl<T: Object> Shared<T> {
    /// Allocates an object and initialises it in place, with one reference.
    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        let inner = KBox::try_pin_init::<Error>(
            try_pin_init!(SharedInner {
                rcu: Opaque::uninit(),
                links: T::Links::new(),
                refs: InlineAtomic::new(1),
                value <- init,
            }? Error),
            flags,
        )?;
        // SAFETY: The object stays where it is until `free` takes it back.
        let inner = unsafe { Pin::into_inner_unchecked(inner) };
        // INVARIANT: `refs` counts one reference, which is ours.
        Ok(Self {
            inner: NonNull::from(KBox::leak(inner)),
        })
    }

    /// Returns the number of references. A reader may take one at any time, unless readers can no
    /// longer reach the object.
    pub fn references(&self) -> u32 {
        self.memory().refs.load(Acquire)
    }

    /// Borrows the object as a reader does.
    #[inline]
    pub fn borrow<'rcu>(&self, rcu: ReadLocked<'rcu>) -> Borrowed<'rcu, T> {
        // SAFETY: By the type invariant; should this reference go, and be the last, the object is
        // freed after a grace period.
        Borrowed::new(unsafe { self.inner.as_ref() }, rcu)
    }

    /// Returns whether this is a reference to `other`.
    #[inline]
    pub fn same(&self, other: &T) -> bool {
        core::ptr::eq::<T>(&**self, other)
    }

    /// Gives up the reference without dropping it.
    pub(crate) fn into_inner(self) -> NonNull<SharedInner<T>> {
        core::mem::ManuallyDrop::new(self).inner
    }

    /// Takes a reference over.
    ///
    /// # Safety
    ///
    /// `inner` must come from [`Shared::into_inner`], and be taken back once.
    pub(crate) unsafe fn from_inner(inner: NonNull<SharedInner<T>>) -> Self {
        // INVARIANT: By the safety requirement.
        Self { inner }
    }

    #[inline]
    pub(crate) fn memory(&self) -> &SharedInner<T> {
        // SAFETY: By the type invariant.
        unsafe { self.inner.as_ref() }
    }
}

impl<T: Object> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.memory().value
    }
}

impl<T: Object> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // One reference exists, so the count can't be zero; 2^32 of them do not fit in memory.
        self.memory().refs.fetch_add(1, Relaxed);
        // INVARIANT: The reference just counted.
        Self { inner: self.inner }
    }
}

impl<T: Object> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if self.memory().refs.fetch_sub(1, Full) == 1 {
            self.retire();
        }
    }
}

impl<T: Object> Shared<T> {
    /// Frees the object after a grace period. The last reference is gone.
    #[cold]
    #[inline(never)]
    fn retire(&self) {
        let rcu = self.memory().rcu.get();
        // SAFETY: No reference is left and none can be taken, since the count is zero; `rcu` is
        // used by nobody else, and is the first field, as `free` expects.
        unsafe { call(rcu, free::<T>) };
    }
}

/// Drops and frees a [`SharedInner`] after its grace period.
///
/// # Safety
///
/// `rcu` must be the first field of a `SharedInner<T>` that nobody can reach any more.
unsafe extern "C" fn free<T: Object>(rcu: *mut bindings::callback_head) {
    // SAFETY: The memory came from a `KBox` in `Shared::pin_init`; by the safety requirement it is
    // ours alone.
    drop(unsafe { KBox::from_raw(rcu.cast::<SharedInner<T>>()) });
    called();
}

/// A [`Shared`] object as a reader sees it: without a reference, for as long as the read-side
/// critical section lasts.
///
/// # Invariants
///
/// `inner` is valid for `'rcu`.
pub struct Borrowed<'rcu, T: Object> {
    inner: &'rcu SharedInner<T>,
}

impl<T: Object> Clone for Borrowed<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Object> Copy for Borrowed<'_, T> {}

impl<'rcu, T: Object> Borrowed<'rcu, T> {
    /// Wraps an object that a reader found in a structure that holds a reference.
    #[inline]
    pub(crate) fn new(inner: &'rcu SharedInner<T>, _rcu: ReadLocked<'rcu>) -> Self {
        Self { inner }
    }

    #[inline]
    pub(crate) fn memory(self) -> &'rcu SharedInner<T> {
        self.inner
    }

    /// Returns the address of the object's memory.
    pub(crate) fn as_inner(self) -> NonNull<SharedInner<T>> {
        NonNull::from(self.inner)
    }

    /// Returns the object, for the whole read-side critical section.
    #[inline]
    pub fn get(self) -> &'rcu T {
        &self.inner.value
    }

    /// Takes a counted reference. Returns `None` if the last one is gone and the object only waits for
    /// the end of its grace period.
    ///
    /// C counterpart: `refcount_inc_not_zero()`.
    pub fn share(self) -> Option<Shared<T>> {
        let refs = &self.inner.refs;
        let mut count = refs.load(Relaxed);
        while count != 0 {
            match refs.cmpxchg(count, count.wrapping_add(1), Acquire) {
                // INVARIANT: The reference just counted, while another one existed.
                Ok(_) => {
                    return Some(Shared {
                        inner: NonNull::from(self.inner),
                    })
                }
                Err(now) => count = now,
            }
        }
        None
    }
}

impl<T: Object> Deref for Borrowed<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner.value
    }
}

/// A pointer to a [`Shared`] object, or none, that readers follow while writers exchange it.
///
/// C counterpart: a pointer marked `__rcu`.
///
/// # Invariants
///
/// The pointer is null, or owns a reference.
pub struct SharedCell<T: Object> {
    inner: Atomic<*mut SharedInner<T>>,
}

impl<T: Object> SharedCell<T> {
    /// Creates a cell with `object` in it.
    pub fn new(object: Shared<T>) -> Self {
        // INVARIANT: The reference moves into the cell.
        Self {
            inner: Atomic::new(object.into_inner().as_ptr()),
        }
    }

    /// Creates a cell with nothing in it.
    pub const fn empty() -> Self {
        // INVARIANT: Null.
        Self {
            inner: Atomic::new(core::ptr::null_mut()),
        }
    }

    /// Returns the object.
    ///
    /// C counterpart: `rcu_dereference()`.
    #[inline]
    pub fn get<'rcu>(&self, rcu: ReadLocked<'rcu>) -> Option<Borrowed<'rcu, T>> {
        // SAFETY: By the type invariant; an exchanged object is dropped after a grace period.
        unsafe { self.inner.load(Acquire).as_ref() }.map(|inner| Borrowed::new(inner, rcu))
    }

    /// Puts `object` into the cell and returns the one before.
    pub fn replace(&self, object: Shared<T>) -> Option<Shared<T>> {
        self.exchange(Some(object))
    }

    /// Puts `object`, or nothing, into the cell and returns the one before.
    pub fn exchange(&self, object: Option<Shared<T>>) -> Option<Shared<T>> {
        let new = object.map_or(core::ptr::null_mut(), |object| object.into_inner().as_ptr());
        // INVARIANT: One reference moves in, the other one out.
        let old = self.inner.xchg(new, Full);
        // SAFETY: The cell's reference, which it no longer has.
        NonNull::new(old).map(|old| unsafe { Shared::from_inner(old) })
    }
}

impl<T: Object> Drop for SharedCell<T> {
    fn drop(&mut self) {
        if let Some(inner) = NonNull::new(*self.inner.get_mut()) {
            // SAFETY: The cell's reference.
            drop(unsafe { Shared::from_inner(inner) });
        }
    }
}
