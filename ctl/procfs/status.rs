// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_status`: how full the tables are, and the thread. C: `ip_vs_status_show()`.

use super::print;
use crate::netns::Netns;
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
        // The tables outlive the namespace's state as long as we look at them: that takes its time.
        let tables = rcu::read(|rcu| {
            let netns = Netns::of(net, rcu)?;
            Some((
                netns.conn_tables(),
                netns.shared_model().clone(),
                netns.settings.clone(),
                netns.estimation.clone(),
            ))
        });
        let Some((conns, model, settings, estimation)) = tables else {
            return;
        };
        // The tables of both families are one to users; those of templates too, while there are any.
        let mut lengths = [0; LENGTHS];
        let mut buckets = 0usize;
        let mut add = |more: [usize; LENGTHS], size: usize| {
            for (sum, more) in lengths.iter_mut().zip(more) {
                *sum = usize::saturating_add(*sum, more);
            }
            buckets = buckets.saturating_add(size);
        };
        add(conns.v4.conns.chain_lengths(), conns.v4.conns.size());
        add(conns.v6.conns.chain_lengths(), conns.v6.conns.size());
        if conns.v4.templates.count() != 0 {
            let templates = &conns.v4.templates;
            add(templates.chain_lengths(), templates.size());
        }
        if conns.v6.templates.count() != 0 {
            let templates = &conns.v6.templates;
            add(templates.chain_lengths(), templates.size());
        }
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
                entries: model.services.count(),
                buckets: model.services.size(),
                lfactor: settings.svc_lfactor.get(),
                lengths: model.services.chain_lengths(),
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
