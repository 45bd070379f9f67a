// SPDX-License-Identifier: GPL-2.0

//! The route to a host, kept between packets.

use super::{
    Found,
    Owned,
    Route, //
};
use crate::{
    atomic::{
        smp_mb, //
        Acquire,
        Atomic,
        Full,
    },
    bindings,
    net::Net,
    netdevice::Device,
    rcu::ReadLocked, //
};
use core::ptr;
use kernel::{
    alloc::AllocError,
    prelude::*,
    types::Opaque, //
};

struct Entry<R: Route> {
    rcu: Opaque<bindings::kvfree_rcu_head>,
    rt: Owned<R>,
    source: R::Addr,
    cookie: u32,
}

/// A place for the route to one host.
///
/// Packets read it under RCU, and whoever finds it empty or out of date puts a new route there.
/// There is no lock: a route is stored first, and taken out again if by then it must not be there.
/// The side that forbids it does so the other way round: it first forbids, then resets. Both have a full
/// barrier in between, so that one of the two sees what the other did.
///
/// # Invariants
///
/// `entry` is null or points to an [`Entry`] that readers may look at until a grace period after
/// it was replaced.
pub struct RouteCache<R: Route> {
    entry: Atomic<*mut Entry<R>>,
}

/// A route that was found in, or just put into, a [`RouteCache`].
pub struct CachedRoute<'rcu, R: Route> {
    /// The route.
    pub rt: &'rcu R,
    /// The source address of packets that this host sends along the route.
    pub source: R::Addr,
}

impl<R: Route> RouteCache<R> {
    /// Creates an empty cache.
    pub const fn new() -> Self {
        Self {
            entry: Atomic::new(ptr::null_mut()),
        }
    }

    /// Returns the route, if there is one and routing in `net` would still give it.
    #[inline]
    pub fn get<'rcu>(&self, net: &Net, _rcu: ReadLocked<'rcu>) -> Option<CachedRoute<'rcu, R>> {
        // SAFETY: By the type invariant; the section spans `'rcu`.
        let entry = unsafe { self.entry.load(Acquire).as_ref()? };
        let rt: &R = &entry.rt;
        rt.is_current(net, entry.cookie).then_some(CachedRoute {
            rt,
            source: entry.source,
        })
    }

    /// Keeps a route, in place of the one before, as long as its device is up, routing in `net`
    /// would still come to it, and `allowed` says that it may be kept. It may be used in either
    /// case. `GFP_ATOMIC`.
    ///
    /// Whoever makes `allowed` say no has to [`reset`](Self::reset) afterwards.
    pub fn store<'rcu>(
        &self,
        found: Found<R>,
        net: &Net,
        allowed: impl FnOnce() -> bool,
        rcu: ReadLocked<'rcu>,
    ) -> Result<CachedRoute<'rcu, R>, AllocError> {
        let entry = KBox::new(
            Entry {
                rcu: Opaque::uninit(),
                cookie: found.rt.cookie(),
                rt: found.rt,
                source: found.source,
            },
            GFP_ATOMIC,
        )?;
        let entry = KBox::into_raw(entry);
        // SAFETY: Whoever takes the entry out of the cache frees it after a grace period, so it
        // lives for `'rcu`.
        let stored = unsafe { &*entry };

        self.replace(entry);
        // Whoever takes the device or the route away, or changes the mind of `allowed`, resets the
        // cache after that. Pairs with the barrier in `reset` and `reset_if_uses`: either they
        // meet the entry, or the change is seen here.
        smp_mb(Full);
        // A device that has gone may have been exchanged in the route already.
        let is_up = |device: &Device| device.is_running() && !device.is_blackhole();
        let is_usable =
            stored.rt.device(rcu).is_none_or(is_up) && stored.rt.is_current(net, stored.cookie);
        if !is_usable || !allowed() {
            self.remove(entry);
        }
        Ok(CachedRoute {
            rt: &stored.rt,
            source: stored.source,
        })
    }

    /// Forgets the route. Any context.
    pub fn reset(&self) {
        // See `store`.
        smp_mb(Full);
        self.replace(ptr::null_mut());
    }

    /// Forgets the route if it refers to `device`, or if routing in `net` would not come to it any
    /// more: nothing else need tell then that its FIB entry refers to the device. Any context.
    pub fn reset_if_uses(&self, device: &Device, net: &Net, rcu: ReadLocked<'_>) {
        // See `store`.
        smp_mb(Full);
        let entry = self.entry.load(Acquire);
        // SAFETY: By the type invariant, in a read-side critical section.
        let goes = unsafe { entry.as_ref() }.is_some_and(|entry| {
            entry.rt.uses(device, rcu) || !entry.rt.is_current(net, entry.cookie)
        });
        if goes {
            self.remove(entry);
        }
    }

    fn replace(&self, new: *mut Entry<R>) {
        let old = self.entry.xchg(new, Full);
        // SAFETY: It was in the cache, and is no longer.
        unsafe { Self::free(old) };
    }

    /// Takes `entry` out, unless somebody else did already.
    fn remove(&self, entry: *mut Entry<R>) {
        let taken = self.entry.cmpxchg(entry, ptr::null_mut(), Full);
        if taken.is_ok() {
            // SAFETY: It was in the cache, and is no longer.
            unsafe { Self::free(entry) };
        }
    }

    /// Frees an entry after a grace period. Nothing of this module is called for that.
    ///
    /// # Safety
    ///
    /// `entry` must be null, or have been taken out of the cache by the caller.
    unsafe fn free(entry: *mut Entry<R>) {
        if entry.is_null() {
            return;
        }
        // SAFETY: The entry is valid, and by the safety requirement nobody else frees it. Readers
        // may go on to use the route: the memory of a route, too, is freed a grace period after
        // its last reference went.
        unsafe {
            bindings::dst_release((*entry).rt.as_ptr());
            bindings::kvfree_call_rcu((*entry).rcu.get(), entry.cast());
        }
    }
}

impl<R: Route> Default for RouteCache<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Route> Drop for RouteCache<R> {
    fn drop(&mut self) {
        self.reset();
    }
}
