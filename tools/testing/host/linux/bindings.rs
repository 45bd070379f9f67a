// SPDX-License-Identifier: GPL-2.0

//! The C functions that the files in `real` call.

use kernel::{
    memory,
    prelude::*,
    sync::rcu, //
};
use std::{
    alloc::Layout,
    ffi::c_char, //
};

pub(crate) use crate::{
    clock::{
        linux_timer_setup,
        mod_timer,
        mod_timer_pending,
        timer_list,
        timer_shutdown,
        timer_shutdown_sync, //
    },
    route::dst_release, //
};

pub(crate) const LINUX_HZ: u32 = 250;

/// The kernel's initial value: the counter passes 0 after five minutes.
pub(crate) const INITIAL_JIFFIES: usize = 0usize.wrapping_sub(300 * LINUX_HZ as usize);

#[allow(non_upper_case_globals)]
pub(crate) static mut jiffies: usize = INITIAL_JIFFIES;

/// As large as in the kernel.
#[allow(non_camel_case_types, dead_code)]
pub(crate) struct callback_head([usize; 2]);

/// A pointer that callbacks carry.
struct Carried<T>(*mut T);

// SAFETY: Only one thread of the module runs at a time.
unsafe impl<T> Send for Carried<T> {}

impl<T> Carried<T> {
    fn get(self) -> *mut T {
        self.0
    }
}

pub(crate) unsafe fn call_rcu(
    head: *mut callback_head,
    function: Option<unsafe extern "C" fn(*mut callback_head)>,
) {
    let head = Carried(head);
    // SAFETY: As the caller promises, once, after a grace period.
    rcu::call(move || unsafe { function.unwrap()(head.get()) });
}

#[allow(non_camel_case_types, dead_code)]
pub(crate) struct kvfree_rcu_head([usize; 2]);

pub(crate) unsafe fn kvfree_call_rcu(_head: *mut kvfree_rcu_head, ptr: *mut u8) {
    let ptr = Carried(ptr);
    // SAFETY: As the caller promises, after a grace period.
    rcu::call(move || unsafe { memory::free(ptr.get()) });
}

#[track_caller]
pub(crate) unsafe fn synchronize_rcu() {
    rcu::synchronize();
}

#[track_caller]
pub(crate) unsafe fn rcu_barrier() {
    rcu::synchronize();
}

#[track_caller]
pub(crate) unsafe fn linux_cond_resched() {
    kernel::context::give_way();
}

/// A cache for objects of one layout.
#[allow(non_camel_case_types)]
pub(crate) struct kmem_cache(Layout);

pub(crate) unsafe fn linux_kmem_cache_create(
    _name: *const c_char,
    size: u32,
    align: u32,
) -> *mut kmem_cache {
    let layout = Layout::from_size_align(size as usize, align as usize).unwrap();
    match KBox::new(kmem_cache(layout), GFP_KERNEL) {
        Ok(cache) => KBox::into_raw(cache),
        Err(_) => std::ptr::null_mut(),
    }
}

pub(crate) unsafe fn linux_kmem_cache_alloc_atomic(cache: *mut kmem_cache) -> *mut u8 {
    // SAFETY: From `linux_kmem_cache_create`.
    let layout = unsafe { (*cache).0 };
    memory::allocate(layout, GFP_ATOMIC).map_or(std::ptr::null_mut(), |ptr| ptr.as_ptr())
}

pub(crate) unsafe fn kmem_cache_destroy(cache: *mut kmem_cache) {
    // SAFETY: From `linux_kmem_cache_create`, and destroyed once.
    drop(unsafe { KBox::from_raw(cache) });
}

pub(crate) unsafe fn kfree(ptr: *mut u8) {
    // SAFETY: As the caller promises.
    unsafe { memory::free(ptr) };
}

pub(crate) unsafe fn try_module_get(module: *mut ThisModule) -> bool {
    // SAFETY: As the caller promises.
    unsafe { &*module }.try_get()
}

pub(crate) unsafe fn module_put(module: *mut ThisModule) {
    // SAFETY: As the caller promises.
    unsafe { &*module }.put();
}
