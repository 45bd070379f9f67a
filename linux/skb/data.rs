// SPDX-License-Identifier: GPL-2.0

//! The bytes of a packet.
//!
//! Borrows of them end where the packet is changed: a header that was read before a pull or a copy
//! can't be used after it.

use super::Skb;
use crate::bindings;
use kernel::prelude::*;

/// There was no memory for a copy of the packet, or the packet is shorter than asked for.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl From<NoMemory> for Error {
    fn from(_: NoMemory) -> Self {
        ENOMEM
    }
}

impl Skb {
    /// Returns the number of linear bytes, from the network header on.
    #[inline]
    pub(super) fn linear_len(&self) -> usize {
        // SAFETY: By the type invariants.
        let (len, data_len) = unsafe { ((*self.as_ptr()).len, (*self.as_ptr()).data_len) };
        len.wrapping_sub(data_len) as usize
    }

    /// Returns the linear bytes of the packet, from the network header on.
    ///
    /// There may be more in fragments, and, of a packet that a host sent with a raw socket, there
    /// may be fewer than a header.
    #[inline]
    pub fn network(&self) -> &[u8] {
        // SAFETY: By the type invariants so many bytes are linear from `data` on; they are not
        // written without `&mut self`.
        unsafe { core::slice::from_raw_parts((*self.as_ptr()).data, self.linear_len()) }
    }

    /// Copies `N` bytes at `offset` from the network header on, linear or not. Returns `None` if
    /// the packet ends before.
    #[inline]
    pub fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        if let Some(bytes) = self.network().get(offset..end) {
            return bytes.try_into().ok();
        }
        self.copy_header(offset, end)
    }

    #[cold]
    fn copy_header<const N: usize>(&self, offset: usize, end: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        if end > self.len() {
            return None;
        }
        // SAFETY: By the type invariants; the place is as large as said, and the bytes asked for
        // are inside of the packet, whose length fits an `int`.
        let err = unsafe {
            bindings::skb_copy_bits(
                self.as_ptr(),
                offset as i32,
                bytes.as_mut_ptr().cast(),
                N as i32,
            )
        };
        (err == 0).then_some(bytes)
    }

    /// Makes the first `len` bytes of the packet linear and the packet's own, and lends them
    /// `GFP_ATOMIC`.
    #[inline]
    pub fn writable(&mut self, len: usize) -> Result<&mut [u8], NoMemory> {
        // SAFETY: By the type invariants.
        let may_be_shared = unsafe { bindings::sk_buff::cloned_raw(self.as_ptr()) } != 0;
        if may_be_shared || len > self.linear_len() {
            self.make_writable(len)?;
        }
        // SAFETY: By the type invariants so many bytes are linear from `data` on. Those up to
        // `len` are not shared with a clone, and only those are lent.
        Ok(unsafe { core::slice::from_raw_parts_mut((*self.as_ptr()).data, len) })
    }

    fn make_writable(&mut self, len: usize) -> Result<(), NoMemory> {
        let len = u32::try_from(len).map_err(|_| NoMemory)?;
        // SAFETY: By the type invariants. It fails if the packet is shorter than `len`.
        match unsafe { bindings::skb_ensure_writable(self.as_ptr(), len) } {
            0 => Ok(()),
            _ => Err(NoMemory),
        }
    }

    /// Makes all of the packet linear, so that [`Skb::network`] is all of it. `GFP_ATOMIC`.
    pub fn linearize(&mut self) -> Result<(), NoMemory> {
        // SAFETY: By the type invariants; there is no borrow of the data.
        match unsafe { bindings::linux_skb_linearize(self.as_ptr()) } {
            0 => Ok(()),
            _ => Err(NoMemory),
        }
    }

    /// Returns the number of writable bytes in front of the network header.
    #[inline]
    pub fn headroom(&self) -> usize {
        // SAFETY: By the type invariants both point into the same buffer.
        unsafe { (*self.as_ptr()).data.offset_from((*self.as_ptr()).head) as usize }
    }

    /// Makes room for `headroom` bytes before the network header, in a buffer that no clone shares
    /// (C: `skb_cow()`). `GFP_ATOMIC`.
    #[inline]
    pub fn cow(&mut self, headroom: usize) -> Result<(), NoMemory> {
        if self.headroom() >= headroom && !self.is_cloned() {
            return Ok(());
        }
        self.expand_head(headroom)
    }

    #[cold]
    fn expand_head(&mut self, headroom: usize) -> Result<(), NoMemory> {
        let headroom = u32::try_from(headroom).map_err(|_| NoMemory)?;
        // SAFETY: By the type invariants; there is no borrow of the data.
        match unsafe { bindings::linux_skb_cow(self.as_ptr(), headroom) } {
            0 => Ok(()),
            _ => Err(NoMemory),
        }
    }

    /// The packet with `headroom` bytes before the network header, in a buffer whose head no clone
    /// shares. `GFP_ATOMIC`; if there is no memory, the packet is freed.
    #[inline]
    pub fn with_headroom(self, headroom: usize) -> Result<Self, NoMemory> {
        if self.headroom() >= headroom && !self.is_cloned() {
            return Ok(self);
        }
        self.realloc_headroom(headroom)
    }

    #[cold]
    fn realloc_headroom(self, headroom: usize) -> Result<Self, NoMemory> {
        let headroom = u32::try_from(headroom).map_err(|_| NoMemory)?;
        // SAFETY: By the type invariants.
        let copy = unsafe { bindings::skb_realloc_headroom(self.as_ptr(), headroom) };
        let copy = core::ptr::NonNull::new(copy).ok_or(NoMemory)?;
        // SAFETY: By the type invariants.
        let sk = unsafe { (*self.as_ptr()).sk };
        if !sk.is_null() {
            // SAFETY: The socket lives as long as the packet that it sent.
            unsafe { bindings::skb_set_owner_w(copy.as_ptr(), sk) };
        }
        self.consume();
        // SAFETY: A new packet, made from one that was as the type invariants demand, in the same
        // read-side critical section.
        Ok(unsafe { Self::from_raw(copy) })
    }
}
