// SPDX-License-Identifier: GPL-2.0

//! The size of memory.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::SeqCst, //
};

static AVAILABLE_PAGES: AtomicUsize = AtomicUsize::new(1 << 20);

pub fn available_pages() -> usize {
    AVAILABLE_PAGES.load(SeqCst)
}

pub fn set_available_pages(pages: usize) {
    AVAILABLE_PAGES.store(pages, SeqCst);
}

pub fn free_buffer_pages() -> usize {
    available_pages()
}
