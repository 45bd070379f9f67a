// SPDX-License-Identifier: GPL-2.0

//! Ends the connections of removed servers if `expire_nodest_conn` is set. C:
//! `ip_vs_expire_nodest_conn_flush()`, which goes through the table once: a control connection that
//! gets a data connection meanwhile stays.

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
    settings::Settings,
};
use core::cell::Cell;
use kernel::sync::Arc;
use linux::{
    jiffies::HZ,
    rcu,
    sched::cond_resched,
    work::{
        Next,
        Run, //
    },
};

/// The work item that ends all connections whose server is not available.
pub(crate) struct Expiry {
    tables: ConnTables,
    settings: Arc<Settings>,
}

impl Expiry {
    /// Makes it for the tables and settings of a namespace.
    pub(crate) fn new(tables: ConnTables, settings: Arc<Settings>) -> Self {
        Self { tables, settings }
    }
}

impl Run for Expiry {
    fn run(&self) -> Next {
        if !self.settings.expire_nodest_conn.is_set() {
            return Next::Done;
        }
        // Some may have got a data connection meanwhile: that is looked for a second later.
        let found_control_conns = expire(&self.tables.v4) | expire(&self.tables.v6);
        if found_control_conns {
            Next::After(HZ as usize)
        } else {
            Next::Done
        }
    }
}

/// Ends what it finds. Returns whether there were control connections, which may be left.
fn expire<F: Family>(tables: &Tables<F>) -> bool {
    // Templates come first, so that those with connections end with their last one.
    let mut cursor = 0;
    loop {
        cursor = rcu::read(|rcu| {
            tables.templates.scan(rcu, cursor, |template| {
                if template.dest().is_some_and(|dest| !dest.available()) {
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
    let found_control_conns = Cell::new(false);
    loop {
        let (next, more) = rcu::read(|rcu| {
            conn::expire_at(&tables.conns, cursor, rcu, |conn| {
                if conn.dest().is_none_or(|dest| dest.available()) {
                    return false;
                }
                if conn.session().is_some() {
                    found_control_conns.set(true);
                }
                // With data connections, it ends with the last of them.
                !conn.has_data_conns()
            })
        });
        cond_resched();
        if more {
            continue;
        }
        cursor = next;
        if cursor == 0 {
            return found_control_conns.get();
        }
    }
}
