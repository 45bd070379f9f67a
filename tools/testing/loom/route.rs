// SPDX-License-Identifier: GPL-2.0

//! `linux/route/cache.rs`, over routes that have a device and a count of references.

#[path = "../../../linux/route/cache.rs"]
#[allow(dead_code)]
mod cache;

pub(crate) use cache::RouteCache;

use crate::{
    bindings::{
        call_rcu,
        callback_head, //
    },
    prelude::*,
    rcu::ReadLocked,
    types::Opaque, //
};
use core::{
    memory,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};
use std::{
    ops::Deref,
    ptr::NonNull,
    sync::Arc, //
};

pub(crate) mod net {
    use core::sync::atomic::Atomic;

    /// A namespace, in which all routes are of the generation 0.
    pub(crate) struct Net {
        pub(crate) generation: Atomic<usize>,
    }
}

pub(crate) mod netdevice {
    use core::sync::atomic::{
        Atomic,
        Relaxed, //
    };

    /// A device that is up or down.
    pub(crate) struct Device {
        pub(crate) up: Atomic<usize>,
    }

    impl Device {
        pub(crate) fn is_running(&self) -> bool {
            self.up.load(Relaxed) != 0
        }

        pub(crate) fn is_blackhole(&self) -> bool {
            false
        }
    }
}

use net::Net;
use netdevice::Device;

/// A route.
pub(crate) trait Route: Sized + 'static {
    type Addr: Copy;

    fn as_ptr(&self) -> *mut Self;
    fn uses(&self, device: &Device, rcu: ReadLocked<'_>) -> bool;
    fn device<'rcu>(&self, rcu: ReadLocked<'rcu>) -> Option<&'rcu Device>;
    fn cookie(&self) -> u32;
    fn is_current(&self, net: &Net, cookie: u32) -> bool;
    fn put(this: *mut Self);
}

pub(crate) struct Owned<R: Route>(NonNull<R>);

impl<R: Route> Deref for Owned<R> {
    type Target = R;

    fn deref(&self) -> &R {
        // What it is in may be gone, too.
        memory::check(self);
        // SAFETY: Owns a reference.
        unsafe { self.0.as_ref() }
    }
}

impl<R: Route> Drop for Owned<R> {
    fn drop(&mut self) {
        R::put(self.0.as_ptr());
    }
}

pub(crate) struct Found<R: Route> {
    pub(crate) rt: Owned<R>,
    pub(crate) source: R::Addr,
}

/// The only kind of route.
pub(crate) struct TestRoute {
    rcu: Opaque<callback_head>,
    refs: Atomic<usize>,
    device: Arc<Device>,
    number: u32,
}

impl TestRoute {
    /// A route that nobody else has, out by `device`.
    pub(crate) fn new(number: u32, device: &Arc<Device>) -> Found<Self> {
        let route = Self {
            rcu: Opaque::uninit(),
            refs: Atomic::new(1),
            device: Arc::clone(device),
            number,
        };
        let ptr = KBox::into_raw(KBox::new(route, GFP_ATOMIC).ok().unwrap());
        Found {
            rt: Owned(NonNull::new(ptr).unwrap()),
            source: number,
        }
    }

    /// Its number; not of one that was freed.
    #[track_caller]
    pub(crate) fn number(&self) -> u32 {
        memory::check(self);
        self.number
    }
}

impl Route for TestRoute {
    type Addr = u32;

    fn as_ptr(&self) -> *mut Self {
        (&raw const *self).cast_mut()
    }

    fn uses(&self, device: &Device, rcu: ReadLocked<'_>) -> bool {
        self.device(rcu)
            .is_some_and(|own| std::ptr::eq(own, device))
    }

    fn device<'rcu>(&self, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Device> {
        memory::check(self);
        // SAFETY: A device stays as long as the model runs.
        unsafe { Arc::as_ptr(&self.device).as_ref() }
    }

    fn cookie(&self) -> u32 {
        0
    }

    fn is_current(&self, net: &Net, cookie: u32) -> bool {
        memory::check(self);
        net.generation.load(Relaxed) == cookie as usize
    }

    fn put(this: *mut Self) {
        // SAFETY: The caller has a reference; the last one frees the route after a grace period.
        unsafe {
            if (*this).refs.fetch_sub(1, Full) == 1 {
                call_rcu((*this).rcu.get(), Some(free_route));
            }
        }
    }
}

unsafe extern "C" fn free_route(head: *mut callback_head) {
    let offset = std::mem::offset_of!(TestRoute, rcu);
    // SAFETY: The route that `put` has handed over.
    drop(unsafe { KBox::from_raw(head.byte_sub(offset).cast::<TestRoute>()) });
}

pub(crate) unsafe fn dst_release<R: Route>(route: *mut R) {
    R::put(route);
}

#[allow(non_camel_case_types)]
pub(crate) struct kvfree_rcu_head;

pub(crate) unsafe fn kvfree_call_rcu(_head: *mut kvfree_rcu_head, ptr: *mut u8) {
    let at = Box::into_raw(Box::new(ptr as usize));
    // SAFETY: The callback takes the box back, once.
    unsafe { call_rcu(at.cast(), Some(free_memory)) };
}

unsafe extern "C" fn free_memory(at: *mut callback_head) {
    // SAFETY: From `kvfree_call_rcu`.
    memory::freed(*unsafe { Box::from_raw(at.cast::<usize>()) });
}
