// SPDX-License-Identifier: GPL-2.0
// error: E0597

//! Packets, and those who list hooks, may read their description after they are unregistered: it is
//! static.

use kernel::prelude::*;
use linux::{
    net::{
        OwnNet,
        PerNet, //
    },
    netfilter::{
        Hook,
        HookOps,
        Registration, //
    },
};

pub fn register<C: PerNet, H: Hook<Context = C>>(
    net: &OwnNet,
    hooks: &'static [HookOps<C>],
) -> Result<Registration> {
    #[cfg(misuse)]
    let own = [HookOps::new::<H>()];
    #[cfg(misuse)]
    let hooks = &own;
    Registration::new(net, hooks)
}
