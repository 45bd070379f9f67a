// SPDX-License-Identifier: GPL-2.0
// error: E0594

//! A shared object changes only by its own methods.

use linux::rcu::{
    Object,
    Shared, //
};

pub struct Number(pub u32);

impl Object for Number {
    type Links = ();
}

pub fn change(mut shared: Shared<Number>) -> Shared<Number> {
    #[cfg(misuse)]
    {
        shared.0 = 1;
    }
    #[cfg(not(misuse))]
    {
        shared = shared.clone();
    }
    shared
}
