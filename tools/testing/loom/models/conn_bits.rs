// SPDX-License-Identifier: GPL-2.0

//! The flags and the state of a connection, and the counters of its server (`conn/bits.rs`).

use super::explore;
use crate::conn_bits::{
    AtomicBits,
    Bits,
    F_HASHED, //
};
use core::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};
use loom::thread;
use std::sync::Arc;

struct Conn {
    bits: AtomicBits,
    /// The counters of the server, from the creation of the connection on.
    active: Atomic<usize>,
    total: Atomic<usize>,
}

impl Conn {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            bits: AtomicBits::new(Bits(F_HASHED).with_active(false)),
            active: Atomic::new(0),
            total: Atomic::new(1),
        })
    }

    fn update(&self, change: impl Fn(Bits) -> Bits) -> Bits {
        self.bits.update(change, |active| {
            self.active
                .fetch_add(if active { 1 } else { usize::MAX }, Full);
        })
    }

    fn end(&self) {
        let last = self.update(|bits| bits.with(F_HASHED, false));
        self.total.fetch_sub(1, Full);
        if last.active() {
            self.active.fetch_sub(1, Full);
        }
    }
}

#[test]
fn a_server_counts_a_connection_out_as_what_it_is() {
    explore(4, || {
        let conn = Conn::new();
        let other = Arc::clone(&conn);
        let packets = thread::spawn(move || {
            other.update(|bits| bits.with_state(1).with_active(true));
            other.update(|bits| bits.with_state(5).with_active(false));
            other.update(|bits| bits.with_state(1).with_active(true));
        });
        conn.end();
        packets.join().unwrap();
        assert_eq!(conn.active.load(Relaxed), 0);
        assert_eq!(conn.total.load(Relaxed), 0);
        assert!(!conn.bits.load().hashed());
    });
}

#[test]
fn of_two_packets_that_change_the_state_both_count() {
    explore(4, || {
        let conn = Conn::new();
        let other = Arc::clone(&conn);
        let answer = thread::spawn(move || other.update(|bits| bits.with_no_output(true)));
        conn.update(|bits| bits.with_state(1).with_active(true));
        answer.join().unwrap();
        let bits = conn.bits.load();
        assert!(bits.no_output() && bits.active() && bits.state() == 1);
        assert_eq!(conn.active.load(Relaxed), 1);
    });
}
