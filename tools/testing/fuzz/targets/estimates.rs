// SPDX-License-Identifier: GPL-2.0

//! Rate estimation, compared with the same average in wide arithmetic.

use super::input::Input;
use ipvs_core::{
    est::Estimator,
    stats::Counters, //
};

/// An average with this number of fractional bits.
struct Slow(u32, i128);

impl Slow {
    fn update(&mut self, counted: u64) {
        // The rate is half of what was counted in two seconds. It has a weight of a quarter.
        let rate = (i128::from(counted) << self.0) / 2;
        self.1 += (rate - self.1).div_euclid(4);
    }

    /// Returns the average as an integer; a half is rounded down.
    fn rounded(&self) -> u64 {
        ((self.1 + (1 << (self.0 - 1)) - 1) >> self.0) as u64
    }
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut now = Counters {
        conns: input.u64(),
        inpkts: input.u64(),
        ..Counters::ZERO
    };
    let mut estimator = Estimator::new(now);
    let (mut conns, mut inpkts, mut outpkts) = (Slow(10, 0), Slow(10, 0), Slow(10, 0));
    let (mut inbytes, mut outbytes) = (Slow(5, 0), Slow(5, 0));

    while !input.is_empty() {
        // At most what ten links of 100 Gbit/s receive in two seconds.
        let more = Counters {
            conns: input.u32().into(),
            inpkts: input.u32().into(),
            outpkts: input.u32().into(),
            inbytes: input.u64() % (1 << 38),
            outbytes: input.u64() % (1 << 38),
        };
        let before = now;
        now = now.wrapping_add(more);
        assert_eq!(now.wrapping_sub(before), more);
        estimator.update(&now);
        conns.update(more.conns);
        inpkts.update(more.inpkts);
        outpkts.update(more.outpkts);
        inbytes.update(more.inbytes);
        outbytes.update(more.outbytes);
        let rates = estimator.rates();
        assert_eq!(rates.cps, conns.rounded());
        assert_eq!(rates.inpps, inpkts.rounded());
        assert_eq!(rates.outpps, outpkts.rounded());
        assert_eq!(rates.inbps, inbytes.rounded());
        assert_eq!(rates.outbps, outbytes.rounded());
    }
    // Without traffic, every rate falls to 0.
    for _ in 0..200 {
        estimator.update(&now);
    }
    assert_eq!(estimator.rates(), Default::default());
    // Counters that jump do not panic.
    estimator.update(&Counters::ZERO);
    estimator.rates();
}
