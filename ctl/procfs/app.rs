// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_app`: the ports that applications are registered for, and how many connections each
//! has. C: `ip_vs_app_seq_show()`.

use super::print;
use crate::{
    app,
    netns::Netns, //
};
use core::fmt::Write;
use ipvs_core::{
    proto::Protocol,
    text::{
        write_app,
        APP_HEAD, //
    },
};
use kernel::seq_file::SeqFile;
use linux::{
    net::Net,
    rcu,
    seq_file::Single, //
};

pub(super) struct Apps;

impl Single for Apps {
    fn show(net: &Net, seq: &SeqFile) {
        print(seq, |f| f.write_str(APP_HEAD));
        rcu::read(|rcu| {
            let Some(netns) = Netns::of(net, rcu) else {
                return;
            };
            app::for_each(&netns.app_uses, rcu, |port, conns| {
                let protocol = Protocol::Tcp.number().into();
                print(seq, |f| write_app(f, protocol, port, conns, "ftp"));
            });
        });
    }
}
