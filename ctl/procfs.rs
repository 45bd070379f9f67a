// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/net`. Their lines are made by [`ipvs_core::text`].

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

/// Who may read most files: everyone.
const MODE: u16 = 0o444;
/// Who may read what takes its time: the owner of the namespace.
const ROOT_MODE: u16 = 0o440;

/// Makes the files of a namespace. They show its state: nobody may read them before it is there.
pub(crate) fn files(net: &OwnNet) -> Result<[ProcEntry; 5]> {
    Ok([
        ProcEntry::records::<info::Info>(net, c"ip_vs", MODE)?,
        ProcEntry::records::<conn::Conns>(net, c"ip_vs_conn", MODE)?,
        ProcEntry::single::<stats::Total>(net, c"ip_vs_stats", MODE)?,
        ProcEntry::single::<stats::PerCpu>(net, c"ip_vs_stats_percpu", MODE)?,
        ProcEntry::single::<status::Status>(net, c"ip_vs_status", ROOT_MODE)?,
    ])
}

/// Writes text into a file.
fn print(seq: &SeqFile, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
    // What does not fit is asked for again.
    let _ = write(&mut Writer(seq));
}
