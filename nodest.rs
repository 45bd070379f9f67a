// SPDX-License-Identifier: GPL-2.0

//! Ends the connections of removed servers, if users want that (sysctl `expire_nodest_conn`). C:
//! `ip_vs_expire_nodest_conn_flush()`.

use crate::{
    conn::{
        self,
        ConnTable,
        ConnTables, //
    },
    family::Family,
};
use linux::{
    rcu,
    work::{
        Next,
        Run, //
    },
};

/// Ends them all.
pub(crate) struct Expiry(pub(crate) ConnTables);

impl Run for Expiry {
    fn run(&self) -> Next {
        expire(&self.0.v4);
        expire(&self.0.v6);
        Next::Done
    }
}

fn expire<F: Family>(table: &ConnTable<F>) {
    let mut cursor = 0;
    loop {
        cursor = rcu::read(|rcu| {
            table.scan(rcu, cursor, |conn| {
                if conn.dest().is_some_and(|dest| !dest.available()) {
                    conn::expire_now(conn);
                }
            })
        });
        if cursor == 0 {
            return;
        }
    }
}
