// SPDX-License-Identifier: GPL-2.0

//! The settings and the current state of the defence strategies against floods, and those that
//! packets apply: dropping first packets (`drop_packet`), and stricter TCP states (`secure_tcp`).
//! C: `update_defense_level()`.
//!
//! [`drop_entry`] has the work item that checks the available memory once a second, and drops
//! connections.

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

/// The settings of the defence strategies, and their current state.
#[pin_data]
pub(crate) struct Defence {
    /// The number of available pages below which memory is low.
    pub(crate) amemthresh: Int,
    /// The rate for `drop_packet` in mode 3: every n-th first packet is dropped.
    pub(crate) am_droprate: Int,
    /// The mode of `drop_entry`, which drops connections.
    pub(crate) drop_entry: Int,
    /// The mode of `drop_packet`, which drops first packets.
    pub(crate) drop_packet: Int,
    /// The mode of `secure_tcp`, which uses the stricter TCP state table.
    pub(crate) secure_tcp: Int,
    /// Serializes changes of the modes and of the fields below.
    #[pin]
    update: Mutex<()>,
    drops_entries: Atomic<bool>,
    /// The current rate: every n-th first packet is dropped; 0 for none (C: `ipvs->drop_rate`).
    drop_rate: Atomic<i32>,
    /// The number of first packets up to the next one to drop (C: `ipvs->drop_counter`).
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

    /// Sets a mode, and applies it at once. C: `proc_do_defense_mode()`.
    ///
    /// # Context
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `number` is not a mode.
    pub(crate) fn set_mode(&self, mode: &Int, number: i32) -> Result {
        if !MODES.contains(&number) {
            return Err(EINVAL);
        }
        let _update = self.update.lock();
        mode.set(number);
        self.update_locked();
        Ok(())
    }

    /// Checks the available memory, and turns the strategies on and off by their modes. Returns
    /// `true` unless all modes are 0, so that the check must be repeated. C:
    /// `update_defense_level()`.
    ///
    /// # Context
    ///
    /// May sleep.
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

    /// Counts a first packet and returns whether it is to be dropped. C: `ip_vs_todrop()`.
    #[inline]
    pub(crate) fn drops_packet(&self) -> bool {
        let rate = self.drop_rate.load(Relaxed);
        rate != 0 && self.counts_to_drop(rate)
    }

    /// Returns whether connections are currently to be dropped.
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

    /// Returns the current TCP state table. C: `pd->tcp_state_table`.
    #[inline]
    pub(crate) fn tcp_table(&self) -> tcp::Table {
        if self.is_careful.load(Relaxed) {
            tcp::Table::Secure
        } else {
            tcp::Table::Normal
        }
    }
}
