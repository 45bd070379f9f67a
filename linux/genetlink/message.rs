// SPDX-License-Identifier: GPL-2.0

//! Messages to a client, and dumps, which are sequences of them.

use super::Request;
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_uint, //
    },
    prelude::*, //
};

const NLA_HDRLEN: usize = size_of::<bindings::nlattr>();

/// A message while its attributes are written.
///
/// # Invariants
///
/// `skb` is valid for `'a`, linear, used by nothing else, and ends with a generic netlink message,
/// whose attributes begin at offset `start`, at most the length of `skb`.
pub struct Message<'a> {
    skb: *mut bindings::sk_buff,
    start: usize,
    _skb: PhantomData<&'a mut bindings::sk_buff>,
}

impl Message<'_> {
    /// Appends a message to `skb`, or nothing at all if it doesn't fit or `fill` fails.
    ///
    /// # Safety
    ///
    /// `skb` must be valid, a buffer for messages, and used by nothing else during the call.
    pub(super) unsafe fn write(
        skb: *mut bindings::sk_buff,
        request: &Request<'_>,
        cmd: u8,
        flags: c_int,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result {
        let (portid, seq) = request.sender();
        // SAFETY: As this function requires; the family is registered, since it is asked.
        let header =
            unsafe { bindings::genlmsg_put(skb, portid, seq, request.family(), flags, cmd) };
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        // INVARIANT: As this function requires; the header was just put, and ends the buffer.
        let mut message = Message {
            skb,
            start: 0,
            _skb: PhantomData,
        };
        message.start = message.len();
        let result = fill(&mut message);
        // SAFETY: `header` is that of the message at the end of `skb`: attributes are only put and
        // taken back behind it.
        unsafe {
            match result {
                Ok(()) => bindings::genlmsg_end(skb, header),
                Err(_) => bindings::genlmsg_cancel(skb, header),
            }
        }
        result
    }

    /// Returns the number of bytes in the buffer.
    fn len(&self) -> usize {
        // SAFETY: `skb` is valid by the type invariant.
        (unsafe { (*self.skb).len }) as usize
    }

    /// Appends an attribute. Fails with `EMSGSIZE`, and appends nothing, if it doesn't fit.
    pub fn put(&mut self, number: u16, payload: &[u8]) -> Result {
        let len = c_int::try_from(payload.len()).map_err(|_| EMSGSIZE)?;
        let (number, payload) = (c_int::from(number), payload.as_ptr().cast());
        // SAFETY: `skb` is valid by the type invariant, and `payload` readable for its length.
        to_result(unsafe { bindings::nla_put(self.skb, number, len, payload) })
    }

    /// Begins an attribute that holds those that follow, up to [`Self::nest_end`].
    ///
    /// Not marked with `NLA_F_NESTED`, which clients of old families don't expect.
    pub fn nest_start(&mut self, number: u16) -> Result<usize> {
        let nest = self.len();
        self.put(number, &[])?;
        Ok(nest)
    }

    /// Ends the attribute that [`Self::nest_start`] began.
    pub fn nest_end(&mut self, nest: usize) {
        let len = self.len();
        let Some(nest_len) = len.checked_sub(nest).filter(|&n| n >= NLA_HDRLEN) else {
            return;
        };
        if nest < self.start {
            return;
        }
        // SAFETY: By the type invariant and the checks above, the header is in the buffer, behind
        // that of the message. A buffer for messages is shorter than a length can say.
        unsafe {
            let attr = (*self.skb).data.add(nest).cast::<bindings::nlattr>();
            (&raw mut (*attr).nla_len).write_unaligned(nest_len as u16);
        }
    }

    /// Takes back the attribute that [`Self::nest_start`] began, and all behind it.
    pub fn nest_cancel(&mut self, nest: usize) {
        if nest >= self.start && nest <= self.len() {
            // SAFETY: `skb` is valid by the type invariant, and not shorter than that.
            unsafe { bindings::skb_trim(self.skb, nest as c_uint) };
        }
    }
}

/// A dump in progress: a sequence of messages, sent in parts as the client reads them.
///
/// # Invariants
///
/// `skb` is the part to fill now and `cb` the state of the dump; both are valid for `'a` and used by
/// nothing else. The words of `cb` that are for its family hold a `P`.
pub struct Dump<'a, P: Zeroable + Copy> {
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
    request: &'a Request<'a>,
    _position: PhantomData<P>,
}

impl<'a, P: Zeroable + Copy> Dump<'a, P> {
    /// # Safety
    ///
    /// `skb` and `cb` must be those of a dump that runs, valid for `'a` and used by nothing else. No
    /// other `P` must be used for this dump.
    pub(super) unsafe fn new(
        skb: *mut bindings::sk_buff,
        cb: *mut bindings::netlink_callback,
        request: &'a Request<'a>,
    ) -> Self {
        // INVARIANT: As this function requires; at first, the words are zero, which is a `P`.
        Self {
            skb,
            cb,
            request,
            _position: PhantomData,
        }
    }

    /// Returns the words that are for the family.
    fn words(&self) -> *mut P {
        const { assert!(size_of::<P>() <= size_of::<bindings::netlink_callback__bindgen_ty_1>()) };
        // SAFETY: By the type invariant.
        (unsafe { &raw mut (*self.cb).__bindgen_anon_1 }).cast()
    }

    /// Returns the position at which the part before this one ended; all zero at first.
    pub fn position(&self) -> P {
        // SAFETY: By the type invariant.
        unsafe { self.words().read_unaligned() }
    }

    /// Keeps for the next part where this one ends.
    pub fn set_position(&mut self, position: P) {
        // SAFETY: By the type invariant; `words` has made sure that there is room.
        unsafe { self.words().write_unaligned(position) };
    }

    /// Appends a message. `EMSGSIZE` if it doesn't fit: it is for the next part then.
    pub fn message(&mut self, cmd: u8, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        let flags = bindings::NLM_F_MULTI as c_int;
        // SAFETY: By the type invariant.
        unsafe { Message::write(self.skb, self.request, cmd, flags, fill) }
    }
}
