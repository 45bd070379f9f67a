// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_conn`: the connections. C: `ip_vs_conn_seq_show()`.

use super::print;
use crate::{
    conn::Conn,
    family::{
        Family,
        V4,
        V6, //
    },
    netns::Netns,
    proto,
    walk::Cursor, //
};
use ipvs_core::text::{
    ConnLine,
    CONN_HEAD, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};
use linux::{
    jiffies,
    net::Net,
    rcu::Reader,
    seq_file::{
        Records,
        Step, //
    },
};

/// How many empty places are passed before others get a chance to run.
const PATIENCE: usize = 256;

pub(super) struct Conns;

/// Where a reader is: before the head, among the IPv4 connections, or among those of IPv6.
#[derive(Clone, Copy, Zeroable)]
pub(super) struct Position {
    begun: bool,
    v4: Cursor,
    v6: Cursor,
}

impl Records for Conns {
    type Position = Position;

    fn show<'rcu>(net: &Net, rcu: Reader<'rcu>, position: &mut Position, seq: &SeqFile) -> Step {
        let Some(netns) = Netns::of(net, rcu) else {
            return Step::End;
        };
        if !position.begun {
            print(seq, |f| f.write_str(CONN_HEAD));
            position.begun = true;
            return Step::Continue;
        }
        if !position.v4.ended() {
            show_some::<V4>(&netns, rcu, &mut position.v4, seq);
        } else {
            show_some::<V6>(&netns, rcu, &mut position.v6, seq);
        }
        match position.v6.ended() {
            true => Step::End,
            false => Step::Continue,
        }
    }
}

fn show_some<F: Family>(netns: &Netns, rcu: Reader<'_>, cursor: &mut Cursor, seq: &SeqFile) {
    for _ in 0..PATIENCE {
        let batch = cursor.take(|place, visit| netns.scan_conns::<F>(rcu, place, visit));
        let mut shown = false;
        for conn in batch.into_iter().flatten() {
            print(seq, |f| line(conn).write(f, None));
            shown = true;
        }
        if shown || cursor.ended() {
            break;
        }
    }
}

fn line<F: Family>(conn: &Conn<F>) -> ConnLine<'static> {
    ConnLine {
        protocol: conn.protocol().into(),
        client: (conn.caddr().into(), conn.cport()),
        virt: (conn.vaddr().into(), conn.vport()),
        dest: (conn.server_addr(), conn.dport()),
        state: proto::state_name(conn.protocol(), conn.bits().state()),
        expires: jiffies::to_secs(conn.remaining()) as u32,
    }
}
