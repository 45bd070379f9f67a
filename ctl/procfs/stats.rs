// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_stats` and `ip_vs_stats_percpu`: the total statistics of a namespace.

use super::print;
use crate::netns::Netns;
use core::fmt::Write;
use ipvs_core::text;
use kernel::seq_file::SeqFile;
use linux::{
    net::Net,
    rcu,
    seq_file::Single, //
};

/// The file `ip_vs_stats`. C: `ip_vs_stats_show()`.
pub(super) struct Total;

impl Single for Total {
    fn show(net: &Net, seq: &SeqFile) {
        let stats = rcu::read(|rcu| Netns::of(net, rcu).map(|netns| netns.stats().read()));
        if let Some(stats) = stats {
            print(seq, |f| text::write_stats(f, &stats.counters, &stats.rates));
        }
    }
}

/// The file `ip_vs_stats_percpu`. C: `ip_vs_stats_percpu_show()`.
pub(super) struct PerCpu;

impl Single for PerCpu {
    fn show(net: &Net, seq: &SeqFile) {
        rcu::read(|rcu| {
            let Some(netns) = Netns::of(net, rcu) else {
                return;
            };
            print(seq, |f| f.write_str(text::PERCPU_HEAD));
            for (cpu, counters) in netns.stats().per_cpu() {
                print(seq, |f| text::write_percpu(f, cpu, &counters));
            }
            let total = netns.stats().read();
            print(seq, |f| {
                text::write_percpu_total(f, &total.counters, &total.rates)
            });
        });
    }
}
