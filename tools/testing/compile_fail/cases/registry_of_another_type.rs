// SPDX-License-Identifier: GPL-2.0
// error: E0308

//! The state of a namespace is found by an identity that is its type's own: nobody takes the value of one
//! type for that of another.

use linux::net::{
    PerNet,
    Registry, //
};

pub fn registry<T: PerNet, U: PerNet>() -> &'static Registry<T> {
    #[cfg(misuse)]
    return U::registry();
    #[cfg(not(misuse))]
    T::registry()
}
