// SPDX-License-Identifier: GPL-2.0

//! The deadline and the packet count that connections and templates have. C: `cp->timer`,
//! `cp->in_pkts`.

use ipvs_core::defence::FEW_PACKETS;
use linux::{
    atomic::{
        Atomic,
        InlineAtomic,
        Relaxed, //
    },
    jiffies, //
};

/// The number at which [`PacketCount`] saturates. Only `drop_entry` reads the count, and it never
/// samples a connection with more than [`FEW_PACKETS`].
const MANY_PACKETS: u8 = FEW_PACKETS + 1;

/// The number of packets received from the client, up to [`MANY_PACKETS`].
pub(super) struct PacketCount(Atomic<u8>);

impl PacketCount {
    /// Makes a count of 0.
    pub(super) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Returns the number.
    pub(super) fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }

    /// Counts on from this number.
    pub(super) fn set(&self, packets: u32) {
        let few = u8::try_from(packets).unwrap_or(MANY_PACKETS);
        self.0.store(few.min(MANY_PACKETS), Relaxed);
    }

    /// Counts a packet and returns the number; `None` once the count has saturated, when nothing is
    /// written. Two packets that are counted concurrently may count as one, but each number is returned
    /// to somebody.
    #[inline]
    pub(super) fn add(&self) -> Option<u32> {
        let packets = self.0.load(Relaxed);
        if packets >= MANY_PACKETS {
            return None;
        }
        let packets = packets.wrapping_add(1);
        self.0.store(packets, Relaxed);
        (packets < MANY_PACKETS).then_some(packets.into())
    }
}

/// The tick at which a connection or template expires. The timer reads it when it fires, so the
/// timer itself needs to be modified only if the deadline moves to an earlier tick.
pub(super) struct Deadline(InlineAtomic<usize>);

impl Deadline {
    /// Returns the tick that is `timeout` ticks away.
    #[inline]
    fn tick(timeout: u32) -> usize {
        jiffies::now().wrapping_add(timeout as usize)
    }

    /// Makes a deadline `timeout` ticks from now.
    #[inline]
    pub(super) fn after(timeout: u32) -> Self {
        Self(InlineAtomic::new(Self::tick(timeout)))
    }

    /// Returns the tick.
    #[inline]
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Returns the number of ticks left.
    pub(super) fn remaining(&self) -> usize {
        jiffies::left_until(self.get())
    }

    /// Returns whether the deadline has been reached.
    pub(super) fn is_over(&self) -> bool {
        !jiffies::after(self.get(), jiffies::now())
    }

    /// Moves the deadline to `timeout` ticks from now; writes only if the tick changes. Returns
    /// `true` if the new deadline is earlier than the old one.
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

    /// Moves the deadline to `timeout` ticks from now. Returns `true` if the new deadline is
    /// earlier than the one that it replaced, also if it is set concurrently elsewhere.
    pub(super) fn replace(&self, timeout: u32) -> bool {
        let deadline = Self::tick(timeout);
        jiffies::after(self.0.xchg(deadline, Relaxed), deadline)
    }

    /// Moves a deadline that has been reached to `timeout` ticks from now, unless it is moved
    /// concurrently. For the timer's own handler, which rearms the timer by the new deadline.
    pub(super) fn extend(&self, timeout: u32) {
        let old = self.get();
        if !jiffies::after(old, jiffies::now()) {
            let _ = self.0.cmpxchg(old, Self::tick(timeout), Relaxed);
        }
    }

    /// Moves the deadline to `timeout` ticks from now without a look at the old one. Only for the
    /// timer's own handler, which rearms the timer by the new deadline.
    pub(super) fn set(&self, timeout: u32) {
        self.0.store(Self::tick(timeout), Relaxed);
    }
}
