// SPDX-License-Identifier: GPL-2.0

//! How long a connection or a template lasts, and how many packets it has had: what both have in common.
//! C: `cp->timer`, `cp->in_pkts`.

use ipvs_core::defence::FEW_PACKETS;
use linux::{
    atomic::{
        Atomic,
        InlineAtomic,
        Relaxed, //
    },
    jiffies, //
};

/// The number at which [`PacketCount`] saturates: above [`FEW_PACKETS`] nothing is sampled by
/// `drop_entry`, which is the only one to ask.
const MANY_PACKETS: u8 = FEW_PACKETS + 1;

/// The number of packets of a client, up to [`MANY_PACKETS`].
pub(super) struct PacketCount(Atomic<u8>);

impl PacketCount {
    /// Makes it, without packets.
    pub(super) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Returns the number.
    pub(super) fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }

    /// Counts a packet. Nothing is written once there are many; two that are counted at a time may
    /// count as one.
    #[inline]
    pub(super) fn add(&self) {
        let packets = self.0.load(Relaxed);
        if packets < MANY_PACKETS {
            self.0.store(packets.wrapping_add(1), Relaxed);
        }
    }
}

/// The tick at which the time of a connection or template is over. Its timer looks at it when it
/// fires, so only a deadline that moves to an earlier tick has to touch the timer.
pub(super) struct Deadline(InlineAtomic<usize>);

impl Deadline {
    /// Returns the tick that is `timeout` ticks away.
    #[inline]
    fn tick(timeout: u32) -> usize {
        jiffies::now().wrapping_add(timeout as usize)
    }

    /// Makes one that is `timeout` ticks away.
    #[inline]
    pub(super) fn after(timeout: u32) -> Self {
        Self(InlineAtomic::new(Self::tick(timeout)))
    }

    /// Returns the tick.
    #[inline]
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Returns how many ticks are left.
    pub(super) fn remaining(&self) -> usize {
        jiffies::left_until(self.get())
    }

    /// Returns whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        !jiffies::after(self.get(), jiffies::now())
    }

    /// Sets it `timeout` ticks away, written at most once a tick. Returns `true` if that is earlier
    /// than before.
    #[inline]
    pub(super) fn restart(&self, timeout: u32) -> bool {
        let deadline = Self::tick(timeout);
        let old = self.get();
        if deadline == old {
            return false;
        }
        self.0.store(deadline, Relaxed);
        jiffies::after(old, deadline)
    }

    /// Sets it `timeout` ticks away. Returns `true` if that is earlier than what it replaced, whoever
    /// else sets it at the same time.
    pub(super) fn replace(&self, timeout: u32) -> bool {
        let deadline = Self::tick(timeout);
        jiffies::after(self.0.xchg(deadline, Relaxed), deadline)
    }

    /// Sets it `timeout` ticks away, whatever it was. For the timer itself, which goes on by it.
    pub(super) fn set(&self, timeout: u32) {
        self.0.store(Self::tick(timeout), Relaxed);
    }
}
