// SPDX-License-Identifier: GPL-2.0
// error: E0382

//! A permit to write to the kernel's log is good for one line.

use linux::{
    net::Net,
    printk::Log, //
};

pub fn say(log: &Log, net: &Net) {
    if let Some(permit) = log.permit_for_packet(net) {
        #[cfg(misuse)]
        log.error(permit, format_args!("one line"));
        log.error(permit, format_args!("another line"));
    }
}
