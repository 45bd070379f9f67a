// SPDX-License-Identifier: GPL-2.0

//! Text files in `/proc/net`, one for each network namespace.
//!
//! [`ProcEntry::single`] makes a file that is written at once, [`ProcEntry::records`] one that is
//! written record by record, however long it gets.
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file_net.h`](srctree/include/linux/seq_file_net.h)

mod records;

pub use records::{
    Records,
    Step, //
};

use crate::{
    bindings,
    net::{
        Net,
        OwnNet, //
    },
};
use core::{
    fmt,
    ptr::NonNull, //
};
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile, //
};

/// The content of a file that is short enough to be written at once.
pub trait Single: 'static {
    /// Writes the whole file. Process context; may sleep.
    fn show(net: &Net, seq: &SeqFile);
}

/// Writes text into a file. Process context.
///
/// Errors: there is no room; the core asks for the record again then, with more.
pub struct Writer<'a>(pub &'a SeqFile);

impl fmt::Write for Writer<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: A `SeqFile` is the file that the core asks to be written, and nobody else uses it
        // for as long as there is one; the text is as long as it says.
        let failed = unsafe {
            bindings::seq_write(
                core::ptr::from_ref(self.0).cast_mut().cast(),
                text.as_ptr().cast(),
                text.len(),
            )
        };
        match failed {
            0 => Ok(()),
            _ => Err(fmt::Error),
        }
    }
}

/// A file in a network namespace's `/proc/net`; removed when dropped, which waits for its readers.
///
/// # Invariants
///
/// `entry` is the file that was made, and not removed yet.
pub struct ProcEntry {
    entry: NonNull<bindings::proc_dir_entry>,
    // Last: the namespace outlives its files.
    _net: OwnNet,
}

// SAFETY: Entries may be removed from any process; there is no other operation on them.
unsafe impl Send for ProcEntry {}
// SAFETY: There is no operation on a `&ProcEntry`.
unsafe impl Sync for ProcEntry {}

impl ProcEntry {
    /// Makes a file whose content `T` writes at once, readable as `mode` says.
    pub fn single<T: Single>(net: &OwnNet, name: &'static CStr, mode: u16) -> Result<Self> {
        // SAFETY: The namespace's directory exists as long as the namespace; `show_single` fits
        // what the core calls it with.
        let entry = unsafe {
            bindings::proc_create_net_single(
                name.as_char_ptr(),
                mode,
                (*net.as_ptr()).proc_net,
                Some(show_single::<T>),
                core::ptr::null_mut(),
            )
        };
        Self::of(entry, net)
    }

    /// Makes a file that `T` writes record by record, readable as `mode` says.
    pub fn records<T: Records>(net: &OwnNet, name: &'static CStr, mode: u16) -> Result<Self> {
        // SAFETY: As above; the operations are static, and made for a private state of this size,
        // which the core zeroes.
        let entry = unsafe {
            bindings::proc_create_net_data(
                name.as_char_ptr(),
                mode,
                (*net.as_ptr()).proc_net,
                records::operations::<T>(),
                records::state_size::<T>(),
                core::ptr::null_mut(),
            )
        };
        Self::of(entry, net)
    }

    fn of(entry: *mut bindings::proc_dir_entry, net: &OwnNet) -> Result<Self> {
        // INVARIANT: Just made, if it was.
        Ok(Self {
            entry: NonNull::new(entry).ok_or(ENOMEM)?,
            _net: net.clone(),
        })
    }
}

impl Drop for ProcEntry {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::proc_remove(self.entry.as_ptr()) };
    }
}

/// # Safety
///
/// Must only be called by the core, as `show` of a file that [`ProcEntry::single`] made.
unsafe extern "C" fn show_single<T: Single>(
    seq: *mut bindings::seq_file,
    _v: *mut c_void,
) -> c_int {
    // SAFETY: For such a file this is the namespace, which the open file keeps.
    let net = unsafe { Net::from_raw(bindings::linux_seq_file_single_net(seq)) };
    // SAFETY: The core calls with a file that no one else uses meanwhile.
    T::show(net, unsafe { SeqFile::from_raw(seq) });
    0
}
