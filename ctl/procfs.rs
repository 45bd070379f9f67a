// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/net`. [`ipvs_core::text`] formats their lines.

mod app;
mod conn;
mod info;
mod stats;
mod status;

use core::fmt;
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};
use linux::{
    net::OwnNet,
    seq_file::{
        ProcEntry,
        Writer, //
    }, //
};

/// The mode of most files: readable by everyone.
const MODE: u16 = 0o444;
/// The mode of files that take time to read: readable by the owner of the namespace.
const ROOT_MODE: u16 = 0o440;

/// Creates the files of a namespace. They show its state, so they must not be read before it
/// exists.
pub(crate) fn files(net: &OwnNet) -> Result<[ProcEntry; 7]> {
    Ok([
        ProcEntry::records::<info::Info>(net, c"ip_vs", MODE)?,
        ProcEntry::single::<app::Apps>(net, c"ip_vs_app", MODE)?,
        ProcEntry::records::<conn::Conns<conn::Plain>>(net, c"ip_vs_conn", MODE)?,
        ProcEntry::records::<conn::Conns<conn::WithOrigin>>(net, c"ip_vs_conn_sync", MODE)?,
        ProcEntry::single::<stats::Total>(net, c"ip_vs_stats", MODE)?,
        ProcEntry::single::<stats::PerCpu>(net, c"ip_vs_stats_percpu", MODE)?,
        ProcEntry::single::<status::Status>(net, c"ip_vs_status", ROOT_MODE)?,
    ])
}

/// Writes text to a file.
fn print(seq: &SeqFile, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
    // If it does not fit, it is called again with a larger buffer.
    let _ = write(&mut Writer(seq));
}
