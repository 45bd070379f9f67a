// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs`: services and their servers. C: `ip_vs_info_seq_show()`.

use super::print;
use crate::{
    netns::Netns,
    service::Service,
    walk::Cursor, //
};
use core::ops::ControlFlow;
use ipvs_core::{
    sched::Server,
    text, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};
use linux::{
    net::Net,
    rcu::ReadLocked,
    seq_file::{
        Records,
        Step, //
    },
};

pub(super) struct Info;

/// The position of a reader: before the header, or among the services.
#[derive(Clone, Copy, Zeroable)]
pub(super) struct Position {
    begun: bool,
    services: Cursor,
}

impl Records for Info {
    type Position = Position;

    fn show<'rcu>(
        net: &Net,
        rcu: ReadLocked<'rcu>,
        position: &mut Position,
        seq: &SeqFile,
    ) -> Step {
        let Some(netns) = Netns::of(net, rcu) else {
            return Step::End;
        };
        if !position.begun {
            let buckets = netns.conn_table_size();
            print(seq, |f| text::write_info_head(f, buckets));
            position.begun = true;
            return Step::Continue;
        }
        let services = &netns.get_ref().service_tables().services;
        let _ = position.services.advance(rcu, services, |service| {
            show_service(rcu, &service, seq);
            ControlFlow::Continue(())
        });
        match position.services.ended() {
            true => Step::End,
            false => Step::Continue,
        }
    }
}

fn show_service(rcu: ReadLocked<'_>, service: &Service, seq: &SeqFile) {
    print(seq, |f| {
        text::write_service(
            f,
            service.label(),
            service.scheduler_name(),
            service.flags(),
            service.timeout(),
            service.netmask(),
        )
    });
    service.for_each_dest(rcu, |dest| {
        print(seq, |f| {
            text::write_dest(
                f,
                dest.addr(),
                dest.port(),
                dest.conn_flags(),
                dest.weight(),
                dest.active_conns(),
                dest.inactive_conns(),
            )
        });
    });
}
