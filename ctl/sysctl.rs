// SPDX-License-Identifier: GPL-2.0

//! `net.ipv4.vs.*`: the [`Settings`] as files. C: `vs_vars`.

use crate::settings::Settings;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    net::OwnNet,
    sysctl::{
        Entry,
        Table, //
    },
};

/// The files of one namespace.
pub(crate) type Sysctls = Table<Settings>;

static ENTRIES: [Entry<Settings>; 5] = [
    Entry::checked(c"conn_max", |s| &s.conn_max, Settings::set_conn_max),
    Entry::int(c"conn_reuse_mode", |s| &s.conn_reuse_mode),
    Entry::int(c"pmtu_disc", |s| &s.pmtu_disc),
    Entry::int(c"sloppy_tcp", |s| &s.sloppy_tcp),
    Entry::int(c"snat_reroute", |s| &s.snat_reroute),
];

/// Makes the files for `settings`, which are those of `net`.
pub(crate) fn files(net: &OwnNet, settings: Arc<Settings>) -> Result<Sysctls> {
    Table::new(net, c"net/ipv4/vs", settings, &ENTRIES)
}
