// SPDX-License-Identifier: GPL-2.0

//! Slab caches for objects of one type.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    bindings, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// A cache of memory for objects of type `T`, aligned to cache lines and never merged with another.
///
/// # Invariants
///
/// `cache` was created for the layout of `T` and is destroyed by `drop` alone.
pub struct Cache<T> {
    cache: NonNull<bindings::kmem_cache>,
    /// Whether there has been an object.
    used: Atomic<bool>,
    _objects: PhantomData<T>,
}

// SAFETY: The allocator takes care of concurrent use.
unsafe impl<T> Send for Cache<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Cache<T> {}

impl<T> Cache<T> {
    /// Creates a cache; `name` is what `/proc/slabinfo` shows. May sleep.
    pub fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a C string that outlives the cache.
        let cache = unsafe {
            bindings::linux_kmem_cache_create(
                name.as_char_ptr(),
                size_of::<T>() as u32,
                align_of::<T>() as u32,
            )
        };
        // INVARIANT: Just created.
        Ok(Self {
            cache: NonNull::new(cache).ok_or(ENOMEM)?,
            used: Atomic::new(false),
            _objects: PhantomData,
        })
    }

    /// Memory for one object, or `None`. Any context.
    #[inline]
    pub(crate) fn alloc(&self) -> Option<NonNull<MaybeUninit<T>>> {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
        // SAFETY: By the type invariant.
        let ptr = unsafe { bindings::linux_kmem_cache_alloc_atomic(self.cache.as_ptr()) };
        NonNull::new(ptr.cast())
    }
}

impl<T> Drop for Cache<T> {
    fn drop(&mut self) {
        if *self.used.get_mut() {
            // Objects that wait for their readers come back first.
            crate::rcu::drain();
        }
        // SAFETY: By the type invariant. An object that is still out is reported by the allocator.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}

/// Gives back what [`Cache::alloc`] gave, to the cache that it came from. Any context.
///
/// # Safety
///
/// `ptr` must come from [`Cache::alloc`], and not be used again.
pub(crate) unsafe fn free<T>(ptr: NonNull<T>) {
    // SAFETY: `kfree()` finds the cache that an object belongs to; the rest is by the safety
    // requirement.
    unsafe { bindings::kfree(ptr.as_ptr().cast()) };
}
