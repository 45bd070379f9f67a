// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_conn`: the connections. C: `ip_vs_conn_seq_show()`.

use super::print;
use crate::{
    conn::Conn,
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

/// Where a reader is: before the head, or among the connections.
#[derive(Clone, Copy, Zeroable)]
pub(super) struct Position {
    begun: bool,
    conns: Cursor,
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
        for _ in 0..PATIENCE {
            let batch = position
                .conns
                .take(|place, visit| netns.scan_conns(rcu, place, visit));
            let mut shown = false;
            for conn in batch.into_iter().flatten() {
                print(seq, |f| line(conn).write(f, None));
                shown = true;
            }
            if position.conns.ended() {
                return Step::End;
            }
            if shown {
                break;
            }
        }
        Step::Continue
    }
}

fn line(conn: &Conn) -> ConnLine<'static> {
    ConnLine {
        protocol: conn.protocol().into(),
        client: (conn.caddr(), conn.cport()),
        virt: (conn.vaddr(), conn.vport()),
        dest: (conn.daddr(), conn.dport()),
        state: proto::state_name(conn.protocol(), conn.bits().state()),
        expires: jiffies::to_secs(conn.remaining()) as u32,
    }
}
