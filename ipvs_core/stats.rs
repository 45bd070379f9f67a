// SPDX-License-Identifier: GPL-2.0

//! Counters of connections, packets and bytes, and their rates (C: `struct ip_vs_kstats`).

/// The counters kept for each server, for each service and for the network namespace (C:
/// `struct ip_vs_counters`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections scheduled.
    pub conns: u64,
    /// Packets to servers.
    pub inpkts: u64,
    /// Packets from servers.
    pub outpkts: u64,
    /// Bytes to servers.
    pub inbytes: u64,
    /// Bytes from servers.
    pub outbytes: u64,
}

impl Counters {
    /// All counters zero.
    pub const ZERO: Self = Self {
        conns: 0,
        inpkts: 0,
        outpkts: 0,
        inbytes: 0,
        outbytes: 0,
    };

    /// Adds two sets of counters, wrapping around. Used to sum up the counters of all CPUs.
    #[inline]
    pub const fn wrapping_add(self, other: Self) -> Self {
        Self {
            conns: self.conns.wrapping_add(other.conns),
            inpkts: self.inpkts.wrapping_add(other.inpkts),
            outpkts: self.outpkts.wrapping_add(other.outpkts),
            inbytes: self.inbytes.wrapping_add(other.inbytes),
            outbytes: self.outbytes.wrapping_add(other.outbytes),
        }
    }

    /// Subtracts `other`, wrapping around: what was counted since `other` was read, for example at
    /// the last zeroing.
    #[inline]
    pub const fn wrapping_sub(self, other: Self) -> Self {
        Self {
            conns: self.conns.wrapping_sub(other.conns),
            inpkts: self.inpkts.wrapping_sub(other.inpkts),
            outpkts: self.outpkts.wrapping_sub(other.outpkts),
            inbytes: self.inbytes.wrapping_sub(other.inbytes),
            outbytes: self.outbytes.wrapping_sub(other.outbytes),
        }
    }
}

/// Rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections.
    pub cps: u64,
    /// Packets to servers.
    pub inpps: u64,
    /// Packets from servers.
    pub outpps: u64,
    /// Bytes to servers.
    pub inbps: u64,
    /// Bytes from servers.
    pub outbps: u64,
}

/// Counters and rates as they are shown to users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Counters since the last zeroing.
    pub counters: Counters,
    /// Rates.
    pub rates: Rates,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_survive_a_wrap() {
        let before = Counters {
            conns: u64::MAX,
            ..Counters::ZERO
        };
        let one = Counters {
            conns: 1,
            inpkts: 2,
            outpkts: 3,
            inbytes: 4,
            outbytes: 5,
        };
        let after = before.wrapping_add(one);
        assert_eq!(after.conns, 0);
        assert_eq!(after.wrapping_sub(before), one);
    }
}
