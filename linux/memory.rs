// SPDX-License-Identifier: GPL-2.0

//! The size of memory.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::bindings;

/// Returns the number of pages that are free, or could be freed because they cache block devices.
/// Any context.
pub fn available_pages() -> usize {
    let mut info = bindings::sysinfo::default();
    // SAFETY: `info` is ours to write.
    unsafe { bindings::si_meminfo(&mut info) };
    info.freeram.saturating_add(info.bufferram)
}

/// Returns the number of pages beyond the high watermark of the zones that buffers come from. Any
/// context.
///
/// C counterpart: `nr_free_buffer_pages()`.
pub fn free_buffer_pages() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::nr_free_buffer_pages() }
}
