// SPDX-License-Identifier: GPL-2.0

//! The module as the kernel sees it.

use crate::error::Result;
use std::sync::atomic::{
    AtomicBool,
    AtomicIsize,
    Ordering::SeqCst, //
};

/// A module with its count of users.
pub struct ThisModule {
    users: AtomicIsize,
    going: AtomicBool,
}

impl ThisModule {
    pub const fn new() -> Self {
        Self {
            users: AtomicIsize::new(0),
            going: AtomicBool::new(false),
        }
    }

    pub fn as_ptr(&self) -> *mut Self {
        std::ptr::from_ref(self).cast_mut()
    }

    /// C: `try_module_get()`
    pub fn try_get(&self) -> bool {
        let stays = !self.going.load(SeqCst);
        if stays {
            self.users.fetch_add(1, SeqCst);
        }
        stays
    }

    /// C: `module_put()`
    pub fn put(&self) {
        assert!(
            self.users.fetch_sub(1, SeqCst) > 0,
            "a module that is not used is put"
        );
    }

    pub fn users(&self) -> isize {
        self.users.load(SeqCst)
    }

    /// Forgets its users, after a test that failed.
    pub fn reset(&self) {
        self.users.store(0, SeqCst);
        self.set_going(false);
    }

    /// Says whether the module is being unloaded, so that it gets no new users.
    pub fn set_going(&self, going: bool) {
        self.going.store(going, SeqCst);
    }
}

impl Default for ThisModule {
    fn default() -> Self {
        Self::new()
    }
}

pub trait ModuleMetadata {
    fn this_module() -> &'static ThisModule;
}

pub fn this_module<M: ModuleMetadata>() -> &'static ThisModule {
    M::this_module()
}

pub trait Module: Sized + Sync + Send {
    fn init(module: &'static ThisModule) -> Result<Self>;
}

/// A parameter: always its default.
pub struct Parameter<T>(pub T);

impl<T: Copy> Parameter<T> {
    pub fn value(&self) -> T {
        self.0
    }
}

/// Makes the crate a module, and adds the tests to it: they see all of the crate, which knows
/// nothing of them.
#[macro_export]
macro_rules! module {
    (
        type: $type:ty,
        name: $name:literal,
        authors: $authors:tt,
        description: $description:literal,
        license: $license:literal,
        params: {
            $($param:ident: $param_type:ty {
                default: $default:expr,
                description: $about:literal $(,)?
            }),* $(,)?
        } $(,)?
    ) => {
        /// The type that stands for this module.
        pub struct LocalModule;

        impl $crate::ModuleMetadata for LocalModule {
            fn this_module() -> &'static $crate::ThisModule {
                static THIS_MODULE: $crate::ThisModule = $crate::ThisModule::new();
                &THIS_MODULE
            }
        }

        mod module_parameters {
            $(
                #[allow(non_upper_case_globals)]
                pub(crate) static $param: $crate::module::Parameter<$param_type> =
                    $crate::module::Parameter($default);
            )*
        }

        /// Loads the module; what is returned unloads it.
        #[allow(private_interfaces)]
        pub fn load() -> $crate::error::Result<$type> {
            let module = $crate::module::this_module::<LocalModule>();
            <$type as $crate::Module>::init(module)
        }

        #[cfg(test)]
        #[path = "tools/testing/host/tests/mod.rs"]
        mod tests;
    };
}
