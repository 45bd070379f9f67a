// SPDX-License-Identifier: GPL-2.0

//! The flags and the protocol state of a connection in one word. C: `IP_VS_CONN_F_*`, `cp->state`.

use ipvs_core::{
    forward::FwdMethod,
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_NFCT,
        CONN_F_NOOUTPUT,
        CONN_F_ONE_PACKET,
        CONN_F_SYNC, //
    },
};
use linux::atomic::{
    Full,
    InlineAtomic,
    Relaxed, //
};

/// The connection is in the table and packets find it (C: `IP_VS_CONN_F_HASHED`).
pub(super) const F_HASHED: u32 = 0x40;

/// The connection was ended before its timeout, see [`super::expire_forced`]. Internal: not shown
/// to users.
pub(super) const F_FORCED: u32 = 1 << 23;

/// The client's port is not known yet: its first packet says it (C: `IP_VS_CONN_F_NO_CPORT`).
pub(super) const F_NO_CPORT: u32 = 0x800;

/// The connection is bound to an application: what it says is looked at. Internal: not shown to users.
pub(super) const F_APP: u32 = 1 << 22;

/// The flags and the protocol state of a connection, which change together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bits(pub(super) u32);

impl Bits {
    const STATE_SHIFT: u32 = 24;

    /// Returns the state, as a number that its protocol defines.
    #[inline]
    pub(crate) const fn state(self) -> u16 {
        (self.0 >> Self::STATE_SHIFT) as u16
    }

    #[inline]
    pub(crate) const fn with_state(self, state: u16) -> Self {
        Self((self.0 & ((1 << Self::STATE_SHIFT) - 1)) | ((state as u32) << Self::STATE_SHIFT))
    }

    #[inline]
    pub(crate) const fn fwd_method(self) -> FwdMethod {
        FwdMethod::from_flags(self.0)
    }

    #[inline]
    pub(crate) const fn no_output(self) -> bool {
        self.0 & CONN_F_NOOUTPUT != 0
    }

    #[inline]
    pub(crate) const fn with_no_output(self, no_output: bool) -> Self {
        self.with(CONN_F_NOOUTPUT, no_output)
    }

    #[inline]
    pub(crate) const fn active(self) -> bool {
        self.0 & CONN_F_INACTIVE == 0
    }

    #[inline]
    pub(crate) const fn with_active(self, active: bool) -> Self {
        self.with(CONN_F_INACTIVE, !active)
    }

    /// Returns whether packets may find the connection, which has not ended (C: `IP_VS_CONN_F_HASHED`).
    #[inline]
    pub(crate) const fn hashed(self) -> bool {
        self.0 & F_HASHED != 0
    }

    /// Returns whether connection tracking keeps an entry for the connection.
    #[inline]
    pub(crate) const fn nfct(self) -> bool {
        self.0 & CONN_F_NFCT != 0
    }

    /// Returns whether the connection lives for a single packet.
    pub(crate) const fn one_packet(self) -> bool {
        self.0 & CONN_F_ONE_PACKET != 0
    }

    /// Returns whether the connection is bound to an application.
    #[inline]
    pub(crate) const fn app(self) -> bool {
        self.0 & F_APP != 0
    }

    /// Returns whether the client's port is not known yet.
    #[inline]
    pub(crate) const fn no_cport(self) -> bool {
        self.0 & F_NO_CPORT != 0
    }

    /// Returns whether another director has told of the connection.
    #[inline]
    pub(crate) const fn synced(self) -> bool {
        self.0 & CONN_F_SYNC != 0
    }

    /// Makes the bits of a connection that begins with `flags` in `state`.
    pub(crate) const fn new(flags: u32, state: u16) -> Self {
        Self(flags).with_state(state)
    }

    /// Returns the flags as other directors are told them. C: `cp->flags`.
    pub(crate) const fn told(self) -> u32 {
        self.0 & ((1 << Self::STATE_SHIFT) - 1) & !(F_APP | F_FORCED)
    }

    /// Returns the flags and the state in one word, for [`super::NewConn`].
    pub(crate) const fn word(self) -> u32 {
        self.0
    }

    /// Returns the bits of a connection that takes the place of one with these, and knows the port of the
    /// client. Like each new one it is not active yet.
    pub(crate) const fn inherited(self) -> Self {
        Self(self.0 & !(F_HASHED | F_FORCED | F_APP | F_NO_CPORT)).with_active(false)
    }

    pub(super) const fn forced(self) -> bool {
        self.0 & F_FORCED != 0
    }

    #[inline]
    pub(super) const fn with(self, flag: u32, set: bool) -> Self {
        Self(if set { self.0 | flag } else { self.0 & !flag })
    }
}

/// [`Bits`] that packets of the connection change concurrently.
pub(super) struct AtomicBits(InlineAtomic<u32>);

impl AtomicBits {
    pub(super) const fn new(bits: Bits) -> Self {
        Self(InlineAtomic::new(bits.0))
    }

    #[inline]
    pub(super) fn load(&self) -> Bits {
        Bits(self.0.load(Relaxed))
    }

    /// Ends the connection: takes [`F_HASHED`] and `without` away and adds `with`. Returns the bits
    /// before, or `None` if the connection was ending already.
    pub(super) fn end(&self, without: u32, with: u32) -> Option<Bits> {
        let mut old = self.load();
        while old.hashed() {
            let new = old.0 & !(F_HASHED | without) | with;
            match self.0.cmpxchg(old.0, new, Full) {
                Ok(_) => return Some(old),
                Err(now) => old = Bits(now),
            }
        }
        None
    }

    /// Applies `change` and returns the result. Calls `activity` with `true` if the connection
    /// became active, with `false` if it became inactive.
    ///
    /// Writes nothing if nothing changes, or if the connection is ending.
    #[inline]
    pub(super) fn update(
        &self,
        change: impl Fn(Bits) -> Bits,
        activity: impl FnOnce(bool),
    ) -> Bits {
        let mut old = self.load();
        loop {
            let new = change(old);
            if new == old || !old.hashed() {
                return old;
            }
            match self.0.cmpxchg(old.0, new.0, Full) {
                Ok(_) => {
                    if new.active() != old.active() {
                        activity(new.active());
                    }
                    return new;
                }
                Err(now) => old = Bits(now),
            }
        }
    }
}
