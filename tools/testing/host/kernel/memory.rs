// SPDX-License-Identifier: GPL-2.0

//! The memory that the module allocates: counted, overwritten when it is freed, and refused when a
//! test wants that.

use crate::{
    alloc::Flags,
    context, //
};
use std::{
    alloc::{
        self,
        Layout, //
    },
    collections::HashMap,
    ptr::NonNull,
    sync::{
        Mutex,
        MutexGuard,
        PoisonError, //
    },
};

struct Memory {
    live: Option<HashMap<usize, Layout>>,
    /// The number of allocations that succeed before one fails.
    left: Option<usize>,
    failed: bool,
}

static MEMORY: Mutex<Memory> = Mutex::new(Memory {
    live: None,
    left: None,
    failed: false,
});

fn memory() -> MutexGuard<'static, Memory> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns `false` for the allocation that was chosen to fail.
#[track_caller]
pub fn permits(flags: Flags) -> bool {
    if flags.may_sleep() {
        context::might_sleep();
    }
    let mut memory = memory();
    match &mut memory.left {
        None => true,
        Some(0) => {
            memory.left = None;
            memory.failed = true;
            false
        }
        Some(left) => {
            *left -= 1;
            true
        }
    }
}

/// Makes the allocation fail that comes after `count` others.
pub fn fail_after(count: usize) {
    let mut memory = memory();
    (memory.left, memory.failed) = (Some(count), false);
}

/// Stops failing allocations; returns whether one has failed.
pub fn fail_no_more() -> bool {
    let mut memory = memory();
    memory.left = None;
    std::mem::take(&mut memory.failed)
}

/// Allocates memory; it is not initialised.
#[track_caller]
pub fn allocate(layout: Layout, flags: Flags) -> Option<NonNull<u8>> {
    if !permits(flags) {
        return None;
    }
    if layout.size() == 0 {
        return NonNull::new(std::ptr::without_provenance_mut(layout.align()));
    }
    // SAFETY: It is not of size 0.
    let ptr = NonNull::new(unsafe { alloc::alloc(layout) })?;
    let mut memory = memory();
    let live = memory.live.get_or_insert_default();
    live.insert(ptr.as_ptr() as usize, layout);
    Some(ptr)
}

/// Frees memory, after it was overwritten.
///
/// # Safety
///
/// `ptr` is from [`allocate`] (of no object of size 0 that is still used), and nobody uses it any
/// more.
pub unsafe fn free(ptr: *mut u8) {
    let layout = memory()
        .live
        .as_mut()
        .and_then(|live| live.remove(&(ptr as usize)));
    let Some(layout) = layout else {
        // Objects without a size have no memory.
        return;
    };
    // SAFETY: Allocated with this layout, and freed once, since it was in the table.
    unsafe {
        ptr.write_bytes(0xdd, layout.size());
        alloc::dealloc(ptr, layout);
    }
}

/// Returns the number of allocations that have not been freed.
pub fn live() -> usize {
    memory().live.as_ref().map_or(0, HashMap::len)
}
