// SPDX-License-Identifier: GPL-2.0

//! Defence against floods: what users set, what is in force, and what of it packets ask for: dropping
//! first packets, and TCP states that do not take a client's word. C: `update_defense_level()`.
//!
//! [`drop_entry`] looks at the memory once a second, and drops connections.

pub(crate) mod drop_entry;

use ipvs_core::{
    defence::{
        self,
        MODES, //
    },
    tcp, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use linux::{
    atomic::{
        Atomic,
        InlineAtomic,
        Relaxed, //
    },
    memory,
    sysctl::Int, //
};

/// What users set, and what is in force.
#[pin_data]
pub(crate) struct Defence {
    /// Below how many free pages memory is low.
    pub(crate) amemthresh: Int,
    /// Of how many first packets one is dropped when that is always done.
    pub(crate) am_droprate: Int,
    /// Mode of dropping connections.
    pub(crate) drop_entry: Int,
    /// Mode of dropping first packets.
    pub(crate) drop_packet: Int,
    /// Mode of careful TCP states.
    pub(crate) secure_tcp: Int,
    /// Held while modes change, or what is in force.
    #[pin]
    update: Mutex<()>,
    drops_entries: Atomic<bool>,
    /// Of how many first packets one is dropped; 0 for none.
    drop_rate: Atomic<i32>,
    /// How many are left until one is.
    drop_counter: InlineAtomic<i32>,
    is_careful: Atomic<bool>,
}

impl Defence {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            amemthresh: Int::new(1024),
            am_droprate: Int::new(10),
            drop_entry: Int::new(0),
            drop_packet: Int::new(0),
            secure_tcp: Int::new(0),
            update <- new_mutex!((), "ipvs_defence"),
            drops_entries: Atomic::new(false),
            drop_rate: Atomic::new(0),
            drop_counter: InlineAtomic::new(0),
            is_careful: Atomic::new(false),
        })
    }

    /// Sets a mode, which takes effect at once. May sleep.
    ///
    /// Errors: `EINVAL` for what is none.
    pub(crate) fn set_mode(&self, mode: &Int, number: i32) -> Result {
        if !MODES.contains(&number) {
            return Err(EINVAL);
        }
        let _update = self.update.lock();
        mode.set(number);
        self.update_locked();
        Ok(())
    }

    /// Looks at the memory, and puts in force what the modes say. Returns whether a defence may be
    /// wanted later.
    pub(crate) fn update(&self) -> bool {
        let _update = self.update.lock();
        self.update_locked();
        [&self.drop_entry, &self.drop_packet, &self.secure_tcp]
            .iter()
            .any(|mode| mode.is_set())
    }

    fn update_locked(&self) {
        let threshold = self.amemthresh.get().max(0);
        let available = i32::try_from(memory::available_pages()).unwrap_or(i32::MAX);
        let step = |mode: &Int| {
            let (number, on) = defence::next_mode(mode.get(), available < threshold);
            mode.set(number);
            on
        };
        self.drops_entries.store(step(&self.drop_entry), Relaxed);
        self.is_careful.store(step(&self.secure_tcp), Relaxed);
        let rate = match (step(&self.drop_packet), self.drop_packet.get()) {
            (false, _) => 0,
            (true, 3) => self.am_droprate.get(),
            (true, _) => {
                let rate = defence::drop_rate(threshold, available);
                self.drop_counter.store(rate, Relaxed);
                rate
            }
        };
        self.drop_rate.store(rate, Relaxed);
    }

    /// Whether a first packet is dropped. C: `ip_vs_todrop()`.
    #[inline]
    pub(crate) fn drops_packet(&self) -> bool {
        let rate = self.drop_rate.load(Relaxed);
        rate != 0 && self.counts_to_drop(rate)
    }

    /// Returns whether connections are to be dropped at present.
    pub(crate) fn drops_entries(&self) -> bool {
        self.drops_entries.load(Relaxed)
    }

    #[cold]
    fn counts_to_drop(&self, rate: i32) -> bool {
        if self.drop_counter.fetch_sub(1, Relaxed) > 1 {
            return false;
        }
        self.drop_counter.store(rate, Relaxed);
        true
    }

    /// How TCP connections go from state to state.
    #[inline]
    pub(crate) fn tcp_table(&self) -> tcp::Table {
        if self.is_careful.load(Relaxed) {
            tcp::Table::Secure
        } else {
            tcp::Table::Normal
        }
    }
}
