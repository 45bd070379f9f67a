// SPDX-License-Identifier: GPL-2.0
// error: E0382

//! Who may write a line of the kernel's log may write one.

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
