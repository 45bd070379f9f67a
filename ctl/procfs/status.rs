// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_status`: the load of the tables, and the estimation thread. C:
//! `ip_vs_status_show()`.

use super::print;
use crate::netns::{
    tables::conn_buckets,
    Netns, //
};
use core::fmt::Write;
use ipvs_core::status::{
    TableStatus,
    LENGTHS, //
};
use kernel::seq_file::SeqFile;
use linux::{
    net::Net,
    rcu,
    seq_file::Single, //
};

pub(super) struct Status;

impl Single for Status {
    fn show(net: &Net, seq: &SeqFile) {
        // The references keep the tables while they are read, which takes too long for one
        // read-side critical section.
        let tables = rcu::read(|rcu| {
            let netns = Netns::of(net, rcu)?;
            Some((
                netns.conn_tables(),
                netns.service_tables.clone(),
                netns.settings.clone(),
                netns.estimation.clone(),
            ))
        });
        let Some((conns, service_tables, settings, estimation)) = tables else {
            return;
        };
        // The tables that have entries are shown to users as a single one.
        let mut lengths = [0; LENGTHS];
        let mut buckets = 0usize;
        let mut add = |count: usize, more: [usize; LENGTHS], size: usize| {
            if count == 0 {
                return;
            }
            for (sum, more) in lengths.iter_mut().zip(more) {
                *sum = usize::saturating_add(*sum, more);
            }
            buckets = buckets.saturating_add(size);
        };
        let (v4, v6) = (&conns.v4, &conns.v6);
        add(v4.conns.count(), v4.conns.chain_lengths(), v4.conns.size());
        add(v6.conns.count(), v6.conns.chain_lengths(), v6.conns.size());
        let (v4, v6) = (&v4.templates, &v6.templates);
        add(v4.count(), v4.chain_lengths(), v4.size());
        add(v6.count(), v6.chain_lengths(), v6.size());
        if buckets == 0 {
            buckets = conn_buckets(&conns.v4.conns, &conns.v6.conns);
        }
        let services = &service_tables.services;
        let present = services.count() != 0;
        let tables = [
            TableStatus {
                name: "Conn",
                entries: conns.v4.count().saturating_add(conns.v6.count()),
                buckets,
                lfactor: settings.conn_lfactor.get(),
                lengths,
            },
            TableStatus {
                name: "Service",
                entries: services.count(),
                // The C module has no table while there are no services.
                buckets: if present { services.size() } else { 0 },
                lfactor: if present {
                    settings.svc_lfactor.get()
                } else {
                    0
                },
                lengths: services.chain_lengths(),
            },
        ];
        for table in tables {
            print(seq, |f| table.write(f));
        }
        let threads = estimation.threads();
        print(seq, |f| {
            writeln!(f, "Stats thread slots:\t{threads} (max 1)")
        });
    }
}
