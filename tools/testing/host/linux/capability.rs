// SPDX-License-Identifier: GPL-2.0

//! Capabilities of the running task.

use std::sync::atomic::{
    AtomicBool,
    Ordering::SeqCst, //
};

static NET_ADMIN: AtomicBool = AtomicBool::new(true);

pub fn net_admin() -> bool {
    NET_ADMIN.load(SeqCst)
}

pub fn set_net_admin(may: bool) {
    NET_ADMIN.store(may, SeqCst);
}
