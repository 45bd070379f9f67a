// SPDX-License-Identifier: GPL-2.0

//! Slab caches for objects of one type.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    bindings, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// A slab cache for objects of type `T`, aligned to cache lines and never merged with another.
///
/// The kernel's cache is created by the first [`Self::prepare`]: to destroy one takes several grace
/// periods, which a module that was loaded and not used need not wait for.
///
/// # Invariants
///
/// `cache` is null or was created for the layout of `T`, and is destroyed by `drop` alone.
#[pin_data(PinnedDrop)]
pub struct Cache<T> {
    name: &'static CStr,
    cache: Atomic<*mut bindings::kmem_cache>,
    #[pin]
    creating: Mutex<()>,
    _objects: PhantomData<T>,
}

// SAFETY: The allocator takes care of concurrent use.
unsafe impl<T> Send for Cache<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Cache<T> {}

impl<T> Cache<T> {
    /// Returns an initialiser; `name` is what `/proc/slabinfo` shows once there is memory.
    pub fn new(name: &'static CStr) -> impl PinInit<Self> {
        // INVARIANT: Null.
        pin_init!(Self {
            name,
            cache: Atomic::new(ptr::null_mut()),
            creating <- new_mutex!((), "slab_cache"),
            _objects: PhantomData,
        })
    }

    /// Creates the kernel's cache, unless it was created before. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn prepare(&self) -> Result {
        let _creating = self.creating.lock();
        if !self.cache.load(Relaxed).is_null() {
            return Ok(());
        }
        // SAFETY: `name` is a C string that outlives the cache.
        let cache = unsafe {
            bindings::linux_kmem_cache_create(
                self.name.as_char_ptr(),
                size_of::<T>() as u32,
                align_of::<T>() as u32,
            )
        };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Just created. Who sees the address sees a complete cache.
        self.cache.store(cache, Release);
        Ok(())
    }

    /// Allocates memory for one object; `None` if there is no memory, or was no [`Self::prepare`]. Any
    /// context.
    #[inline]
    pub(crate) fn alloc(&self) -> Option<NonNull<MaybeUninit<T>>> {
        let cache = self.cache.load(Acquire);
        if cache.is_null() {
            return None;
        }
        // SAFETY: By the type invariant.
        let ptr = unsafe { bindings::linux_kmem_cache_alloc_atomic(cache) };
        NonNull::new(ptr.cast())
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Cache<T> {
    fn drop(self: Pin<&mut Self>) {
        let cache = self.cache.load(Relaxed);
        if cache.is_null() {
            return;
        }
        // Objects that wait for their readers come back first.
        crate::rcu::drain();
        // SAFETY: By the type invariant. An object that is still out is reported by the allocator.
        unsafe { bindings::kmem_cache_destroy(cache) };
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
