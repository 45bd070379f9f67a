// SPDX-License-Identifier: GPL-2.0

//! Packets that are only looked at.

use super::Headers;
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// A packet that belongs to somebody else, who lends it to be read.
///
/// Unlike an [`Skb`](super::Skb) it may be anywhere in the network stack, carry any route, and have
/// its network header anywhere in front of or behind `data`.
///
/// # Invariants
///
/// `ptr` is to a valid `sk_buff` with a network header, of which nothing is written to for `'a`, but
/// by way of atomics.
#[derive(Clone, Copy)]
pub struct SkbRef<'a> {
    ptr: NonNull<bindings::sk_buff>,
    _borrow: PhantomData<&'a bindings::sk_buff>,
}

impl SkbRef<'_> {
    /// Borrows a packet from C.
    ///
    /// # Safety
    ///
    /// `ptr` must be as the type invariants demand, for the lifetime that the caller chooses.
    #[inline]
    pub(crate) unsafe fn from_raw(ptr: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            ptr,
            _borrow: PhantomData,
        }
    }

    #[inline]
    fn as_ptr(&self) -> *const bindings::sk_buff {
        self.ptr.as_ptr()
    }

    #[inline]
    fn headers(&self) -> *const Headers {
        // SAFETY: The place is inside of a valid `sk_buff`; nothing is read.
        unsafe { (&raw const (*self.as_ptr()).__bindgen_anon_4).cast() }
    }

    /// Returns whether IPVS has handled the packet.
    #[inline]
    pub fn ipvs_property(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { Headers::ipvs_property_raw(self.headers()) != 0 }
    }

    /// Returns whether the packet goes in the direction of the first packet of its conntrack entry;
    /// `None` if it is not tracked. C: `nf_ct_get()`.
    #[inline]
    pub fn is_tracked_original(&self) -> Option<bool> {
        // A pointer, with a state in its lowest bits.
        // SAFETY: By the type invariants.
        let nfct = unsafe { (*self.as_ptr())._nfct };
        let state = nfct & bindings::NFCT_INFOMASK as usize;
        (nfct & bindings::NFCT_PTRMASK as usize != 0)
            .then_some(state < bindings::ip_conntrack_info_IP_CT_IS_REPLY as usize)
    }

    /// Returns the offset of the network header from `data`; `None` if it lies before that. C:
    /// `skb_network_offset()`.
    #[inline]
    fn network_offset(&self) -> Option<usize> {
        // SAFETY: By the type invariants.
        let at = usize::from(unsafe { (*self.headers()).network_header });
        // SAFETY: By the type invariants both point into the packet's buffer.
        let data_at = unsafe { (*self.as_ptr()).data.offset_from((*self.as_ptr()).head) };
        at.checked_sub(usize::try_from(data_at).ok()?)
    }

    /// Returns the number of bytes from the network header on.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no IP packet is empty")]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariants.
        let len = unsafe { (*self.as_ptr()).len as usize };
        self.network_offset()
            .map_or(0, |offset| len.saturating_sub(offset))
    }

    /// Copies `N` bytes at `offset` from the network header on. Returns `None` if the packet ends
    /// before. C: `skb_header_pointer()`.
    pub fn header<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.network_offset()?.checked_add(offset)?;
        let mut bytes = [0; N];
        // SAFETY: By the type invariants.
        let len = unsafe { (*self.as_ptr()).len as usize };
        if start.checked_add(N)? > len {
            return None;
        }
        // SAFETY: By the type invariants; the place is as large as said, and the bytes asked for
        // are inside of the packet, whose length fits an `int`.
        let err = unsafe {
            bindings::skb_copy_bits(
                self.as_ptr(),
                start as i32,
                bytes.as_mut_ptr().cast(),
                N as i32,
            )
        };
        (err == 0).then_some(bytes)
    }
}
