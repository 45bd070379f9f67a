// SPDX-License-Identifier: GPL-2.0

//! Files of records: a position in a changing collection, advanced from record to record.
//!
//! The core writes records into a buffer, and asks again for one that did not fit. So a position
//! moves in two steps: writing a record says what comes after it, and only when the core asks for the
//! next record does that become the position. Nothing is pinned in between: between two records the
//! collection may change in any way, and a position is plain data that must make sense of it.

use crate::{
    bindings,
    net::Net,
    rcu::{
        self,
        ReadLocked, //
    },
    sched::cond_resched,
};
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile, //
};

/// The continuation of a file after a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There may be more. What was written, if anything, is one record.
    Continue,
    /// There is nothing more. What was written just now, if anything, is the last record.
    End,
}

/// The content of a file that is written record by record.
pub trait Records: 'static {
    /// The position of a reader in the file. All zero is the beginning.
    type Position: Zeroable + Copy;

    /// Writes the record at `position`, and moves `position` behind it.
    ///
    /// May write nothing, so that a long search does not keep others from running. Called again with
    /// the same position if there was no room for the record.
    fn show<'rcu>(
        net: &Net,
        rcu: ReadLocked<'rcu>,
        position: &mut Self::Position,
        seq: &SeqFile,
    ) -> Step;
}

/// The state of an open file. The core allocates it zeroed, and fills in the namespace.
#[repr(C)]
struct State<P> {
    /// First, where the core expects it.
    net: bindings::seq_net_private,
    /// Of the record to write next.
    position: P,
    /// Of the record after that one, once it is written.
    next: P,
    /// Set if a record was written that has not been passed yet.
    shown: bool,
    /// Set if `next` is the end.
    ended: bool,
}

/// Returns the number of bytes that the core has to allocate for an open file.
pub(super) const fn state_size<T: Records>() -> u32 {
    const { assert!(size_of::<State<T::Position>>() <= 4096) };
    size_of::<State<T::Position>>() as u32
}

/// Returns the operations of a file of `T`.
pub(super) const fn operations<T: Records>() -> *const bindings::seq_operations {
    const {
        &bindings::seq_operations {
            start: Some(start::<T>),
            stop: Some(stop),
            next: Some(next::<T>),
            show: Some(show::<T>),
        }
    }
}

/// Returns the only record token. The state says which record it is.
const fn token() -> *mut c_void {
    core::ptr::dangling_mut()
}

/// # Safety
///
/// `seq` must be an open file of `T`, used by nothing else for `'a`.
unsafe fn state<'a, T: Records>(seq: *mut bindings::seq_file) -> &'a mut State<T::Position> {
    // SAFETY: The core allocated `private` with `state_size` bytes for this file, and zeroed it,
    // which is valid for all fields.
    unsafe { &mut *(*seq).private.cast() }
}

/// # Safety
///
/// Must only be called by the core, as `start` of a file of `T`.
unsafe extern "C" fn start<T: Records>(
    seq: *mut bindings::seq_file,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: The core calls with a file that no one else uses meanwhile.
    let state = unsafe { state::<T>(seq) };
    // SAFETY: The core passes a valid position.
    if unsafe { *pos } == 0 {
        state.position = Zeroable::zeroed();
        state.shown = false;
        state.ended = false;
    }
    if state.ended && !state.shown {
        return core::ptr::null_mut();
    }
    token()
}

/// # Safety
///
/// Must only be called by the core, as `next` of a file of `T`.
unsafe extern "C" fn next<T: Records>(
    seq: *mut bindings::seq_file,
    _v: *mut c_void,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: The core calls with a file that no one else uses meanwhile.
    let state = unsafe { state::<T>(seq) };
    // SAFETY: The core passes a valid position.
    unsafe { *pos = (*pos).wrapping_add(1) };
    state.position = state.next;
    state.shown = false;
    if state.ended {
        return core::ptr::null_mut();
    }
    token()
}

/// # Safety
///
/// Must only be called by the core, as `stop` of a file of records.
unsafe extern "C" fn stop(_seq: *mut bindings::seq_file, _v: *mut c_void) {}

/// # Safety
///
/// Must only be called by the core, as `show` of a file of `T`.
unsafe extern "C" fn show<T: Records>(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
    // SAFETY: The namespace is in the file's private state, and the open file keeps it.
    let net = unsafe { Net::from_raw(bindings::linux_seq_file_net(seq)) };
    // SAFETY: The core calls with a file that no one else uses meanwhile.
    let state = unsafe { state::<T>(seq) };
    // SAFETY: As above. The state is not part of what a `SeqFile` reaches.
    let file = unsafe { SeqFile::from_raw(seq) };

    // Neither the core nor a search that comes to nothing gives way otherwise.
    cond_resched();
    let mut position = state.position;
    let step = rcu::read(|rcu| T::show(net, rcu, &mut position, file));
    state.next = position;
    state.shown = true;
    state.ended = step == Step::End;
    0
}
