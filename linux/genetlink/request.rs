// SPDX-License-Identifier: GPL-2.0

//! The request that a client sent, and what is told it besides an errno.

use super::Message;
use crate::{
    bindings,
    net::Net, //
};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*, //
};

const NLA_HDRLEN: usize = size_of::<bindings::nlattr>();

/// A request, valid during the call of its handler.
///
/// # Invariants
///
/// - `info` is valid for `'a`, and nothing but this request uses its `extack`.
/// - `bytes` is the whole message, headers included.
pub struct Request<'a> {
    info: *mut bindings::genl_info,
    bytes: &'a [u8],
    _info: PhantomData<&'a bindings::genl_info>,
}

impl<'a> Request<'a> {
    /// The offset of the attributes in the message, behind both headers, in bytes.
    pub const ATTRS_OFFSET: usize =
        size_of::<bindings::nlmsghdr>() + size_of::<bindings::genlmsghdr>();

    /// # Safety
    ///
    /// `info` must be valid for `'a`, of a request that is being handled, and its `extack` not be
    /// used otherwise.
    pub(super) unsafe fn new(info: *mut bindings::genl_info) -> Self {
        // SAFETY: As this function requires; the core checked that the message is as long as its
        // header says, and not shorter than the headers.
        let bytes = unsafe {
            let header = (*info).nlhdr;
            core::slice::from_raw_parts(header.cast::<u8>(), (*header).nlmsg_len as usize)
        };
        // INVARIANT: As this function requires.
        Self {
            info,
            bytes,
            _info: PhantomData,
        }
    }

    /// Returns the command.
    pub fn cmd(&self) -> u8 {
        // SAFETY: By the type invariant.
        unsafe { (*(*self.info).genlhdr).cmd }
    }

    /// Returns the network namespace that the request is about.
    pub fn net(&self) -> &'a Net {
        // SAFETY: By the type invariant; the client's socket keeps its namespace for `'a`.
        unsafe { Net::from_raw(bindings::linux_genl_info_net(self.info)) }
    }

    /// Returns the attributes, which begin at [`Self::ATTRS_OFFSET`]. Those of a request have
    /// passed the family's policy, those of a dump have not.
    pub fn attrs(&self) -> &'a [u8] {
        self.bytes.get(Self::ATTRS_OFFSET..).unwrap_or_default()
    }

    /// Tells the client, besides the errno, what is wrong. Only the first 79 bytes have room.
    pub fn explain(&self, message: &str) {
        let Some(extack) = self.extack() else {
            return;
        };
        let Some((end, room)) = extack._msg_buf.split_last_mut() else {
            return;
        };
        let mut text = message.bytes();
        for byte in room {
            *byte = text.next().unwrap_or(0);
        }
        *end = 0;
        extack._msg = extack._msg_buf.as_ptr();
    }

    /// Tells the client that the attribute which begins at `offset` in the message is wrong.
    pub fn point_at(&self, offset: usize) {
        if let (Some(extack), Some(attr)) = (self.extack(), self.attr(offset)) {
            extack.bad_attr = attr;
        }
    }

    /// Tells the client that attribute `number` is missing: in the attribute that begins at `nest`
    /// in the message, or in the request itself.
    pub fn point_at_missing(&self, number: u16, nest: Option<usize>) {
        if let Some(extack) = self.extack() {
            extack.miss_type = number;
            extack.miss_nest = nest
                .and_then(|offset| self.attr(offset))
                .unwrap_or(core::ptr::null());
        }
    }

    /// Returns the attribute that begins at `offset`, if that is inside of the message.
    fn attr(&self, offset: usize) -> Option<*const bindings::nlattr> {
        let header = self.bytes.get(offset..)?.get(..NLA_HDRLEN)?;
        Some(header.as_ptr().cast())
    }

    fn extack(&self) -> Option<&mut bindings::netlink_ext_ack> {
        // SAFETY: By the type invariant it is null, or valid and ours.
        unsafe { (*self.info).extack.as_mut() }
    }

    /// Answers with one message; `fill` writes its attributes. Nothing is sent if that fails.
    pub fn reply(&self, cmd: u8, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: No requirement.
        let skb =
            unsafe { bindings::genlmsg_new(bindings::GENLMSG_DEFAULT_SIZE, bindings::GFP_KERNEL) };
        if skb.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: `skb` is a fresh message buffer, and ours.
        let written = unsafe { Message::write(skb, self, cmd, 0, fill) };
        if let Err(e) = written {
            // SAFETY: `skb` is still ours, and not used from here on.
            unsafe { bindings::nlmsg_free(skb) };
            return Err(e);
        }
        // SAFETY: `info` is valid by the type invariant; the buffer goes over to the core.
        to_result(unsafe { bindings::linux_genlmsg_reply(skb, self.info) })
    }

    /// Returns the client's port and the request's sequence number, for the header of an answer.
    pub(super) fn sender(&self) -> (u32, u32) {
        // SAFETY: By the type invariant.
        unsafe { ((*self.info).snd_portid, (*self.info).snd_seq) }
    }

    /// Returns the family that was asked.
    pub(super) fn family(&self) -> *const bindings::genl_family {
        // SAFETY: By the type invariant.
        unsafe { (*self.info).family }
    }
}
