// SPDX-License-Identifier: GPL-2.0

//! Flags and state of a connection, in one word. C: `IP_VS_CONN_F_*`, `cp->state`.

use ipvs_core::{
    forward::FwdMethod,
    netlink::{
        CONN_F_INACTIVE,
        CONN_F_NOOUTPUT, //
    },
};
use linux::atomic::{
    Full,
    InlineAtomic,
    Relaxed, //
};

/// The connection is to be found in the table (C: `IP_VS_CONN_F_HASHED`).
pub(super) const F_HASHED: u32 = 0x40;

/// Nobody waited for its end: users never see this one.
pub(super) const F_FORCED: u32 = 1 << 23;

/// Flags and protocol state of a connection, which change together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bits(pub(super) u32);

impl Bits {
    const STATE_SHIFT: u32 = 24;

    /// The protocol's number of the state.
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

    #[inline]
    pub(super) const fn hashed(self) -> bool {
        self.0 & F_HASHED != 0
    }

    pub(super) const fn forced(self) -> bool {
        self.0 & F_FORCED != 0
    }

    #[inline]
    pub(super) const fn with(self, flag: u32, set: bool) -> Self {
        Self(if set { self.0 | flag } else { self.0 & !flag })
    }
}

/// [`Bits`] that any packet of the connection may change.
pub(super) struct AtomicBits(InlineAtomic<u32>);

impl AtomicBits {
    pub(super) const fn new(bits: Bits) -> Self {
        Self(InlineAtomic::new(bits.0))
    }

    #[inline]
    pub(super) fn load(&self) -> Bits {
        Bits(self.0.load(Relaxed))
    }

    /// Changes them by `change`, and says what they are now; `activity` is told if the connection
    /// became active, or is no longer. Without a change nothing is written. Those of a connection
    /// that ends change no more.
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
