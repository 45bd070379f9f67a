// SPDX-License-Identifier: GPL-2.0

//! The timeouts of idle connections, by protocol and state. C: `timeout_table` of `struct
//! ip_vs_proto_data`.

use ipvs_core::{
    tcp,
    udp, //
};
use linux::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    jiffies::HZ, //
};

/// The timeouts of idle connections that users can set, in ticks. Those of SCTP are constant.
pub(crate) struct Timeouts {
    tcp: [Atomic<u32>; tcp::STATES],
    udp: Atomic<u32>,
}

impl Timeouts {
    /// Makes the timeouts of a new namespace, which are the protocols' defaults.
    pub(crate) fn new() -> Self {
        Self {
            tcp: tcp::DEFAULT_TIMEOUTS.map(|secs| Atomic::new(secs.wrapping_mul(HZ))),
            udp: Atomic::new(udp::DEFAULT_TIMEOUT.wrapping_mul(HZ)),
        }
    }

    /// Returns the timeout of a TCP state, in ticks.
    #[inline]
    pub(crate) fn tcp(&self, state: tcp::TcpState) -> u32 {
        self.tcp
            .get(usize::from(state.number()))
            .map_or(0, |ticks| ticks.load(Relaxed))
    }

    /// Returns the timeout of UDP, in ticks.
    #[inline]
    pub(crate) fn udp(&self) -> u32 {
        self.udp.load(Relaxed)
    }

    /// Sets the timeout of a TCP state to `secs` seconds.
    pub(crate) fn set_tcp(&self, state: tcp::TcpState, secs: u32) {
        if let Some(ticks) = self.tcp.get(usize::from(state.number())) {
            ticks.store(secs.wrapping_mul(HZ), Relaxed);
        }
    }

    /// Sets the timeout of UDP to `secs` seconds.
    pub(crate) fn set_udp(&self, secs: u32) {
        self.udp.store(secs.wrapping_mul(HZ), Relaxed);
    }
}
