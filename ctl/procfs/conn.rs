// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_conn` and `/proc/net/ip_vs_conn_sync`: the connections. C:
//! `ip_vs_conn_seq_show()`, `ip_vs_conn_sync_seq_show()`.

use super::print;
use crate::{
    conn::{
        template::Template,
        Conn, //
    },
    family::{
        Family,
        V4,
        V6, //
    },
    netns::Netns,
    walk::{
        Cursor,
        Walked, //
    },
};
use core::{
    fmt::{
        self,
        Write, //
    },
    marker::PhantomData,
    ops::ControlFlow, //
};
use ipvs_core::text::{
    ConnLine,
    CONN_HEAD,
    CONN_SYNC_HEAD, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};
use linux::{
    jiffies,
    net::Net,
    rcu::ReadLocked,
    seq_file::{
        Records,
        Step,
        Writer, //
    },
};

/// The number of empty buckets after which the reader reschedules.
const PATIENCE: usize = 256;

/// What a file says of each connection.
pub(super) trait Form: 'static {
    /// The first line.
    const HEAD: &'static str;

    /// Writes the line of an entry. `pe` is the persistence engine's name and what it has found, `synced`
    /// says whether another director has told of the entry.
    fn write(
        f: &mut Writer<'_>,
        line: &ConnLine<'_>,
        pe: Option<(&str, &[u8])>,
        synced: bool,
    ) -> fmt::Result;
}

/// With what persistence engines have found.
pub(super) struct Plain;

impl Form for Plain {
    const HEAD: &'static str = CONN_HEAD;

    fn write(
        f: &mut Writer<'_>,
        line: &ConnLine<'_>,
        pe: Option<(&str, &[u8])>,
        _synced: bool,
    ) -> fmt::Result {
        line.write(f, pe)
    }
}

/// With the origin: this director or another one.
pub(super) struct WithOrigin;

impl Form for WithOrigin {
    const HEAD: &'static str = CONN_SYNC_HEAD;

    fn write(
        f: &mut Writer<'_>,
        line: &ConnLine<'_>,
        _pe: Option<(&str, &[u8])>,
        synced: bool,
    ) -> fmt::Result {
        line.write_sync(f, synced)
    }
}

pub(super) struct Conns<T>(PhantomData<T>);

/// The position of a reader: before the header, or among the IPv4 connections, the IPv6 connections
/// or the templates of either family.
#[derive(Clone, Copy, Zeroable)]
pub(super) struct Position {
    begun: bool,
    v4: Cursor,
    v6: Cursor,
    templates4: Cursor,
    templates6: Cursor,
}

impl<T: Form> Records for Conns<T> {
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
            print(seq, |f| f.write_str(T::HEAD));
            position.begun = true;
            return Step::Continue;
        }
        if !position.v4.ended() {
            show_conns::<V4, T>(&netns, rcu, &mut position.v4, seq);
        } else if !position.v6.ended() {
            show_conns::<V6, T>(&netns, rcu, &mut position.v6, seq);
        } else if !position.templates4.ended() {
            show_templates::<V4, T>(&netns, rcu, &mut position.templates4, seq);
        } else {
            show_templates::<V6, T>(&netns, rcu, &mut position.templates6, seq);
        }
        match position.templates6.ended() {
            true => Step::End,
            false => Step::Continue,
        }
    }
}

fn show_conns<F: Family, T: Form>(
    netns: &Netns,
    rcu: ReadLocked<'_>,
    cursor: &mut Cursor,
    seq: &SeqFile,
) {
    show_some(cursor, &*netns.state::<F>().conns, rcu, |conn| {
        // One that has ended stays in the table until its timer fires.
        let bits = conn.bits();
        if bits.hashed() {
            print(seq, |f| T::write(f, &line(conn), None, bits.synced()));
        }
    });
}

fn show_templates<F: Family, T: Form>(
    netns: &Netns,
    rcu: ReadLocked<'_>,
    cursor: &mut Cursor,
    seq: &SeqFile,
) {
    show_some(cursor, &*netns.state::<F>().templates, rcu, |template| {
        let pe = template.pe().map(|data| data.shown());
        print(seq, |f| {
            T::write(f, &template_line(template), pe, template.is_synced())
        });
    });
}

/// Shows the next entries.
fn show_some<W: Walked>(
    cursor: &mut Cursor,
    table: &W,
    rcu: ReadLocked<'_>,
    show: impl Fn(&W::Entry),
) {
    for _ in 0..PATIENCE {
        let mut shown = false;
        let _ = cursor.advance(rcu, table, |entry| {
            show(&entry);
            shown = true;
            ControlFlow::Continue(())
        });
        if shown || cursor.ended() {
            break;
        }
    }
}

fn template_line<F: Family>(template: &Template<F>) -> ConnLine<'static> {
    let key = template.key();
    ConnLine {
        protocol: key.protocol.into(),
        client: (key.src.into(), key.src_port),
        virt: (key.dst.into(), key.dst_port),
        dest: (template.server_addr(), template.dport()),
        state: template.state_name(),
        expires: jiffies::to_secs(template.remaining()) as u32,
    }
}

fn line<F: Family>(conn: &Conn<F>) -> ConnLine<'static> {
    ConnLine {
        protocol: conn.protocol().number().into(),
        client: (conn.caddr().into(), conn.cport()),
        virt: (conn.vaddr().into(), conn.vport()),
        dest: (conn.server_addr(), conn.dport()),
        state: conn.protocol().state_name(conn.bits().state()),
        expires: jiffies::to_secs(conn.remaining()) as u32,
    }
}
