// SPDX-License-Identifier: GPL-2.0

//! Drops the entry of connection tracking that belongs to a connection that has ended. The crate's
//! `nfct.rs` keeps it in step before that. C: `ip_vs_nfct.c`.

use super::Conn;
use crate::family::Family;
use ipvs_core::net::{
    Address,
    Be16, //
};
use linux::{
    net::WeakNet,
    nf_conntrack::{
        self,
        Tuple, //
    },
    rcu, //
};

/// Drops the entry of the connection's requests, unless `net` or the module is about to end. C:
/// `ip_vs_conn_drop_conntrack()`.
#[cold]
pub(super) fn drop_entry<F: Family>(conn: &Conn<F>, net: &WeakNet) {
    if conn.cport() == Be16::ZERO {
        return;
    }
    let client = (conn.caddr().ip(), conn.cport().host());
    let service = (conn.vaddr().ip(), conn.vport().host());
    let requests = Tuple::new(conn.protocol().number(), client, service);
    rcu::read(|rcu| {
        if let Some(net) = net.get(rcu) {
            nf_conntrack::kill(net, &requests, rcu);
        }
    });
}
