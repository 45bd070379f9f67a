// SPDX-License-Identifier: GPL-2.0

//! What the master of a synchronisation remembers of a connection or template that it may send again. C:
//! `cp->sync_endtime`, `cp->old_state`, `cp->in_pkts`.

use linux::{
    atomic::{
        Full,
        InlineAtomic,
        Relaxed, //
    },
    jiffies, //
};

/// The low bits of the word for the end, in which the number of repetitions is.
const REPETITIONS: usize = 3;

/// What was sent last, and the packets since the beginning.
pub(crate) struct Sent {
    /// The tick at which the copy ends that backups have, with the number of repetitions in the low bits.
    end: InlineAtomic<usize>,
    packets: InlineAtomic<u32>,
    state: InlineAtomic<u32>,
}

impl Sent {
    /// Makes that of a connection which was not sent yet, after this number of packets.
    pub(super) fn new(packets: u32) -> Self {
        Self {
            end: InlineAtomic::new(jiffies::now() & !REPETITIONS),
            packets: InlineAtomic::new(packets),
            state: InlineAtomic::new(0),
        }
    }

    /// Counts a packet from the client, and returns the number of packets.
    pub(crate) fn count_packet(&self) -> u32 {
        self.packets.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Notes that another director has told of the connection, in `state`, after this number of packets.
    pub(super) fn told(&self, packets: u32, state: u16) {
        self.packets.store(packets, Relaxed);
        self.state.store(u32::from(state), Relaxed);
    }

    /// Returns the word for the end of the backups' copy.
    pub(crate) fn end(&self) -> usize {
        self.end.load(Relaxed)
    }

    /// Returns the state that was sent last.
    pub(crate) fn state(&self) -> u16 {
        self.state.load(Relaxed) as u16
    }

    /// Notes that `state` is sent, with `end` instead of `old_end`. Returns `false` if somebody else has
    /// just noted an end.
    pub(crate) fn note(&self, state: u16, old_end: usize, end: usize) -> bool {
        self.state.store(u32::from(state), Relaxed);
        self.end.cmpxchg(old_end, end, Full).is_ok()
    }
}
