// SPDX-License-Identifier: GPL-2.0

//! Ends the connections of removed servers if `expire_nodest_conn` is set. C:
//! `ip_vs_expire_nodest_conn_flush()`.

use crate::{
    conn::{
        self,
        template::expire_template, //
    },
    family::Family,
    netns::tables::{
        ConnTables,
        Tables, //
    },
};
use linux::{
    rcu,
    sched::cond_resched,
    work::{
        Next,
        Run, //
    },
};

/// The work item that ends all connections whose server is not available.
pub(crate) struct Expiry(pub(crate) ConnTables);

impl Run for Expiry {
    fn run(&self) -> Next {
        expire(&self.0.v4);
        expire(&self.0.v6);
        Next::Done
    }
}

fn expire<F: Family>(tables: &Tables<F>) {
    // Templates come first, so that those with connections end with their last one.
    let mut cursor = 0;
    loop {
        cursor = rcu::read(|rcu| {
            tables.templates.scan(rcu, cursor, |template| {
                if !template.dest().available() {
                    template.mark_orphan();
                    if !template.has_conns() {
                        expire_template(template);
                    }
                }
            })
        });
        cond_resched();
        if cursor == 0 {
            break;
        }
    }
    loop {
        let (next, more) = rcu::read(|rcu| {
            conn::expire_at(&tables.conns, cursor, rcu, |conn| {
                // A control connection ends with its last data connection.
                conn.dest().is_some_and(|dest| !dest.available()) && !conn.has_data_conns()
            })
        });
        cond_resched();
        if more {
            continue;
        }
        cursor = next;
        if cursor == 0 {
            return;
        }
    }
}
