// SPDX-License-Identifier: GPL-2.0

//! The C functions that `linux/` calls, as far as the modelled part of it does.

use crate::rcu_model;
use core::memory;
use std::{
    alloc::Layout,
    ffi::c_char, //
};

pub(crate) use crate::{
    route::{
        dst_release,
        kvfree_call_rcu,
        kvfree_rcu_head, //
    },
    timer_model::{
        linux_timer_setup,
        mod_timer,
        mod_timer_pending,
        timer_list,
        timer_shutdown,
        timer_shutdown_sync, //
    },
};

pub(crate) const LINUX_HZ: u32 = 250;

/// Time stands still in a model.
#[allow(non_upper_case_globals)]
pub(crate) static jiffies: usize = 1000;

#[allow(non_camel_case_types)]
pub(crate) struct callback_head;

pub(crate) unsafe fn call_rcu(
    head: *mut callback_head,
    function: Option<unsafe extern "C" fn(*mut callback_head)>,
) {
    rcu_model::call(head, function.unwrap());
}

pub(crate) unsafe fn synchronize_rcu() {
    rcu_model::synchronize();
}

pub(crate) unsafe fn rcu_barrier() {
    rcu_model::barrier();
}

pub(crate) unsafe fn linux_cond_resched() {
    assert!(
        std::thread::panicking() || rcu_model::may_sleep(),
        "sleeps in atomic context"
    );
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
    Box::into_raw(Box::new(kmem_cache(layout)))
}

pub(crate) unsafe fn linux_kmem_cache_alloc_atomic(cache: *mut kmem_cache) -> *mut u8 {
    // SAFETY: The layout of an object, which is never empty.
    unsafe {
        let layout = (*cache).0;
        let ptr = std::alloc::alloc(layout);
        memory::allocated(ptr as usize, layout);
        ptr
    }
}

pub(crate) unsafe fn kmem_cache_destroy(cache: *mut kmem_cache) {
    // SAFETY: From `linux_kmem_cache_create`, and destroyed once.
    drop(unsafe { Box::from_raw(cache) });
}

pub(crate) unsafe fn kfree(ptr: *mut u8) {
    if !std::thread::panicking() {
        memory::freed(ptr as usize);
    }
}
