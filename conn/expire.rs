// SPDX-License-Identifier: GPL-2.0

//! Ends connections before their time. C: `ip_vs_conn_expire_now()`, `ip_vs_conn_del()`.

use super::{
    bits::F_FORCED,
    nfct,
    restart_timer,
    Conn,
    ConnTable,
    Owner,
    PublishedConn, //
};
use crate::family::Family;
use ipvs_core::netlink::CONN_F_NFCT;
use linux::rcu::ReadLocked;

/// Ends the connection: no packet finds it any more, and its timer fires as soon as possible. The
/// entry that connection tracking has for it goes at once, so that no further packet comes with it,
/// unless `keeps_entry`. Does nothing and returns `false` if the connection has data connections.
///
/// C: `ip_vs_conn_expire_now()`.
///
/// # Context
///
/// RCU read-side critical section; no lock is held.
pub(crate) fn expire_now<F: Family>(
    conn: &PublishedConn<F>,
    owner: &Owner,
    keeps_entry: bool,
) -> bool {
    end(conn, owner, 0, keeps_entry)
}

/// Has connection tracking keep the entry that it has for the connection when that ends.
pub(crate) fn keep_entry<F: Family>(conn: &Conn<F>) {
    conn.update(|bits| bits.with(CONN_F_NFCT, false));
}

/// Ends the connection as [`expire_now`] does. If it is the last connection of a template that is
/// not assured, the template ends too.
///
/// C: `ip_vs_conn_del()`.
///
/// # Context
///
/// RCU read-side critical section; no lock is held.
pub(super) fn expire_forced<F: Family>(conn: &PublishedConn<F>, owner: &Owner) {
    end(conn, owner, F_FORCED, false);
}

fn end<F: Family>(conn: &PublishedConn<F>, owner: &Owner, with: u32, keeps_entry: bool) -> bool {
    if !conn.session().is_none_or(|session| session.end()) {
        return false;
    }
    if let Some(before) = conn.bits.end(CONN_F_NFCT, with) {
        if before.nfct() && !keeps_entry {
            nfct::drop_entry(conn, owner.net());
        }
        restart_timer(conn, 0);
    }
    true
}

/// Ends those of the connections at a place of the table that `choose` returns `true` for, as
/// [`expire_forced`] does. Returns the next place, 0 after the last, and whether there are more of them
/// at this one. See [`linux::expiring::Table::scan`].
pub(crate) fn expire_at<F: Family>(
    table: &ConnTable<F>,
    place: usize,
    rcu: ReadLocked<'_>,
    choose: impl Fn(&Conn<F>) -> bool,
) -> (usize, bool) {
    const BATCH: usize = 32;
    let mut chosen = [const { None }; BATCH];
    let mut free = chosen.iter_mut();
    let mut overflows = false;
    let next = table.scan(rcu, place, |conn| {
        if conn.bits().hashed() && choose(conn) {
            match free.next() {
                Some(free) => *free = Some(conn),
                None => overflows = true,
            }
        }
    });
    for conn in chosen.into_iter().flatten() {
        expire_forced(conn, table.owner());
    }
    (next, overflows)
}
