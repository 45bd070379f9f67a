// SPDX-License-Identifier: GPL-2.0

//! The use count of a module.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::bindings;
use kernel::prelude::*;

/// Keeps a module from being unloaded.
///
/// # Invariants
///
/// One use of the module is counted.
pub struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Counts a use, unless the module is about to go.
    pub fn new(module: &'static ThisModule) -> Option<Self> {
        // SAFETY: The module is the one that runs this.
        let counted = unsafe { bindings::try_module_get(module.as_ptr()) };
        // Not `then_some`: it would make and drop a reference where no use was counted.
        // INVARIANT: Counted if true.
        counted.then(|| Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
