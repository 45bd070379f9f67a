// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_status`: how full the tables are. C: `ip_vs_status_show()`.

use super::print;
use crate::netns::Netns;
use ipvs_core::status::TableStatus;
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
            Some((netns.conns().clone(), netns.shared_model().clone()))
        });
        let Some((conns, model)) = tables else {
            return;
        };
        let tables = [
            TableStatus {
                name: "Conn",
                entries: conns.count(),
                buckets: conns.size(),
                lengths: conns.chain_lengths(),
            },
            TableStatus {
                name: "Service",
                entries: model.services.count(),
                buckets: model.services.size(),
                lengths: model.services.chain_lengths(),
            },
        ];
        for table in tables {
            print(seq, |f| table.write(f));
        }
    }
}
