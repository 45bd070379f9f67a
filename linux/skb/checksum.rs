// SPDX-License-Identifier: GPL-2.0

//! The state of a packet's transport checksum (C: `skb->ip_summed`).

use super::{
    Headers,
    Skb, //
};
use crate::bindings;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The state of a transport checksum (C: `ip_summed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summed {
    /// Nothing (`CHECKSUM_NONE`).
    None,
    /// It is right (`CHECKSUM_UNNECESSARY`).
    Unnecessary,
    /// The device summed up all of the packet (`CHECKSUM_COMPLETE`).
    Complete,
    /// The field holds the sum over the pseudo header, and the device that the packet leaves by is
    /// to complete it (`CHECKSUM_PARTIAL`).
    Partial,
}

impl Skb {
    /// Returns the state of the transport checksum.
    #[inline]
    pub fn summed(&self) -> Summed {
        // SAFETY: By the type invariants.
        match u32::from(unsafe { Headers::ip_summed_raw(self.headers()) }) {
            bindings::CHECKSUM_UNNECESSARY => Summed::Unnecessary,
            bindings::CHECKSUM_COMPLETE => Summed::Complete,
            bindings::CHECKSUM_PARTIAL => Summed::Partial,
            _ => Summed::None,
        }
    }

    /// States what is known of the transport checksum.
    ///
    /// It takes [`Summed::Partial`] a place of the checksum as well, so this can't set it.
    #[inline]
    pub(super) fn set_summed(&mut self, summed: u32) {
        // SAFETY: By the type invariants, and the packet is ours alone.
        unsafe { Headers::set_ip_summed_raw(self.headers(), summed as u8) };
    }

    /// States that nothing is known of the transport checksum.
    #[inline]
    pub fn set_checksum_none(&mut self) {
        self.set_summed(bindings::CHECKSUM_NONE);
    }

    /// States that the transport checksum is right.
    #[inline]
    pub fn set_checksum_unnecessary(&mut self) {
        self.set_summed(bindings::CHECKSUM_UNNECESSARY);
    }

    /// Forgets the sum of all of the packet, which is wrong when the packet is routed on.
    #[inline]
    pub fn forward_checksum(&mut self) {
        if self.summed() == Summed::Complete {
            self.set_checksum_none();
        }
    }

    /// Returns the one's complement sum, not folded, of the packet from `offset` on, as the
    /// integers that its bytes form in memory. 0 if the packet ends before.
    pub fn sum(&self, offset: usize) -> u32 {
        let Some(len) = self.len().checked_sub(offset) else {
            return 0;
        };
        // SAFETY: By the type invariants; the bytes are inside of the packet, whose length fits an
        // `int`.
        unsafe { bindings::skb_checksum(self.as_ptr(), offset as i32, len as i32, 0) }
    }

    /// Continues a CRC32c over the packet from `offset` on. Returns `crc` if the packet ends before.
    pub fn crc32c(&self, offset: usize, crc: u32) -> u32 {
        let Some(len) = self.len().checked_sub(offset) else {
            return crc;
        };
        // SAFETY: By the type invariants; the bytes are inside of the packet, whose length fits an
        // `int`.
        unsafe { bindings::skb_crc32c(self.as_ptr(), offset as i32, len as i32, crc) }
    }

    /// Computes an SCTP checksum that was left to the device, for a packet that does not get there as it
    /// is. Changes no other packet, and leaves one that is yet to be segmented to that.
    ///
    /// # Errors
    ///
    /// There is no memory; the packet must be dropped.
    pub fn complete_sctp_checksum(&mut self) -> Result {
        // SAFETY: The packet is valid; the function does nothing if its checksum is not left to the device.
        to_result(unsafe {
            if !bindings::linux_skb_csum_is_sctp(self.as_ptr()) {
                return Ok(());
            }
            bindings::skb_crc32c_csum_help(self.as_ptr())
        })
    }

    /// Returns whether the transport checksum of a packet of `protocol`, whose header is at `offset`, is
    /// right. What this host sends or a device has checked is not looked at. For IPv4, 0 as protocol
    /// means that there is no pseudo header.
    pub fn checksum_is_valid(&mut self, offset: usize, protocol: u8) -> bool {
        let Ok(offset) = u32::try_from(offset) else {
            return false;
        };
        // SAFETY: By the type invariants.
        if self.device().is_none() || unsafe { bindings::linux_skb_csum_unnecessary(self.as_ptr()) }
        {
            return true;
        }
        let family = if self.is_ipv6() {
            bindings::AF_INET6
        } else {
            bindings::AF_INET
        };
        // SAFETY: By the type invariants. The hook only says that even the checksum of what is
        // forwarded matters.
        unsafe {
            bindings::nf_checksum(
                self.as_ptr(),
                bindings::nf_inet_hooks_NF_INET_LOCAL_IN,
                offset,
                protocol,
                family as c_ushort,
            ) == 0
        }
    }
}
