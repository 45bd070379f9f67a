// SPDX-License-Identifier: GPL-2.0
// error: E0382

//! Who may write a line of the kernel's log may write one.

use linux::printk::{
    Log,
    Permit, //
};

pub fn say(log: &Log) {
    if let Some(permit) = Permit::for_packet() {
        #[cfg(misuse)]
        log.error(permit, format_args!("one line"));
        log.error(permit, format_args!("another line"));
    }
}
