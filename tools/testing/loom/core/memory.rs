// SPDX-License-Identifier: GPL-2.0

//! The memory of a model: what was freed stays where it is until the model has run, so that using
//! it is noticed, and what was not freed by then is a leak.

use std::{
    alloc::{
        dealloc,
        Layout, //
    },
    cell::RefCell,
    collections::BTreeMap, //
};

#[derive(Default)]
struct Memory {
    /// Address and layout.
    live: BTreeMap<usize, Layout>,
    freed: BTreeMap<usize, Layout>,
}

thread_local! {
    // loom runs all threads of a model on one of the host's.
    static MEMORY: RefCell<Memory> = RefCell::default();
}

fn covers(blocks: &BTreeMap<usize, Layout>, addr: usize) -> bool {
    blocks
        .range(..=addr)
        .next_back()
        .is_some_and(|(start, layout)| addr - start < layout.size())
}

/// Notes memory that was allocated.
pub fn allocated(addr: usize, layout: Layout) {
    MEMORY.with_borrow_mut(|memory| memory.live.insert(addr, layout));
}

/// Notes that memory was freed, and keeps it.
pub fn freed(addr: usize) {
    MEMORY.with_borrow_mut(|memory| {
        let layout = memory.live.remove(&addr).expect("freed once");
        memory.freed.insert(addr, layout);
    });
}

/// Panics if `object` is in memory that was freed.
#[track_caller]
pub fn check<T>(object: *const T) {
    let freed = MEMORY.with_borrow(|memory| covers(&memory.freed, object as usize));
    // Once is enough: destructors that run because of a panic see much that is gone.
    assert!(!freed || std::thread::panicking(), "use after free");
}

/// Returns the number of allocations that have not been freed.
pub fn live() -> usize {
    MEMORY.with_borrow(|memory| memory.live.len())
}

/// Forgets the run before, and really frees what it has freed.
pub fn reset() {
    let memory = MEMORY.take();
    for (addr, layout) in memory.freed {
        // SAFETY: The owner gave it up and left it to us.
        unsafe { dealloc(addr as *mut u8, layout) };
    }
    crate::sync::atomic::reset();
}
