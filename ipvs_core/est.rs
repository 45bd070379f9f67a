// SPDX-License-Identifier: GPL-2.0

//! Estimates rates per second from counters that are read every [`PERIOD_SECS`] seconds.
//!
//! C: the arithmetic of `ip_vs_est.c`, an exponential moving average in fixed point in which each
//! period has a weight of a quarter.

use crate::stats::{
    Counters,
    Rates, //
};

/// The seconds between two calls of [`Estimator::update`].
pub const PERIOD_SECS: u32 = 2;

/// Fractional bits of the averages of connections and packets.
const PACKET_BITS: u32 = 10;
/// Fractional bits of the averages of bytes.
const BYTE_BITS: u32 = 5;
/// A period has a weight of 1 / 2^2.
const WEIGHT_BITS: u32 = 2;

/// An average per second in fixed point with `BITS` fractional bits.
#[derive(Clone, Copy, Debug, Default)]
struct Average<const BITS: u32>(u64);

impl<const BITS: u32> Average<BITS> {
    /// Updates the average with the count of one period.
    #[inline]
    fn update(&mut self, counted: u64) {
        // A period is two seconds, hence one bit less.
        let rate = counted.wrapping_shl(BITS.wrapping_sub(1));
        let change = (rate.wrapping_sub(self.0) as i64) >> WEIGHT_BITS;
        self.0 = self.0.wrapping_add_signed(change);
    }

    /// Returns the average rounded to an integer; a half is rounded down.
    #[inline]
    const fn rounded(self) -> u64 {
        let below_half = (1u64 << (BITS - 1)) - 1;
        self.0.wrapping_add(below_half) >> BITS
    }
}

/// The rate estimator of a server, of a service or of the network namespace (C:
/// `struct ip_vs_estimator`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimator {
    last: Counters,
    conns: Average<PACKET_BITS>,
    inpkts: Average<PACKET_BITS>,
    outpkts: Average<PACKET_BITS>,
    inbytes: Average<BYTE_BITS>,
    outbytes: Average<BYTE_BITS>,
}

impl Estimator {
    /// Creates an estimator whose rates are zero and that counts from `counters` on. Used for a new
    /// object, and when its statistics are zeroed.
    pub const fn new(counters: Counters) -> Self {
        Self {
            last: counters,
            conns: Average(0),
            inpkts: Average(0),
            outpkts: Average(0),
            inbytes: Average(0),
            outbytes: Average(0),
        }
    }

    /// Ends a period. `now` are the raw counters, which zeroing does not reset.
    pub fn update(&mut self, now: &Counters) {
        let counted = now.wrapping_sub(self.last);

        self.last = *now;
        self.conns.update(counted.conns);
        self.inpkts.update(counted.inpkts);
        self.outpkts.update(counted.outpkts);
        self.inbytes.update(counted.inbytes);
        self.outbytes.update(counted.outbytes);
    }

    /// Returns `true` if all averages are zero, so that further calls of [`Estimator::update`] with
    /// the same counters would change nothing.
    pub const fn rates_are_zero(&self) -> bool {
        self.conns.0 == 0
            && self.inpkts.0 == 0
            && self.outpkts.0 == 0
            && self.inbytes.0 == 0
            && self.outbytes.0 == 0
    }

    /// Returns `true` if `now` differs from the counters at the last update.
    pub fn has_new_counts(&self, now: &Counters) -> bool {
        self.last != *now
    }

    /// Returns the rates as they are shown to users.
    pub const fn rates(&self) -> Rates {
        Rates {
            cps: self.conns.rounded(),
            inpps: self.inpkts.rounded(),
            outpps: self.outpkts.rounded(),
            inbps: self.inbytes.rounded(),
            outbps: self.outbytes.rounded(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(n: u64) -> Counters {
        Counters {
            conns: n,
            inpkts: n * 2,
            outpkts: n * 3,
            inbytes: n * 100,
            outbytes: n * 200,
        }
    }

    #[test]
    fn a_steady_rate_is_approached_and_kept() {
        let mut estimator = Estimator::new(Counters::ZERO);
        let mut shown = Vec::new();
        for period in 1..=60 {
            estimator.update(&counters(period * 2000));
            shown.push(estimator.rates().cps);
        }
        assert_eq!(shown[..4], [250, 437, 578, 684]);
        assert_eq!(shown[59], 1000);
        let rates = estimator.rates();
        assert_eq!((rates.inpps, rates.outpps), (2000, 3000));
        assert_eq!((rates.inbps, rates.outbps), (100_000, 200_000));
    }

    #[test]
    fn silence_fades_to_zero() {
        let mut estimator = Estimator::new(Counters::ZERO);
        estimator.update(&counters(2000));
        for _ in 0..60 {
            estimator.update(&counters(2000));
        }
        assert_eq!(estimator.rates(), Rates::default());
    }

    #[test]
    fn what_is_at_rest_stays_as_it_is() {
        for n in [1, 2000, u64::MAX >> 16] {
            let mut estimator = Estimator::new(Counters::ZERO);
            assert!(estimator.rates_are_zero() && !estimator.has_new_counts(&Counters::ZERO));
            assert!(estimator.has_new_counts(&counters(n)));
            estimator.update(&counters(n));
            assert!(!estimator.has_new_counts(&counters(n)));
            let mut updates = 0;
            while !estimator.rates_are_zero() {
                assert_ne!(updates, 300);
                estimator.update(&counters(n));
                updates += 1;
            }
            assert_ne!(updates, 0);
            assert_eq!(estimator.rates(), Rates::default());
            estimator.update(&counters(n));
            assert!(estimator.rates_are_zero());
        }
    }

    #[test]
    fn each_average_alone_keeps_it_from_rest() {
        let parts: [fn(&mut Counters) -> &mut u64; 5] = [
            |counters| &mut counters.conns,
            |counters| &mut counters.inpkts,
            |counters| &mut counters.outpkts,
            |counters| &mut counters.inbytes,
            |counters| &mut counters.outbytes,
        ];
        for part in parts {
            let mut now = Counters::ZERO;
            *part(&mut now) = 1000;
            let mut estimator = Estimator::new(Counters::ZERO);
            estimator.update(&now);
            assert!(!estimator.is_at_rest());
        }
    }

    #[test]
    fn halves_are_rounded_down() {
        assert_eq!(Average::<PACKET_BITS>(0x200).rounded(), 0);
        assert_eq!(Average::<PACKET_BITS>(0x201).rounded(), 1);
        assert_eq!(Average::<BYTE_BITS>(0x10).rounded(), 0);
        assert_eq!(Average::<BYTE_BITS>(0x11).rounded(), 1);
    }

    #[test]
    fn zeroing_forgets_rates_but_not_counters() {
        let mut estimator = Estimator::new(Counters::ZERO);
        estimator.update(&counters(2000));
        estimator = Estimator::new(counters(2000));
        assert_eq!(estimator.rates(), Rates::default());
        estimator.update(&counters(2000));
        assert_eq!(estimator.rates(), Rates::default());
    }

    #[test]
    fn nothing_overflows() {
        let mut estimator = Estimator::new(Counters::ZERO);
        for n in [u64::MAX, 0, u64::MAX / 2, 1] {
            let now = Counters {
                conns: n,
                inpkts: n,
                outpkts: n,
                inbytes: n,
                outbytes: n,
            };
            estimator.update(&now);
            estimator.rates();
        }
    }
}
